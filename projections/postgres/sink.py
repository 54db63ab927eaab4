"""The sink of a Postgres table: rows and position in one transaction, so exactly once."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

from tidemill.projections.collected import PULL_TIMEOUT_S
from tidemill.projections.limits import Backoff, Limits
from tidemill.projections.metrics import Metrics
from tidemill.projections.postgres.errors import unavailable
from tidemill.projections.postgres.positions import Claim, Connection, claim
from tidemill.projections.postgres.readings import Pool
from tidemill.projections.postgres.sql import statement
from tidemill.projections.postgres.write import prepare, write
from tidemill.projections.rows import Rows, build
from tidemill.projections.sources import Mark, Source, pieces
from tidemill.projections.table import Table
from tidemill.schemas.errors import Fenced, Regressed, Unavailable
from tidemill.streams.log import Log, Message


def no_step(name: str) -> None:
    """Pass a named step; tests stop the sink at one."""


class PostgresSink:
    """Fills one Postgres table for as long as `run` runs.

    A conflated table takes the newest message of each subject instead of reading all of them.
    """

    def __init__(
        self,
        table: Table,
        log: Log,
        source: Source,
        pool: Pool,
        limits: Limits | None = None,
        step: Callable[[str], None] = no_step,
    ) -> None:
        self.table, self.metrics = table, Metrics(table.physical)
        self._log, self._source, self._pool = log, source, pool
        self._limits, self._step = limits or Limits(), step
        self._mine: int | None = None

    async def run(self) -> None:
        """Take over and write for ever. Raises Fenced, Regressed; waits while a server is away."""
        backoff = Backoff(self._limits)
        try:
            while True:
                try:
                    claimed = await self._claim()
                    if self.table.conflated:
                        await self._conflate(claimed, backoff)
                    else:
                        await self._follow(claimed, backoff)
                except Unavailable as error:
                    self.metrics.unavailable(error)
                    await backoff.wait()
        finally:
            await self._source.close()

    async def _claim(self) -> Claim:
        identity = await self._log.identity()
        self._step("claiming")
        claimed = await claim(
            self._pool, self.table.physical, identity.uuid, self._limits, self._mine
        )
        self._mine = claimed.epoch
        # Asked after the position: the log may have grown since the first time.
        end = (await self._log.identity()).last
        if claimed.position > end:
            raise Regressed(
                f"LOG REGRESSED: {self.table.physical} is at {claimed.position}, the log ends at"
                f" {end}: restore LOG (`tidemill repair`); nothing was written"
            )
        self._step("claimed")
        return claimed

    async def _follow(self, claimed: Claim, backoff: Backoff) -> None:
        """Write every row of the source, batch by batch."""
        position = done = claimed.position
        told = time.monotonic()
        await self._source.open(position + 1, claimed.mark)
        async with self._connection() as connection:
            while True:
                due_s = told + self._limits.period_s - time.monotonic()
                await self._source.gather(max(0.0, due_s))
                batch = await self._source.next(PULL_TIMEOUT_S)
                rows = batch.rows if batch is not None else None
                done = batch.done if batch is not None else done
                due = done > position and time.monotonic() >= told + self._limits.period_s
                if rows is None and not due:
                    continue
                mark = self._source.mark
                await self._commit(connection, claimed, position, done, mark, rows)
                position, told = done, time.monotonic()
                self.metrics.position(position, self._source.lag)
                backoff.reset()

    async def _conflate(self, claimed: Claim, backoff: Backoff) -> None:
        """Write the newest record of every subject, again and again."""
        position, seen = claimed.position, claimed.position
        async with self._connection() as connection:
            while True:
                # What is newest now is newest for this position, or for a later one.
                end = (await self._log.identity()).last
                if end > position:
                    rows = await self._newest(seen)
                    await self._commit(connection, claimed, position, end, Mark(end, end + 1), rows)
                    position, seen = end, end
                    self.metrics.position(position, 0)
                backoff.reset()
                await asyncio.sleep(self._limits.period_s)

    async def _newest(self, seen: int) -> Rows | None:
        """Return the last record of each subject's newest message, of those after `seen`."""
        found: list[Message] = []
        for subject in self.table.filters:
            found += [m for m in await self._log.lasts(subject) if m.sequence > seen]
        decoded = []
        for piece in pieces(sorted(found)):
            records = piece.frame.records
            frame = piece.frame._replace(records=records[-1:])
            decoded.append(piece._replace(frame=frame, first=len(records) - 1))
        return build(self.table, decoded) if decoded else None

    async def _commit(
        self,
        connection: Connection,
        claimed: Claim,
        previous: int,
        position: int,
        mark: Mark,
        rows: Rows | None,
    ) -> None:
        began = time.perf_counter()
        self._step("moving")
        with unavailable():
            async with connection.transaction():
                floor = int(rows.array("_r").max()) if rows is not None else claimed.floor
                moved = await connection.fetchval(
                    statement("advance_from"),
                    *(self.table.physical, claimed.epoch, previous),
                    *(position, floor, mark.root, mark.sequence),
                )
                if moved is None:
                    raise Fenced(f"another sink writes {self.table.physical} now")
                self._step("moved")
                if rows is not None:
                    await write(connection, self.table, rows)
                    self._step("written")
        if rows is not None:
            self.metrics.inserted(rows.count, rows.bytes, time.perf_counter() - began)
        self._step("committed")

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        with unavailable():
            async with self._pool.acquire() as connection:
                if self.table.kind == "latest":
                    await prepare(connection, self.table)
                yield connection
