"""Frames: many records of one kind and one instrument as one FIX Simple Binary Encoding message.

Layout (little endian; FIX SBE 1.0, https://github.com/FIXTradingCommunity/fix-simple-binary-encoding):

    messageHeader   blockLength u16, templateId u16, schemaId u16, version u16
    root block      sequence u64, priceExponent i8, quantityExponent i8, flags u16, crc u32
    records group   blockLength u16, numInGroup u16, then numInGroup blocks of blockLength bytes

Fields are only ever appended to a block, so a frame of any version is read in place with a NumPy
dtype and ``strides=blockLength``. `crc` is CRC-32C (RFC 3720) of the whole message with the crc
field zero. Prices and quantities are int64 mantissas: value = mantissa x 10^exponent of the frame.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from crc32c import crc32c

from tidemill.schemas.errors import Unreadable

FieldType = Literal[
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int64",
    "int128",
    "double",
    "char16",
    "char48",
    "char136",
]

SCHEMA_ID = 7101
"""SBE schema id of Tidemill's frames."""
FRAME_BYTES_MAX = 1 << 20
"""Largest frame that is read; writers aim at 64 KB."""
RECORDS_MAX = 65_535
"""Most records in one frame (numInGroup is a uint16)."""
EXPONENT_MIN, EXPONENT_MAX = -18, 9
"""Exponents that prices and quantities may have."""
INT64_NULL = -(1 << 63)
"""Null of an optional int64 (SBE's)."""

_HEADER = struct.Struct("<HHHH")
_ROOT = struct.Struct("<QbbHI")
_GROUP = struct.Struct("<HH")
_PREFIX = struct.Struct("<HHHHQbbHIHH")
_ROOT_AT = _HEADER.size
_CRC_AT = _HEADER.size + _ROOT.size - 4
_ROOT_VERSION_SIZE = _ROOT.size
PREFIX_BYTES = _PREFIX.size
"""Bytes before the first record of a frame that this version writes."""

_NUMPY = {
    "uint8": "<u1",
    "uint16": "<u2",
    "uint32": "<u4",
    "uint64": "<u8",
    "int64": "<i8",
    "double": "<f8",
    "char16": "S16",
    "char48": "S48",
    "char136": "S136",
}


class Field(NamedTuple):
    """One field of a record's block.

    `type` int128 stands as two columns, ``<name>_lo`` uint64 and ``<name>_hi`` int64, of one number
    in two's complement. `since` is the first version with the field. `unit` is ``ns`` (UTC),
    ``price``, ``quantity``, ``notional`` (price x quantity) or empty; `enum` names an enumeration.
    `optional` says that an int64 may be null, which is -2^63.
    """

    name: str
    type: FieldType
    doc: str
    unit: str = ""
    enum: str = ""
    since: int = 1
    optional: bool = False


def _columns(fields: tuple[Field, ...]) -> list[tuple[str, str]]:
    columns: list[tuple[str, str]] = []
    for field in fields:
        if field.type == "int128":
            columns += [(f"{field.name}_lo", "<u8"), (f"{field.name}_hi", "<i8")]
        else:
            columns.append((field.name, _NUMPY[field.type]))
    return columns


@dataclass(frozen=True)
class Kind:
    """A kind of record that travels in frames.

    `upcast` fills fields that a frame of an older version lacks; it receives the records in the
    current dtype, missing fields zero, and the version that was read, and changes them in place.
    """

    name: str
    template_id: int
    doc: str
    fields: tuple[Field, ...]
    upcast: Callable[[np.ndarray[Any, Any], int], None] | None = None

    @cached_property
    def version(self) -> int:
        """Current version: the newest `since` of its fields."""
        return max(field.since for field in self.fields)

    @cached_property
    def dtype(self) -> np.dtype[np.void]:
        """Packed dtype of one record of the current version."""
        return self.dtype_of(self.version)

    def dtype_of(self, version: int) -> np.dtype[np.void]:
        """Packed dtype of one record as `version` wrote it."""
        return np.dtype(_columns(tuple(f for f in self.fields if f.since <= version)))

    def empty(self, count: int) -> np.ndarray[Any, np.dtype[np.void]]:
        """Return `count` records, all zero."""
        return np.zeros(count, self.dtype)


class Frame(NamedTuple):
    """A decoded frame. `records` is a read-only array (N,) of the kind's current dtype."""

    kind: Kind
    sequence: int
    price_exponent: int
    quantity_exponent: int
    flags: int
    records: np.ndarray[Any, np.dtype[np.void]]


