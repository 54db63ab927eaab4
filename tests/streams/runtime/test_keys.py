"""Keys: rows of instruments and feeds, given by facts in their order."""

import pytest

from tidemill.schemas.events.fees import FeesDefined
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


def test_what_a_definition_says_of_a_contract_is_in_the_table() -> None:
    known = Keys()
    event = InstrumentDefined(
        venue="V", symbol="A-PERP", product="SWAP", kind="PERPETUAL", base="A", quote="USDT",
        inverse=True, contract_multiplier="100.0", status="HALTED",
    )  # fmt: skip
    known.define(event)
    row = known.instruments
    names = ("symbol", "kind", "inverse", "trading", "multiplier", "multiplier_exponent")
    assert [row[name][0] for name in names] == [b"A-PERP", 1, 1, 0, 1, 2]
    known.define(event.model_copy(update={"contract_multiplier": "0.010", "status": "TRADING"}))
    assert [row[name][0] for name in names[3:]] == [1, 1, -2]


@pytest.mark.parametrize("multiplier", ["0", "-1", "9" * 25])
def test_a_multiplier_that_cannot_be_is_refused(multiplier: str) -> None:
    known = Keys()
    with pytest.raises(ValueError, match="cannot be"):
        known.define(instrument(0).model_copy(update={"contract_multiplier": multiplier}))
    assert known.definitions == []


def test_fees_are_those_of_a_venues_product_whichever_was_first_said() -> None:
    known = Keys()
    known.define(instrument(0))
    known.charge(FeesDefined(venue="V", product="SPOT", taker_ppm=1_000, maker_ppm=-50))
    known.charge(FeesDefined(venue="W", product="SPOT", taker_ppm=7, maker_ppm=8))
    known.charge(FeesDefined(venue="V", product="SWAP", taker_ppm=1, maker_ppm=2))
    known.define(instrument(1))
    known.define(instrument(2, venue="X"))
    table = known.instruments
    assert table["taker_ppm"].tolist() == [1_000, 1_000, 0]
    assert table["maker_ppm"].tolist() == [-50, -50, 0]
    assert table["fees_known"].tolist() == [1, 1, 0]
    known.charge(FeesDefined(venue="V", product="SPOT", taker_ppm=900, maker_ppm=0))
    known.define(instrument(0, price_exponent=-3))
    assert table["taker_ppm"].tolist() == [900, 900, 0]
