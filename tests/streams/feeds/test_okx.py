"""OKX's messages: what they become, exactly, and what is refused, never silently."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from tidemill.schemas.enums import AggressorSide, OrderSide, RecordFlag
from tidemill.schemas.events.feed import TradeGapDetected
from tidemill.schemas.exact import to_int
from tidemill.streams.feeds.capture import rest_message
from tidemill.streams.feeds.feed import NO_CHECKSUM, UNCHAINED, Instruments, Page, Said
from tidemill.streams.feeds.intake import Intake
from tidemill.streams.feeds.items import Fact
from tidemill.streams.feeds.okx import Okx
from tidemill.streams.feeds.okx_instruments import product_of

FIXTURES = Path(os.environ.get("TIDEMILL_DATA", "../shared/data")) / (
    "exchange_message_fixtures/nautilus_okx.json"
)
MS = 1_000_000
SPOT, SWAP, FUTURES = Okx("SPOT"), Okx("SWAP"), Okx("FUTURES")
NOW = 1630048897900 * MS


def decode(*raws: Any, venue: Okx = SPOT, instruments: Instruments | None = None) -> Said:
    messages = [raw if isinstance(raw, bytes) else orjson.dumps(raw) for raw in raws]
    received = [NOW + at for at in range(len(messages))]
    return venue.decode(received, messages, instruments or Instruments(infer=venue.infer))


def push(channel: str, data: Any, instrument: str = "BTC-USDT", **more: Any) -> dict[str, Any]:
    return {"arg": {"channel": channel, "instId": instrument}, **more, "data": data}


def trade(trade_id: int, **more: str) -> dict[str, str]:
    return {
        "instId": "BTC-USDT", "tradeId": str(trade_id), "px": "42219.9", "sz": "0.12060306",
        "side": "buy", "ts": "1630048897897", **more,
    }  # fmt: skip


def book(last: int, previous: int, bids: Any = (), asks: Any = (), **more: Any) -> dict[str, Any]:
    return {"asks": asks, "bids": bids, "ts": "1597026383085", "checksum": 0,
            "prevSeqId": previous, "seqId": last, **more}  # fmt: skip


def fixture(name: str) -> Any:
    if not FIXTURES.exists():
        pytest.skip(f"no fixtures at {FIXTURES}: set TIDEMILL_DATA")
    return orjson.loads(FIXTURES.read_bytes())[f"crates/adapters/okx/test_data/{name}"]


# trades


def test_a_trade_of_trades_all_is_exact_and_alone():
    said = decode(push("trades-all", [trade(130639474, source="0")]))
    assert said.trades is not None and not said.malformed and said.firsts is None
    (record,) = said.trades.records
    assert record["trade_id"] == 130639474 and record["flags"] == 0
    assert record["price"] == 4_221_990_000_000 and record["quantity"] == 12_060_306
    assert record["ts_event"] == 1630048897897 * MS and record["ts_recv"] == NOW
    assert record["aggressor_side"] == AggressorSide.BUYER
    assert said.lead_ns == -3 * MS


def test_a_seller_who_takes_is_the_aggressor():
    said = decode(push("trades-all", [trade(1, side="sell")]))
    assert said.trades is not None
    assert said.trades.records["aggressor_side"].tolist() == [AggressorSide.SELLER]


def test_an_aggregate_stands_for_the_ids_up_to_its_own():
    """The document: tradeId = 123 and count = 3 aggregates 123, 122 and 121."""
    said = decode(push("trades", [trade(123, count="3", source="0")]))
    assert said.trades is not None and said.firsts is not None
    assert said.trades.records["trade_id"].tolist() == [123]
    assert said.trades.records["flags"].tolist() == [RecordFlag.AGGREGATE]
    assert said.firsts.tolist() == [121]


def test_every_trade_of_a_run_with_an_aggregate_has_its_first_id():
    said = decode(
        push("trades-all", [trade(120)]),
        push("trades", [trade(123, count="3"), trade(124, count="1")]),
        push("trades-all", [trade(125)]),
    )
    assert said.trades is not None and said.firsts is not None
    assert said.trades.records["trade_id"].tolist() == [120, 123, 124, 125]
    assert said.firsts.tolist() == [120, 121, 124, 125]
    assert said.trades.records["flags"].tolist() == [0, RecordFlag.AGGREGATE, 0, 0]


def test_aggregates_that_follow_each_other_are_no_holes_and_what_they_leave_out_is_one():
    intake = Intake(SPOT, Instruments(infer=SPOT.infer))
    items = intake.take(
        [NOW] * 3,
        [
            orjson.dumps(push("trades", [trade(120), trade(123, count="3")])),
            orjson.dumps(push("trades", [trade(125, count="2")])),
            orjson.dumps(push("trades", [trade(130, count="3")])),
        ],
    )
    events = [item.event for item in items if isinstance(item, Fact)]
    (gap,) = [event for event in events if isinstance(event, TradeGapDetected)]
    assert (gap.first_id, gap.last_id) == (126, 127)
    batches = [i for i in items if not isinstance(i, Fact) and i.kind.name == "trade"]
    appended = [int(i) for batch in batches for i in batch.records["trade_id"]]
    assert appended == [120, 123, 125] and intake.missing() == [("BTC-USDT", 126, 127)]


def test_what_met_an_order_for_retail_price_improvement_says_so():
    said = decode(
        push("trades-all", [trade(1, source="1"), trade(2, source="0"), trade(3)]),
        push("trades", [trade(6, count="3", source="1")]),
    )
    assert said.trades is not None
    both = RecordFlag.RPI | RecordFlag.AGGREGATE
    assert said.trades.records["flags"].tolist() == [RecordFlag.RPI, 0, 0, both]


def test_an_aggregate_of_nothing_is_refused():
    said = decode(push("trades", [trade(123, count="0")]))
    assert said.trades is None and len(said.malformed) == 1


def test_trades_that_rest_answers_are_turned_round_and_flagged():
    path = "/api/v5/market/history-trades?instId=BTC-USDT&type=1&after=13&limit=2"
    body = orjson.dumps({"code": "0", "msg": "", "data": [trade(12), trade(11)]})
    said = decode(rest_message(path, body))
    assert said.trades is not None and said.lead_ns is None
    assert said.trades.records["trade_id"].tolist() == [11, 12]
    assert set(said.trades.records["flags"].tolist()) == {RecordFlag.FILLED}


def test_the_published_trades_are_contiguous():
    answer = fixture("http_get_trades.json")
    said = decode(rest_message("/api/v5/market/trades?instId=BTC-USDT", orjson.dumps(answer)))
    assert said.trades is not None
    assert said.trades.records["trade_id"].tolist() == [734864332, 734864333]
    aggregated = decode(fixture("ws_trades.json"))
    assert aggregated.firsts is not None and aggregated.firsts.tolist() == [130639472]


def test_a_hole_is_asked_by_the_id_after_it():
    first, then = SPOT.trades_paths("BTC-USDT", 101, 3)
    assert first == "/api/v5/market/history-trades?instId=BTC-USDT&type=1&after=104&limit=3"
    assert then == "/api/v5/market/trades?instId=BTC-USDT&limit=500"
    assert SPOT.trades_paths("BTC-USDT", 1, 5000)[0].endswith("&after=101&limit=100")


# books


def test_books_are_chained_by_the_ids_of_the_document():
    """Snapshot, change, no change, numbers that began anew, change: the document's example."""
    level = [["8476.97", "256", "0", "12"]]
    said = decode(
        push("books", [book(10, -1, level, [["8476.98", "415", "0", "13"]])], action="snapshot"),
        push("books", [book(15, 10, level)], action="update"),
        push("books", [book(15, 15)], action="update"),
        push("books", [book(3, 15, level)], action="update"),
        push("books", [book(5, 3, [["8476.97", "0", "0", "0"]])], action="update"),
    )
    assert said.books is not None and not said.malformed
    messages = said.books.messages
    assert messages["snapshot"].tolist() == [1, 0, 0, 0, 0] and not messages["rest"].any()
    assert messages["previous_id"].tolist() == [-1, 10, 15, 15, 3]
    assert messages["last_id"].tolist() == [10, 15, 15, 3, 5]
    assert messages["first_id"].tolist() == [10, 11, 15, 3, 4]
    assert messages["count"].tolist() == [2, 1, 0, 1, 1]
    assert set(messages["checksum"].tolist()) == {NO_CHECKSUM}, "0 is no checksum any more"
    levels = said.books.levels
    assert levels["price"].tolist() == [847697000000, 847698000000] + [847697000000] * 3
    assert levels["quantity"].tolist() == [25600000000, 41500000000, 25600000000, 25600000000, 0]
    assert levels["side"].tolist() == [OrderSide.BUY, OrderSide.SELL] + [OrderSide.BUY] * 3


