"""One table beside the log: ranges of roots of both are compared while the next are read.

Where they are equal they have one digest; from the first difference on, each side has its own.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from tidemill.projections.differences import Difference, Differences, compare
from tidemill.projections.digest import Digest, Digester, last_of_each
from tidemill.projections.rows import Rows, concatenate, newest
from tidemill.projections.table import Table

RANGE_ROWS = 262_144
"""A range of roots is compared once it has so many rows."""
SLACK_ROWS = 65_536
"""So many rows more than that are read of a table at once, however many it has."""


_T = TypeVar("_T")


class Live(Protocol):
    """What a database holds of one table."""

    async def rows(self, first: int, last: int, rows_max: int) -> list[Rows]:
        """Return rows with first <= _r <= last in any order, at most `rows_max`."""
        ...

    async def count(self, first: int, last: int) -> int:
        """Return how many there are."""
        ...

    async def beside(self, found: Differences, as_of: int) -> None:
        """Add what is wrong with what the table has besides its columns."""
        ...


class Verdict(NamedTuple):
    """A table against its source. `reason` is empty where they are equal."""

    live: Digest | None
    recomputed: Digest
    reason: str
    live_rows: int
    differences: dict[str, Any]
    first: Sequence[Difference]

    @property
    def equal(self) -> bool:
        """Whether the table is exactly what the log makes."""
        return not self.reason


def only_newest(table: Table, rows: Rows) -> Rows:
    """Return what a latest table keeps of rows in logical order: the newest of each key."""
    if table.newest == ("_r", "_i", "_n"):
        return rows.take(last_of_each(rows, table.key))
    return newest(rows, table.key, table.newest)


class _Sides:
    """Both digests: one for both sides as long as they are equal."""

    def __init__(self, table: Table) -> None:
        self._table, self.differences = table, Differences()
        self.log, self.live_rows = Digester(table), 0
        self._live: Digester | None = None
        self._apart = False

    async def take(self, expected: Rows | None, blocks: Sequence[Rows]) -> None:
        """Compare a range of both, and add it to the digests, each in a thread."""
        before = self.log.copy() if not self._apart else None
        comparing = asyncio.to_thread(compare, self._table, expected, blocks, self.differences)
        if expected is not None:
            equal, _ = await asyncio.gather(comparing, asyncio.to_thread(self.log.take, expected))
        else:
            equal = await comparing
        if not equal and not self._apart:
            self._apart, self._live = True, before
        self.live_rows += sum(block.count for block in blocks)
        if self._live is not None and blocks:
            try:
                await asyncio.to_thread(self._live.take, concatenate(blocks).ordered())
            except ValueError:  # a row stands twice: there is no order, so no digest
                self._live = None

    def give_up(self, rows: int) -> None:
        """Count rows of the table that are too many to look at: it has no digest then."""
        self._apart, self._live = True, None
        self.live_rows += rows

    def digests(self, as_of: int) -> tuple[Digest | None, Digest]:
        """Return the table's digest and the log's."""
        recomputed = self.log.digest(as_of)
        if not self._apart:
            return recomputed, recomputed
        return (self._live.digest(as_of) if self._live is not None else None), recomputed


class Lane:
    """One table beside the log: rows are collected to ranges of roots, and these are compared."""

    def __init__(self, table: Table, live: Live, as_of: int) -> None:
        self.table, self.as_of = table, as_of
        self._live, self._sides = live, _Sides(table)
        self._parts: list[Rows] = []
        self._count, self._next = 0, 0
        self._behind: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def take(self, rows: Rows | None, done: int) -> None:
        """Add rows, complete up to `done`, in logical order after all before."""
        if rows is not None and rows.count:
            beyond = rows.array("_r") > self.as_of
            self._parts.append(rows.take(~beyond) if beyond.any() else rows)
            self._count += self._parts[-1].count
        if self.table.kind == "latest":
            self._shrink()
        elif self._count >= RANGE_ROWS:
            await self._compare(min(done, self.as_of))

    def _shrink(self) -> None:
        if self._count:
            self._parts = [only_newest(self.table, concatenate(self._parts))]
            self._count = self._parts[0].count

    async def _compare(self, last: int) -> None:
        """Compare the range up to `last` while more is collected; one of these at a time waits."""
        expected = concatenate(self._parts) if self._count else None
        first, self._next = self._next, last + 1
        self._parts, self._count = [], 0
        reading = self._begin(self._read(first, last, expected))
        before, self._behind = self._behind, None
        if before is not None:
            await before
        self._behind = self._begin(self._follow(first, last, expected, reading))

    def _begin(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """End what still runs."""
        running = list(self._tasks)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _read(self, first: int, last: int, expected: Rows | None) -> list[Rows]:
        count = expected.count if expected is not None else 0
        return await self._live.rows(first, last, count + SLACK_ROWS)

    async def _follow(
        self, first: int, last: int, expected: Rows | None, reading: asyncio.Task[list[Rows]]
    ) -> None:
        blocks = await reading
        count = expected.count if expected is not None else 0
        if sum(block.count for block in blocks) < count + SLACK_ROWS:
            await self._sides.take(expected, blocks)
        elif first == last:
            await self._crowded(first, expected, blocks)
        else:
            del blocks
            await self._halve(first, last, expected)

    async def _halve(self, first: int, last: int, expected: Rows | None) -> None:
        """Compare a range that has far too many rows in two halves."""
        middle = (first + last) // 2
        for start, end in ((first, middle), (middle + 1, last)):
            part = _between(expected, start, end)
            await self._follow(start, end, part, self._begin(self._read(start, end, part)))

    async def _crowded(self, root: int, expected: Rows | None, blocks: list[Rows]) -> None:
        """One root has far too many rows: tell what is wrong with those that were read."""
        compare(self.table, expected, blocks, self._sides.differences, whole=False)
        if expected is not None:
            self._sides.log.take(expected)
        self._sides.give_up(await self._live.count(root, root))

    async def verdict(self) -> Verdict:
        """Compare what is left and say how it ended."""
        await self._compare(self.as_of)
        assert self._behind is not None
        await self._behind
        await self._live.beside(self._sides.differences, self.as_of)
        live, recomputed = self._sides.digests(self.as_of)
        differences = self._sides.differences
        reason = ""
        if differences:
            reason = _reason(self.table, self._sides.live_rows, recomputed.rows, differences)
        return Verdict(
            live, recomputed, reason, self._sides.live_rows, differences.report(), differences.first
        )


def _between(rows: Rows | None, first: int, last: int) -> Rows | None:
    if rows is None:
        return None
    start, end = np.searchsorted(rows.array("_r"), np.array([first, last + 1], np.uint64))
    return rows.take(slice(start, end)) if start < end else None


def _reason(table: Table, live: int, made: int, differences: Differences) -> str:
    name, first = table.physical, f"first {differences.first[0]}"
    if "doubled" in differences.counts:
        return f"{name} has a row that stands twice: {first}"
    if live != made:
        return f"{name} has {live} rows, the log makes {made}: {first}"
    return f"{name} has {live} rows, but not those that the log makes: {first}"
