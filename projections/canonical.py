"""Canonical bytes of rows: what digests hash; a row is its columns in declared order."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from tidemill.projections.columns import Column
from tidemill.projections.rows import Array, Rows, Text
from tidemill.schemas.exact import INT128

PIECE_ROWS_MAX = 8_192
"""Rows whose bytes are made at a time: they stay in the processor's cache until they are hashed."""
_QUIET_NAN = np.float64("nan")
_Bytes = types.Array(types.uint8, 1, "C")
_Ends = types.Array(types.int64, 1, "C")


def words(bits: int) -> Any:
    """Return numba's type of a column of integers: strided, unaligned and read-only ones too."""
    return types.Array(getattr(types, f"uint{bits}"), 1, "A", readonly=True, aligned=False)


def _putter(width: int) -> Callable[[NDArray[np.uint8], NDArray[np.int64], Array], None]:
    """Return the kernel that writes integers of `width` bytes, which it knows when compiled."""

    @njit(types.void(_Bytes, _Ends, words(8 * width)), cache=True, nogil=True)
    def put(
        out: NDArray[np.uint8], at: NDArray[np.int64], values: Array
    ) -> None:  # pragma: no cover
        """Write values[k], little endian, at out[at[k]], and move at[k] behind it."""
        for row in range(len(at)):
            start, word = at[row], np.uint64(values[row])
            for byte in range(width):
                out[start + byte] = np.uint8(word >> np.uint64(8 * byte))
            at[row] = start + width

    return put


_PUT = {width: _putter(width) for width in (1, 2, 4, 8)}


@njit(types.void(_Bytes, _Ends, words(32), words(8), words(64)), cache=True, nogil=True)
def _put_text(
    out: NDArray[np.uint8],
    at: NDArray[np.int64],
    codes: NDArray[np.uint32],
    values: NDArray[np.uint8],
    ends: NDArray[np.uint64],
) -> None:  # pragma: no cover
    """Write values[ends[c]:ends[c + 1]] at out[at[k]] for the code c of row k, and move at[k]."""
    for row in range(len(at)):
        code = np.int64(codes[row])
        first, last, start = np.int64(ends[code]), np.int64(ends[code + 1]), at[row]
        for byte in range(last - first):
            out[start + byte] = values[first + byte]
        at[row] = start + last - first


@njit(types.int64(_Bytes, _Bytes, _Ends, types.int64), cache=True, nogil=True)
def _behind(
    out: NDArray[np.uint8], whole: NDArray[np.uint8], ends: NDArray[np.int64], skip: int
) -> int:  # pragma: no cover
    """Write every row of `whole` without its first `skip` bytes; return how many were written."""
    at = start = 0
    for row in range(len(ends)):
        first, size = start + skip, ends[row] - start - skip
        out[at : at + size] = whole[first : first + size]
        at, start = at + size, ends[row]
    return at


class _Part(NamedTuple):
    """One column, or half of one, to be written: what goes by row, and what every row needs."""

    values: Array
    texts: tuple[NDArray[np.uint8], NDArray[np.uint64]] | None


def pieces(
    columns: Sequence[Column], rows: Rows, rows_max: int = PIECE_ROWS_MAX
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Yield the bytes of at most `rows_max` rows, one after another, and where each row ends."""
    parts, sizes = _prepared(columns, rows)
    for first in range(0, rows.count, rows_max):
        some = slice(first, first + rows_max)
        ends = np.cumsum(sizes[some])
        out = np.empty(int(ends[-1]), np.uint8)
        at = ends - sizes[some]
        for values, texts in parts:
            if texts is None:
                _PUT[values.dtype.itemsize](out, at, values[some])
            else:
                _put_text(out, at, values[some], *texts)
        yield out, ends


def canonical(columns: Sequence[Column], rows: Rows) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the bytes of all rows, one after another, and where each row ends (N,) int64."""
    for out, ends in pieces(columns, rows, max(rows.count, 1)):
        return out, ends
    return np.empty(0, np.uint8), np.empty(0, np.int64)


def behind(whole: NDArray[np.uint8], ends: NDArray[np.int64], skip: int) -> NDArray[np.uint8]:
    """Return the bytes of rows as `pieces` gives them without the first `skip` bytes of each."""
    out = np.empty(len(whole) - skip * len(ends), np.uint8)
    _behind(out, whole, ends, skip)
    return out


def integers(values: Array) -> list[NDArray[Any]]:
    """Return a column's values as unsigned integers of their width; exact numbers as two, lo first.

    float64 gets one NaN and no -0.0.
    """
    if values.dtype == INT128:
        return [values["lo"], values["hi"].view(np.uint64)]
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), _QUIET_NAN, values + 0.0)  # -0.0 + 0.0 is 0.0
    return [values.view(f"<u{values.dtype.itemsize}")]


def _prepared(columns: Sequence[Column], rows: Rows) -> tuple[list[_Part], NDArray[np.int64]]:
    """Return what is written, in order, and the size of each row."""
    sizes, parts = np.zeros(rows.count, np.int64), []
    for column in columns:
        values = rows.columns[column.name]
        if isinstance(values, Text):
            texts = [len(value).to_bytes(4, "little") + value for value in values.values]
            ends = np.cumsum([0, *(len(text) for text in texts)], dtype=np.uint64)
            sizes += np.diff(ends).astype(np.int64)[values.codes]
            blob = np.frombuffer(b"".join(texts), np.uint8)
            parts.append(_Part(values.codes, (blob, ends)))
        else:
            sizes += values.dtype.itemsize
            parts += [_Part(half, None) for half in integers(values)]
    return parts, sizes