def test_the_published_books_are_read_with_their_checksum():
    said = decode(fixture("ws_books_snapshot.json"), fixture("ws_books_update.json"))
    assert said.books is not None and len(said.books.levels) == 32
    assert said.books.messages["checksum"].tolist() == [-855196043, -855196043]
    assert said.books.messages["previous_id"].tolist() == [-1, 123456]


def test_a_checksum_that_is_absent_is_none():
    message = book(10, -1)
    del message["checksum"]
    said = decode(push("books", [message], action="snapshot"))
    assert said.books is not None and said.books.messages["checksum"].tolist() == [NO_CHECKSUM]


def test_a_change_of_old_without_ids_is_proven_by_its_checksum_alone():
    old = {
        "asks": [["2", "1", "0", "1"]],
        "bids": [],
        "ts": "1652459225464",
        "checksum": -914047754,
    }
    said = decode(push("books", [old], action="update"))
    assert said.books is not None
    (message,) = said.books.messages
    assert message["previous_id"] == UNCHAINED and message["last_id"] == 1652459225464
    without = decode(push("books", [{**old, "checksum": 0}], action="update"))
    assert without.books is None and len(without.malformed) == 1, "nothing proves it"


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("snapshot", book(10, 9)),
        ("update", book(10, -1)),
        ("update", book(10, 10, [["1", "1", "0", "1"]])),
        ("delta", book(10, 9)),
        ("update", book(10, 9, [["1"]])),
        ("update", book(10, 9, [["-1", "1", "0", "1"]])),
        ("update", book(10, 9, [["1", "-1", "0", "1"]])),
        ("update", {**book(10, 9), "seqId": "10"}),
    ],
)
def test_a_book_message_unlike_the_document_is_malformed_and_spares_its_neighbours(action, message):
    good = push("books", [book(20, -1)], action="snapshot")
    said = decode(good, push("books", [message], action=action), good)
    assert said.books is not None and len(said.books.messages) == 2
    assert len(said.malformed) == 1


