"""Frames: what is written is read, of every version; anything else is Unreadable, never a value."""

import struct
from typing import Any

import numpy as np
import pytest
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tidemill.schemas import examples, frame, kinds
from tidemill.schemas.errors import Unreadable
from tidemill.schemas.frame import (
    FRAME_BYTES_MAX,
    PREFIX_BYTES,
    RECORDS_MAX,
    SCHEMA_ID,
    Field,
    Kind,
)
from tidemill.schemas.kinds import BAR, KINDS, TIME, TRADE

CRC_AT = 20
PREFIX = struct.Struct("<HHHHQbbHIHH")
ALL_KINDS = pytest.mark.parametrize("name", list(KINDS))
EXPONENT = st.integers(frame.EXPONENT_MIN, frame.EXPONENT_MAX)


@st.composite
def written(draw: st.DrawFn) -> tuple[Kind, NDArray[np.void], tuple[int, int, int, int]]:
    """A kind, records of it with random bytes, and (sequence, exponents, flags)."""
    kind = draw(st.sampled_from(list(KINDS.values())))
    count = draw(st.integers(1, 20))
    size = count * kind.dtype.itemsize
    records = np.frombuffer(draw(st.binary(min_size=size, max_size=size)), kind.dtype)
    sequence, flags = draw(st.integers(0, 2**64 - 1)), draw(st.integers(0, 2**16 - 1))
    return kind, records, (sequence, draw(EXPONENT), draw(EXPONENT), flags)


def with_crc(message: bytes | bytearray) -> bytes:
    """The message with the crc that its other bytes have."""
    changed = bytearray(message)
    changed[CRC_AT : CRC_AT + 4] = bytes(4)
    changed[CRC_AT : CRC_AT + 4] = struct.pack("<I", crc32c(bytes(changed)))
    return bytes(changed)


@given(written())
def test_what_is_encoded_is_decoded(
    case: tuple[Kind, NDArray[np.void], tuple[int, int, int, int]],
) -> None:
    kind, records, (sequence, price_exponent, quantity_exponent, flags) = case
    payload = frame.encode(kind, records, sequence, price_exponent, quantity_exponent, flags)
    got = kinds.decode(payload)
    assert got[:5] == (kind, sequence, price_exponent, quantity_exponent, flags)
    assert got.records.dtype == kind.dtype
    assert got.records.tobytes() == records.tobytes()
    assert payload == with_crc(payload)


