"""Digests of tables: canonical bytes of rows, hashed in logical order.

A row's bytes are its columns in declared order, little endian, without padding: integers and
enums as they are, times as int64 ns (null: -2^63), exact numbers as Int128 at 18 decimals, names
as their length (u32) and UTF-8 bytes, float64 with one NaN and no -0.0. Rows stand in the order
(_r, _i, _n). Three SHA-256:

    positions   of each block of 65,536 roots, then over (block number u64, its digest)
    content     of all rows without _r, _i, _n
    state       of the newest row of each key without _r, _i, _n, in the order of the keys' bytes
"""

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidemill.projections.canonical import behind, canonical, pieces
from tidemill.projections.columns import POSITION
from tidemill.projections.rows import Rows, Text
from tidemill.projections.table import Table

BLOCK_ROOTS = 65_536
"""Roots of one block."""
_POSITION_BYTES = 16
_POSITIONS = tuple(column.name for column in POSITION)
_GROUPS_MAX = 1 << 20


class Digest(NamedTuple):
    """What a table is, up to the root `as_of`: hex SHA-256, and the number of its rows."""

    rows: int
    sha256: str
    content_sha256: str
    state_sha256: str
    as_of: int


class Digester:
    """Takes a table's rows in logical order, in any batches, and gives its digest."""

    def __init__(self, table: Table) -> None:
        assert table.columns[: len(POSITION)] == POSITION, f"{table.name}: positions come first"
        self._table, self.rows = table, 0
        self._content_columns = table.columns[len(POSITION) :]
        self._key_columns = tuple(c for c in table.columns if c.name in table.key)
        self._block: int | None = None
        self._in_block, self._over_blocks = hashlib.sha256(), hashlib.sha256()
        self._content = hashlib.sha256()
        self._newest: dict[bytes, bytes] = {}
        self._last = (-1, -1, -1)

    def copy(self) -> "Digester":
        """Return one that took the same rows, and goes on by itself."""
        twin = Digester(self._table)
        twin.rows, twin._block, twin._last = self.rows, self._block, self._last
        twin._in_block, twin._over_blocks = self._in_block.copy(), self._over_blocks.copy()
        twin._content, twin._newest = self._content.copy(), dict(self._newest)
        return twin

    def take(self, rows: Rows) -> None:
        """Add rows. Raises ValueError where they do not go on in logical order, each once."""
        if not rows.count:
            return
        self._check_order(rows)
        numbers = rows.array("_r") // np.uint64(BLOCK_ROOTS)
        first = 0
        for whole, ends in pieces(self._table.columns, rows):
            self._take_blocks(numbers[first : first + len(ends)], whole, ends)
            self._content.update(behind(whole, ends, _POSITION_BYTES).data)
            first += len(ends)
        self._keep_newest(rows)
        self.rows += rows.count

    def _take_blocks(
        self, numbers: NDArray[np.uint64], whole: NDArray[np.uint8], ends: NDArray[np.int64]
    ) -> None:
        borders = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
        for start, end in pairwise(borders):
            self._enter(int(numbers[start]))
            begin = int(ends[start - 1]) if start else 0
            self._in_block.update(whole[begin : int(ends[end - 1])].data)

    def _check_order(self, rows: Rows) -> None:
        r, i, n = (rows.array(name) for name in _POSITIONS)
        same_r, same_i = r[1:] == r[:-1], i[1:] == i[:-1]
        later = (r[1:] > r[:-1]) | (same_r & ((i[1:] > i[:-1]) | (same_i & (n[1:] > n[:-1]))))
        first = (int(r[0]), int(i[0]), int(n[0]))
        if not later.all() or first <= self._last:
            at = int(np.flatnonzero(~later)[0]) + 1 if not later.all() else 0
            raise ValueError(
                f"{self._table.physical}: row {(int(r[at]), int(i[at]), int(n[at]))} stands twice"
                " or out of order"
            )
        self._last = (int(r[-1]), int(i[-1]), int(n[-1]))

    def _enter(self, block: int) -> None:
        if block != self._block:
            self._leave()
            self._block, self._in_block = block, hashlib.sha256()

    def _leave(self) -> None:
        if self._block is not None:
            self._over_blocks.update(self._block.to_bytes(8, "little") + self._in_block.digest())

    def _keep_newest(self, rows: Rows) -> None:
        """Remember the last row of each key."""
        last = rows.take(last_of_each(rows, self._table.key))
        keys, key_ends = canonical(self._key_columns, last)
        content, ends = canonical(self._content_columns, last)
        key_starts, starts = [0, *key_ends[:-1].tolist()], [0, *ends[:-1].tolist()]
        for row in range(last.count):
            key = keys[key_starts[row] : int(key_ends[row])].tobytes()
            self._newest[key] = content[starts[row] : int(ends[row])].tobytes()

    def digest(self, as_of: int) -> Digest:
        """Return the digest of what was taken, as complete up to `as_of`; nothing may follow."""
        self._leave()
        self._block = None
        state = hashlib.sha256()
        for key in sorted(self._newest):
            state.update(self._newest[key])
        return Digest(
            self.rows,
            self._over_blocks.hexdigest(),
            self._content.hexdigest(),
            state.hexdigest(),
            as_of,
        )


def last_of_each(rows: Rows, key: Sequence[str]) -> NDArray[np.int64]:
    """Return where the last row of each key stands, ascending; rows are in logical order."""
    group, size = np.zeros(rows.count, np.int64), 1
    for name in key:
        column = rows.columns[name]
        codes: NDArray[Any]
        if isinstance(column, Text):
            codes, count = column.codes, len(column.values)
        else:
            different, codes = np.unique(column, return_inverse=True)
            count = len(different)
        if size * count > _GROUPS_MAX:
            group = np.unique(group, return_inverse=True)[1]
            size = int(group.max()) + 1
        group = group * count + codes
        size *= count
    if size > _GROUPS_MAX:
        group = np.unique(group, return_inverse=True)[1]
        size = int(group.max()) + 1
    last = np.full(size, -1, np.int64)
    last[group] = np.arange(rows.count)  # of one key the last assignment stays
    return np.sort(last[last >= 0])
