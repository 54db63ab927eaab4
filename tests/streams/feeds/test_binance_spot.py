"""Binance spot's messages: what they become, exactly, and what is refused, never silently."""

import gzip
import os
from decimal import Decimal
from pathlib import Path

import numpy as np
import orjson
import pytest

from tidemill.schemas.enums import AggressorSide, RecordFlag
from tidemill.schemas.kinds.quote import TS_NONE
from tidemill.streams.feeds.binance_spot import BinanceSpot
from tidemill.streams.feeds.feed import Instruments, Said

FIXTURES = Path(os.environ.get("TIDEMILL_DATA", "../shared/data")) / (
    "exchange_message_fixtures/nautilus_binance.json"
)
SPOT = "crates/adapters/binance/test_data/spot/http_json/"
VENUE = BinanceSpot()
MS = 1_000_000

TRADE = (
    b'{"stream":"bnbbtc@trade","data":{"e":"trade","E":1672515782136,"s":"BNBBTC","t":12345,'
    b'"p":"0.001","q":"100","T":1672515782130,"m":true,"M":true}}'
)
QUOTE = (
    b'{"u":400900217,"s":"BNBUSDT","b":"25.35190000","B":"31.21000000","a":"25.36520000",'
    b'"A":"40.66000000"}'
)


def decode(*raws: bytes, instruments: Instruments | None = None) -> Said:
    received = [1672515782000 * MS + i for i in range(len(raws))]
    return VENUE.decode(received, raws, instruments or Instruments(infer=VENUE.infer))


def fixture(name: str) -> bytes:
    if not FIXTURES.exists():
        pytest.skip(f"no fixtures at {FIXTURES}: set TIDEMILL_DATA")
    return orjson.dumps(orjson.loads(FIXTURES.read_bytes())[SPOT + name])


def rest(path: str, body: bytes) -> bytes:
    return b'{"stream":"rest:%b","data":%b}' % (path.encode(), body)


def test_a_trade_as_the_document_shows_it_is_exact():
    said = decode(TRADE)
    assert said.trades is not None and not said.malformed
    (trade,) = said.trades.records
    assert trade["price"] == 100_000 and trade["quantity"] == 10_000_000_000
    assert trade["trade_id"] == 12345
    assert trade["ts_event"] == 1672515782130 * MS and trade["ts_recv"] == 1672515782000 * MS
    assert trade["aggressor_side"] == AggressorSide.SELLER, "the buyer is the maker"
    assert said.lead_ns == 136 * MS


def test_a_buyer_who_takes_is_the_aggressor():
    said = decode(TRADE.replace(b'"m":true', b'"m":false'))
    assert said.trades is not None
    assert said.trades.records[0]["aggressor_side"] == AggressorSide.BUYER


def test_a_quote_has_no_event_time_and_no_sure_id():
    said = decode(QUOTE)
    assert said.quotes is not None and said.lead_ns is None
    (quote,) = said.quotes.records
    assert quote["ts_event"] == TS_NONE and quote["update_id"] == 400900217
    values = [quote[n] for n in ("bid_price", "bid_quantity", "ask_price", "ask_quantity")]
    assert values == [2_535_190_000, 3_121_000_000, 2_536_520_000, 4_066_000_000]


def test_times_in_microseconds_are_known_by_their_size():
    said = decode(TRADE.replace(b"1672515782130", b"1672515782130456"))
    assert said.trades is not None
    assert said.trades.records[0]["ts_event"] == 1672515782130456000


def test_trades_of_rest_are_marked_as_filled():
    path = "/api/v3/historicalTrades?symbol=BNBBTC&fromId=28457&limit=1"
    said = decode(rest(path, fixture("trades_response.json")))
    assert said.trades is not None and not said.malformed
    (trade,) = said.trades.records
    assert trade["trade_id"] == 28457 and trade["price"] == 400_000_100
    assert trade["quantity"] == 1_200_000_000 and trade["flags"] == RecordFlag.FILLED
    assert trade["ts_event"] == 1499865549590 * MS
    assert trade["aggressor_side"] == AggressorSide.SELLER