def test_a_snapshot_of_rest_has_the_id_to_place_it():
    level = [["41006.8", "0.6", "0", "1"]]
    body = {"code": "0", "msg": "", "data": [{"asks": level, "bids": [], "ts": "1704067200000",
                                              "seqId": 3235851742}]}  # fmt: skip
    path = "/api/v5/market/books?instId=BTC-USDT&sz=400"
    said = decode(rest_message(path, orjson.dumps(body)))
    assert said.books is not None
    (message,) = said.books.messages
    assert message["snapshot"] == message["rest"] == 1 and message["last_id"] == 3235851742
    old = decode(rest_message(path, orjson.dumps(fixture("http_get_order_book.json"))))
    assert old.books is None and old.ignored == 1 and not old.malformed


# quotes and bars


def test_the_best_levels_have_the_id_of_the_book():
    said = decode(fixture("ws_bbo_tbt.json"))
    assert said.quotes is not None
    (quote,) = said.quotes.records
    assert quote["update_id"] == 123456 and quote["ts_event"] == 1597026383085 * MS
    values = [quote[n] for n in ("bid_price", "bid_quantity", "ask_price", "ask_quantity")]
    assert values == [847697000000, 25600000000, 847698000000, 41500000000]


def test_an_empty_side_is_zero():
    best = {"asks": [], "bids": [["1", "2", "0", "1"]], "ts": "1597026383085", "seqId": 7}
    said = decode(push("bbo-tbt", [best]))
    assert said.quotes is not None
    (quote,) = said.quotes.records
    assert quote["ask_price"] == quote["ask_quantity"] == 0 and quote["bid_price"] == 10**8


