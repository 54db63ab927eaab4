"""Binance USD-M's messages: what they become, exactly, on which socket, and what is refused."""

import gzip
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from tidemill.schemas.enums import AggressorSide, OrderSide, RecordFlag
from tidemill.streams.feeds.binance_usdm import BinanceUsdm
from tidemill.streams.feeds.capture import CaptureFile
from tidemill.streams.feeds.feed import Instruments, Page, Proof, Said

DATA = Path(os.environ.get("TIDEMILL_DATA", "../shared/data"))
FIXTURES = DATA / "exchange_message_fixtures/nautilus_binance.json"
FUTURES = "crates/adapters/binance/test_data/futures/market_data_json/"
VENUE = BinanceUsdm()
MS = 1_000_000
NOW = 1672515782000 * MS

AGG_TRADE = (
    b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1672515782136,"s":"BTCUSDT",'
    b'"a":5933014,"p":"0.001","q":"100","nq":"100","f":100,"l":105,"T":1672515782134,"m":true,'
    b'"st":1}}'
)
TRADE = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1672515782136,"T":1672515782134,'
    b'"s":"BTCUSDT","t":77,"p":"61800.30","q":"0.006","X":"MARKET","m":false}}'
)
QUOTE = (
    b'{"e":"bookTicker","u":400900217,"E":1672515782138,"T":1672515782137,"s":"BNBUSDT",'
    b'"b":"25.35190000","B":"31.21000000","a":"25.36520000","A":"40.66000000","ps":"BNBUSDT"}'
)
DEPTH = (
    b'{"e":"depthUpdate","E":1672515782136,"T":1672515782134,"s":"BTCUSDT","U":157,"u":160,'
    b'"pu":149,"b":[["0.0024","10"]],"a":[["0.0026","0"]],"ps":"BTCUSDT","st":1}'
)
KLINE = (
    b'{"e":"kline","E":1672515840012,"s":"BTCUSDT","k":{"t":1672515780000,"T":1672515839999,'
    b'"s":"BTCUSDT","i":"1m","f":100,"L":200,"o":"0.0010","c":"0.0020","h":"0.0025","l":"0.0015",'
    b'"v":"1000","n":100,"x":true,"q":"1.0000","V":"500","Q":"0.500","B":"123456"}}'
)
MARK = (
    b'{"e":"markPriceUpdate","E":1672515782136,"s":"BTCUSDT","p":"11794.15000000",'
    b'"i":"11784.62659091","P":"11784.25641265","r":"0.00038167","T":1672531200000,"st":1}'
)
FORCED = (
    b'{"e":"forceOrder","E":1672515782136,"o":{"s":"BTCUSDT","S":"SELL","o":"LIMIT","f":"IOC",'
    b'"q":"0.014","p":"9910","ap":"9910.12345678","X":"FILLED","l":"0.014","z":"0.013",'
    b'"T":1672515782130}}'
)


def decode(*raws: bytes, instruments: Instruments | None = None) -> Said:
    received = [NOW + i for i in range(len(raws))]
    return VENUE.decode(received, raws, instruments or Instruments(infer=VENUE.infer))


def rest(path: str, body: bytes) -> bytes:
    return b'{"stream":"rest:%b","data":%b}' % (path.encode(), body)


def fixture(name: str) -> dict[str, Any]:
    if not FIXTURES.exists():
        pytest.skip(f"no fixtures at {FIXTURES}: set TIDEMILL_DATA")
    message: dict[str, Any] = orjson.loads(FIXTURES.read_bytes())[FUTURES + name]
    return message


def capture(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"no capture at {path}: set TIDEMILL_DATA")
    return path


