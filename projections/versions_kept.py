"""A sink for every physical table that serves, for as long as it does.

What is rebuilt is its rebuild's to write, and what is retired nobody's: their sinks end, and begin
when the table serves (again). A version that this process does not know, because it was declared
after it started, ends it: whoever supervises it starts it anew, with the code that is there now.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.limits import Limits
from tidemill.projections.postgres.readings import Pool
from tidemill.projections.sinks import sink_of
from tidemill.projections.sources import source
from tidemill.projections.table import Table
from tidemill.projections.versions import serving
from tidemill.schemas.errors import Unavailable
from tidemill.streams.log import Log
from tidemill.streams.runtime.code_hash import add_files

logger = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often it is looked which tables serve."""
CONNECTIONS_PER_NAME = 4
"""Of the pool, for each name: for as many of its physical tables at once."""


class Outdated(Exception):
    """A version serves that the code on disk may know, and this process does not."""


def code_on_disk() -> str:
    """Return a SHA-256 (hex) of what declares tables, as it is on disk now."""
    digest = hashlib.sha256()
    add_files(digest, Path(__file__).parent, (".py", ".sql"))
    return digest.hexdigest()


class Kept:
    """Runs the sinks of what serves of `versions` (of the names in them, and of no other)."""

    def __init__(
        self,
        versions: Sequence[Table],
        log: Log,
        out: Log,
        clickhouse: ClickHouse,
        pool: Pool,
        limits: Limits | None = None,
        look_s: float = LOOK_S,
        code: Callable[[], str] = code_on_disk,
    ) -> None:
        self._versions, self._log, self._out = versions, log, out
        self._clickhouse, self._pool = clickhouse, pool
        self._limits, self._look_s = limits, look_s
        self._code, self._started_with = code, code()
        self._undeclared: list[str] = []
        self._running: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Run until cancelled. Raises what ends a sink of a table that serves: Fenced, Regressed;
        Outdated where a version serves that is not known, and the code is another by now.

        Raises Unavailable where LOG or Postgres is away at the start; later it waits for them.
        """
        log_uuid = (await self._log.identity()).uuid
        await self._look(log_uuid)
        try:
            while True:
                await self._pause()
                try:
                    await self._look(log_uuid)
                except Unavailable as error:
                    logger.warning("which tables serve is not known now: %s", error)
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _pause(self) -> None:
        """Wait until it is time to look again, or until a sink ends."""
        if self._running:
            await asyncio.wait(
                self._running.values(),
                timeout=self._look_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
        else:
            await asyncio.sleep(self._look_s)

    async def _look(self, log_uuid: str) -> None:
        """Start the sinks that are missing, and end those whose table serves no more."""
        tables, undeclared = await serving(self._pool, self._versions)
        self._heed(undeclared)
        wanted = {table.physical: table for table in tables}
        for name in [name for name in self._running if name not in wanted]:
            task = self._running.pop(name)
            task.cancel()
            (end,) = await asyncio.gather(task, return_exceptions=True)
            # Another owner of the sink, or the end of the table, may have come before we looked.
            logger.info("%s is not ours to fill any more (%r)", name, end)
        for name, table in wanted.items():
            if name in self._running and self._running[name].done():
                self._running[name].result()
            if name not in self._running:
                rows = source(table, self._log, self._out, log_uuid)
                sink = sink_of(table, rows, self._log, self._clickhouse, self._pool, self._limits)
                self._running[name] = asyncio.create_task(sink.run(), name=name)

    def _heed(self, undeclared: list[str]) -> None:
        """Raise Outdated where the code on disk may know versions that this process does not."""
        if undeclared == self._undeclared:
            return
        self._undeclared, names = undeclared, ", ".join(undeclared)
        if undeclared and self._code() != self._started_with:
            raise Outdated(f"{names} serves since the code was changed: starting anew")
        if undeclared:
            logger.warning("%s serves, which this code does not declare", names)
