"""Rows as the tuples that asyncpg copies, and back; for tables of few rows."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from tidemill.projections.columns import Column
from tidemill.projections.rows import EXACT, Rows, Text, text_of
from tidemill.schemas import exact
from tidemill.schemas.kinds.quote import TS_NONE

_INTEGERS = {
    "int8": "i1",
    "int64": "<i8",
    "uint8": "<u1",
    "uint16": "<u2",
    "uint32": "<u4",
    "uint64": "<u8",
    "time": "<i8",
}


def to_records(columns: Sequence[Column], rows: Rows) -> list[tuple[Any, ...]]:
    """Return one tuple a row: text, int, Decimal, None for a time that is not given."""
    return list(zip(*(_to_python(column, rows) for column in columns), strict=True))


def _to_python(column: Column, rows: Rows) -> list[Any]:
    values = rows.columns[column.name]
    if isinstance(values, Text):
        words = [value.decode() for value in values.values]
        return [words[code] for code in values.codes.tolist()]
    if column.kind == "decimal":
        return [EXACT.scaleb(Decimal(value), -exact.SCALE) for value in exact.to_ints(values)]
    plain: list[Any] = values.tolist()
    if column.enum is not None:
        return [column.enum(value).name for value in plain]
    if column.kind == "uint64" and column.source != "position":
        return [Decimal(value) for value in plain]  # numeric(20): bigint ends at 2^63
    return [None if value == TS_NONE else value for value in plain]


def from_records(columns: Sequence[Column], records: Sequence[Mapping[str, Any]]) -> Rows:
    """Return rows of what Postgres holds, as `to_records` wrote it."""
    read = {c.name: _from_python(c, [record[c.name] for record in records]) for c in columns}
    return Rows(len(records), read)


def _from_python(column: Column, values: list[Any]) -> np.ndarray[Any, Any] | Text:
    if column.kind == "text":
        return text_of([value.encode() for value in values])
    if column.kind == "decimal":
        return exact.from_ints([int(EXACT.scaleb(value, exact.SCALE)) for value in values])
    if column.enum is not None:
        return np.array([column.enum[value].value for value in values], np.uint8)
    if column.kind == "time_or_null":
        return np.array([TS_NONE if value is None else value for value in values], np.int64)
    return np.array([int(value) for value in values], _INTEGERS[column.kind])