def test_records_are_read_in_place_and_cannot_be_changed() -> None:
    payload = examples.encoded("trade")
    records = kinds.decode(payload).records
    assert np.shares_memory(records, np.frombuffer(payload, np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        records["price"] = 0


def test_the_largest_frame_is_read_and_a_larger_one_is_neither_written_nor_read() -> None:
    count = (FRAME_BYTES_MAX - PREFIX_BYTES) // BAR.dtype.itemsize
    payload = frame.encode(BAR, BAR.empty(count), 1)
    assert len(kinds.decode(payload).records) == count
    with pytest.raises(ValueError, match="at most"):
        frame.encode(BAR, BAR.empty(count + 1), 1)
    oversized = PREFIX.pack(16, 5, SCHEMA_ID, 1, 1, 0, 0, 0, 0, BAR.dtype.itemsize, count + 1)
    with pytest.raises(Unreadable, match="over the limit"):
        kinds.decode(with_crc(oversized + bytes((count + 1) * BAR.dtype.itemsize)))


@pytest.mark.parametrize("count", [0, RECORDS_MAX + 1])
def test_a_frame_holds_one_record_at_least_and_65535_at_most(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 65535"):
        frame.encode(TIME, TIME.empty(count), 1)
    assert len(kinds.decode(frame.encode(TIME, TIME.empty(RECORDS_MAX), 1)).records) == RECORDS_MAX


def test_a_frame_of_another_dtype_or_exponent_is_not_written() -> None:
    with pytest.raises(ValueError, match="dtype"):
        frame.encode(TRADE, TIME.empty(1), 1)
    for exponents in ((10, 0), (0, -19)):
        with pytest.raises(ValueError, match="exponent"):
            frame.encode(TRADE, TRADE.empty(1), 1, *exponents)


@ALL_KINDS
def test_every_truncation_is_unreadable(name: str) -> None:
    payload = examples.encoded(name)
    for size in range(len(payload)):
        with pytest.raises(Unreadable):
            kinds.decode(payload[:size])
    with pytest.raises(Unreadable):
        kinds.decode(payload + b"\0")


@ALL_KINDS
def test_every_byte_changed_in_any_way_is_unreadable(name: str) -> None:
    payload = bytearray(examples.encoded(name))
    for index in range(len(payload)):
        for change in range(1, 256):
            payload[index] ^= change
            with pytest.raises(Unreadable):
                kinds.decode(bytes(payload))
            payload[index] ^= change


@settings(max_examples=500)
@given(st.binary(max_size=200))
def test_random_bytes_are_unreadable(payload: bytes) -> None:
    with pytest.raises(Unreadable):
        kinds.decode(payload)


SMALL = st.one_of(st.integers(0, 100), st.integers(0, 2**16 - 1))


@settings(max_examples=1_000)
@given(
    st.tuples(
        SMALL, SMALL, st.sampled_from([SCHEMA_ID, SCHEMA_ID, SCHEMA_ID, 0]), SMALL,
        st.integers(0, 2**64 - 1), st.integers(-128, 127), st.integers(-128, 127),
        st.integers(0, 2**16 - 1), st.just(0), SMALL, SMALL,
    ),
    st.binary(max_size=200),
    st.booleans(),
)  # fmt: skip
def test_a_forged_frame_with_a_right_crc_is_whole_or_unreadable(
    prefix: tuple[int, ...], body: bytes, fitting: bool
) -> None:
    """Headers that lie are refused, or say nothing about bytes that are not there."""
    *rest, block_bytes, count = prefix
    if fitting:
        rest[0], count = 16, max(1, len(body) // block_bytes) if block_bytes else 1
        body = (body * count)[: block_bytes * count].ljust(block_bytes * count, b"\7")
        body = body[: FRAME_BYTES_MAX - PREFIX_BYTES]
    message = with_crc(PREFIX.pack(*rest, block_bytes, count) + body)
    try:
        got = kinds.decode(message)
    except Unreadable:
        return
    assert len(got.records) == count
    assert message[PREFIX_BYTES:].startswith(got.records[:1].tobytes())
    assert len(got.records.tobytes()) == count * got.kind.dtype.itemsize


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, 15, "root block"),
        (0, 60_000, "root block"),
        (2, 4_999, "template"),
        (4, 1, "schema id"),
        (6, 0, "version"),
        (24, 42, "do not fill"),
        (26, 0, "do not fill"),
        (26, 3, "do not fill"),
    ],
)
def test_an_unknown_or_malformed_header_is_unreadable_though_its_crc_is_right(
    at: int, value: int, message: str
) -> None:
    payload = bytearray(examples.encoded("trade"))
    struct.pack_into("<H", payload, at, value)
    with pytest.raises(Unreadable, match=message):
        kinds.decode(with_crc(payload))


def test_an_exponent_out_of_range_is_unreadable_though_its_crc_is_right() -> None:
    payload = bytearray(examples.encoded("trade"))
    payload[16] = 10
    with pytest.raises(Unreadable, match="exponent 10"):
        kinds.decode(with_crc(payload))


def test_blocks_shorter_than_their_version_are_unreadable() -> None:
    prefix = PREFIX.pack(16, TRADE.template_id, SCHEMA_ID, 1, 1, 0, 0, 0, 0, 42, 1)
    with pytest.raises(Unreadable, match="too short"):
        kinds.decode(with_crc(prefix + bytes(42)))


def _fill_added(records: NDArray[Any], version: int) -> None:
    if version < 2:
        records["added"] = records["first"] * 2
    if version < 3:
        records["total_lo"] = 7


FIRST = Field("first", "int64", "there from the beginning")
ADDED = Field("added", "uint32", "came with version 2", since=2)
TOTAL = Field("total", "int128", "came with version 3", since=3)
V1 = Kind("sample", 900, "A kind that grew.", (FIRST,))
V2 = Kind("sample", 900, "A kind that grew.", (FIRST, ADDED), _fill_added)
V3 = Kind("sample", 900, "A kind that grew.", (FIRST, ADDED, TOTAL), _fill_added)


def _sample(kind: Kind) -> NDArray[np.void]:
    records = kind.empty(3)
    records["first"] = [1, -2, 3]
    for name in set(records.dtype.names or ()) - {"first"}:
        records[name] = [10, 20, 30]
    return records


def test_versions_follow_from_the_fields() -> None:
    assert [kind.version for kind in (V1, V2, V3)] == [1, 2, 3]
    assert V3.dtype_of(1) == V1.dtype
    assert V3.dtype_of(2) == V2.dtype


def test_older_versions_are_filled_up_by_the_upcaster() -> None:
    of_first = frame.decode(frame.encode(V1, _sample(V1), 1), {900: V3}).records
    of_second = frame.decode(frame.encode(V2, _sample(V2), 1), {900: V3}).records
    assert of_first["first"].tolist() == of_second["first"].tolist() == [1, -2, 3]
    assert of_first["added"].tolist() == [2, 2**32 - 4, 6]
    assert of_second["added"].tolist() == [10, 20, 30]
    assert of_first["total_lo"].tolist() == of_second["total_lo"].tolist() == [7, 7, 7]
    assert of_first.dtype == of_second.dtype == V3.dtype
    assert not of_first.flags.writeable


@pytest.mark.parametrize("newer", [V2, V3])
def test_newer_versions_are_read_in_place_as_far_as_they_are_known(newer: Kind) -> None:
    payload = frame.encode(newer, _sample(newer), 1, -2, -3)
    got = frame.decode(payload, {900: V1})
    assert got.records["first"].tolist() == [1, -2, 3]
    assert got.records.dtype == V1.dtype
    assert np.shares_memory(got.records, np.frombuffer(payload, np.uint8))


@pytest.mark.parametrize("extra", [1, 8, 100])
def test_a_longer_root_of_a_newer_version_is_stepped_over(extra: int) -> None:
    payload = examples.encoded("trade")
    longer = bytearray(payload[:24] + b"\xaa" * extra + payload[24:])
    struct.pack_into("<H", longer, 0, 16 + extra)
    struct.pack_into("<H", longer, 6, 9)
    got = kinds.decode(with_crc(longer))
    assert got.sequence == examples.SEQUENCE
    assert got.records.tobytes() == kinds.decode(payload).records.tobytes()


def test_every_kind_has_its_own_name_and_template_and_a_packed_dtype() -> None:
    assert len(kinds.BY_TEMPLATE) == len(KINDS)
    for name, kind in KINDS.items():
        assert kind.name == name
        widths = [
            (kind.dtype.fields or {})[column][0].itemsize for column in kind.dtype.names or ()
        ]
        assert kind.dtype.itemsize == sum(widths)


def test_the_crc_is_crc_32c_as_published() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720's polynomial; Rocksoft's check value
