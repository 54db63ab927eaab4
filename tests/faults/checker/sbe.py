"""Frames read with nothing but the generated XML: one structured dtype for each version of a kind.

The layout is FIX Simple Binary Encoding's: header (blockLength, templateId, schemaId, version),
root block, one group of blocks. Nothing of the engine is imported.
"""

import struct
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from crc32c import crc32c

SCHEMA = Path(__file__).parents[3] / "schemas" / "documents" / "tidemill.sbe.xml"
FRAME_BYTES_MAX = 1 << 20
_PREFIX = struct.Struct("<HHHH")
_ROOT = struct.Struct("<QbbHI")
_GROUP = struct.Struct("<HH")
_CRC_AT = _PREFIX.size + _ROOT.size - 4
_NUMPY = {
    "uint8": "u1", "uint16": "<u2", "uint32": "<u4", "uint64": "<u8", "int8": "i1", "int64": "<i8",
    "double": "<f8",
}  # fmt: skip
_POWERS = {"in 1e-18": -18, "in 1e-12": -12, "in 1e-9": -9, "in 1e-6": -6}
Records = np.ndarray[Any, np.dtype[np.void]]


class UnreadableError(Exception):
    """Bytes that are no whole frame, or no event, of the schema."""


@dataclass
class Kind:
    """One kind of record: fields in order with their dtype, version and unit.

    A unit is `price`, `quantity`, `notional`, a power of ten, or empty. `wide` are the fields of
    128 bits, which stand as `<name>_lo` and `<name>_hi`.
    """

    name: str
    fields: list[tuple[str, str, int]] = field(default_factory=list)
    units: dict[str, str | int] = field(default_factory=dict)
    wide: set[str] = field(default_factory=set)

    @cached_property
    def version(self) -> int:
        """The newest one."""
        return max(since for _, _, since in self.fields)

    def dtype(self, version: int) -> np.dtype[np.void]:
        """One block as `version` wrote it."""
        return np.dtype([(name, code) for name, code, since in self.fields if since <= version])

    @cached_property
    def newest(self) -> np.dtype[np.void]:
        """One block as it is written now."""
        return self.dtype(self.version)


class Frame(NamedTuple):
    """A decoded frame: `records` (N,) of its kind's newest dtype."""

    kind: str
    sequence: int
    exponents: tuple[int, int]
    records: Records


def _kinds(path: Path) -> tuple[int, dict[int, Kind]]:
    root = ElementTree.parse(path).getroot()
    codes: dict[str, str] = {}
    for node in root.iterfind(".//types/*"):
        primitive = node.get("primitiveType") or node.get("encodingType") or ""
        length = node.get("length")
        codes[node.get("name", "")] = f"S{length}" if length else _NUMPY.get(primitive, primitive)
    found = {}
    for message in root.iterfind("{*}message"):
        kind = found[int(message.get("id", ""))] = Kind(message.get("name", ""))
        for node in message.iterfind("group/field"):
            _add(kind, node, codes)
    return int(root.get("id", "")), found


def _add(kind: Kind, node: ElementTree.Element, codes: dict[str, str]) -> None:
    name, type_, text = (node.get(key, "") for key in ("name", "type", "description"))
    since = int(node.get("sinceVersion", "1"))
    if type_ in ("price", "quantity"):
        kind.units[name] = type_
    for said, power in _POWERS.items():
        if said in text:
            kind.units[name] = power
    if type_ == "Int128":
        if "[" in text:
            kind.units[name] = text.rpartition("[")[2].rstrip("]")
        kind.wide.add(name)
        kind.fields += [(f"{name}_lo", "<u8", since), (f"{name}_hi", "<i8", since)]
    else:
        kind.fields.append((name, codes[type_], since))


SCHEMA_ID, BY_TEMPLATE = _kinds(SCHEMA)
KINDS = {kind.name: kind for kind in BY_TEMPLATE.values()}


def decode(payload: bytes) -> Frame:
    """Read one frame. Raises UnreadableError."""
    size = len(payload)
    least = _PREFIX.size + _ROOT.size + _GROUP.size
    if not least <= size <= FRAME_BYTES_MAX:
        raise UnreadableError(f"no frame has {size} bytes")
    root_bytes, template, schema, version = _PREFIX.unpack_from(payload)
    kind, group_at = BY_TEMPLATE.get(template), _PREFIX.size + root_bytes
    if schema != SCHEMA_ID or kind is None or version < 1:
        raise UnreadableError(f"schema {schema}, template {template}, version {version}")
    if root_bytes < _ROOT.size or group_at + _GROUP.size > size:
        raise UnreadableError(f"a root block of {root_bytes} bytes")
    sequence, price, quantity, _, crc = _ROOT.unpack_from(payload, _PREFIX.size)
    block_bytes, count = _GROUP.unpack_from(payload, group_at)
    start = group_at + _GROUP.size
    dtype = kind.newest if version >= kind.version else kind.dtype(version)
    if count == 0 or start + count * block_bytes != size or block_bytes < dtype.itemsize:
        raise UnreadableError(f"{count} blocks of {block_bytes} bytes in a frame of {size}")
    if not (-18 <= price <= 9 and -18 <= quantity <= 9):
        raise UnreadableError(f"exponents {price} and {quantity}")
    blank = payload[:_CRC_AT] + b"\0\0\0\0" + payload[_CRC_AT + 4 :]
    if crc32c(blank) != crc:
        raise UnreadableError("another checksum")
    blocks = np.ndarray((count,), dtype, payload, start, (block_bytes,))
    records = np.zeros(count, kind.newest)
    for name in dtype.names or ():
        records[name] = blocks[name]
    return Frame(kind.name, sequence, (price, quantity), records)
