"""Columns of tables: what each holds, where it comes from, and its type."""

from enum import IntEnum
from typing import Literal, NamedTuple

from tidemill.schemas.enums import AggressorSide, OrderSide

ColumnType = Literal[
    "int8",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float64",
    "decimal",
    "time",
    "time_or_null",
    "text",
    "enum",
]
Source = Literal["record", "position", "subject"]

_CLICKHOUSE = {
    "int8": "Int8",
    "int64": "Int64",
    "uint8": "UInt8",
    "uint16": "UInt16",
    "uint32": "UInt32",
    "uint64": "UInt64",
    "float64": "Float64",
    "decimal": "Decimal(38, 18)",
    "time": "DateTime64(9, 'UTC')",
    "time_or_null": "Nullable(DateTime64(9, 'UTC'))",
    "text": "LowCardinality(String)",
}


class Column(NamedTuple):
    """One column. `field` is the record's field, the position's part, or the subject's token.

    A decimal is scaled by the exponent that its field's unit names, or by `exponent` where that is
    always the same; times are ns UTC.
    """

    name: str
    kind: ColumnType
    source: Source = "record"
    field: str = ""
    enum: type[IntEnum] | None = None
    exponent: int | None = None

    @property
    def origin(self) -> str:
        """The field, part or token that it is filled from."""
        return self.field or self.name

    @property
    def clickhouse(self) -> str:
        """Its ClickHouse type, written as ClickHouse itself writes it."""
        if self.enum is None:
            return _CLICKHOUSE[self.kind]
        members = ", ".join(f"'{member.name}' = {member.value}" for member in self.enum)
        return f"Enum8({members})"


POSITION = (
    Column("_r", "uint64", "position"),
    Column("_i", "uint32", "position"),
    Column("_n", "uint32", "position"),
)
"""First columns of every table: the logical order of its rows."""
SYMBOL = Column("symbol", "text", "subject")
VENUE = Column("venue", "text", "subject")
AGGRESSOR_SIDE = Column("aggressor_side", "enum", enum=AggressorSide)
SIDE = Column("side", "enum", enum=OrderSide)


def decimal(name: str, exponent: int | None = None) -> Column:
    """An exact number, from the field of the same name; `exponent` where it has no unit."""
    return Column(name, "decimal", exponent=exponent)


def time(name: str) -> Column:
    """Nanoseconds UTC, from the field of the same name."""
    return Column(name, "time")


def text(name: str) -> Column:
    """A name of few different values, from the field of the same name."""
    return Column(name, "text")


def number(name: str) -> Column:
    """A float64, from the field of the same name."""
    return Column(name, "float64")


def integer(name: str, bits: Literal[8, 64] = 8) -> Column:
    """A signed integer, from the field of the same name."""
    return Column(name, "int8" if bits == 8 else "int64")


def uint(name: str, bits: Literal[8, 16, 32, 64]) -> Column:
    """A count, an id or flags, from the field of the same name."""
    types: dict[int, ColumnType] = {8: "uint8", 16: "uint16", 32: "uint32", 64: "uint64"}
    return Column(name, types[bits])


BAR_VALUES = (
    *(decimal(name) for name in ("open", "high", "low", "close")),
    *(decimal(name) for name in ("volume", "quote_volume", "taker_buy_volume")),
    uint("trade_count", 64),
)
"""What a bar says of its trades, in every table of bars that are ours."""
