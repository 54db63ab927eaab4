"""Where a table differs from what the log makes: which rows, and of a changed one which columns.

The rows of a table come in any order. Each finds its place among the expected ones, which stand in
logical order, by (_r, _i, _n); then columns are compared as integers, without making bytes of them.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from tidemill.projections.canonical import integers, words
from tidemill.projections.columns import Column
from tidemill.projections.digest import BLOCK_ROOTS
from tidemill.projections.postgres.records import to_records
from tidemill.projections.rows import Array, Rows, Text
from tidemill.projections.table import Table

FIRST_MAX = 10
"""Most differences, and most blocks, that are named; all are counted."""
_UNKNOWN = np.uint32(2**32 - 1)
_Places = types.Array(types.int64, 1, "C")

What = Literal["missing", "extra", "doubled", "changed"]


class Difference(NamedTuple):
    """One row that is not as the log makes it; `column` and both values where it is changed."""

    r: int
    i: int
    n: int
    what: What
    column: str = ""
    live: str = ""
    log: str = ""

    @property
    def block(self) -> int:
        """The block of 65,536 roots that it is in."""
        return self.r // BLOCK_ROOTS

    def __str__(self) -> str:
        changed = f" {self.column} is {self.live}, not {self.log}" if self.column else ""
        return f"{self.what} ({self.r}, {self.i}, {self.n}) of block {self.block}{changed}"


class Differences:
    """Counts what differs and keeps the first of it, in logical order."""

    def __init__(self) -> None:
        self.counts: dict[What, int] = {}
        self._blocks: set[int] = set()
        self.first: list[Difference] = []
        """The first FIRST_MAX in logical order; of a row that is changed the first column."""

    def __bool__(self) -> bool:
        return bool(self.counts)

    def report(self) -> dict[str, Any]:
        """Return what JSON says of it; bounded."""
        return {
            **{str(what): count for what, count in self.counts.items()},
            "blocks": len(self._blocks),
            "first_blocks": sorted(self._blocks)[:FIRST_MAX],
            "first": [{"block": one.block, **one._asdict()} for one in self.first],
        }

    def add_rows(self, what: What, roots: Array, first: Sequence[Difference], count: int) -> None:
        """Add `count` rows with these roots, of which `first` are the first."""
        self.counts[what] = self.counts.get(what, 0) + count
        self._blocks.update(np.unique(roots // BLOCK_ROOTS).tolist())
        known = {one[:4] for one in self.first}
        self.first = sorted([*self.first, *(one for one in first if one[:4] not in known)])
        del self.first[FIRST_MAX:]


FRESH, EXTRA, DOUBLED = 0, 1, 2
"""What a row of the table is: alone at its place, without one, or at one that is taken."""
_Flags = types.Array(types.boolean, 1, "C")
_States = types.Array(types.uint8, 1, "C")
_Position = tuple(words(bits) for bits in (64, 32, 32))


@njit(
    types.boolean(
        words(64), words(32), words(32), types.int64, types.uint64, types.uint32, types.uint32
    ),
    cache=True,
    nogil=True,
)
def _before(
    own_r: Array, own_i: Array, own_n: Array, at: int, r: int, i: int, n: int
) -> bool:  # pragma: no cover
    """Return whether the row at `at` comes before (r, i, n)."""
    if own_r[at] != r:
        return bool(own_r[at] < r)
    return bool(own_i[at] < i or (own_i[at] == i and own_n[at] < n))


@njit(types.int64(_Places, _States, _Flags, *_Position, *_Position), cache=True, nogil=True)
def _find(
    places: NDArray[np.int64],
    states: NDArray[np.uint8],
    taken: NDArray[np.bool_],
    r: Array,
    i: Array,
    n: Array,
    own_r: Array,
    own_i: Array,
    own_n: Array,
) -> int:  # pragma: no cover
    """Write to places[k] where (r, i, n)[k] stands among the own rows, which ascend, or -1.

    What it is goes to states[k], and taken[place] is set. Return how many are not FRESH.
    """
    at, count, wrong = -1, len(own_r), 0
    for k in range(len(r)):
        at += 1  # rows of one frame follow one another in both
        if not (at < count and own_r[at] == r[k] and own_i[at] == i[k] and own_n[at] == n[k]):
            at, high = 0, count
            while at < high:
                middle = (at + high) // 2
                if _before(own_r, own_i, own_n, middle, r[k], i[k], n[k]):
                    at = middle + 1
                else:
                    high = middle
        if not (at < count and own_r[at] == r[k] and own_i[at] == i[k] and own_n[at] == n[k]):
            at = -1
        places[k] = at
        states[k] = EXTRA if at < 0 else DOUBLED if taken[at] else FRESH
        if states[k] != FRESH:
            wrong += 1
        if at >= 0:
            taken[at] = True
    return wrong


@njit(
    [types.int64(_Flags, _Places, words(bits), words(bits)) for bits in (8, 16, 32, 64)],
    cache=True,
    nogil=True,
)
def _unequal(
    out: NDArray[np.bool_], places: NDArray[np.int64], live: Array, expected: Array
) -> int:  # pragma: no cover
    """Mark the rows of `live` that differ from `expected` at their places; return how many."""
    found = 0
    for k in range(len(places)):
        place = places[k]
        if place >= 0 and live[k] != expected[place]:
            out[k] = True
            found += 1
    return found


def compare(
    table: Table,
    expected: Rows | None,
    blocks: Sequence[Rows],
    found: Differences,
    whole: bool = True,
) -> bool:
    """Compare the rows of one range of roots; add what differs to `found`, return if nothing does.

    `expected` is in logical order, each row once; `blocks` are the table's, in any order. Where
    they are not the `whole` of what it has, no row of `expected` counts as missing.
    """
    if expected is None:
        for live in blocks:
            _tell("extra", live, np.arange(live.count), found)
        return not blocks
    equal, taken = True, np.zeros(expected.count, np.bool_)
    for live in blocks:
        places, states = np.empty(live.count, np.int64), np.empty(live.count, np.uint8)
        positions = [rows.array(c) for rows in (live, expected) for c in ("_r", "_i", "_n")]
        if _find(places, states, taken, *positions):
            equal = False
            _tell("extra", live, np.flatnonzero(states == EXTRA), found)
            _tell("doubled", live, np.flatnonzero(states == DOUBLED), found)
        for column in table.columns:
            equal &= _column(column, live, expected, places, found)
    absent = np.flatnonzero(~taken & whole)
    _tell("missing", expected, absent, found)
    return equal and not len(absent)


def _tell(what: What, rows: Rows, index: Array, found: Differences) -> None:
    if not len(index):
        return
    some = rows.take(index)
    head = some.ordered().take(slice(0, FIRST_MAX))
    named = [Difference(*position, what) for position in _positions(head)]
    found.add_rows(what, some.array("_r"), named, len(index))


def _positions(rows: Rows) -> list[tuple[int, int, int]]:
    r, i, n = (rows.array(name).tolist() for name in ("_r", "_i", "_n"))
    return list(zip(r, i, n, strict=True))


def _column(column: Column, live: Rows, expected: Rows, places: Array, found: Differences) -> bool:
    """Compare one column; a row counts once for each column that is changed."""
    unequal = np.zeros(live.count, np.bool_)
    here, there = live.columns[column.name], expected.columns[column.name]
    if isinstance(here, Text):
        assert isinstance(there, Text)
        known = {value: code for code, value in enumerate(there.values)}
        codes = np.array([known.get(value, _UNKNOWN) for value in here.values], np.uint32)
        pairs = [(codes[here.codes], there.codes)]
    else:
        assert not isinstance(there, Text)
        pairs = list(zip(integers(here), integers(there), strict=True))
    if not sum(_unequal(unequal, places, mine, theirs) for mine, theirs in pairs):
        return True
    index = np.flatnonzero(unequal)
    r, i, n = (live.array(name)[index] for name in ("_r", "_i", "_n"))
    head = index[np.lexsort((n, i, r))[:FIRST_MAX]]
    was, meant = _shown(column, live.take(head)), _shown(column, expected.take(places[head]))
    named = [
        Difference(*position, "changed", column.name, one, other)
        for position, one, other in zip(_positions(live.take(head)), was, meant, strict=True)
    ]
    found.add_rows("changed", r, named, len(index))
    return False


def _shown(column: Column, rows: Rows) -> list[str]:
    """Return a column's values as a reader knows them; an unknown member as its number."""
    try:
        return [str(record[0]) for record in to_records((column,), rows)]
    except ValueError:
        return [str(value) for value in rows.array(column.name).tolist()]
