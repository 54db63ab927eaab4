"""Request bodies: framed by length or chunks, decoded, bounded, and handed over as a file.

A body is read to its end before its query starts, so a client that dies half way inserts nothing.
The rows lie in memory that has a path (`/proc/self/fd/N`) for the engine to read, beyond a limit
in an unnamed file: either way a killed process leaves nothing behind.
"""

import io
import os
import tempfile
from pathlib import Path
from typing import BinaryIO, cast

from tidemill.deploy.embedded.clickhouse.compression import CORRUPT
from tidemill.deploy.embedded.clickhouse.refusals import (
    BAD_ARGUMENTS,
    CANNOT_DECOMPRESS,
    QUERY_IS_TOO_LARGE,
    refusal,
)

READ_BYTES = 1 << 20
MEMORY_BYTES_MAX = 64 << 20
_CHUNK_LINE_BYTES_MAX = 1024


class Framed(io.RawIOBase):
    """The body of one request on a connection, as the Content-Length or its chunks frame it."""

    def __init__(self, source: io.BufferedIOBase, *, length: int | None, bytes_max: int) -> None:
        """`length` None: chunked. Reading beyond `bytes_max` raises Refused."""
        self._source = source
        self._chunked = length is None
        self._left = length or 0  # of the chunk where chunked, of the body otherwise
        self._budget = bytes_max
        self.finished = length == 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer)).cast("B")
        if self._chunked and self._left == 0 and not self.finished:
            self._next_chunk()
        if self.finished:
            return 0
        wanted = view[: min(len(view), self._left)]
        size = self._source.readinto(wanted)
        if not size:
            raise ConnectionError("the client went away in the middle of a body")
        self._left -= size
        self._budget -= size
        if self._budget < 0:
            raise refusal(QUERY_IS_TOO_LARGE, "The request body is larger than the front takes")
        self._end_of_part()
        return size

    def _end_of_part(self) -> None:
        if self._left:
            return
        if not self._chunked:
            self.finished = True
        elif self._source.readline(_CHUNK_LINE_BYTES_MAX).strip():
            raise refusal(BAD_ARGUMENTS, "A chunk of the body is longer than it says")

    def _next_chunk(self) -> None:
        line = self._source.readline(_CHUNK_LINE_BYTES_MAX)
        try:
            self._left = int(line.split(b";", 1)[0].strip(), 16)
        except ValueError:
            raise refusal(BAD_ARGUMENTS, f"Not the size of a chunk: {line[:40]!r}") from None
        if self._left < 0:
            raise refusal(BAD_ARGUMENTS, "A chunk of negative size")
        if self._left == 0:
            while self._source.readline(_CHUNK_LINE_BYTES_MAX).strip():
                pass  # trailers
            self.finished = True


class Rows:
    """The data of an INSERT as a file the engine opens by `path`; `close` frees it."""

    def __init__(self, spool: Path) -> None:
        self._spool = spool
        self._descriptor = os.memfd_create("rows", os.MFD_CLOEXEC)
        self._in_memory = True
        self.size = 0

    @property
    def path(self) -> str:
        """Where the engine, which lives in this process, finds the rows."""
        return f"/proc/self/fd/{self._descriptor}"

    def write(self, data: bytes | memoryview) -> None:
        """Append. Raises OSError when neither memory nor disk has room."""
        if self._in_memory and self.size + len(data) > MEMORY_BYTES_MAX:
            self._move_to_disk()
        view = memoryview(data)
        while view:
            written = os.write(self._descriptor, view)
            self.size += written
            view = view[written:]

    def _move_to_disk(self) -> None:
        with tempfile.TemporaryFile(dir=self._spool, buffering=0) as file:
            descriptor = os.dup(file.fileno())
        offset = 0
        while offset < self.size:
            offset += os.sendfile(descriptor, self._descriptor, offset, self.size - offset)
        os.close(self._descriptor)
        self._descriptor, self._in_memory = descriptor, False

    def close(self) -> None:
        os.close(self._descriptor)


class Body:
    """The decoded bytes of a request, bounded once more after decompression."""

    def __init__(self, decoded: BinaryIO, *, bytes_max: int) -> None:
        self._decoded = decoded
        self._budget = bytes_max

    def read(self, size: int = READ_BYTES) -> bytes:
        """Up to `size` bytes, empty at the end. Raises Refused for corrupt or oversized bodies."""
        try:
            data = self._decoded.read(size) or b""
        except CORRUPT as error:
            raise refusal(CANNOT_DECOMPRESS, f"Cannot decompress the body: {error}") from None
        self._budget -= len(data)
        if self._budget < 0:
            raise refusal(QUERY_IS_TOO_LARGE, "The request body is larger than the front takes")
        return data

    def read_at_least(self, size: int) -> tuple[bytes, bool]:
        """At least `size` bytes unless the body ends before; whether it ended."""
        parts: list[bytes] = []
        total = 0
        while total < size:
            data = self.read()
            if not data:
                return b"".join(parts), True
            parts.append(data)
            total += len(data)
        return b"".join(parts), False
