"""ClickHouse's Native format from and to columns of NumPy arrays, whole columns at a time.

A block is: number of columns, number of rows (varints), then for each column its name and type
(length-prefixed) and its values, little endian and packed. LowCardinality is: key version u64 (1),
flags and width of the codes u64, dictionary (count u64, strings), codes (count u64, codes).
Nullable is a byte for each row (1 = null), then the values. Source: ClickHouse's
NativeWriter.cpp, SerializationLowCardinality.cpp, and clickhouse-connect's datatypes/base.py.
"""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill.projections.columns import Column
from tidemill.projections.rows import Array, Rows, Text, join
from tidemill.schemas.exact import INT128
from tidemill.schemas.kinds.quote import TS_NONE

_U64 = struct.Struct("<Q")
_KEYS_VERSION = _U64.pack(1)
_ADDITIONAL_KEYS_AND_NEW_DICTIONARY = (1 << 9) | (1 << 10)
_CODES = ("<u1", "<u2", "<u4")
_NUMPY: dict[str, Any] = {
    "int8": "i1",
    "int64": "<i8",
    "uint8": "<u1",
    "uint16": "<u2",
    "uint32": "<u4",
    "uint64": "<u8",
    "float64": "<f8",
    "decimal": INT128,
    "time": "<i8",
    "enum": "<u1",
}


def encode(columns: Sequence[Column], parts: Sequence[Rows], head: bytes = b"") -> memoryview:
    """Write the rows of `parts`, one after another, as one Native block of `columns` after `head`.

    Every value is copied once, from where it lies to its place in the block.
    """
    count = sum(part.count for part in parts)
    pieces: list[bytes | Array] = [head, _varint(len(columns)), _varint(count)]
    for column in columns:
        pieces += [_text(column.name.encode()), _text(column.clickhouse.encode())]
        values = [part.columns[column.name] for part in parts]
        if column.kind == "text":
            pieces += _low_cardinality([v for v in values if isinstance(v, Text)], count)
            continue
        arrays = [v for v in values if not isinstance(v, Text)]
        if column.kind == "time_or_null":
            nulls = [array == TS_NONE for array in arrays]
            pieces += nulls
            arrays = [np.where(null, 0, a) for null, a in zip(nulls, arrays, strict=True)]
        pieces += arrays
    block = [_bytes(piece) for piece in pieces]
    return np.concatenate(block).data


def _bytes(piece: bytes | Array) -> NDArray[np.uint8]:
    if isinstance(piece, bytes):
        return np.frombuffer(piece, np.uint8)
    return np.ascontiguousarray(piece).view(np.uint8)


def _low_cardinality(texts: Sequence[Text], count: int) -> list[bytes | Array]:
    if count == 0:
        return []
    codes, values = join(texts)
    width = 0 if len(values) <= 1 << 8 else 1 if len(values) <= 1 << 16 else 2
    return [
        _KEYS_VERSION,
        _U64.pack(_ADDITIONAL_KEYS_AND_NEW_DICTIONARY | width),
        _U64.pack(len(values)),
        *(_text(value) for value in values),
        _U64.pack(count),
        *(part.astype(_CODES[width]) for part in codes),
    ]


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _text(value: bytes) -> bytes:
    return _varint(len(value)) + value


def decode(columns: Sequence[Column], payload: bytes) -> list[Rows]:
    """Read the Native blocks of `payload`, which must have `columns` in this order."""
    source, blocks = _Source(payload), []
    while source.at < len(payload):
        width, count = source.varint(), source.varint()
        if width != len(columns):
            raise ValueError(f"a block of {width} columns where {len(columns)} were asked for")
        read = {column.name: _read(source, column, count) for column in columns}
        if count:
            blocks.append(Rows(count, read))
    return blocks


def _read(source: "_Source", column: Column, count: int) -> NDArray[Any] | Text:
    name, kind = source.text().decode(), source.text().decode()
    if (name, kind) != (column.name, column.clickhouse):
        raise ValueError(f"column {name} {kind} where {column.name} {column.clickhouse} is meant")
    if column.kind == "text":
        return _read_low_cardinality(source, count)
    if column.kind == "time_or_null":
        null = source.array("<u1", count)
        return np.where(null, TS_NONE, source.array("<i8", count))
    return source.array(_NUMPY[column.kind], count)


def _read_low_cardinality(source: "_Source", count: int) -> Text:
    if count == 0:
        return Text(np.zeros(0, np.uint32), ())
    source.uint64()
    width = source.uint64() & 0xFF
    values = tuple(source.text() for _ in range(source.uint64()))
    return Text(source.array(_CODES[width], source.uint64()).astype(np.uint32), values)


class _Source:
    """A payload and how far it was read."""

    def __init__(self, payload: bytes) -> None:
        self._payload, self.at = payload, 0

    def varint(self) -> int:
        number = shift = 0
        while True:
            byte = self._payload[self.at]
            self.at += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
            shift += 7

    def uint64(self) -> int:
        self.at += 8
        number: int = _U64.unpack_from(self._payload, self.at - 8)[0]
        return number

    def text(self) -> bytes:
        size = self.varint()
        self.at += size
        return self._payload[self.at - size : self.at]

    def array(self, kind: Any, count: int) -> NDArray[Any]:
        values = np.frombuffer(self._payload, kind, count, self.at)
        self.at += values.nbytes
        return values
