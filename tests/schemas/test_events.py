"""JSON events: read back as written, the same bytes always, refused where they are not valid."""

import base64
import json
from typing import Any, ClassVar

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.schemas import events, examples
from tidemill.schemas.documents import json_schemas
from tidemill.schemas.errors import Unreadable
from tidemill.schemas.events import EVENTS
from tidemill.schemas.events import event as event_module
from tidemill.schemas.events.dead_letter import PAYLOAD_BYTES_MAX
from tidemill.schemas.events.event import EVENT_BYTES_MAX, Event

ALL_EVENTS = pytest.mark.parametrize("tag", list(EVENTS))
VALIDATOR = jsonschema.Draft202012Validator(json_schemas.document(EVENTS.values()))


def fields_of(tag: str) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(events.encode(examples.EVENTS[tag]))
    return fields


def test_every_event_has_an_example() -> None:
    assert examples.EVENTS.keys() == EVENTS.keys()


@ALL_EVENTS
def test_an_event_is_read_back_as_written_with_its_tag_first(tag: str) -> None:
    event = examples.EVENTS[tag]
    payload = events.encode(event)
    assert payload.startswith(f'{{"event":"{tag}","sequence":4095,'.encode())
    assert events.decode(payload) == event.upcast()
    assert type(event) is EVENTS[tag]
    assert events.encode(event) == payload


@ALL_EVENTS
def test_an_event_fulfils_its_json_schema_and_nothing_else_does(tag: str) -> None:
    VALIDATOR.validate(fields_of(tag))
    for wrong in (
        fields_of(tag) | {"unknown": 1},
        fields_of(tag) | {"event": tag.partition(".")[0] + ".v999"},
        fields_of(tag) | {"sequence": "1"},
    ):
        assert not VALIDATOR.is_valid(wrong)


@ALL_EVENTS
def test_an_event_lacking_a_field_or_with_another_type_is_unreadable(tag: str) -> None:
    required = {name for name, field in EVENTS[tag].model_fields.items() if field.is_required()}
    for name in EVENTS[tag].model_fields:
        for wrong in (None, [], 1.5, {}):
            with pytest.raises(Unreadable):
                events.decode(json.dumps(fields_of(tag) | {name: wrong}).encode())
    for name in required:
        less = {key: value for key, value in fields_of(tag).items() if key != name}
        with pytest.raises(Unreadable):
            events.decode(json.dumps(less).encode())
        assert not VALIDATOR.is_valid(less)
    with pytest.raises(Unreadable):
        events.decode(json.dumps(fields_of(tag) | {"unknown": 1}).encode())


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"null", b"[]", b'"FeedStale.v1"', b"{}", b"1", b"{", b"\xff", b'{"event":1}',
        b'{"event":"Nothing.v1"}', b'{"event":["FeedStale.v1"]}', b'{"event":"FeedStale.v1"}',
        b"[" * 5_000, b'{"event":"' + b"x" * EVENT_BYTES_MAX + b'"}',
        b'{"event":"CodeDeployed.v1","graph":"a","code_hash":"b","sequence":1e400}',
        b'{"event":"CodeDeployed.v1","graph":"a","code_hash":"b","sequence":NaN}',
    ],
)  # fmt: skip
def test_what_is_no_known_event_is_unreadable(payload: bytes) -> None:
    with pytest.raises(Unreadable):
        events.decode(payload)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(list(EVENTS)), st.data())
def test_any_json_under_a_known_tag_is_valid_or_unreadable(tag: str, data: st.DataObject) -> None:
    fields = fields_of(tag)
    name = data.draw(st.sampled_from(list(fields)))
    payload = json.dumps(fields | {name: data.draw(JSON)}).encode()
    try:
        event = events.decode(payload)
    except Unreadable:
        return
    assert isinstance(event, Event)
    assert events.decode(events.encode(event)) == event


@given(st.binary(max_size=300))
def test_random_bytes_are_no_event(payload: bytes) -> None:
    with pytest.raises(Unreadable):
        events.decode(payload)


def test_an_instrument_whose_notionals_need_more_than_18_decimals_is_refused() -> None:
    fields = fields_of("InstrumentDefined.v1")
    for price, quantity, fits in ((-10, -8, True), (-18, 0, True), (-10, -9, False)):
        payload = json.dumps(fields | {"price_exponent": price, "quantity_exponent": quantity})
        if fits:
            assert events.decode(payload.encode())
        else:
            with pytest.raises(Unreadable, match="18 decimals"):
                events.decode(payload.encode())


def test_a_venue_longer_than_a_frames_text_field_is_refused() -> None:
    fields = fields_of("InstrumentDefined.v1")
    assert events.decode(json.dumps(fields | {"venue": "V" * 16}).encode())
    with pytest.raises(Unreadable):
        events.decode(json.dumps(fields | {"venue": "V" * 17}).encode())


class SampleV1(Event):
    """The first shape of Sample."""

    title: ClassVar[str] = "Sample"
    price: str

    def upcast(self) -> Event:
        return Sample(sequence=self.sequence, price=self.price, quote="USDT")


class Sample(Event):
    """The second shape of Sample."""

    version: ClassVar[int] = 2
    price: str
    quote: str


def test_an_older_version_of_an_event_is_read_as_the_newest() -> None:
    types = {kind.tag(): kind for kind in (SampleV1, Sample)}
    assert types.keys() == {"Sample.v1", "Sample.v2"}
    old = b'{"event":"Sample.v1","sequence":7,"price":"1.50"}'
    new = b'{"event":"Sample.v2","sequence":7,"price":"1.50","quote":"USDT"}'
    assert event_module.decode(old, types) == event_module.decode(new, types)
    assert events.encode(SampleV1(sequence=7, price="1.50")) == old


def test_a_dead_letter_of_the_longest_payload_can_be_read() -> None:
    text = base64.b64encode(bytes(PAYLOAD_BYTES_MAX)).decode()
    letter = examples.EVENTS["DeadLetter.v1"].model_copy(update={"payload": text})
    assert events.decode(events.encode(letter)) == letter