def test_a_ticker_is_a_quote_whose_id_is_its_time():
    said = decode(fixture("ws_tickers.json"))
    assert said.quotes is not None
    (quote,) = said.quotes.records
    assert quote["update_id"] == 1597026383085 and quote["ask_price"] == 999999000000


def test_only_closed_bars_count():
    row = ["1597026360000", "8533.02", "8553.74", "8527.17", "8548.26", "45247", "529.5858061",
           "5529.5858061", "1"]  # fmt: skip
    said = decode(push("candle1m", [row]), push("candle1m", [[*row[:-1], "0"]]))
    assert said.venue_bars is not None and said.ignored == 1
    (bar,) = said.venue_bars.records
    assert bar["ts_open"] == 1597026360000 * MS and bar["interval_s"] == 60
    assert bar["ts_event"] == 1597026420000 * MS
    assert [bar[n] for n in ("open", "high", "low", "close")] == [
        853302000000, 855374000000, 852717000000, 854826000000,
    ]  # fmt: skip
    assert to_int(bar["volume_hi"], bar["volume_lo"]) == 45247 * 10**8
    assert to_int(bar["quote_volume_hi"], bar["quote_volume_lo"]) == 55295858061 * 10**9


def test_the_published_bars_of_rest_come_in_order():
    answer = fixture("http_get_candlesticks_full.json")
    path = "/api/v5/market/candles?instId=BTC-USDT-SWAP&bar=1m"
    said = decode(rest_message(path, orjson.dumps(answer)), venue=SWAP)
    assert said.venue_bars is not None
    opens = said.venue_bars.records["ts_open"] // MS
    assert opens.tolist() == [1747093980000, 1747094040000]
    bar = said.venue_bars.records[0]
    assert to_int(bar["volume_hi"], bar["volume_lo"]) == 716404 * 10**6
    assert bar["quote_volume_lo"] == 0, "what contracts cost is in the quote currency"


# derivatives


def test_a_funding_rate_is_paid_at_its_own_time_not_the_next():
    row = {
        "formulaType": "noRate", "fundingRate": "0.0001875391284828",
        "fundingTime": "1700726400000", "impactValue": "", "instId": "BTC-USD-SWAP",
        "instType": "SWAP", "method": "current_period", "nextFundingRate": "",
        "nextFundingTime": "1700755200000", "ts": "1700724675402",
    }  # fmt: skip
    said = decode(push("funding-rate", [row], "BTC-USD-SWAP"), venue=SWAP)
    assert said.derivatives is not None and not said.malformed
    (record,) = said.derivatives.records
    assert record["funding_rate"] == 187_539_128, "16 decimals, rounded to 12"
    assert record["next_funding_time"] == 1700726400000 * MS
    assert record["funding_interval_s"] == 8 * 3600
    assert record["fields"] == 0b011100 and record["mark_price"] == 0


def test_every_derivative_message_says_which_fields_it_gave():
    mark = {"instType": "SWAP", "instId": "BTC-USDT-SWAP", "markPx": "84660.1",
            "ts": "1744590349506"}  # fmt: skip
    index = {"instId": "BTC-USDT", "idxPx": "103895.123456789", "ts": "1746942707815"}
    interest = {"instId": "BTC-USDT-SWAP", "instType": "SWAP", "oi": "2216113.01000000309",
                "oiCcy": "22161.1301", "ts": "1743041250440"}  # fmt: skip
    said = decode(
        push("mark-price", [mark], "BTC-USDT-SWAP"),
        push("index-tickers", [index]),
        push("open-interest", [interest], "BTC-USDT-SWAP"),
        venue=SWAP,
    )
    assert said.derivatives is not None and not said.malformed
    records = said.derivatives.records
    assert records["fields"].tolist() == [0b1, 0b10, 0b100000]
    assert records["mark_price"].tolist() == [8466010000000, 0, 0]
    assert records["index_price"].tolist() == [0, 10389512345679, 0]
    assert records["open_interest"].tolist() == [0, 0, 221611301000000]


