"""Records of frames as rows of plain Python values, and back: for edges, examples and tests.

`to_rows` gives raw values (mantissas as int); `readable` what a page shows (decimal text, names).
"""

from enum import IntEnum, IntFlag
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill.schemas import enums
from tidemill.schemas.decimals import text_of
from tidemill.schemas.frame import INT64_NULL, Field, Frame, Kind

Row = dict[str, Any]
"""One record: field name to int, or str for char fields."""

_WORD = 64
_MASK = (1 << _WORD) - 1


def from_rows(kind: Kind, rows: list[Row]) -> NDArray[np.void]:
    """Return records (N,) of `kind` with these values; fields left out are zero.

    Raises KeyError for an unknown field, OverflowError for a number out of range, ValueError for a
    text that is too long.
    """
    records = kind.empty(len(rows))
    fields = {field.name: field for field in kind.fields}
    for index, row in enumerate(rows):
        for name, value in row.items():
            _put(records, index, fields[name], value)
    return records


def _put(records: NDArray[np.void], index: int, field: Field, value: Any) -> None:
    if field.type == "int128":
        records[f"{field.name}_lo"][index] = value & _MASK
        records[f"{field.name}_hi"][index] = value >> _WORD
    elif field.type.startswith("char"):
        text = value.encode("ascii")
        if len(text) > records.dtype[field.name].itemsize:
            raise ValueError(f"{field.name} {value!r} is too long")
        records[field.name][index] = text
    else:
        records[field.name][index] = value


def to_rows(frame: Frame) -> list[Row]:
    """Return the frame's records as rows of raw values, fields in their order."""
    columns = {field.name: _column(frame.records, field) for field in frame.kind.fields}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _column(records: NDArray[np.void], field: Field) -> list[Any]:
    if field.type == "int128":
        lows, highs = records[f"{field.name}_lo"].tolist(), records[f"{field.name}_hi"].tolist()
        return [(high << _WORD) + low for low, high in zip(lows, highs, strict=True)]
    values: list[Any] = records[field.name].tolist()
    if field.type.startswith("char"):
        return [value.decode("ascii", "replace") for value in values]
    return values


def readable(frame: Frame) -> list[Row]:
    """Return the frame's records with exact decimal text, names of enumerations and null; a double
    that is not known, NaN, is null."""
    exponents = {
        "price": frame.price_exponent,
        "quantity": frame.quantity_exponent,
        "notional": frame.price_exponent + frame.quantity_exponent,
    }
    rows = to_rows(frame)
    for field in frame.kind.fields:
        for row in rows:
            row[field.name] = _readable(field, row[field.name], exponents)
    return rows


def _readable(field: Field, value: Any, exponents: dict[str, int]) -> Any:
    if (field.optional and value == INT64_NULL) or value != value:
        return None
    if field.unit in exponents:
        return text_of(value, exponents[field.unit])
    if field.enum:
        return _name(getattr(enums, field.enum), value)
    return value


def _name(enumeration: type[IntEnum] | type[IntFlag], value: int) -> Any:
    """Name a value; a list of names for flags; the number itself, or the bits, without a name."""
    if issubclass(enumeration, IntFlag):
        names = [flag.name for flag in enumeration if flag & value]
        unnamed = value & ~sum(enumeration)
        return [*names, unnamed] if unnamed else names
    known = enumeration._value2member_map_.get(value)
    return known.name if known is not None else value
