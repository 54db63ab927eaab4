"""The FIX SBE 1.0 message schema of the frames, for decoders in other languages.

Schema version = the newest version of any kind; a frame's header holds the version of its own kind,
so `sinceVersion` of a field is to be compared with the header's version, as SBE says.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from enum import IntEnum, IntFlag

from tidemill.schemas import enums
from tidemill.schemas.frame import INT64_NULL, SCHEMA_ID, Field, Kind

_NAMESPACE = "http://fixprotocol.io/2016/sbe"
_ROOT_FIELDS = (
    ("sequence", "uInt64", "the writer's own sequence, contiguous for one writer"),
    ("priceExponent", "Int8", "value of a price = mantissa x 10^priceExponent"),
    ("quantityExponent", "Int8", "value of a quantity = mantissa x 10^quantityExponent"),
    ("flags", "uInt16", "reserved"),
    ("crc", "uInt32", "CRC-32C (RFC 3720) of the whole message with this field zero"),
)
_GROUP_ID = 100
_FIRST_FIELD_ID = 101
# Named types of the plain ones: not every decoder takes a primitive type as a field's type.
_PLAIN_TYPES = {
    "uint8": "uInt8",
    "uint16": "uInt16",
    "uint32": "uInt32",
    "uint64": "uInt64",
    "int8": "Int8",
    "int64": "Int64",
    "double": "Double",
}
# Wire types of the units that have one of their own: (name, description).
_UNIT_TYPES = {
    "ns": ("timestamp", "nanoseconds since 1970-01-01T00:00:00Z"),
    "price": ("price", "mantissa of a price; see priceExponent"),
    "quantity": ("quantity", "mantissa of a quantity; see quantityExponent"),
}


def text(kinds: Iterable[Kind]) -> str:
    """Return the schema of `kinds` as an XML document."""
    ordered = sorted(kinds, key=lambda kind: kind.template_id)
    ET.register_namespace("sbe", _NAMESPACE)
    root = ET.Element(
        f"{{{_NAMESPACE}}}messageSchema",
        {
            "package": "tidemill",
            "id": str(SCHEMA_ID),
            "version": str(max(kind.version for kind in ordered)),
            "semanticVersion": "1.0",
            "description": "Frames of Tidemill: batches of records of one kind and instrument",
            "byteOrder": "littleEndian",
        },
    )
    _add_types(ET.SubElement(root, "types"), ordered)
    for kind in ordered:
        _add_message(root, kind)
    ET.indent(root, "  ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, "unicode") + "\n"


def _add_types(types: ET.Element, kinds: list[Kind]) -> None:
    _composite(
        types, "messageHeader", "Header of every message",
        blockLength="uint16", templateId="uint16", schemaId="uint16", version="uint16",
    )  # fmt: skip
    _composite(
        types, "groupSizeEncoding", "Dimensions of the records",
        blockLength="uint16", numInGroup="uint16",
    )  # fmt: skip
    _composite(
        types, "Int128", "One two's complement integer: hi x 2^64 + lo", lo="uint64", hi="int64"
    )
    for primitive, name in _PLAIN_TYPES.items():
        _type(types, name, primitive)
    for name, description in _UNIT_TYPES.values():
        _type(types, name, "int64", description=description)
    _type(
        types, "optionalTimestamp", "int64", presence="optional", nullValue=str(INT64_NULL),
        description=_UNIT_TYPES["ns"][1],
    )  # fmt: skip
    for length in ("16", "48", "136"):
        _type(
            types, f"char{length}", "char", length=length, characterEncoding="ASCII",
            description="text, filled up with zeros",
        )  # fmt: skip
    used = {field.enum: field.type for kind in kinds for field in kind.fields if field.enum}
    for name, encoding in sorted(used.items()):
        _enumeration(types, getattr(enums, name), encoding)


def _type(types: ET.Element, name: str, primitive: str, **attributes: str) -> None:
    ET.SubElement(types, "type", {"name": name, "primitiveType": primitive, **attributes})


def _composite(types: ET.Element, name: str, description: str, **members: str) -> None:
    composite = ET.SubElement(types, "composite", {"name": name, "description": description})
    for member, primitive in members.items():
        _type(composite, member, primitive)


def _enumeration(
    types: ET.Element, enumeration: type[IntEnum] | type[IntFlag], encoding: str
) -> None:
    """Write an IntEnum as an enum, an IntFlag as a set whose choices are bit numbers."""
    is_set = issubclass(enumeration, IntFlag)
    doc = (enumeration.__doc__ or "").split("\n")[0]
    parent = ET.SubElement(
        types,
        "set" if is_set else "enum",
        {"name": enumeration.__name__, "encodingType": encoding, "description": doc},
    )
    for member in enumeration:
        value = member.value.bit_length() - 1 if is_set else member.value
        tag = "choice" if is_set else "validValue"
        if value >= 0:
            ET.SubElement(parent, tag, {"name": member.name or ""}).text = str(value)


def _add_message(root: ET.Element, kind: Kind) -> None:
    message = ET.SubElement(
        root,
        f"{{{_NAMESPACE}}}message",
        {
            "name": kind.name,
            "id": str(kind.template_id),
            "blockLength": "16",
            "description": kind.doc,
        },
    )
    for number, (name, kind_of, doc) in enumerate(_ROOT_FIELDS, 1):
        _field(message, name, number, kind_of, doc)
    group = ET.SubElement(
        message,
        "group",
        {
            "name": "records",
            "id": str(_GROUP_ID),
            "dimensionType": "groupSizeEncoding",
            "blockLength": str(kind.dtype.itemsize),
        },
    )
    for number, field in enumerate(kind.fields, _FIRST_FIELD_ID):
        attributes = {"sinceVersion": str(field.since)} if field.since > 1 else {}
        _field(group, field.name, number, _wire_type(field), _described(field), **attributes)


def _field(
    parent: ET.Element, name: str, number: int, wire_type: str, doc: str, **attributes: str
) -> None:
    named = {"name": name, "id": str(number), "type": wire_type, "description": doc}
    ET.SubElement(parent, "field", named | attributes)


def _wire_type(field: Field) -> str:
    if field.enum:
        return field.enum
    if field.optional:
        return "optionalTimestamp"
    if field.type == "int64" and field.unit in _UNIT_TYPES:
        return _UNIT_TYPES[field.unit][0]
    return "Int128" if field.type == "int128" else _PLAIN_TYPES.get(field.type, field.type)


def _described(field: Field) -> str:
    """A sum's unit cannot be read off its type, so it is said in words."""
    return f"{field.doc} [{field.unit}]" if field.type == "int128" and field.unit else field.doc
