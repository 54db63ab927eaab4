"""An SBE library that is not ours reads our frames with nothing but the generated XML."""

import io
from enum import IntFlag
from typing import Any

import pytest
import sbe

from tidemill.schemas import enums, examples, frame
from tidemill.schemas.documents import xml
from tidemill.schemas.frame import INT64_NULL, Field, Kind
from tidemill.schemas.kinds import KINDS
from tidemill.schemas.rows import from_rows, to_rows


def parsed(*kinds: Kind) -> Any:
    return sbe.Schema.parse(io.BytesIO(xml.text(kinds).encode()))


@pytest.fixture(scope="module")
def schema() -> Any:
    return parsed(*KINDS.values())


def theirs(field: Field, value: Any) -> Any:
    """Our raw value as that library shows it: names, lists of names, words, None."""
    if field.enum:
        enumeration = getattr(enums, field.enum)
        if issubclass(enumeration, IntFlag):
            return [flag.name for flag in enumeration if flag and flag & value]
        return enumeration(value).name
    if field.type == "int128":
        return {"lo": value & (1 << 64) - 1, "hi": value >> 64}
    return None if field.optional and value == INT64_NULL else value


@pytest.mark.parametrize("name", list(KINDS))
def test_every_field_of_every_kind_is_read_by_an_independent_library(
    name: str, schema: Any
) -> None:
    kind, ours = KINDS[name], examples.decoded(name)
    message = schema.decode(examples.encoded(name))
    assert message.message_name == name
    price_exponent, quantity_exponent = examples.exponents(name)
    root = {key: value for key, value in message.value.items() if key not in ("records", "crc")}
    assert root == {
        "sequence": examples.SEQUENCE,
        "priceExponent": price_exponent,
        "quantityExponent": quantity_exponent,
        "flags": 0,
    }
    assert message.value["records"] == [
        {field.name: theirs(field, row[field.name]) for field in kind.fields}
        for row in to_rows(ours)
    ]


@pytest.mark.parametrize("name", list(KINDS))
def test_extremes_of_every_field_are_read_by_an_independent_library(name: str, schema: Any) -> None:
    kind = KINDS[name]
    plain = [field for field in kind.fields if not field.enum]
    rows = examples.extremes(kind)
    payload = frame.encode(kind, from_rows(kind, rows), 2**64 - 1, -18, 9, 2**16 - 1)
    got = schema.decode(payload).value
    assert (got["sequence"], got["flags"]) == (2**64 - 1, 2**16 - 1)
    assert (got["priceExponent"], got["quantityExponent"]) == (-18, 9)
    for row, want in zip(got["records"], rows, strict=True):
        for field in plain:
            assert row[field.name] == theirs(field, want[field.name]), field.name


def test_an_older_decoder_steps_over_what_a_newer_version_appended() -> None:
    first, added = Field("ts", "int64", "when", "ns"), Field("n", "uint32", "count", since=2)
    old, new = (Kind("grown", 900, "It grew.", fields) for fields in ((first,), (first, added)))
    rows = [{"ts": 1, "n": 5}, {"ts": 2, "n": 6}]
    payload = frame.encode(new, from_rows(new, rows), 1)
    assert parsed(old).decode(payload).value["records"] == [{"ts": 1}, {"ts": 2}]
    assert parsed(new).decode(payload).value["records"] == rows
    assert 'name="n" id="102" type="uInt32" description="count" sinceVersion="2"' in xml.text([new])
    assert 'version="2"' in xml.text([new])


def test_field_ids_are_unique_in_each_message(schema: Any) -> None:
    assert {message.name for message in schema.messages.values()} == set(KINDS)
    for message in schema.messages.values():
        *root, group = message.fields
        ids = [field.id for field in (*root, group, *group.fields)]
        assert len(set(ids)) == len(ids)
        assert message.blockLength == 16
        assert group.blockLength == KINDS[message.name].dtype.itemsize