def encode(
    kind: Kind,
    records: np.ndarray[Any, np.dtype[np.void]],
    sequence: int,
    price_exponent: int = 0,
    quantity_exponent: int = 0,
    flags: int = 0,
) -> bytes:
    """Encode `records` (N,), 1 to 65,535 of them, of the kind's current dtype as one frame.

    `sequence` is the writer's own, uint64. Raises ValueError for a wrong dtype or count, or an
    exponent out of range.
    """
    if records.dtype != kind.dtype:
        raise ValueError(f"{kind.name} records have dtype {records.dtype}, not {kind.dtype}")
    if not 1 <= len(records) <= RECORDS_MAX:
        raise ValueError(f"a frame holds 1 to {RECORDS_MAX} records, not {len(records)}")
    for exponent in (price_exponent, quantity_exponent):
        if not EXPONENT_MIN <= exponent <= EXPONENT_MAX:
            raise ValueError(f"exponent {exponent} is not in {EXPONENT_MIN}..{EXPONENT_MAX}")
    size = PREFIX_BYTES + records.nbytes
    if size > FRAME_BYTES_MAX:
        raise ValueError(f"a frame is at most {FRAME_BYTES_MAX} bytes, not {size}")
    head = (
        _ROOT.size, kind.template_id, SCHEMA_ID, kind.version,
        sequence, price_exponent, quantity_exponent, flags,
    )  # fmt: skip
    group = kind.dtype.itemsize, len(records)
    blocks = records.tobytes()
    crc = crc32c(blocks, crc32c(_PREFIX.pack(*head, 0, *group)))
    return _PREFIX.pack(*head, crc, *group) + blocks


def decode(payload: bytes, kinds: dict[int, Kind]) -> Frame:
    """Decode one frame of any version; `kinds` maps templateId to Kind.

    `records` is a view into `payload` where the version is current. Raises Unreadable for anything
    that is not a whole, intact frame of a known schema and template.
    """
    size = len(payload)
    if size > FRAME_BYTES_MAX:
        raise Unreadable(f"a frame of {size} bytes is over the limit of {FRAME_BYTES_MAX}")
    if size < PREFIX_BYTES:
        raise Unreadable(f"{size} bytes are fewer than a frame's prefix of {PREFIX_BYTES}")
    root_bytes, template_id, schema_id, version = _HEADER.unpack_from(payload, 0)
    if schema_id != SCHEMA_ID:
        raise Unreadable(f"schema id {schema_id} is not {SCHEMA_ID}")
    kind = kinds.get(template_id)
    if kind is None:
        raise Unreadable(f"template id {template_id} is not known")
    group_at = _ROOT_AT + root_bytes
    if root_bytes < _ROOT_VERSION_SIZE or version < 1 or group_at + _GROUP.size > size:
        raise Unreadable(f"root block of {root_bytes} bytes, version {version}, is malformed")
    sequence, price_exponent, quantity_exponent, flags, crc = _ROOT.unpack_from(payload, _ROOT_AT)
    block_bytes, count = _GROUP.unpack_from(payload, group_at)
    start = group_at + _GROUP.size
    if count == 0 or start + block_bytes * count != size:
        raise Unreadable(f"{count} blocks of {block_bytes} bytes do not fill a frame of {size}")
    for exponent in (price_exponent, quantity_exponent):
        if not EXPONENT_MIN <= exponent <= EXPONENT_MAX:
            raise Unreadable(f"exponent {exponent} is not in {EXPONENT_MIN}..{EXPONENT_MAX}")
    view = memoryview(payload)
    if crc32c(view[_CRC_AT + 4 :], crc32c(b"\0\0\0\0", crc32c(view[:_CRC_AT]))) != crc:
        raise Unreadable("crc does not match")
    records = _records(kind, payload, version, start, block_bytes, count)
    return Frame(kind, sequence, price_exponent, quantity_exponent, flags, records)


def _records(
    kind: Kind, payload: bytes, version: int, start: int, block_bytes: int, count: int
) -> np.ndarray[Any, np.dtype[np.void]]:
    """View or up-cast `count` blocks to the kind's current dtype."""
    known = kind.dtype if version >= kind.version else kind.dtype_of(version)
    if block_bytes < known.itemsize:
        raise Unreadable(f"{kind.name} v{version} blocks of {block_bytes} bytes are too short")
    blocks = np.ndarray((count,), known, payload, start, (block_bytes,))
    if version >= kind.version:
        return blocks
    records = kind.empty(count)
    for name in known.names or ():
        records[name] = blocks[name]
    if kind.upcast is not None:
        kind.upcast(records, version)
    records.flags.writeable = False
    return records