def exchange_info(**changes: Any) -> bytes:
    """exchangeInfo of one contract as the document shows it."""
    entry = {
        "symbol": "BTCUSDT",
        "pair": "BTCUSDT",
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "onboardDate": 1569398400000,
        "status": "TRADING",
        "baseAsset": "BTC",
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "pricePrecision": 2,
        "quantityPrecision": 3,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "0.01", "tickSize": "0.10"},
            {"filterType": "LOT_SIZE", "minQty": "0.001", "stepSize": "0.001"},
            {"filterType": "MIN_NOTIONAL", "notional": "100"},
        ],
    }
    return orjson.dumps({"timezone": "UTC", "symbols": [entry | changes]})


def defined(**changes: Any) -> Instruments:
    instruments = Instruments()
    said = decode(exchange_info(**changes), instruments=instruments)
    assert not said.malformed
    return instruments


def test_an_aggregate_trade_as_the_document_shows_it_is_exact():
    said = decode(AGG_TRADE)
    assert said.trades is not None and not said.malformed and said.lead_ns == 136 * MS
    (trade,) = said.trades.records
    assert (trade["trade_id"], trade["price"]) == (5933014, 100_000)
    assert (trade["quantity"], trade["flags"]) == (10_000_000_000, RecordFlag.AGGREGATE)
    assert trade["ts_event"] == 1672515782134 * MS
    assert trade["aggressor_side"] == AggressorSide.SELLER, "the buyer is the maker"


@pytest.mark.parametrize(
    ("normal", "flags"), [("100", 0), ("100.0", 0), ("60.5", RecordFlag.RPI), ("0", RecordFlag.RPI)]
)
def test_an_aggregate_that_met_orders_for_retail_price_improvement_says_so(normal: str, flags: int):
    said = decode(AGG_TRADE.replace(b'"nq":"100"', f'"nq":"{normal}"'.encode()))
    assert said.trades is not None and not said.malformed
    assert said.trades.records["flags"].tolist() == [RecordFlag.AGGREGATE | flags]
    body = [{"a": 7, "p": "1", "q": "100", "nq": normal, "f": 1, "l": 2, "T": 1672515782134}]
    path = "/fapi/v1/aggTrades?symbol=BTCUSDT&fromId=7&limit=1000"
    said = decode(rest(path, orjson.dumps([body[0] | {"m": True}])))
    assert said.trades is not None
    wanted = RecordFlag.AGGREGATE | RecordFlag.FILLED | flags
    assert said.trades.records["flags"].tolist() == [wanted]


def test_a_normal_quantity_that_is_none_is_refused():
    said = decode(AGG_TRADE.replace(b'"nq":"100"', b'"nq":"much"'), AGG_TRADE)
    assert len(said.malformed) == 1
    assert said.trades is not None and len(said.trades.records) == 1


def test_single_fills_are_read_where_a_capture_has_them():
    said = decode(TRADE, TRADE.replace(b"MARKET", b"INSURANCE_FUND").replace(b'"t":77', b'"t":78'))
    assert said.trades is not None and not said.malformed
    assert said.trades.records["trade_id"].tolist() == [77, 78]
    assert said.trades.records["flags"].tolist() == [0, RecordFlag.LIQUIDATION]
    assert said.trades.records[0]["aggressor_side"] == AggressorSide.BUYER


@pytest.mark.parametrize(("first", "second"), [(TRADE, AGG_TRADE), (AGG_TRADE, TRADE)])
def test_ids_of_two_trade_channels_are_never_mixed(first, second):
    said, only = decode(first, second), decode(first)
    assert said.trades is not None and only.trades is not None
    assert said.trades.records.tolist() == only.trades.records.tolist() and said.ignored == 1


def test_a_quote_has_the_time_of_its_transaction():
    said = decode(QUOTE)
    assert said.quotes is not None and said.lead_ns == 138 * MS
    (quote,) = said.quotes.records
    assert quote["ts_event"] == 1672515782137 * MS and quote["update_id"] == 400900217
    values = [quote[n] for n in ("bid_price", "bid_quantity", "ask_price", "ask_quantity")]
    assert values == [2_535_190_000, 3_121_000_000, 2_536_520_000, 4_066_000_000]