def test_the_published_derivative_messages_are_read():
    funding = decode(fixture("ws_funding_rate.json"), venue=SWAP)
    assert funding.derivatives is not None
    assert funding.derivatives.records["funding_rate"].tolist() == [100_000_000]
    for name, path, field in (
        ("http_get_mark_price.json", "/api/v5/public/mark-price?instType=SWAP", "mark_price"),
        (
            "http_get_index_price.json",
            "/api/v5/market/index-tickers?instId=BTC-USDT",
            "index_price",
        ),
    ):
        said = decode(rest_message(path, orjson.dumps(fixture(name))), venue=SWAP)
        assert said.derivatives is not None and said.derivatives.records[field][0] > 0


def test_a_liquidation_has_the_side_of_its_order():
    data = [
        {
            "details": [{"bkLoss": "0", "bkPx": "0.007831", "ccy": "", "posSide": "short",
                         "side": "buy", "sz": "13", "ts": "1692266434010"}],
            "instFamily": "IOST-USDT", "instId": "IOST-USDT-SWAP", "instType": "SWAP",
            "uly": "IOST-USDT",
        }
    ]  # fmt: skip
    message = {"arg": {"channel": "liquidation-orders", "instType": "SWAP"}, "data": data}
    said = decode(message, venue=SWAP)
    assert said.liquidations is not None
    (record,) = said.liquidations.records
    assert record["side"] == OrderSide.BUY and record["ts_event"] == 1692266434010 * MS
    assert record["price"] == 783100 and record["quantity"] == 13 * 10**8
    assert record["average_price"] == record["filled_quantity"] == 0
    wanted = Instruments(infer=SWAP.infer, wanted=frozenset({"BTC-USDT-SWAP"}))
    others = decode(message, venue=SWAP, instruments=wanted)
    assert others.liquidations is None and others.ignored == 1 and not others.malformed


# instruments


def test_the_published_spot_instruments_are_defined():
    instruments = Instruments()
    path = "/api/v5/public/instruments?instType=SPOT"
    answer = fixture("http_get_instruments_spot.json")
    said = decode(rest_message(path, orjson.dumps(answer)), instruments=instruments)
    assert not said.malformed and said.listed == [
        Page(SPOT.listing_paths[0], frozenset(e["instId"] for e in answer["data"]))
    ]
    definition = instruments.by_symbol["BTC-USD"].definition
    assert (definition.base, definition.quote, definition.kind) == ("BTC", "USD", "SPOT")
    assert (definition.tick_size, definition.lot_size) == ("0.1", "0.00000001")
    assert (definition.price_exponent, definition.quantity_exponent) == (-4, -8)
    assert definition.ts_listed == 1733454000000 * MS and definition.ts_expires == 0
    assert definition.contract_multiplier == "1" and not definition.inverse


def test_the_published_swaps_know_what_a_contract_is():
    instruments = Instruments()
    path = "/api/v5/public/instruments?instType=SWAP"
    answer = orjson.dumps(fixture("http_get_instruments_swap.json"))
    said = decode(rest_message(path, answer), venue=SWAP, instruments=instruments)
    assert not said.malformed
    inverse = instruments.by_symbol["BTC-USD-SWAP"].definition
    assert inverse.inverse and inverse.contract_multiplier == "100" and inverse.settle == "BTC"
    linear = instruments.by_symbol["ETH-USDT-SWAP"].definition
    assert not linear.inverse and linear.contract_multiplier == "0.1" and linear.settle == "USDT"
    assert linear.pair == "ETH/USDT" and linear.kind == "PERPETUAL"
    assert linear.quantity_exponent == -4, "two decimals more than the lot of 0.01"


def test_the_published_futures_expire():
    instruments = Instruments()
    path = "/api/v5/public/instruments?instType=FUTURES"
    answer = orjson.dumps(fixture("http_get_instruments_futures.json"))
    said = decode(rest_message(path, answer), venue=FUTURES, instruments=instruments)
    assert not said.malformed
    definition = instruments.by_symbol["BTC-USD-241220"].definition
    assert definition.kind == "FUTURE" and definition.ts_expires == 1734681600000 * MS


