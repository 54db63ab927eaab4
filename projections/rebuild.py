"""Rebuild: tables made from LOG alone, several in one pass, as fast as the stores take them.

A rebuild is one more owner of each table's sink: protocol B of CLICKHOUSE.md with the rows of a
Pass instead of a reader of LOG or OUT. So it may be killed at any moment and goes on from what the
tables hold. What is derived comes of an engine that steps LOG from its start; its outputs before a
table's position are passed over. Rows are a pure function of LOG, so those that the ordinary sink
reads from OUT afterwards are the same, and it takes over at any root: it compares the tail of the
table with OUT row by row and goes on behind it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.limits import Limits
from tidemill.projections.postgres.errors import unavailable
from tidemill.projections.postgres.readings import Pool
from tidemill.projections.postgres.sql import statement
from tidemill.projections.rebuild_pass import Pass
from tidemill.projections.sinks import Sink, sink_of
from tidemill.projections.sources import PULL_MESSAGES_MAX, LogSource
from tidemill.projections.table import Table
from tidemill.projections.versions import Version, begin, enter, present
from tidemill.projections.versions_made import make
from tidemill.schemas.errors import Unavailable
from tidemill.streams import crash_points
from tidemill.streams.log import Log
from tidemill.streams.runtime.engine import Engine

LIMITS = replace(Limits(), roots_max=65_536)
"""Roots are many where frames are small, and few large inserts cost the stores least."""
NEAR_ROOTS = 10_000
"""A rebuild that comes to the end of LOG goes on while the end has moved by more than this."""
LOOK_S, TELL_S, WINDOW_S = 0.1, 1.0, 10.0
"""How often positions are read, how often progress is told, and what rates are taken over."""


class Progress(NamedTuple):
    """How far a rebuild is: `position` of its hindmost table, of `target`; `rows` inserted by this
    run, at `rate` a second; `eta_s` until the target, None while it cannot be told.
    """

    position: int
    target: int
    rows: int
    rate: float
    eta_s: float | None
    tables: dict[str, int]


async def planned(pool: Pool, tables: Sequence[Table]) -> list[Table]:
    """Return the instances of these versions to build: one that was begun, else the next one."""
    there = await present(pool, tables)
    found = []
    for table in tables:
        begun = [v.table for v in there if v.state == "building" and not v.active]
        same = [t for t in begun if t.declared == table.declared]
        found.append(same[-1] if same else await begin(pool, table))
    crash_points.reach("rebuild.noted")
    return found


def lost(there: Sequence[Version]) -> list[Table]:
    """Return the tables that should answer and hold nothing, or were being filled again."""
    return [v.table for v in there if v.active and (v.state == "building" or not v.position)]


class Rebuild:
    """Builds `tables`, physical ones that are noted; their ordinary sinks must leave them alone.

    `engine` returns a fresh engine of the graph that derives what is derived; `messages_max` is
    the most that one pull brings.
    """

    def __init__(
        self,
        tables: Sequence[Table],
        log: Log,
        clickhouse: ClickHouse,
        pool: Pool,
        engine: Callable[[], Engine],
        limits: Limits = LIMITS,
        messages_max: int = PULL_MESSAGES_MAX,
    ) -> None:
        self._tables, self._log, self._pool = tables, log, pool
        self._clickhouse = clickhouse
        self._pass = Pass(log, tables, engine, messages_max)
        self._sinks: list[Sink] = [
            sink_of(
                table,
                self._pass.sources.get(table.physical) or LogSource(log, table),
                log,
                clickhouse,
                pool,
                limits,
                "rebuild",
            )
            for table in tables
        ]
        self._seen: deque[tuple[float, int, int]] = deque()  # (time, position, rows)

    def rows(self, table: Table) -> int:
        """Return how many rows of a table were inserted."""
        sinks = [sink for sink in self._sinks if sink.table.physical == table.physical]
        return sum(sink.metrics.rows for sink in sinks)

    async def run(
        self, report: Callable[[Progress], None], then: Callable[[], Awaitable[None]]
    ) -> None:
        """Fill the tables to LOG's end, and do `then` while they are kept there.

        Raises Fenced when another rebuild took one over, Regressed, Unreadable.
        """
        await enter(self._pool, self._tables, "building")
        crash_points.reach("rebuild.entered")
        async with self._pool.acquire() as connection:
            for table in self._tables:
                await make(connection, self._clickhouse, table)
        crash_points.reach("rebuild.made")
        work = [asyncio.create_task(sink.run()) for sink in self._sinks]
        work.append(asyncio.create_task(self._pass.run()))
        ending = asyncio.create_task(self._end(report, then))
        try:
            await asyncio.wait([*work, ending], return_when=asyncio.FIRST_COMPLETED)
            for task in work:
                if task.done():
                    task.result()
            await ending
        finally:
            for task in (*work, ending):
                task.cancel()
            await asyncio.gather(*work, ending, return_exceptions=True)

    async def _end(
        self, report: Callable[[Progress], None], then: Callable[[], Awaitable[None]]
    ) -> None:
        await self._reach_the_end(report)
        crash_points.reach("rebuild.filled")
        await then()
        crash_points.reach("rebuild.done")

    async def _reach_the_end(self, report: Callable[[Progress], None]) -> None:
        target, told_at = (await self._log.identity()).last, float("-inf")
        while True:
            with suppress(Unavailable):
                progress = await self._progress(target)
                there = progress.position >= target
                if there or time.monotonic() - told_at >= TELL_S:
                    told_at = time.monotonic()
                    report(progress)
                    await self._tell(progress)
                if there:
                    end = (await self._log.identity()).last
                    if end - target <= NEAR_ROOTS:
                        return
                    target = end
            await asyncio.sleep(LOOK_S)

    async def _progress(self, target: int) -> Progress:
        names = [table.physical for table in self._tables]
        with unavailable():
            found = await self._pool.fetch("SELECT t, position FROM sink WHERE t = ANY($1)", names)
        positions = dict.fromkeys(names, 0) | {row["t"]: row["position"] for row in found}
        position, rows = min(positions.values()), sum(sink.metrics.rows for sink in self._sinks)
        now = time.monotonic()
        self._seen.append((now, position, rows))
        while now - self._seen[0][0] > WINDOW_S:
            self._seen.popleft()
        began, position_then, rows_then = self._seen[0]
        seconds = now - began
        rate = (rows - rows_then) / seconds if seconds else 0.0
        moved = position - position_then
        eta_s = seconds * max(0, target - position) / moved if moved else None
        return Progress(position, target, rows, rate, eta_s, positions)

    async def _tell(self, progress: Progress) -> None:
        """Leave word in Postgres, for `tidemill status`."""
        with unavailable():
            await self._pool.executemany(
                statement("progress"),
                [
                    (sink.table.physical, progress.target, sink.metrics.rows, progress.rate)
                    for sink in self._sinks
                ],
            )