def test_a_change_of_the_book_says_what_it_follows():
    said = decode(DEPTH)
    assert said.books is not None and not said.malformed
    (message,) = said.books.messages
    ids = [message[n] for n in ("first_id", "last_id", "previous_id", "snapshot", "rest")]
    assert ids == [157, 160, 149, 0, 0] and message["ts_event"] == 1672515782134 * MS
    assert said.books.levels.tolist() == [(240_000, 1_000_000_000, 1), (260_000, 0, 2)]


def test_a_snapshot_meets_its_changes_as_the_document_of_futures_says():
    path = VENUE.snapshot_path("BTCUSDT-PERP")
    body = b'{"lastUpdateId":1027024,"E":1672515782136,"T":1672515782130,"bids":[],"asks":[]}'
    said = decode(rest(path, body))
    assert said.books is not None
    (message,) = said.books.messages
    assert (message["last_id"], message["snapshot"], message["rest"]) == (1027024, 1, 1)
    assert message["ts_event"] == 1672515782130 * MS
    assert tuple(VENUE.overlap) == (0, 0), "u < L is dropped, the first kept has U <= L"


def test_mark_and_index_price_and_funding_are_one_record():
    said = decode(MARK)
    assert said.derivatives is not None and not said.malformed
    (record,) = said.derivatives.records
    assert record["mark_price"] == 1_179_415_000_000
    assert record["index_price"] == 1_178_462_659_091
    assert record["funding_rate"] == 381_670_000 and record["fields"] == 0b001111
    assert record["next_funding_time"] == 1672531200000 * MS
    assert record["ts_event"] == 1672515782136 * MS


def test_a_dated_future_has_no_funding():
    raw = MARK.replace(b'"BTCUSDT"', b'"BTCUSDT_230331"')
    said = decode(raw.replace(b'"0.00038167"', b'""').replace(b"1672531200000", b"0"))
    assert said.derivatives is not None and not said.malformed
    assert said.derivatives.records[0]["fields"] == 0b000011


def test_open_interest_is_an_answer_of_rest():
    body = b'{"openInterest":"10659.509","symbol":"BTCUSDT","time":1589437530011}'
    said = decode(rest("/fapi/v1/openInterest?symbol=BTCUSDT", body))
    assert said.derivatives is not None and not said.malformed
    (record,) = said.derivatives.records
    assert record["open_interest"] == 1_065_950_900_000 and record["fields"] == 0b100000
    assert record["ts_event"] == 1589437530011 * MS


def test_funding_intervals_are_eight_hours_unless_the_answer_says_otherwise():
    body = b'[{"symbol":"BNBUSDT","adjustedFundingRateCap":"0.02","fundingIntervalHours":4}]'
    dated = DEPTH.replace(b'"BTCUSDT"', b'"BTCUSDT_230331"')
    said = decode(AGG_TRADE, QUOTE, dated, rest("/fapi/v1/fundingInfo", body))
    assert said.derivatives is not None and not said.malformed
    assert said.derivatives.owners.tolist() == [0, 1], "perpetuals only"
    assert said.derivatives.records["funding_interval_s"].tolist() == [28_800, 14_400]
    assert set(said.derivatives.records["fields"].tolist()) == {0b010000}
    assert said.derivatives.records["ts_event"].tolist() == [NOW + 3] * 2


def test_a_liquidation_order_is_exact():
    said = decode(FORCED)
    assert said.liquidations is not None and not said.malformed
    (record,) = said.liquidations.records
    assert record["side"] == OrderSide.SELL and record["price"] == 991_000_000_000
    assert record["average_price"] == 991_012_345_678
    assert (record["quantity"], record["filled_quantity"]) == (1_400_000, 1_300_000)
    assert record["ts_event"] == 1672515782130 * MS


