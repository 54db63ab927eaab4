"""The sink of a ClickHouse table: exactly once by protocol B of CLICKHOUSE.md.

At start, and after any outcome that is not known, it takes over: a new epoch, the fence, the end
of stray inserts, and the tail of the table compared with the log row by row; exactly the missing
rows are inserted. Then it inserts what follows, one insert in flight while the next is built.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.clickhouse.fenced import (
    FencedInsert,
    drain,
    newest_epoch,
    newest_root,
    positions,
    raise_fence,
)
from tidemill.projections.collected import PULL_TIMEOUT_S, Collected
from tidemill.projections.limits import Backoff, Limits
from tidemill.projections.metrics import Metrics
from tidemill.projections.postgres.positions import Claim, advance, claim
from tidemill.projections.postgres.readings import Pool
from tidemill.projections.rows import Rows, concatenate, grouped
from tidemill.projections.sources import Batch, Mark, Source
from tidemill.projections.table import Table
from tidemill.projections.tail import Tail, missing
from tidemill.schemas.errors import Regressed, Unavailable
from tidemill.streams.log import Log

MARKS_PER_SPAN, MARKS_MAX = 16, 64
"""Marks taken for each `roots_max` roots, and most that are kept."""


class Block(NamedTuple):
    """What one insert holds: the prepared body and its roots; `body` is empty without rows."""

    body: memoryview
    rows: int
    first: int
    last: int
    done: int
    mark: Mark | None


@dataclass
class Owned:
    """What a takeover won: the right to write, and how far the table is."""

    epoch: int
    insert: FencedInsert
    floor: int
    position: int
    roots_max: int
    persisted: Mark
    marks: deque[Mark]


def no_step(name: str) -> None:
    """Pass a named step; tests stop the sink at one."""


class ClickHouseSink:
    """Fills one ClickHouse table for as long as `run` runs. `step` is called at named points."""

    def __init__(
        self,
        table: Table,
        log: Log,
        source: Source,
        clickhouse: ClickHouse,
        pool: Pool,
        limits: Limits | None = None,
        step: Callable[[str], None] = no_step,
    ) -> None:
        self.table, self.metrics = table, Metrics(table.physical)
        self._log, self._source = log, source
        self._clickhouse, self._pool = clickhouse, pool
        self._limits, self._step = limits or Limits(), step
        self._ahead: Batch | None = None  # read beyond the tail, not inserted yet
        self._free = asyncio.Event()  # nothing is inserted, nor waits to be
        self._mine: int | None = None  # our epoch, from the first claim on

    async def run(self) -> None:
        """Take over and insert for ever. Raises Fenced, Regressed; waits while a server is away."""
        backoff = Backoff(self._limits)
        try:
            while True:
                try:
                    owned = await self._take_over()
                    backoff.reset()
                    await self._insert_on(owned)
                except Unavailable as error:
                    self.metrics.unavailable(error)
                    await backoff.wait()
        finally:
            await self._source.close()

    # Taking over: T1 to T4

    async def _take_over(self) -> Owned:
        name, identity = self.table.physical, await self._log.identity()
        self._step("claiming")
        known = await newest_epoch(self._clickhouse, name)
        claimed = await claim(self._pool, name, identity.uuid, self._limits, self._mine, known)
        self._mine = claimed.epoch
        self._step("claimed")
        await raise_fence(self._clickhouse, name, claimed.epoch)
        self._step("fenced")
        await drain(self._clickhouse, name)
        self._step("drained")
        newest = await newest_root(self._clickhouse, name)
        # Asked after the table: the log may have grown since the first time.
        end = (await self._log.identity()).last
        if newest > end:
            raise Regressed(
                f"LOG REGRESSED: {name} has root {newest}, the log ends at {end}: restore LOG"
                " (`tidemill repair`); nothing was written"
            )
        insert = FencedInsert(self._clickhouse, self.table, identity.uuid, claimed.epoch)
        tail = Tail(newest, claimed.roots_max, claimed.rows_max)
        await self._read_tail(tail, claimed)
        self._step("read")
        await self._repair(tail, insert)
        # A table that lost acknowledged rows is no further than its rows; a quiet one is.
        position = max(claimed.position, newest) if newest >= claimed.floor else newest
        mark = claimed.mark if claimed.mark.root < tail.lowest else Mark(0, 1)
        if position != claimed.position:
            # Told at once: rows may be gone, or nothing may follow in a log that is at rest.
            self._step("telling")
            await advance(self._pool, name, claimed.epoch, position, newest, mark)
            self._step("told")
        marks: deque[Mark] = deque(maxlen=MARKS_MAX)
        return Owned(claimed.epoch, insert, newest, position, claimed.roots_max, mark, marks)

    async def _read_tail(self, tail: Tail, claimed: Claim) -> None:
        """Read the log from the tail's lowest root until its newest; keep what lies beyond."""
        self._ahead = None
        await self._source.open(tail.lowest, claimed.mark)
        done, rest = 0, None
        while done < tail.newest:
            batch = await self._source.next(PULL_TIMEOUT_S)
            if batch is None:
                if self._source.lag == 0:
                    self.metrics.waiting(tail.newest)
                continue
            done = batch.done
            rest = tail.take(batch.rows) if batch.rows is not None else None
        if done:
            self._ahead = Batch(rest, done)

    async def _repair(self, tail: Tail, insert: FencedInsert) -> None:
        """Insert exactly the missing rows of the tail, and look again until none is."""
        if not tail.parts:
            if await positions(self._clickhouse, self.table.physical, tail.lowest, tail.newest):
                raise Regressed(f"{self.table.physical} has rows that the log has not: rebuild it")
            return
        expected = concatenate(tail.parts)
        for attempt in range(1, 100):
            have = await positions(self._clickhouse, self.table.physical, tail.lowest, tail.newest)
            absent = missing(expected, have)
            if not len(absent):
                return
            self._step("repairing")
            self.metrics.repaired(len(absent))
            rows = expected.take(absent)
            await insert.send(insert.body([rows]), tail.lowest, tail.newest, attempt)
            self._step("repaired")
        raise Unavailable(f"{self.table.physical} does not keep the rows that repair it")

    # Inserting: W1 to W3

    async def _insert_on(self, owned: Owned) -> None:
        blocks: asyncio.Queue[Block | Exception] = asyncio.Queue(maxsize=1)
        self._free.set()
        building = asyncio.create_task(self._build(owned, blocks))
        try:
            while True:
                block = await blocks.get()
                if isinstance(block, Exception):
                    raise block
                await self._insert(owned, block)
                if blocks.empty():
                    self._free.set()
        finally:
            building.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await building

    async def _insert(self, owned: Owned, block: Block) -> None:
        if block.rows:
            self._step("inserting")
            began = time.perf_counter()
            await owned.insert.send(block.body, block.first, block.last)
            self.metrics.inserted(block.rows, len(block.body), time.perf_counter() - began)
            self._step("inserted")
            owned.floor = block.last
        owned.position = max(owned.position, block.done)
        self._remember(owned, block.mark)
        self._step("advancing")
        await advance(
            self._pool,
            self.table.physical,
            owned.epoch,
            owned.position,
            owned.floor,
            owned.persisted,
        )
        self.metrics.position(owned.position, self._source.lag)
        self._step("advanced")

    def _remember(self, owned: Owned, mark: Mark | None) -> None:
        """Persist a mark far enough behind that a takeover's tail begins after it."""
        gap = owned.roots_max // MARKS_PER_SPAN
        if mark is not None and (not owned.marks or mark.root >= owned.marks[-1].root + gap):
            owned.marks.append(mark)
        while owned.marks and owned.marks[0].root <= owned.floor - owned.roots_max:
            owned.persisted = owned.marks.popleft()

    async def _build(self, owned: Owned, blocks: "asyncio.Queue[Block | Exception]") -> None:
        """Prepare blocks while one is inserted; what ends it is the last thing in the queue."""
        try:
            await self._collect(owned, blocks)
        except Exception as error:
            await blocks.put(error)

    async def _collect(self, owned: Owned, blocks: "asyncio.Queue[Block | Exception]") -> None:
        """Collect whole roots up to the limits."""
        collected = Collected(self._limits, owned.floor)
        if self._ahead is not None:
            collected.add(self._ahead, self._source.mark)
            self._ahead = None
        while True:
            for parts, done, mark in collected.ready(busy=not self._free.is_set()):
                self._free.clear()
                await blocks.put(_block(owned.insert, parts, done, mark))
            await self._source.gather(collected.due_s)
            if self._source.lag == 0:
                await self._free.wait()
            batch = await self._source.next(PULL_TIMEOUT_S)
            if batch is not None:
                collected.add(batch, self._source.mark)


def _block(insert: FencedInsert, parts: list[Rows], done: int, mark: Mark | None) -> Block:
    if not parts:
        return Block(memoryview(b""), 0, 0, 0, done, mark)
    first, last = int(parts[0].array("_r")[0]), int(parts[-1].array("_r")[-1])
    count = sum(part.count for part in parts)
    return Block(insert.body(grouped(parts)), count, first, last, done, mark)