def test_an_instrument_that_changes_is_defined_again():
    instruments = Instruments()
    message = fixture("ws_instruments.json")
    decode(message, venue=SWAP, instruments=instruments)
    decode(message, venue=SWAP, instruments=instruments)
    assert [d.status for d in instruments.fresh] == ["TRADING"], "the same says nothing new"
    for state, status in (("suspend", "HALTED"), ("expired", "DELISTED")):
        message["data"][0]["state"] = state
        decode(message, venue=SWAP, instruments=instruments)
        assert instruments.fresh[-1].status == status


def test_an_entry_that_is_not_understood_spares_the_others():
    answer = fixture("http_get_instruments_swap.json")
    broken = [{**answer["data"][0], "ctVal": "x"}, {**answer["data"][0], "tickSz": None}]
    instruments = Instruments()
    body = orjson.dumps({**answer, "data": broken + answer["data"]})
    path = "/api/v5/public/instruments?instType=SWAP"
    said = decode(rest_message(path, body), venue=SWAP, instruments=instruments)
    assert len(said.malformed) == 2 and "BTC-USD-SWAP" in instruments.by_symbol


def test_another_products_list_says_nothing_of_ours():
    path = "/api/v5/public/instruments?instType=SPOT"
    answer = orjson.dumps(fixture("http_get_instruments_spot.json"))
    instruments = Instruments()
    said = decode(rest_message(path, answer), venue=SWAP, instruments=instruments)
    assert said.listed == [] and not instruments.by_symbol and not said.malformed


@pytest.mark.parametrize(
    ("raw", "product"),
    [("BTC-USDT", "SPOT"), ("BTC-USDT-SWAP", "SWAP"), ("BTC-USD-220527", "FUTURES"),
     ("BTC-USD-220514-22000-C", ""), ("BTC", "")],
)  # fmt: skip
def test_the_product_is_read_from_the_instrument_id(raw, product):
    assert product_of(raw) == product


# the connection


def test_another_products_messages_are_ignored():
    """OKX's sockets carry every product: a capture of one connection serves all of them."""
    said = decode(push("trades-all", [trade(1)], "BTC-USDT-SWAP"), push("trades-all", [trade(1)]))
    assert said.trades is not None and len(said.trades.records) == 1 and said.ignored == 1


def test_an_instrument_that_is_wanted_and_not_defined_is_malformed():
    said = decode(push("trades-all", [trade(1)]), instruments=Instruments())
    assert said.trades is None and "not defined" in said.malformed[0].reason


def test_pongs_are_no_messages():
    said = decode(b"pong", push("trades-all", [trade(1)]), b"pong")
    assert said.trades is not None and said.ignored == 2 and not said.malformed
    assert said.trades.records["ts_recv"].tolist() == [NOW + 1]
    assert decode(b"pong").ignored == 1


def test_each_argument_is_acknowledged_by_the_commands_id():
    acknowledgement = {"id": "12", "event": "subscribe", "connId": "a4d3ae55",
                       "arg": {"channel": "books", "instId": "BTC-USDT"}}  # fmt: skip
    refusal = {"id": "13", "event": "error", "code": "60018", "msg": "doesn't exist.",
               "connId": "a4d3ae55"}  # fmt: skip
    said = decode(acknowledgement, refusal, {**acknowledgement, "event": "unsubscribe"})
    assert said.acknowledged == [12, 12] and said.refused == ["60018 doesn't exist."]


def test_a_channel_that_an_instrument_does_not_have_does_not_refuse_the_others():
    text = "Wrong URL or channel:index-tickers,instId:A-USDT doesn't exist."
    refusal = {"id": "13", "event": "error", "code": "60018", "connId": "a4d3ae55", "msg": text}
    said = decode(refusal)
    assert said.acknowledged == [13] and len(said.refused) == 1


def test_a_notice_of_a_service_upgrade_is_a_shutdown():
    notice = {
        "event": "notice",
        "code": "64008",
        "connId": "a4d3ae55",
        "msg": "The connection will soon be closed for a service upgrade. Please reconnect.",
    }
    assert decode(notice).shutdown  # fmt: skip
    assert not decode({**notice, "code": "64009"}).shutdown