def test_a_closed_bar_is_kept_and_an_open_one_is_not():
    said = decode(KLINE, KLINE.replace(b'"x":true', b'"x":false'))
    assert said.venue_bars is not None and said.ignored == 1
    (bar,) = said.venue_bars.records
    assert (bar["interval_s"], bar["close"], bar["trade_count"]) == (60, 200_000, 100)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("agg_trade_stream", "trades"),
        ("trade_stream", "trades"),
        ("book_ticker_stream", "quotes"),
        ("depth_update_stream", "books"),
        ("mark_price_stream", "derivatives"),
        ("kline_stream_closed", "venue_bars"),
        ("liquidation_stream", "liquidations"),
        ("kline_stream_open", None),
        ("ticker_stream", None),
    ],
)
def test_published_examples_are_read_as_what_they_are(name, column):
    message = fixture(f"{name}.json")
    for key in "ET":  # the documents' own times are of 1973 and before: no feed's
        if message.get(key, 1 << 60) < 100_000_000_000 * 10:
            message[key] = 1672515782136
    said = decode(orjson.dumps(message))
    assert not said.malformed
    kinds = ("trades", "quotes", "books", "derivatives", "venue_bars", "liquidations")
    assert [kind for kind in kinds if getattr(said, kind) is not None] == [column] * bool(column)
    assert said.ignored == (column is None)


def published(market: str) -> list[dict[str, Any]]:
    """Real messages that others published as examples, of one kind of market."""
    path = FIXTURES.with_name("crypto_msg_parser_pairs.json")
    if not path.exists():
        pytest.skip(f"no fixtures at {path}: set TIDEMILL_DATA")
    pairs = [pair for pair in orjson.loads(path.read_bytes()) if pair["exchange"] == "binance"]
    return [pair for pair in pairs if pair["market_type"] == market]


@pytest.mark.parametrize("market", ["LinearSwap", "LinearFuture"])
def test_real_messages_are_read_as_what_they_are_and_other_books_are_no_changes(market):
    columns = {
        "trade": "trades",
        "l2_event": "books",
        "bbo": "quotes",
        "funding_rate": "derivatives",
        "open_interest": "derivatives",
    }
    seen = set()
    for pair in published(market):
        raw, module = pair["raw"].encode(), pair["module"]
        if module == "open_interest":
            raw = rest("/fapi/v1/openInterest?symbol=x", raw)
        said = decode(raw)
        assert not said.malformed, pair
        column = columns.get(module) if b"@arr" not in raw else None
        kinds = ("trades", "quotes", "books", "derivatives", "venue_bars", "liquidations")
        assert [k for k in kinds if getattr(said, k) is not None] == [column] * bool(column), pair
        assert said.ignored == (column is None)
        seen.add(module)
    assert seen >= {"trade", "l2_event", "l2_topk", "bbo", "ticker", "candlestick", "l2_snapshot"}


def test_messages_of_coin_margined_contracts_are_refused():
    for pair in published("InverseSwap"):
        if pair["module"] in ("trade", "l2_event", "bbo") and "_perp@" in pair["raw"]:
            assert decode(pair["raw"].encode()).malformed


@pytest.mark.parametrize("name", ["depth20", "depth5@100ms", "rpiDepth@500ms"])
def test_a_book_that_is_not_the_whole_one_is_no_change_of_it(name):
    wrapped = b'{"stream":"btcusdt@%b","data":%b}'
    assert decode(wrapped % (b"depth@100ms", DEPTH)).books is not None
    assert decode(wrapped % (b"depth", DEPTH)).books is not None
    said = decode(wrapped % (name.encode(), DEPTH))
    assert said.books is None and said.ignored == 1 and not said.malformed


def test_a_snapshot_of_another_book_is_not_taken_for_the_whole_one():
    body = b'{"lastUpdateId":1027024,"E":1672515782136,"T":1672515782130,"bids":[],"asks":[]}'
    said = decode(DEPTH, rest("/fapi/v1/rpiDepth?symbol=BTCUSDT&limit=1000", body))
    assert said.books is not None and len(said.books.messages) == 1 and len(said.malformed) == 1


