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
from tidemill.streams.feeds.capture import CaptureFile
from tidemill.streams.feeds.feed import Instruments, Page, Proof, Said

DATA = Path(os.environ.get("TIDEMILL_DATA", "../shared/data"))
FIXTURES = DATA / "exchange_message_fixtures/nautilus_binance.json"
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
DEPTH = (
    b'{"stream":"bnbbtc@depth@100ms","data":{"e":"depthUpdate","E":1672515782136,"s":"BNBBTC",'
    b'"U":157,"u":160,"b":[["0.0024","10"]],"a":[["0.0026","100"],["0.0027","0"]]}}'
)
KLINE = (
    b'{"e":"kline","E":1672515840012,"s":"BNBBTC","k":{"t":1672515780000,"T":1672515839999,'
    b'"s":"BNBBTC","i":"1m","f":100,"L":200,"o":"0.0010","c":"0.0020","h":"0.0025","l":"0.0015",'
    b'"v":"1000","n":100,"x":true,"q":"1.0000","V":"500","Q":"0.500","B":"123456"}}'
)
AGG_TRADE = (
    b'{"e":"aggTrade","E":1672515782136,"s":"BNBBTC","a":9001,"p":"0.001","q":"100","f":100,'
    b'"l":105,"T":1672515782130,"m":true,"M":true}'
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
    path = DATA / "captures_cryptofeed/BINANCE.0.gz"
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


def test_a_refusal_of_rest_says_of_which_path():
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
        DEPTH.replace(b'"U":157', b'"U":"157"'),
        DEPTH.replace(b'["0.0024","10"]', b'["0.0024"]'),
        DEPTH.replace(b'"0.0026"', b'"0"'),
        DEPTH.replace(b'"u":160,', b""),
        KLINE.replace(b'"o":"0.0010",', b""),
        KLINE.replace(b'"1000"', b'"many"'),
        AGG_TRADE.replace(b"9001", b"null").replace(b"BNBBTC", b"ETHBTC"),
        rest("/api/v3/depth?symbol=BNBBTC", b'{"lastUpdateId":1,"bids":[]}'),
        rest("/api/v3/aggTrades?symbol=BNBBTC", b'[{"a":1}]'),
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


def test_a_change_of_the_book_follows_the_update_before_its_first():
    said = decode(DEPTH)
    assert said.books is not None and not said.malformed and said.lead_ns == 136 * MS
    (message,) = said.books.messages
    ids = [message[n] for n in ("first_id", "last_id", "previous_id", "snapshot", "rest")]
    assert ids == [157, 160, 156, 0, 0]
    assert message["ts_event"] == 1672515782136 * MS
    assert said.books.levels.tolist() == [
        (240_000, 1_000_000_000, 1),
        (260_000, 10_000_000_000, 2),
        (270_000, 0, 2),
    ]


def test_a_snapshot_is_of_the_symbol_in_its_path():
    path = "/api/v3/depth?symbol=BNBBTC&limit=5000"
    said = decode(TRADE.replace(b"BNBBTC", b"ETHBTC"), rest(path, fixture("depth_response.json")))
    assert said.books is not None and not said.malformed
    (message,) = said.books.messages
    ids = [message[n] for n in ("first_id", "last_id", "previous_id", "snapshot", "rest")]
    assert ids == [1027024, 1027024, -1, 1, 1] and message["ts_event"] == TS_NONE
    assert said.books.owners.tolist() == [1], "the second instrument heard of"
    assert said.books.levels.tolist() == [
        (400_000_000, 43_100_000_000, 1),
        (400_000_200, 1_200_000_000, 2),
    ]


def test_a_snapshot_without_a_path_is_of_the_only_instrument_there_is():
    snapshot = fixture("depth_response.json")
    alone = decode(DEPTH, snapshot)
    assert alone.books is not None and alone.books.messages["snapshot"].tolist() == [0, 1]
    nobodys = decode(snapshot, DEPTH)
    assert nobodys.books is not None and len(nobodys.books.messages) == 1 and nobodys.ignored == 1
    unclear = decode(DEPTH, TRADE.replace(b"BNBBTC", b"ETHBTC"), snapshot)
    assert unclear.books is not None and len(unclear.books.messages) == 1 and unclear.ignored == 1


def test_a_part_of_the_book_is_not_taken_for_the_whole_one():
    part = b'{"stream":"bnbbtc@depth20","data":%b}' % fixture("depth_response.json")
    said = decode(DEPTH, part, DEPTH.replace(b"@depth@100ms", b"@depth10"))
    assert said.books is not None and len(said.books.messages) == 1
    assert said.ignored == 2 and not said.malformed


def test_real_messages_are_read_as_what_they_are():
    path = FIXTURES.with_name("crypto_msg_parser_pairs.json")
    if not path.exists():
        pytest.skip(f"no fixtures at {path}: set TIDEMILL_DATA")
    columns = {"trade": "trades", "l2_event": "books", "bbo": "quotes"}
    seen = set()
    for pair in orjson.loads(path.read_bytes()):
        if (pair["exchange"], pair["market_type"]) != ("binance", "Spot"):
            continue
        said, column = decode(pair["raw"].encode()), columns.get(pair["module"])
        assert not said.malformed, pair
        kinds = [k for k in ("trades", "quotes", "books") if getattr(said, k) is not None]
        assert kinds == [column] * bool(column) and said.ignored == (column is None), pair
        seen.add(pair["module"])
    assert seen >= {"trade", "l2_event", "l2_topk", "bbo", "ticker", "candlestick", "l2_snapshot"}


def test_a_closed_bar_of_the_venue_is_kept_and_an_open_one_is_not():
    said = decode(KLINE.replace(b'"x":true', b'"x":false'), KLINE)
    assert said.venue_bars is not None and said.ignored == 1 and not said.malformed
    (bar,) = said.venue_bars.records
    assert [bar[n] for n in ("open", "high", "low", "close")] == [
        100_000,
        250_000,
        150_000,
        200_000,
    ]
    assert (bar["ts_open"], bar["interval_s"]) == (1672515780000 * MS, 60)
    assert (bar["volume_hi"], bar["volume_lo"]) == (0, 100_000_000_000)
    assert bar["quote_volume_lo"] == 10**16 and bar["trade_count"] == 100
    assert bar["ts_event"] == 1672515840012 * MS


def test_a_bar_of_a_month_has_no_length_and_is_not_kept():
    said = decode(KLINE.replace(b'"1m"', b'"1M"'))
    assert said.venue_bars is None and said.ignored == 1 and not said.malformed


def test_aggregate_trades_have_ids_of_their_own_and_are_marked():
    path = "/api/v3/aggTrades?symbol=BNBBTC&fromId=9002&limit=1"
    fill = b'[{"a":9002,"p":"0.001","q":"7","f":106,"l":106,"T":1672515782140,"m":false,"M":true}]'
    said = decode(AGG_TRADE, rest(path, fill))
    assert said.trades is not None and not said.malformed
    assert said.trades.records["trade_id"].tolist() == [9001, 9002]
    flags = [RecordFlag.AGGREGATE, RecordFlag.AGGREGATE | RecordFlag.FILLED]
    assert said.trades.records["flags"].tolist() == flags


@pytest.mark.parametrize(("first", "second"), [(TRADE, AGG_TRADE), (AGG_TRADE, TRADE)])
def test_ids_of_two_trade_channels_are_never_mixed(first, second):
    said = decode(first, second)
    only = decode(first)
    assert said.trades is not None and only.trades is not None
    assert said.trades.records.tolist() == only.trades.records.tolist() and said.ignored == 1


def test_what_a_whole_answer_lists_is_told_and_what_a_part_lists_is_not():
    body = fixture("exchange_info_response.json")
    (path,) = VENUE.listing_paths
    for asked in ("/api/v3/exchangeInfo", path):
        assert decode(rest(asked, body)).listed == [Page(path, frozenset({"ETHBTC"}))]
    assert decode(rest(VENUE.definitions_path(["ETHBTC"]), body)).listed == []
    assert decode(body).listed == []


def test_subscriptions_name_every_channel_in_commands_of_bounded_size():
    symbols = [f"A{i}USDT" for i in range(150)]
    commands = [
        orjson.loads(c.payload) for c in VENUE.subscriptions(VENUE.sockets[0], symbols, first_id=5)
    ]
    assert [c["id"] for c in commands] == [5, 6, 7]
    streams = [stream for c in commands for stream in c["params"]]
    names = ["trade", "bookTicker", "depth@100ms", "kline_1m"]
    assert len(streams) == 600 and streams[:4] == [f"a0usdt@{name}" for name in names]
    assert max(len(c["params"]) for c in commands) == 200


def test_every_channel_says_how_it_is_proven():
    proofs = {c.name: (c.kind, c.proof) for c in VENUE.sockets[0].channels}
    assert proofs["trade"] == ("trade", Proof.CONTIGUOUS)
    assert proofs["depth@100ms"] == ("book", Proof.CONTIGUOUS)
    assert proofs["bookTicker"] == ("quote", Proof.CONFLATED)


@pytest.mark.parametrize(
    ("path", "weight"),
    [
        (VENUE.snapshot_path("BTCUSDT"), 50),
        ("/api/v3/depth?symbol=BTCUSDT&limit=5000", 250),
        ("/api/v3/depth?symbol=BTCUSDT", 5),
        ("/api/v3/depth?symbol=BTCUSDT&limit=500", 25),
        (VENUE.trades_paths("BTCUSDT", 1, 10)[0], 25),
        (VENUE.definitions_path(["BTCUSDT"]), 20),
        (VENUE.time_path(), 1),
    ],
)
def test_requests_cost_what_the_document_says(path, weight):
    assert VENUE.weight(path) == weight


def test_no_minute_costs_more_than_the_venue_allows():
    limits = VENUE.limits
    assert limits.requests_per_s * (60 + limits.burst_s) <= VENUE.weight_a_minute * 0.95
    assert limits.requests_per_s * limits.burst_s >= VENUE.weight(VENUE.snapshot_path("BTCUSDT"))


def test_the_used_part_of_a_minute_is_told_by_the_header():
    assert VENUE.used({"X-MBX-USED-WEIGHT-1M": "1500"}) == 0.25
    assert VENUE.used({}) is None and VENUE.used({"X-MBX-USED-WEIGHT-1M": "many"}) is None


def test_a_real_session_across_midnight_is_read_to_exactly_its_contents():
    """data/README.md: 6,495 depth, 19,904 trade, 73,174 bookTicker, one snapshot; contiguous."""
    paths = [DATA / f"binance_captures_hftbacktest/spot/btcusdt_2024080{day}.gz" for day in (8, 9)]
    if not all(path.exists() for path in paths):
        pytest.skip(f"no captures at {paths[0].parent}: set TIDEMILL_DATA")
    instruments = Instruments(infer=VENUE.infer)
    lines = [line for path in paths for line in CaptureFile(path)]
    runs = [
        VENUE.decode(*zip(*lines[at : at + 5000], strict=True), instruments)
        for at in range(0, len(lines), 5000)
    ]
    assert not any(said.malformed or said.ignored or said.refused for said in runs)
    trade_ids = np.concatenate([r.trades.records["trade_id"] for r in runs if r.trades])
    assert len(trade_ids) == 19_904 and (np.diff(trade_ids) == 1).all()
    assert sum(len(r.quotes.records) for r in runs if r.quotes) == 73_174
    messages = np.concatenate([r.books.messages for r in runs if r.books])
    changes = messages[messages["snapshot"] == 0]
    assert len(changes) == 6_495 and len(messages) == 6_496
    assert (changes["previous_id"][1:] == changes["last_id"][:-1]).all()
