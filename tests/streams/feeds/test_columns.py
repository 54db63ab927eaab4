"""Columns: a run says what its messages say one by one, exactly, and one bad value costs one."""

from typing import Any

import numpy as np
import orjson
import pytest

from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.kinds.quote import TS_NONE
from tidemill.streams.feeds.feed import Instruments, Said
from tidemill.streams.feeds.joined import joined
from tidemill.streams.feeds.registry import venue_of

VENUE = venue_of("BINANCE", "SPOT")
TIME = 1_700_000_000_000
EXPONENTS = {"AAABTC": (-8, -8), "BBBBTC": (-2, 0), "CCCBTC": (-18, 3)}


def instruments() -> Instruments:
    known = Instruments()
    for symbol, (price, quantity) in EXPONENTS.items():
        known.define(
            InstrumentDefined(
                venue="BINANCE",
                symbol=symbol,
                product="SPOT",
                base=symbol[:3],
                quote="BTC",
                price_exponent=price,
                quantity_exponent=quantity,
            )
        )
    return known


def trade(symbol: str, price: str, quantity: str, **other: Any) -> bytes:
    data = {"e": "trade", "E": TIME, "s": symbol, "t": 1, "p": price, "q": quantity, "T": TIME}
    return orjson.dumps({"stream": "x@trade", "data": {**data, "m": True, **other}})


def quote(symbol: str, *told: str, **other: Any) -> bytes:
    data = dict(zip(("b", "B", "a", "A"), told, strict=True))
    return orjson.dumps({"stream": "x@bookTicker", "data": {"u": 7, "s": symbol, **data, **other}})


def depth(symbol: str, bids: list[Any], asks: list[Any], **other: Any) -> bytes:
    data = {"e": "depthUpdate", "E": TIME, "s": symbol, "U": 5, "u": 6, "b": bids, "a": asks}
    return orjson.dumps({"stream": "x@depth", "data": {**data, **other}})


GOOD = [
    trade("AAABTC", "0.50", "12"),
    depth("BBBBTC", [["2.5", "1"], ["2.25", "0"]], []),
    quote("BBBBTC", "1.25", "3", "1.50", "0"),
    depth("AAABTC", [], []),
    trade("BBBBTC", "12.3", "45", E=TIME * 1_000, T=TIME * 1_000_000),
    depth("AAABTC", [["1e-3", "2"]], [["0.5000000000", "7"], ["9.99", "0.00000001"]]),
    quote("AAABTC", "0.00000001", "1", "92233720368.54775807", "0.1"),
    trade("CCCBTC", "0.000000000000000001", "3000"),
]


def said(raws: list[bytes]) -> Said:
    return VENUE.decode(range(1, len(raws) + 1), raws, instruments())


def one_by_one(raws: list[bytes]) -> Said:
    known = instruments()
    return joined([VENUE.decode([at], [raw], known) for at, raw in enumerate(raws, 1)])


def same(a: Any, b: Any) -> None:
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype and a.tolist() == b.tolist()
    elif isinstance(a, tuple):
        for one, other in zip(a, b, strict=True):
            same(one, other)
    else:
        assert a == b


@pytest.mark.parametrize("count", range(1, len(GOOD) + 1))
def test_a_run_says_what_its_messages_say_one_by_one(count):
    whole, each = said(GOOD[:count]), one_by_one(GOOD[:count])
    assert not whole.malformed
    for name in ("trades", "quotes", "books", "lead_ns"):
        same(getattr(whole, name), getattr(each, name))


def test_every_number_is_at_its_instruments_exponents():
    whole = said(GOOD)
    assert whole.trades is not None and whole.quotes is not None and whole.books is not None
    prices = [(r["price"], r["quantity"]) for r in whole.trades.records]
    assert prices == [(50_000_000, 1_200_000_000), (1_230, 45), (1, 3)]
    assert set(whole.trades.records["ts_event"].tolist()) == {TIME * 1_000_000}
    first, second = whole.quotes.records
    assert [first[n] for n in ("bid_price", "bid_quantity", "ask_price")] == [125, 3, 150]
    assert (second["ask_price"], second["ask_quantity"]) == ((1 << 63) - 1, 10_000_000)
    assert first["ts_event"] == TS_NONE
    levels = whole.books.levels
    assert [tuple(level) for level in levels] == [
        *((250, 1, 1), (225, 0, 1)),
        *((100_000, 200_000_000, 1), (50_000_000, 700_000_000, 2), (999_000_000, 1, 2)),
    ]
    assert [(m["start"], m["count"]) for m in whole.books.messages] == [(0, 2), (2, 0), (2, 3)]


BAD = [
    (trade("AAABTC", "0.5", "1", t=True), "an id is not an integer of 64 bits"),
    (trade("AAABTC", "0.5", "1", t=1.0), "an id is not an integer of 64 bits"),
    (trade("AAABTC", "0.5", "1", t=1 << 63), "an id is not an integer of 64 bits"),
    (trade("AAABTC", "0.5", "1", t=-1), "an id is below zero"),
    (trade("AAABTC", "0.5", "1", T="1"), "a time is not an integer of 64 bits"),
    (trade("AAABTC", "0.5", "1", T=5), "a time is not of this century"),
    (trade("AAABTC", "0.5", "1", E=TS_NONE), "a time is not of this century"),
    (trade("AAABTC", "0", "1"), "a price or quantity of a trade is not above zero"),
    (trade("AAABTC", "1,2", "1"), "'1,2' is no decimal number"),
    (trade("BBBBTC", "1.001", "1"), "'1.001' needs more digits than exponent -2 has"),
    (trade("AAABTC", "92233720368.54775808", "1"), "does not fit int64 at exponent -8"),
    (quote("AAABTC", "-1", "1", "1", "1"), "a price or quantity of a quote is below zero"),
    (quote("AAABTC", "1", "1", "1", "1", u=None), "an id is not an integer of 64 bits"),
    (depth("AAABTC", [["0", "1"]], []), "a price of a book is not above zero, or a quantity"),
    (depth("AAABTC", [["1"]], []), "list index out of range"),
    (depth("AAABTC", [], [], E=TS_NONE), "a time is not of this century"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD)
def test_a_bad_value_costs_its_own_message_and_says_why(bad, reason):
    whole, rest = said([*GOOD[:4], bad, *GOOD[4:]]), said(GOOD)
    (malformed,) = whole.malformed
    assert malformed.raw == bad and reason in malformed.reason
    for name in ("trades", "quotes", "books"):
        mine, theirs = getattr(whole, name), getattr(rest, name)
        assert mine.owners.tolist() == theirs.owners.tolist()
    assert whole.trades is not None and rest.trades is not None
    assert whole.trades.records["price"].tolist() == rest.trades.records["price"].tolist()