def test_a_refusal_of_rest_is_told():
    body = b'{"code":"50011","msg":"Too Many Requests","data":[]}'
    said = decode(rest_message("/api/v5/public/time", body))
    assert said.refused == ["/api/v5/public/time: 50011 Too Many Requests"]


def test_the_venues_time_is_its_clock():
    body = b'{"code":"0","msg":"","data":[{"ts":"1630048897950"}]}'
    assert decode(rest_message("/api/v5/public/time", body)).lead_ns == 50 * MS


@pytest.mark.parametrize("raw", [b"{}", b"nonsense", b"[]", b'{"arg":{},"data":[]}', b"\xff"])
def test_what_is_no_message_of_the_venue_is_malformed(raw):
    assert len(decode(raw).malformed) == 1


def test_commands_name_every_channel_and_count_their_answers():
    for venue, per_symbol, by_type in ((SPOT, 4, 1), (SWAP, 8, 2), (FUTURES, 6, 2)):
        symbols = ["BTC-USDT-SWAP", "ETH-USDT-SWAP"]
        commands = [c for socket in venue.sockets for c in venue.subscriptions(socket, symbols)]
        arguments = [a for c in commands for a in orjson.loads(c.payload)["args"]]
        assert len(arguments) == sum(c.answers for c in commands) == 2 * per_symbol + by_type
        assert all(socket.keep_alive == b"ping" for socket in venue.sockets)
    assert {"channel": "index-tickers", "instId": "BTC-USDT"} in [
        a for s in SWAP.sockets for c in SWAP.subscriptions(s, ["BTC-USDT-SWAP"])
        for a in orjson.loads(c.payload)["args"]
    ]  # fmt: skip


def test_a_command_stays_below_64_kb_and_ids_count_up():
    symbols = [f"{number:020}-USDT-SWAP" for number in range(1000)]
    commands = SWAP.subscriptions(SWAP.sockets[0], symbols, first_id=7)
    assert [orjson.loads(c.payload)["id"] for c in commands] == ["7", "8", "9", "10"]
    assert max(len(c.payload) for c in commands) < 64 << 10


def test_a_fresh_snapshot_comes_of_subscribing_anew():
    public, derivatives, business = SWAP.sockets
    away, again = SWAP.resubscriptions(public, ["BTC-USDT-SWAP"], first_id=5)
    arguments = [{"channel": "books", "instId": "BTC-USDT-SWAP"}]
    assert orjson.loads(away.payload) == {"id": "5", "op": "unsubscribe", "args": arguments}
    assert orjson.loads(again.payload) == {"id": "6", "op": "subscribe", "args": arguments}
    for socket in (derivatives, business):
        assert SWAP.resubscriptions(socket, ["BTC-USDT-SWAP"]) == []
    assert SWAP.snapshot_path("BTC-USDT-SWAP") is None


def test_business_has_a_path_of_its_own():
    urls = [SWAP.url("wss://ws.okx.com/", socket) for socket in SWAP.sockets]
    assert urls == ["wss://ws.okx.com/ws/v5/public"] * 2 + ["wss://ws.okx.com/ws/v5/business"]


def test_a_run_is_its_messages_one_by_one():
    messages = [
        orjson.dumps(m)
        for m in (
            push("trades-all", [trade(1), trade(2)]),
            push("books", [book(10, -1, [["1", "1", "0", "1"]])], action="snapshot"),
            push("trades", [trade(5, count="3")]),
            push("books", [book(11, 10, [], [["2", "1", "0", "1"]])], action="update"),
            push("candle1m", [["1597026360000", *["1"] * 7, "1"]]),
        )
    ]
    whole, parts = decode(*messages), [decode(m) for m in messages]
    for name in ("trades", "venue_bars"):
        each = [d.records for p in parts if (d := getattr(p, name)) is not None]
        joined = np.concatenate(each)
        joined["ts_recv"] = getattr(whole, name).records["ts_recv"]
        assert joined.tobytes() == getattr(whole, name).records.tobytes()
    levels = np.concatenate([p.books.levels for p in parts if p.books is not None])
    assert whole.books is not None and levels.tobytes() == whole.books.levels.tobytes()
