"""A query whose result flows through a pipe: any format, flat memory, the engine's own bytes.

The engine writes with INTO OUTFILE, on a thread of its own, while the request's thread reads. A
pipe because chdb swallows errors of writing a result: on a full disk a result would end early and
look whole. A pipe has no such error as long as this end is read; whoever stops reading cancels.
"""

import fcntl
import os
import select
import time
from collections.abc import Iterator
from concurrent.futures import Executor, wait

from tidemill.deploy.embedded.clickhouse.engine import Engine, Result
from tidemill.deploy.embedded.clickhouse.request import Request

PIPE_BYTES = 1 << 20
_FIRST_BYTES = 64 << 10
_FIRST_S = 0.02
_CANCEL_AGAIN_S = 0.1

# Statements whose result INTO OUTFILE redirects.
OUTFILE_KEYWORDS = ("SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "(")


class Reading:
    """One running query; `close` in every case."""

    def __init__(self, engine: Engine, threads: Executor, request: Request) -> None:
        self._engine = engine
        self._query_id = request.query_id
        self._read, write = os.pipe2(os.O_CLOEXEC)
        _enlarge(write)
        path = f"/proc/self/fd/{write}"
        sql = request.statement.into_outfile(path, request.default_format)

        def run() -> Result:
            try:
                return engine.run(
                    request.context,
                    request.query_id,
                    sql,
                    request.default_format,
                    request.params,
                    keeps=True,
                )
            finally:
                os.close(write)

        try:
            self._future = threads.submit(run)
        except BaseException:
            os.close(write)
            os.close(self._read)
            raise

    def first(self) -> tuple[bytes, bool]:
        """The whole result and True if it is small and soon there, else its beginning and False."""
        parts = [os.read(self._read, PIPE_BYTES)]
        deadline = time.monotonic() + _FIRST_S
        while parts[-1] and sum(map(len, parts)) < _FIRST_BYTES:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._read], [], [], left)[0]:
                break
            parts.append(os.read(self._read, PIPE_BYTES))
        return b"".join(parts), not parts[-1]

    def parts(self) -> Iterator[bytes]:
        """What is left of the result, as it comes."""
        while data := os.read(self._read, PIPE_BYTES):
            yield data

    def result(self) -> Result:
        """Statistics, once the result was read to its end. Raises Refused if the query failed."""
        return self._future.result()

    def close(self) -> None:
        """Free the pipe and cancel what still runs, which may not have reached the engine yet."""
        os.close(self._read)
        while not self._future.done():
            self._engine.kill(self._query_id)
            wait([self._future], timeout=_CANCEL_AGAIN_S)


def _enlarge(descriptor: int) -> None:
    """Fewer turns between the two threads; the kernel may refuse, and 64 KiB do as well."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except OSError:
        return
