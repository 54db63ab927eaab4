"""Keys: rows of instruments and feeds, given by facts in their order."""

import pytest

from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.identifiers import partition
from tidemill.streams.runtime import keys
from tidemill.streams.runtime.keys import Keys


def instrument(
    number: int, quote: str = "USDT", venue: str = "V", price_exponent: int = -8
) -> InstrumentDefined:
    return InstrumentDefined(
        venue=venue,
        symbol=f"A{number}",
        product="SPOT",
        base=f"A{number}",
        quote=quote,
        price_exponent=price_exponent,
    )


def test_slots_feeds_and_pairs_are_numbered_as_facts_name_them() -> None:
    known = Keys()
    assert [known.define(instrument(k)) for k in range(3)] == [0, 1, 2]
    assert known.define(instrument(1, venue="W")) == 3
    assert known.pair("A1/USDT") == 1 and known.instruments["pair"].tolist() == [0, 1, 2, 1]
    assert known.instruments["feed"].tolist() == [-1] * 4
    assert known.add_feed("W", "SPOT") == 0 and known.add_feed("V", "SPOT") == 1
    assert known.instruments["feed"].tolist() == [1, 1, 1, 0]
    assert known.partitions.tolist() == [partition(f"A{k}/USDT") for k in (0, 1, 2, 1)]
    assert (known.slot("V", "A9"), known.feed("X", "SPOT"), known.pair("X")) == (-1, -1, -1)


def test_the_newest_definition_counts_and_the_slot_stays() -> None:
    known = Keys()
    known.define(instrument(0))
    assert known.define(instrument(0, price_exponent=-3)) == 0
    assert known.instruments["price_exponent"].tolist() == [-3]


def test_an_instrument_does_not_change_its_pair() -> None:
    known = Keys()
    known.define(instrument(0))
    with pytest.raises(ValueError, match="it cannot become A0/EUR"):
        known.define(instrument(0, quote="EUR"))
    assert known.pairs == ["A0/USDT"] and known.definitions == [instrument(0)]


def test_the_table_grows_and_nothing_is_left_half_done_at_its_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keys, "INSTRUMENTS_MAX", 130)
    monkeypatch.setattr(keys, "FEEDS_MAX", 1)
    known = Keys()
    for number in range(130):
        known.define(instrument(number))
    assert known.instruments["pair"].tolist() == list(range(130))
    known.add_feed("V", "SPOT")
    for _ in range(2):
        with pytest.raises(OverflowError, match="more than 130 instruments"):
            known.define(instrument(130))
        with pytest.raises(OverflowError, match="more than 1 feeds"):
            known.add_feed("W", "SPOT")
    assert known.slot("V", "A130") == -1 and known.feed("W", "SPOT") == -1