def test_exchange_info_defines_instruments():
    instruments = Instruments()
    said = decode(fixture("exchange_info_response.json"), instruments=instruments)
    assert not said.malformed
    definition = instruments.by_symbol["ETHBTC"].definition
    assert (definition.base, definition.quote, definition.pair) == ("ETH", "BTC", "ETH/BTC")
    assert definition.source == "VENUE" and definition.status == "TRADING"
    assert (definition.price_exponent, definition.quantity_exponent) == (-8, -8)
    assert (definition.tick_size, definition.lot_size, definition.min_notional) == ("0", "0", "0")


def test_filters_give_tick_lot_and_least_notional():
    info = orjson.loads(fixture("exchange_info_response.json"))
    info["symbols"][0]["filters"] = [
        {"filterType": "PRICE_FILTER", "tickSize": "0.00000100"},
        {"filterType": "LOT_SIZE", "stepSize": "1.00000000"},
        {"filterType": "NOTIONAL", "minNotional": "5.00000000"},
    ]
    instruments = Instruments()
    decode(orjson.dumps(info), instruments=instruments)
    definition = instruments.by_symbol["ETHBTC"].definition
    assert (definition.tick_size, definition.lot_size) == ("0.000001", "1")
    assert definition.min_notional == "5"


def test_an_instrument_that_is_not_understood_spares_the_others():
    info = orjson.loads(fixture("exchange_info_response.json"))
    info["symbols"].insert(0, info["symbols"][0] | {"symbol": "\u5e01USDT"})
    instruments = Instruments()
    said = decode(orjson.dumps(info), instruments=instruments)
    assert len(said.malformed) == 1 and "ETHBTC" in instruments.by_symbol


def test_every_instrument_of_a_real_exchange_info_is_defined():
    path = FIXTURES.parent.parent / "captures_cryptofeed/BINANCE.0.gz"
    if not path.exists():
        pytest.skip(f"no capture at {path}: set TIDEMILL_DATA")
    with gzip.open(path) as lines:
        body = next(line for line in lines if b"exchangeInfo ->" in line).partition(b": ")[2]
    instruments = Instruments()
    assert not decode(body, instruments=instruments).malformed
    expected = {entry["symbol"]: entry for entry in orjson.loads(body)["symbols"]}
    assert len(expected) > 1000 and instruments.by_symbol.keys() == expected.keys()
    for symbol, instrument in instruments.by_symbol.items():
        ticks = {f["filterType"]: f for f in expected[symbol]["filters"]}
        definition = instrument.definition
        assert Decimal(definition.tick_size) == Decimal(ticks["PRICE_FILTER"]["tickSize"])
        assert Decimal(definition.lot_size) == Decimal(ticks["LOT_SIZE"]["stepSize"])
        assert (definition.status == "TRADING") == (expected[symbol]["status"] == "TRADING")


def test_a_symbol_that_does_not_trade_is_halted():
    info = orjson.loads(fixture("exchange_info_response.json"))
    info["symbols"][0]["status"] = "CANCEL_ONLY"
    instruments = Instruments()
    decode(orjson.dumps(info), instruments=instruments)
    assert instruments.by_symbol["ETHBTC"].definition.status == "HALTED"


def test_server_time_is_a_lead_like_any_other():
    said = decode(rest("/api/v3/time", fixture("server_time_response.json")))
    assert said.lead_ns == (1499827319559 - 1672515782000) * MS


def test_rest_answers_that_are_not_used_are_counted():
    assert decode(fixture("depth_response.json")).ignored == 1
    refused = decode(rest("/api/v3/trades?symbol=X", b'{"code":-1121,"msg":"Invalid symbol."}'))
    assert refused.refused == ["/api/v3/trades?symbol=X: -1121 Invalid symbol."]


