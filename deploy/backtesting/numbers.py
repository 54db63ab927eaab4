"""Columns of decimal text, or of Arrow's decimals, as mantissas at one exponent."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # the package ships no types

from tidemill.schemas.decimals import decimal_of
from tidemill.schemas.errors import Unreadable
from tidemill.schemas.exact import mantissas_of

DECIMALS_MAX = 12
Ints = np.ndarray[Any, np.dtype[np.int64]]


def columns_of(columns: Sequence[Sequence[str]]) -> tuple[list[Ints], int]:
    """Return mantissas of columns of text, and the exponent that all of them need.

    Raises Unreadable for what is no number, or has more than 12 decimals that are not zeros.
    """
    exponent = -DECIMALS_MAX
    longest = max((_decimals(text) for column in columns for text in column), default=0)
    exponent = -min(longest, DECIMALS_MAX)
    return coarsest([mantissas_of(column, exponent) for column in columns], exponent)


def _decimals(text: str) -> int:
    whole, _, power = text.lower().partition("e")
    return max(len(whole.partition(".")[2]) - int(power or 0), 0)


def coarsest(columns: list[Ints], exponent: int) -> tuple[list[Ints], int]:
    """Return the same numbers without zeros that all of them end in; exponent at most 0."""
    while exponent < 0 and all((column % 10 == 0).all() for column in columns):
        columns = [column // 10 for column in columns]
        exponent += 1
    return columns, exponent


def of_arrow(column: Any) -> tuple[Ints, int]:
    """Return mantissas of a column of decimal128, and their exponent. Raises Unreadable where a
    number does not fit int64 at 12 decimals, or at fewer without a remainder."""
    for decimals in (DECIMALS_MAX, 10, 8, 6, 4, 2):
        try:
            narrow = column.cast(pa.decimal128(18, decimals)).combine_chunks()
        except pa.ArrowInvalid:
            continue
        chunks = narrow.chunks if isinstance(narrow, pa.ChunkedArray) else [narrow]
        words = [_words(chunk) for chunk in chunks]
        found = np.concatenate(words) if words else np.empty(0, np.int64)
        columns, exponent = coarsest([found], -decimals)
        return columns[0], exponent
    raise Unreadable("a number does not fit int64")


def _words(chunk: Any) -> Ints:
    """The low words of a decimal128 array; 18 digits have no high one but the sign."""
    whole = np.frombuffer(chunk.buffers()[1], np.int64)
    return whole[::2][chunk.offset : chunk.offset + len(chunk)].copy()


def lot_of(text: str) -> tuple[int, int]:
    """Return (mantissa, exponent) of a smallest quantity, as 0.001 or 5. Raises ValueError."""
    try:
        (found,), exponent = columns_of([[text]])
    except Unreadable as error:
        raise ValueError(f"--lot: {error}") from error
    if found[0] <= 0:
        raise ValueError(f"--lot {decimal_of(int(found[0]), exponent)} is not above zero")
    return int(found[0]), exponent