def test_a_perpetual_is_named_so_and_keeps_its_raw_name():
    definition = defined().by_symbol["BTCUSDT-PERP"].definition
    assert (definition.raw, definition.kind, definition.pair) == (
        "BTCUSDT",
        "PERPETUAL",
        "BTC/USDT",
    )
    assert (definition.settle, definition.contract_multiplier) == ("USDT", "1")
    assert (definition.tick_size, definition.lot_size) == ("0.1", "0.001")
    assert (definition.min_notional, definition.status) == ("100", "TRADING")
    assert definition.ts_listed == 1569398400000 * MS and definition.ts_expires == 0
    assert (definition.price_exponent, definition.quantity_exponent) == (-8, -6)


def test_a_dated_future_keeps_its_name_and_says_when_it_ends():
    instruments = defined(
        symbol="BTCUSDT_260327", contractType="NEXT_QUARTER", deliveryDate=1774598400000
    )
    definition = instruments.by_symbol["BTCUSDT_260327"].definition
    assert (definition.raw, definition.kind) == ("BTCUSDT_260327", "FUTURE")
    assert definition.ts_expires == 1774598400000 * MS


def test_a_perpetual_to_be_delisted_says_when():
    definition = defined(deliveryDate=1774598400000).by_symbol["BTCUSDT-PERP"].definition
    assert (definition.kind, definition.ts_expires) == ("PERPETUAL", 1774598400000 * MS)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("TRADING", "TRADING"),
        ("PENDING_TRADING", "HALTED"),
        ("PRE_SETTLE", "HALTED"),
        ("SETTLING", "HALTED"),
        ("CLOSE", "DELISTED"),
        ("DELIVERED", "DELISTED"),
    ],
)
def test_a_status_is_trading_a_pause_or_the_end(theirs, ours):
    assert defined(status=theirs).by_symbol["BTCUSDT-PERP"].definition.status == ours


def test_a_whole_answer_lists_our_symbols():
    said = decode(rest(VENUE.listing_paths[0], exchange_info()))
    assert said.listed == [Page(VENUE.listing_paths[0], frozenset({"BTCUSDT-PERP"}))]


def test_only_what_is_wanted_is_defined():
    instruments = Instruments(wanted=frozenset({"ETHUSDT-PERP"}))
    said = decode(rest("/fapi/v1/exchangeInfo", exchange_info()), instruments=instruments)
    assert not instruments.by_symbol and said.listed == [
        Page(VENUE.listing_paths[0], frozenset({"BTCUSDT-PERP"}))
    ]


def test_exponents_of_the_definition_are_those_of_the_records():
    said = decode(TRADE, MARK, instruments=defined())
    assert said.trades is not None and said.derivatives is not None and not said.malformed
    assert said.trades.records[0]["price"] == 6_180_030_000_000
    assert said.trades.records[0]["quantity"] == 6_000


def test_every_contract_of_a_real_exchange_info_is_defined():
    with gzip.open(capture("captures_cryptofeed/BINANCE_FUTURES.0.gz")) as lines:
        body = next(line for line in lines if b"exchangeInfo ->" in line).partition(b": ")[2]
    instruments = Instruments()
    assert not decode(body, instruments=instruments).malformed
    expected = {entry["symbol"]: entry for entry in orjson.loads(body)["symbols"]}
    assert len(expected) > 100 and instruments.by_raw.keys() == expected.keys()
    for raw, instrument in instruments.by_raw.items():
        entry, definition = expected[raw], instrument.definition
        dated = entry["contractType"] == "CURRENT_QUARTER"
        assert definition.kind == ("FUTURE" if dated else "PERPETUAL")
        assert definition.symbol == (raw if dated else f"{raw}-PERP")
        assert bool(definition.ts_expires) == dated
        filters = {f["filterType"]: f for f in entry["filters"]}
        assert Decimal(definition.tick_size) == Decimal(filters["PRICE_FILTER"]["tickSize"])
        assert Decimal(definition.lot_size) == Decimal(filters["LOT_SIZE"]["stepSize"])


