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
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from tidemill.projections.columns import Column
from tidemill.projections.rows import Rows, Text, newest
from tidemill.projections.table import Table

BLOCK_ROOTS = 65_536
"""Roots of one block."""
_POSITIONS = frozenset({"_r", "_i", "_n"})
_QUIET_NAN = np.float64("nan")


class Digest(NamedTuple):
    """What a table is, up to the root `as_of`: hex SHA-256, and the number of its rows."""

    rows: int
    sha256: str
    content_sha256: str
    state_sha256: str
    as_of: int


@njit(
    types.void(
        types.Array(types.uint8, 1, "C"),
        types.Array(types.int64, 1, "C"),
        types.Array(types.uint8, 2, "C", readonly=True),
    ),
    cache=True,
)
def _put_fixed(
    out: NDArray[np.uint8], at: NDArray[np.int64], values: NDArray[np.uint8]
) -> None:  # pragma: no cover
    """Write row k of `values` (N, width) at out[at[k]], and move at[k] behind it."""
    width = values.shape[1]
    for row in range(len(at)):
        start = at[row]
        for byte in range(width):
            out[start + byte] = values[row, byte]
        at[row] = start + width


@njit(
    types.void(
        types.Array(types.uint8, 1, "C"),
        types.Array(types.int64, 1, "C"),
        types.Array(types.uint32, 1, "C", readonly=True),
        types.Array(types.uint8, 1, "C", readonly=True),
        types.Array(types.int64, 1, "C", readonly=True),
    ),
    cache=True,
)
def _put_text(
    out: NDArray[np.uint8],
    at: NDArray[np.int64],
    codes: NDArray[np.uint32],
    values: NDArray[np.uint8],
    ends: NDArray[np.int64],
) -> None:  # pragma: no cover
    """Write values[ends[c]:ends[c + 1]] at out[at[k]] for the code c of row k, and move at[k]."""
    for row in range(len(at)):
        code = codes[row]
        start, end = ends[code], ends[code + np.uint32(1)]
        for byte in range(end - start):
            out[at[row] + byte] = values[start + byte]
        at[row] += end - start


def canonical(columns: tuple[Column, ...], rows: Rows) -> tuple[NDArray[np.uint8], Any]:
    """Return the bytes of all rows, one after another, and where each row ends (N,) int64."""
    sizes = np.zeros(rows.count, np.int64)
    prepared: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
    for column in columns:
        values = rows.columns[column.name]
        if isinstance(values, Text):
            texts = [len(value).to_bytes(4, "little") + value for value in values.values]
            ends = np.cumsum([0, *(len(text) for text in texts)], dtype=np.int64)
            sizes += np.diff(ends)[values.codes]
            blob = np.frombuffer(b"".join(texts), np.uint8)
            codes = np.ascontiguousarray(values.codes)
            prepared.append((_put_text, (codes, blob, ends)))
        else:
            fixed = _bytes(values)
            sizes += fixed.shape[1]
            prepared.append((_put_fixed, (fixed,)))
    ends_of_rows = np.cumsum(sizes)
    out = np.empty(int(ends_of_rows[-1]) if rows.count else 0, np.uint8)
    at = ends_of_rows - sizes
    for put, arguments in prepared:
        put(out, at, *arguments)
    return out, ends_of_rows


def _bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a column's values as bytes (N, width), little endian."""
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), _QUIET_NAN, values + 0.0)  # -0.0 + 0.0 is 0.0
    values = np.ascontiguousarray(values)
    return values.view(np.uint8).reshape(len(values), values.dtype.itemsize)


class Digester:
    """Takes a table's rows in logical order, in any batches, and gives its digest."""

    def __init__(self, table: Table) -> None:
        self._table, self.rows = table, 0
        self._content_columns = tuple(c for c in table.columns if c.name not in _POSITIONS)
        self._key_columns = tuple(c for c in table.columns if c.name in table.key)
        self._block: int | None = None
        self._in_block, self._over_blocks = hashlib.sha256(), hashlib.sha256()
        self._content = hashlib.sha256()
        self._newest: dict[bytes, bytes] = {}
        self._last = (-1, -1, -1)

    def take(self, rows: Rows) -> None:
        """Add rows. Raises ValueError where they do not go on in logical order, each once."""
        if not rows.count:
            return
        self._check_order(rows)
        whole, ends = canonical(self._table.columns, rows)
        numbers = rows.array("_r") // np.uint64(BLOCK_ROOTS)
        borders = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), rows.count]
        for start, end in pairwise(borders):
            self._enter(int(numbers[start]))
            begin = int(ends[start - 1]) if start else 0
            self._in_block.update(whole[begin : int(ends[end - 1])].data)
        self._content.update(canonical(self._content_columns, rows)[0].data)
        self._keep_newest(rows)
        self.rows += rows.count

    def _check_order(self, rows: Rows) -> None:
        r, i, n = (rows.array(name) for name in ("_r", "_i", "_n"))
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
        last = newest(rows, self._table.key, ("_r", "_i", "_n"))
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