def test_answers_to_commands_are_told_apart():
    said = decode(
        b'{"result":null,"id":7}',
        b'{"code":2,"msg":"Invalid request: property name must be a string"}',
        b'{"stream":"x","data":{"e":"serverShutdown","E":1770123456789}}',
        b'{"e":"24hrTicker","E":1672515782136,"s":"BNBBTC"}',
    )
    assert said.acknowledged == [7] and len(said.refused) == 1 and said.shutdown
    assert said.ignored == 1 and not said.malformed


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[1,2]",
        b"7",
        b'"text"',
        b"{}",
        b'{"data":null}',
        TRADE.replace(b'"0.001"', b'"0.000000001"'),
        TRADE.replace(b'"0.001"', b'"-0.001"'),
        TRADE.replace(b'"0.001"', b'"nan"'),
        TRADE.replace(b'"0.001"', b"0.001"),
        TRADE.replace(b'"100"', b'"0"'),
        TRADE.replace(b'"100"', b'"99999999999999999999"'),
        TRADE.replace(b"12345", b"-12345"),
        TRADE.replace(b"12345", b'"12345"'),
        TRADE.replace(b"12345", b"12345.5"),
        TRADE.replace(b"12345", b"99999999999999999999"),
        TRADE.replace(b"1672515782130", b"9672515782130000000"),
        TRADE.replace(b'"m":true', b'"m":1'),
        TRADE.replace(b'"t":12345,', b""),
        TRADE.replace(b"BNBBTC", b"NOBODY"),
        TRADE.replace(b"BNBBTC", b"BNB.BTC"),
        QUOTE.replace(b"400900217", b"null"),
        QUOTE.replace(b"25.36520000", b"-25.36520000"),
        rest("/api/v3/trades", b"[{}]"),
        rest("/api/v3/unknown", b"{}"),
        b"\xff\xfe",
    ],
)
def test_what_is_not_understood_is_kept_with_a_reason_and_spares_its_neighbours(raw):
    said = decode(TRADE, raw, QUOTE, TRADE.replace(b"12345", b"12346"))
    assert [m.raw for m in said.malformed] == [raw] and said.malformed[0].reason
    assert said.trades is not None and list(said.trades.records["trade_id"]) == [12345, 12346]
    assert said.quotes is not None and len(said.quotes.records) == 1


def test_exponents_of_the_definition_are_those_of_the_records():
    info = orjson.loads(fixture("exchange_info_response.json"))
    info["symbols"][0] |= {"symbol": "BNBBTC", "baseAsset": "BNB", "quoteAssetPrecision": 4}
    instruments = Instruments()
    decode(orjson.dumps(info), instruments=instruments)
    said = decode(TRADE, instruments=instruments)
    assert said.trades is not None
    assert said.trades.records[0]["price"] == 10
    assert said.trades.records[0]["quantity"] == 10_000_000_000
    assert instruments.by_symbol["BNBBTC"].exponents == (-4, -8)


def test_any_split_of_messages_decodes_to_the_same_records():
    raws = [TRADE.replace(b"12345", b"%d" % i) for i in range(9)] + [QUOTE]
    whole = decode(*raws)
    parts = [decode(raw) for raw in raws]
    assert whole.trades is not None
    ids = np.concatenate([p.trades.records["trade_id"] for p in parts if p.trades is not None])
    assert (whole.trades.records["trade_id"] == ids).all()


@pytest.mark.parametrize(
    ("symbol", "base", "quote"),
    [("BTCUSDT", "BTC", "USDT"), ("ETHFDUSD", "ETH", "FDUSD"), ("BNBBTC", "BNB", "BTC")],
)
def test_a_capture_without_definitions_tells_the_pair_by_the_symbol(symbol, base, quote):
    definition = VENUE.infer(symbol)
    assert definition is not None and (definition.base, definition.quote) == (base, quote)
    assert definition.source == "CAPTURE"


def test_subscriptions_name_every_channel_in_commands_of_bounded_size():
    symbols = [f"A{i}USDT" for i in range(150)]
    commands = [
        orjson.loads(c.payload) for c in VENUE.subscriptions(VENUE.sockets[0], symbols, first_id=5)
    ]
    assert [c["id"] for c in commands] == [5, 6]
    streams = [stream for c in commands for stream in c["params"]]
    assert len(streams) == 300 and streams[:2] == ["a0usdt@trade", "a0usdt@bookTicker"]