@pytest.mark.parametrize(
    ("raw", "symbol", "kind"),
    [
        ("BTCUSDT", "BTCUSDT-PERP", "PERPETUAL"),
        ("ETHUSDC", "ETHUSDC-PERP", "PERPETUAL"),
        ("BTCUSDT_260327", "BTCUSDT_260327", "FUTURE"),
    ],
)
def test_a_capture_without_definitions_tells_the_contract_by_its_name(raw, symbol, kind):
    definition = VENUE.infer(raw)
    assert definition is not None and definition.source == "CAPTURE"
    assert (definition.symbol, definition.kind, definition.raw) == (symbol, kind, raw)
    assert VENUE.raw(symbol) == raw and VENUE.symbol(raw) == symbol


@pytest.mark.parametrize("raw", ["BTCUSD_PERP", "BTC-USDT", "NOBODY", "BTCUSDT_", "_260327"])
def test_names_that_are_none_of_this_product_are_not_guessed(raw):
    assert VENUE.infer(raw) is None


@pytest.mark.parametrize(
    "raw",
    [
        AGG_TRADE.replace(b"5933014", b"-1"),
        AGG_TRADE.replace(b'"m":true', b'"m":null'),
        AGG_TRADE.replace(b'"BTCUSDT"', b'"BTCUSD_PERP"'),
        QUOTE.replace(b'"T":1672515782137,', b""),
        DEPTH.replace(b'"pu":149', b'"pu":null'),
        DEPTH.replace(b'"pu":149,', b""),
        MARK.replace(b'"11794.15000000"', b"11794.15"),
        MARK.replace(b'"0.00038167"', b'"a little"'),
        FORCED.replace(b'"SELL"', b'"AWAY"'),
        FORCED.replace(b'"9910"', b'"?"'),
        KLINE.replace(b'"v":"1000",', b""),
        rest("/fapi/v1/openInterest?symbol=BTCUSDT", b'{"symbol":"BTCUSDT"}'),
        rest("/fapi/v1/fundingInfo", b'[{"symbol":"BTCUSDT"}]'),
        rest("/fapi/v1/unknown", b"{}"),
    ],
)
def test_what_is_not_understood_is_kept_with_a_reason_and_spares_its_neighbours(raw):
    said = decode(AGG_TRADE, raw, QUOTE, AGG_TRADE.replace(b"5933014", b"5933015"))
    assert [m.raw for m in said.malformed] == [raw] and said.malformed[0].reason
    assert said.trades is not None
    assert said.trades.records["trade_id"].tolist() == [5933014, 5933015]
    assert said.quotes is not None and len(said.quotes.records) == 1


def test_each_socket_has_its_path_and_its_streams():
    """As of the split of 2026-04-23: a stream on the wrong path stays silent."""
    streams = {}
    for socket in VENUE.sockets:
        (command,) = VENUE.subscriptions(socket, ["BTCUSDT-PERP", "BTCUSDT_260327"], first_id=3)
        said = orjson.loads(command.payload)
        assert (said["method"], said["id"]) == ("SUBSCRIBE", 3)
        streams[VENUE.url("wss://fstream.binance.com/", socket)] = said["params"]
    assert streams == {
        "wss://fstream.binance.com/public/stream": [
            f"{raw}@{name}"
            for raw in ("btcusdt", "btcusdt_260327")
            for name in ("bookTicker", "depth@100ms")
        ],
        "wss://fstream.binance.com/market/stream": [
            f"{raw}@{name}"
            for raw in ("btcusdt", "btcusdt_260327")
            for name in ("aggTrade", "markPrice@1s", "kline_1m", "forceOrder")
        ],
    }


def test_every_channel_says_how_it_is_proven():
    proofs = {c.kind: c.proof for socket in VENUE.sockets for c in socket.channels}
    assert [k for k, proof in proofs.items() if proof is Proof.CONTIGUOUS] == ["book", "trade"]
    assert len(proofs) == 6


def test_polls_stay_within_the_budget_however_many_instruments_there_are():
    for count in (1, 50, 600):
        polls = VENUE.polls([f"A{i}USDT-PERP" for i in range(count)])
        assert len(polls) == count + 1 and polls[0].path.endswith("?symbol=A0USDT")
        a_minute = sum(VENUE.weight(poll.path) * 60 / poll.every_s for poll in polls)
        assert a_minute < VENUE.weight_a_minute * 0.15
    assert VENUE.polls(["BTCUSDT-PERP"])[0].every_s == 10


@pytest.mark.parametrize(
    ("path", "weight"),
    [
        (VENUE.snapshot_path("BTCUSDT-PERP"), 20),
        ("/fapi/v1/depth?symbol=BTCUSDT", 5),
        ("/fapi/v1/depth?symbol=BTCUSDT&limit=50", 2),
        (VENUE.trades_paths("BTCUSDT-PERP", 7, 10)[0], 20),
        (VENUE.listing_paths[0], 1),
        (VENUE.time_path(), 1),
    ],
)
def test_requests_cost_what_the_document_says(path, weight):
    assert VENUE.weight(path) == weight


def test_no_minute_costs_more_than_the_venue_allows():
    limits = VENUE.limits
    assert limits.requests_per_s * (60 + limits.burst_s) <= VENUE.weight_a_minute * 0.95
    assert VENUE.used({"X-MBX-USED-WEIGHT-1M": "600"}) == 0.25


def test_holes_are_asked_for_by_id_and_then_among_the_newest():
    by_id, newest = VENUE.trades_paths("BTCUSDT-PERP", 7, 5000)
    assert by_id == "/fapi/v1/aggTrades?symbol=BTCUSDT&fromId=7&limit=1000"
    assert newest == "/fapi/v1/aggTrades?symbol=BTCUSDT&limit=1000"


def test_any_split_of_messages_decodes_to_the_same_records():
    raws = [AGG_TRADE, QUOTE, DEPTH, MARK, FORCED, KLINE, QUOTE, AGG_TRADE, MARK]
    whole, instruments = decode(*raws), Instruments(infer=VENUE.infer)
    parts = [VENUE.decode([NOW + i], [raw], instruments) for i, raw in enumerate(raws)]
    for kind in ("trades", "quotes", "derivatives", "liquidations", "venue_bars"):
        expected = getattr(whole, kind).records
        found = [getattr(part, kind).records for part in parts if getattr(part, kind) is not None]
        assert (np.concatenate(found) == expected).all()


def test_a_real_session_is_read_to_exactly_its_contents():
    """data/README.md: 6,551 depth (`pu`), 21,313 trade, 66,089 bookTicker; contiguous."""
    lines = list(CaptureFile(capture("binance_captures_hftbacktest/usdm/btcusdt_20240808.gz")))
    instruments = Instruments(infer=VENUE.infer)
    runs = [
        VENUE.decode(*zip(*lines[at : at + 5000], strict=True), instruments)
        for at in range(0, len(lines), 5000)
    ]
    assert list(instruments.by_symbol) == ["BTCUSDT-PERP"]
    assert not any(said.malformed or said.ignored or said.refused for said in runs)
    trade_ids = np.concatenate([r.trades.records["trade_id"] for r in runs if r.trades])
    assert len(trade_ids) == 21_313 and (np.diff(trade_ids) == 1).all()
    assert sum(len(r.quotes.records) for r in runs if r.quotes) == 66_089
    messages = np.concatenate([r.books.messages for r in runs if r.books])
    changes = messages[messages["snapshot"] == 0]
    assert len(changes) == 6_551 and len(messages) == 6_552
    assert (changes["previous_id"][1:] == changes["last_id"][:-1]).all()
