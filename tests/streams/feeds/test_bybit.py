"""Bybit's messages: what they become, exactly, and what is refused, never silently."""

import gzip
import io
import os
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from tidemill.schemas.enums import AggressorSide, OrderSide, RecordFlag
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.streams.feeds.bybit import CHANNELS, Bybit
from tidemill.streams.feeds.bybit_messages import identity
from tidemill.streams.feeds.feed import Instruments, Page, Proof, Said
from tidemill.streams.feeds.registry import venue_of

DATA = Path(os.environ.get("TIDEMILL_DATA", "../shared/data"))
CAPTURE = "captures_cryptofeed/BYBIT_v5_linear_20260809.jsonl.gz"
FIXTURE = "crates/adapters/bybit/test_data/"
SPOT, LINEAR = Bybit("SPOT"), Bybit("LINEAR")
MS = 1_000_000
AT = 1672304486868 * MS

TRADE = {
    "topic": "publicTrade.BTCUSDT",
    "type": "snapshot",
    "ts": 1672304486868,
    "data": [
        {
            "T": 1672304486865, "s": "BTCUSDT", "S": "Buy", "v": "0.001", "p": "16578.50",
            "L": "PlusTick", "i": "20f43950-d8dd-5b31-9112-a178eb6023af", "BT": False,
            "seq": 1783284617,
        }
    ],
}  # fmt: skip
BOOK = {
    "topic": "orderbook.1000.BTCUSDT",
    "type": "delta",
    "ts": 1687940967466,
    "data": {
        "s": "BTCUSDT",
        "b": [["30247.20", "30.028"], ["30245.40", "0"]],
        "a": [["30248.70", "0"], ["30251.90", "15.112"]],
        "u": 177400507,
        "seq": 66544703342,
    },
    "cts": 1687940967464,
}


def data(name: str) -> Path:
    if not (path := DATA / name).exists():
        pytest.skip(f"no {path}: set TIDEMILL_DATA")
    return path


def fixture(name: str) -> Any:
    return orjson.loads(data("exchange_message_fixtures/nautilus_bybit.json").read_bytes())[
        FIXTURE + name
    ]


def decode(
    *messages: Any, venue: Bybit = LINEAR, instruments: Instruments | None = None, at: int = AT
) -> Said:
    raws = [orjson.dumps(message) for message in messages]
    received = [at + i for i in range(len(raws))]
    return venue.decode(received, raws, instruments or Instruments(infer=venue.infer))


def rest(path: str, body: Any) -> dict[str, Any]:
    return {"stream": f"rest:{path}", "data": body}


def listing(entry: dict[str, Any], product: str = "LINEAR") -> InstrumentDefined:
    instruments = Instruments()
    body = {"retCode": 0, "retMsg": "OK", "result": {"list": [entry], "nextPageCursor": ""}}
    path = "/v5/market/instruments-info?category=linear&limit=1000"
    said = decode(rest(path, body), venue=Bybit(product), instruments=instruments)
    assert not said.malformed, said.malformed
    return instruments.by_index[0].definition


# trades


def test_a_trade_as_the_document_shows_it_is_exact():
    said = decode(TRADE)
    assert said.trades is not None and said.identities is not None and not said.malformed
    (trade,) = said.trades.records
    assert trade["price"] == 1657850000000 and trade["quantity"] == 100000
    assert trade["trade_id"] == 1783284617, "the venue's sequence"
    assert trade["ts_event"] == 1672304486865 * MS and trade["ts_recv"] == AT
    assert trade["aggressor_side"] == AggressorSide.BUYER and trade["flags"] == 0
    assert said.lead_ns == 0
    assert said.identities.tolist() == [0x20F43950D8DD5B31 ^ 0x9112A178EB6023AF]


def test_a_block_trade_is_marked_and_a_seller_who_takes_is_the_aggressor():
    block = TRADE["data"][0] | {"BT": True, "S": "Sell"}  # type: ignore[index]
    said = decode(TRADE | {"data": [block]})
    assert said.trades is not None
    assert said.trades.records[0]["flags"] == RecordFlag.BLOCK
    assert said.trades.records[0]["aggressor_side"] == AggressorSide.SELLER


def test_what_met_an_order_for_retail_price_improvement_says_so():
    retail = TRADE["data"][0] | {"RPI": True}  # type: ignore[index]
    said = decode(TRADE | {"data": [retail, retail | {"BT": True}]})
    assert said.trades is not None
    both = RecordFlag.RPI | RecordFlag.BLOCK
    assert said.trades.records["flags"].tolist() == [RecordFlag.RPI, both]


def test_spot_trades_are_told_apart_by_their_numbers():
    trade = TRADE["data"][0] | {"i": "2290000000036455162"}  # type: ignore[index]
    said = decode(TRADE | {"data": [trade]}, venue=SPOT)
    assert said.identities is not None and said.identities.tolist() == [2290000000036455162]
    assert said.trades is not None


def test_any_text_is_an_identity_of_64_bits():
    texts = ["1", "2", "99999999999999999999", "x", "", "20f43950-d8dd-5b31-9112-a178eb6023af"]
    assert len({identity(text) for text in texts}) == len(texts)
    assert all(0 <= identity(text) < 1 << 64 for text in texts)


def test_a_message_with_one_bad_trade_is_refused_whole_and_spares_its_neighbours():
    bad = TRADE | {"data": [TRADE["data"][0], {"T": 1, "s": "BTCUSDT"}]}  # type: ignore[index]
    said = decode(TRADE, bad, TRADE | {"data": [TRADE["data"][0] | {"p": "1e"}]}, TRADE)  # type: ignore[index]
    assert said.trades is not None and len(said.trades.records) == 2
    assert said.identities is not None and len(said.identities) == 2
    assert len(said.malformed) == 2


def test_recent_trades_come_in_order_and_are_marked_as_filled():
    body = fixture("http_get_trades_recent.json")
    older = body["result"]["list"][0]
    newer = older | {
        "execId": "b905d5c3-1ed0-4f37-83e4-9c73a2fe2f01", "time": "1709891679001", "seq": "77",
        "isBlockTrade": True, "isRPITrade": True,
    }  # fmt: skip
    body["result"]["list"] = [newer, older]
    said = decode(rest("/v5/market/recent-trade?category=linear&symbol=BTCUSDT", body))
    assert said.trades is not None and not said.malformed
    assert said.trades.records["ts_event"].tolist() == [1709891679000 * MS, 1709891679001 * MS]
    assert said.trades.records["trade_id"].tolist() == [0, 77]
    flags = said.trades.records["flags"].tolist()
    own = RecordFlag.BLOCK | RecordFlag.RPI
    assert flags == [RecordFlag.FILLED, RecordFlag.FILLED | own]


# books and quotes


def test_a_change_of_the_book_follows_the_update_before():
    said = decode(BOOK)
    assert said.books is not None and not said.malformed
    (message,) = said.books.messages
    assert (message["first_id"], message["last_id"], message["previous_id"]) == (
        177400507, 177400507, 177400506,
    )  # fmt: skip
    assert message["ts_event"] == 1687940967464 * MS, "the matching engine's time"
    assert not message["snapshot"] and not message["rest"]
    sides = said.books.levels["side"].tolist()
    assert sides == [OrderSide.BUY, OrderSide.BUY, OrderSide.SELL, OrderSide.SELL]
    assert said.books.levels["quantity"].tolist() == [3002800000, 0, 0, 1511200000]


@pytest.mark.parametrize("kind", ["snapshot", "delta"])
def test_update_1_is_a_snapshot_after_a_restart_of_the_service(kind: str):
    restarted = BOOK | {"type": kind, "data": BOOK["data"] | {"u": 1}}  # type: ignore[operator]
    said = decode(restarted)
    assert said.books is not None
    assert said.books.messages[0]["snapshot"] and said.books.messages[0]["previous_id"] == -1


def test_a_book_in_the_topic_of_another_instrument_is_refused():
    said = decode(BOOK | {"topic": "orderbook.1000.ETHUSDT"})
    assert said.books is None and len(said.malformed) == 1


def test_depth_1_is_a_quote_with_the_cross_sequence_as_its_id():
    said = decode(fixture("ws_orderbook_snapshot.json"), fixture("ws_orderbook_delta.json"))
    assert said.quotes is not None and said.books is None
    (quote,) = said.quotes.records
    values = [quote[n] for n in ("bid_price", "bid_quantity", "ask_price", "ask_quantity")]
    assert values == [2745000000000, 50000000, 2745100000000, 75000000]
    assert quote["update_id"] == 987654321
    assert [m.reason.split(":")[0] for m in said.malformed] == ["Unreadable"], "no delta of it"


def test_a_side_without_levels_is_a_quote_of_nothing():
    empty = fixture("ws_orderbook_snapshot.json")
    empty["data"]["b"] = []
    said = decode(empty)
    assert said.quotes is not None
    assert said.quotes.records[0]["bid_price"] == said.quotes.records[0]["bid_quantity"] == 0


# derivatives, liquidations, bars


def test_a_ticker_says_all_values_of_a_contract_and_a_delta_what_changed():
    whole = fixture("ws_ticker_linear.json")
    change = {"symbol": "BTCUSDT", "markPrice": "17218", "fundingRate": "", "nextFundingTime": "0"}
    nothing = {"symbol": "BTCUSDT", "bid1Price": "17215.60", "bid1Size": "84.489"}
    ticks = [whole | {"type": "delta", "data": some} for some in (change, nothing)]
    said = decode(whole, *ticks)
    assert said.derivatives is not None and not said.malformed
    first, second = said.derivatives.records
    assert first["fields"] == 0b111111 and second["fields"] == 0b1
    assert (first["mark_price"], first["index_price"]) == (1721733000000, 1722736000000)
    assert first["funding_rate"] == -212_000_000 and first["funding_interval_s"] == 8 * 3600
    assert first["next_funding_time"] == 1673280000000 * MS
    assert first["open_interest"] == 6874476100000
    assert second["mark_price"] == 1721800000000
    assert said.ignored == 1


def test_spot_tickers_say_nothing_that_is_kept():
    said = decode(fixture("ws_ticker_linear.json"), venue=SPOT)
    assert said.derivatives is None and said.ignored == 1 and not said.malformed


def test_a_liquidated_long_position_is_an_order_that_sells():
    message = {
        "topic": "allLiquidation.ROSEUSDT",
        "type": "snapshot",
        "ts": 1739502303204,
        "data": [
            {"T": 1739502302929, "s": "ROSEUSDT", "S": "Sell", "v": "20000", "p": "0.04499"},
            {"T": 1739502302930, "s": "ROSEUSDT", "S": "Buy", "v": "1", "p": "0.04"},
        ],
    }
    said = decode(message)
    assert said.liquidations is not None and not said.malformed
    assert said.liquidations.records["side"].tolist() == [OrderSide.BUY, OrderSide.SELL]
    assert said.liquidations.records["price"].tolist() == [4499000, 4000000]
    assert said.liquidations.records["quantity"].tolist() == [20000 * 10**8, 10**8]
    assert said.liquidations.records["ts_event"][0] == 1739502302929 * MS


def test_only_closed_bars_of_a_minute_are_bars():
    growing = fixture("ws_kline.json")
    five = growing | {"data": [growing["data"][0] | {"confirm": True}]}
    topic = "kline.1.BTCUSDT"
    closed = five | {"topic": topic, "data": [five["data"][0] | {"interval": "1"}]}
    said = decode(growing, five, closed)
    assert said.venue_bars is not None and said.ignored == 2 and not said.malformed
    (bar,) = said.venue_bars.records
    assert bar["ts_open"] == 1672324800000 * MS and bar["interval_s"] == 60
    names = ("open", "high", "low", "close")
    assert [bar[n] // 10**7 for n in names] == [166495, 166770, 166080, 166770]
    assert (bar["volume_hi"], bar["volume_lo"]) == (0, 208100000)
    quote_volume = (int(bar["quote_volume_hi"]) << 64) + int(bar["quote_volume_lo"])
    assert quote_volume == 346664005 * 10**12


def test_bars_of_the_past_come_in_order_without_the_one_that_is_growing():
    body = fixture("http_get_klines_linear.json")
    row = body["result"]["list"][0]
    starts = ["1709891640000", "1709891580000", "1709891520000"]
    body["result"]["list"] = [[start, *row[1:]] for start in starts]
    said = decode(rest("/v5/market/kline?category=linear&symbol=BTCUSDT&interval=1", body))
    assert said.venue_bars is not None and not said.malformed
    assert said.venue_bars.records["ts_open"].tolist() == [
        1709891520000 * MS, 1709891580000 * MS,
    ]  # fmt: skip


# definitions


def test_spot_instruments_are_defined_by_their_steps():
    said_by = fixture("http_get_instruments_spot.json")
    instruments = Instruments()
    (path,) = SPOT.listing_paths
    said = decode(rest(path, said_by), venue=SPOT, instruments=instruments)
    assert said.listed == [Page(path, frozenset({"BTCUSDT-SPOT", "ETHUSDT-SPOT"}))]
    assert not said.malformed
    definition = instruments.by_symbol["BTCUSDT-SPOT"].definition
    assert (definition.raw, definition.pair, definition.kind) == ("BTCUSDT", "BTC/USDT", "SPOT")
    assert (definition.tick_size, definition.lot_size) == ("0.1", "0.0001")
    assert definition.min_notional == "10" and definition.settle == ""
    assert (definition.price_exponent, definition.quantity_exponent) == (-3, -6)


def test_contracts_are_defined_with_settlement_funding_and_expiry():
    entry = fixture("http_get_instruments_linear.json")["result"]["list"][0]
    perpetual = listing(entry | {"fundingInterval": 480})
    assert perpetual.symbol == "BTCUSDT-LINEAR" and perpetual.kind == "PERPETUAL"
    assert perpetual.funding_interval_s == 8 * 3600
    assert perpetual.settle == "USDT" and perpetual.contract_multiplier == "1"
    assert perpetual.ts_listed == 1699990000000 * MS and perpetual.min_notional == "5"
    assert (perpetual.price_exponent, perpetual.quantity_exponent) == (-4, -5)
    dated = listing(entry | {"contractType": "LinearFutures", "symbol": "BTCUSDT-25DEC26"})
    assert dated.kind == "FUTURE" and dated.funding_interval_s == 0
    assert dated.ts_expires == perpetual.ts_expires == 1702592000000 * MS
    assert listing(entry | {"deliveryTime": "0"}).ts_expires == 0
    statuses = {s: listing(entry | {"status": s}).status for s in ("PreLaunch", "Closed")}
    assert statuses == {"PreLaunch": "HALTED", "Closed": "DELISTED"}


def test_headroom_never_passes_18_decimals():
    entry = fixture("http_get_instruments_spot.json")["result"]["list"][0]
    fine = entry | {
        "priceFilter": {"tickSize": "0.000000000001"},
        "lotSizeFilter": entry["lotSizeFilter"] | {"basePrecision": "0.00001"},
    }
    definition = listing(fine, "SPOT")
    assert (definition.price_exponent, definition.quantity_exponent) == (-13, -5)


def test_an_inverse_contract_is_refused_and_spares_the_others():
    inverse = fixture("http_get_instruments_inverse.json")
    inverse["result"]["list"] += fixture("http_get_instruments_linear.json")["result"]["list"]
    instruments = Instruments()
    path = "/v5/market/instruments-info?category=linear&limit=1000"
    said = decode(rest(path, inverse), instruments=instruments)
    assert len(said.malformed) == 1 and "InversePerpetual" in said.malformed[0].reason
    assert set(instruments.by_symbol) == {"BTCUSDT-LINEAR", "ETHUSDT-LINEAR"}


def test_a_page_names_the_one_after_it_as_the_venue_wrote_its_cursor():
    body = fixture("http_get_instruments_linear.json")
    path, symbols = LINEAR.listing_paths[1], frozenset({"BTCUSDT-LINEAR", "ETHUSDT-LINEAR"})
    body["result"]["nextPageCursor"] = "first%3DBTCUSDT%26last%3DETHUSDT"
    (page,) = decode(rest(path, body)).listed
    assert page == (path, symbols, f"{path}&cursor=first%3DBTCUSDT%26last%3DETHUSDT")
    body["result"]["nextPageCursor"] = "last=X&more"
    (page,) = decode(rest(page.following, body)).listed
    assert page.following == f"{path}&cursor=last%3DX%26more"
    body["result"]["nextPageCursor"] = ""
    assert decode(rest(page.following, body)).listed == [Page(page.following, symbols)]


def test_some_instruments_or_an_answer_to_no_known_question_are_no_page():
    body = fixture("http_get_instruments_linear.json")
    path = "/v5/market/instruments-info?category=linear"
    assert decode(rest(f"{path}&symbol=BTCUSDT", body)).listed == []
    assert decode(rest(f"{path}&baseCoin=BTC", body)).listed == []
    assert decode(body).listed == []


@pytest.mark.parametrize(
    ("product", "raw", "pair", "kind"),
    [
        ("SPOT", "BTCUSDT", "BTC/USDT", "SPOT"),
        ("SPOT", "ETHBTC", "ETH/BTC", "SPOT"),
        ("LINEAR", "1000PEPEUSDT", "1000PEPE/USDT", "PERPETUAL"),
        ("LINEAR", "BTCPERP", "BTC/USDC", "PERPETUAL"),
        ("LINEAR", "BTCUSDT-25DEC26", "BTC/USDT", "FUTURE"),
        ("LINEAR", "BTC-26SEP25", "BTC/USDC", "FUTURE"),
    ],
)
def test_pair_and_kind_are_inferred_from_a_symbol(product: str, raw: str, pair: str, kind: str):
    definition = Bybit(product).infer(raw)
    assert definition is not None
    assert (definition.pair, definition.kind, definition.raw) == (pair, kind, raw)
    assert definition.symbol == f"{raw}-{product}" and definition.source == "CAPTURE"


@pytest.mark.parametrize("raw", ["USDT", "BTCGBP", "btcusdt", "", "BTC-USDT"])
def test_no_pair_is_guessed_from_a_symbol_that_tells_none(raw: str):
    assert LINEAR.infer(raw) is None and SPOT.infer(raw) is None


# commands


def test_commands_keep_the_limits_of_their_product():
    symbols = [f"A{i}USDT" for i in range(60)]
    for venue, at_once in ((SPOT, 10), (LINEAR, 200)):
        ours = [f"{s}-{venue.product}" for s in symbols]
        commands = venue.subscriptions(venue.sockets[0], ours, 7)
        each = [orjson.loads(command.payload) for command in commands]
        assert [int(command["req_id"]) for command in each] == list(range(7, 7 + len(each)))
        assert max(len(command["args"]) for command in each) == at_once
        topics = [topic for command in each for topic in command["args"]]
        assert len(topics) == len(set(topics)) == len(CHANNELS[venue.product]) * 60
        assert "orderbook.1000.A0USDT" in topics and all(c.answers == 1 for c in commands)


def test_a_book_is_begun_anew_by_unsubscribing_and_subscribing_it_alone():
    commands = LINEAR.resubscriptions(LINEAR.sockets[0], ["BTCUSDT-LINEAR"], 3)
    assert [orjson.loads(command.payload) for command in commands] == [
        {"req_id": "3", "op": "unsubscribe", "args": ["orderbook.1000.BTCUSDT"]},
        {"req_id": "4", "op": "subscribe", "args": ["orderbook.1000.BTCUSDT"]},
    ]


def test_answers_to_commands_are_known_by_their_ids():
    accepted = fixture("ws_subscription_ack.json") | {"req_id": "12"}
    pong = {"success": True, "ret_msg": "pong", "conn_id": "1", "req_id": "", "op": "ping"}
    said = decode(accepted, fixture("ws_subscription_failure.json"), pong)
    assert said.acknowledged == [12] and said.ignored == 1
    assert len(said.refused) == 1 and "Invalid topic" in said.refused[0]


def test_a_refused_request_is_said_with_its_path():
    body = {"retCode": 10006, "retMsg": "Too many visits!", "result": {}, "time": 1}
    said = decode(rest("/v5/market/time", body))
    assert said.refused == ["/v5/market/time: 10006 Too many visits!"]


def test_the_budget_is_read_from_the_headers_where_they_tell_it():
    told = {"X-Bapi-Limit": "50", "X-Bapi-Limit-Status": "10"}
    assert LINEAR.used(told) == pytest.approx(0.8) and LINEAR.used({}) is None


def test_trades_are_declared_complete_while_a_connection_lives():
    for product in CHANNELS:
        proofs = {c.kind: c.proof for s in venue_of("BYBIT", product).sockets for c in s.channels}
        assert proofs["trade"] is Proof.SESSION and proofs["book"] is Proof.CONTIGUOUS


# captures


def captured() -> Iterator[tuple[int, bytes]]:
    """What was received in the capture of 2026-08-09: (receive time in ns, raw message)."""
    with gzip.open(data(CAPTURE), "rt") as lines:
        for line in lines:
            said = orjson.loads(line)
            time = int(Decimal(str(said.get("ts", 0))) * 10**9)
            if said["t"] == "http":
                path = said["url"].removeprefix("https://api.bybit.com").replace("?&", "?")
                yield (
                    time,
                    b'{"stream":"rest:%b","data":%b}' % (path.encode(), said["data"].encode()),
                )
            elif said["t"] == "recv":
                yield time, said["data"].encode()


def test_every_message_of_the_real_capture_is_understood():
    received, raws = zip(*captured(), strict=True)
    instruments = Instruments()
    said = LINEAR.decode(received, raws, instruments)
    assert not said.malformed and not said.refused
    assert len(instruments.by_index) == 800 and [len(page.symbols) for page in said.listed] == [800]
    assert said.trades is not None and len(said.trades.records) == 327
    assert said.identities is not None and len(set(said.identities.tolist())) == 327
    assert said.books is not None and len(said.books.owners) == 1598
    for index in set(said.books.owners.tolist()):
        mine = said.books.messages[said.books.owners == index]
        assert mine["snapshot"].tolist() == [1] + [0] * (len(mine) - 1)
        assert (mine["previous_id"][1:] == mine["last_id"][:-1]).all()
    assert said.derivatives is not None and said.venue_bars is not None
    assert len(said.venue_bars.records) == 4


def test_growing_bars_of_the_real_capture_are_the_sums_of_its_trades():
    """In the minute that the capture heard from its beginning: volume, turnover, prices.

    A bar's timestamp is that of its last trade; in three of them not all trades of that very
    millisecond are counted yet.
    """
    start, bars = 1786310820000, []
    trades: dict[str, list[tuple[int, Decimal, Decimal]]] = {}
    for _, raw in captured():
        message = orjson.loads(raw)
        topic = message.get("topic", "")
        if topic.startswith("publicTrade"):
            for t in message["data"]:
                trades.setdefault(t["s"], []).append((t["T"], Decimal(t["p"]), Decimal(t["v"])))
        elif topic.startswith("kline"):
            symbol = topic.split(".")[2]
            bars += [(symbol, bar) for bar in message["data"] if bar["start"] == start]
    equal = 0
    for symbol, bar in bars:
        until = bar["timestamp"]
        mine = [trade for trade in trades[symbol] if start <= trade[0] <= until]
        volume = sum((quantity for _, _, quantity in mine), Decimal(0))
        assert volume >= Decimal(bar["volume"])
        if volume == Decimal(bar["volume"]) and mine:
            prices = [Decimal(bar["open"]), *(price for _, price, _ in mine)]
            assert [Decimal(bar[n]) for n in ("high", "low", "close")] == [
                max(prices), min(prices), prices[-1],
            ]  # fmt: skip
            assert Decimal(bar["turnover"]) == sum(p * q for _, p, q in mine)
            equal += 1
    assert (len(bars), equal) == (65, 58), "4 are empty, 3 within a millisecond"


def test_the_archived_book_is_one_snapshot_and_49_changes_that_follow():
    with zipfile.ZipFile(data("bybit_v5/xrpusdt-ob500.data.zip")) as archive:
        raws = io.BytesIO(archive.read(archive.namelist()[0])).read().splitlines()
    said = LINEAR.decode([AT] * len(raws), raws, Instruments(infer=LINEAR.infer))
    assert not said.malformed and said.books is not None
    messages = said.books.messages
    assert messages["snapshot"].tolist() == [1] + [0] * 49
    assert (messages["previous_id"][1:] == messages["last_id"][:-1]).all()
    assert messages["count"][0] == 1000 and (np.diff(messages["ts_event"]) >= 0).all()


def test_a_retired_version_of_the_interface_is_malformed_and_nothing_of_it_is_lost():
    with gzip.open(data("captures_cryptofeed/BYBIT_legacy2021.ws.25.0.gz"), "rt") as lines:
        raws = [
            line.split(": ", 1)[1].encode() for line in lines if "<-" not in line.split("{")[0]
            and ": {" in line
        ]  # fmt: skip
    said = LINEAR.decode([AT] * len(raws), raws, Instruments(infer=LINEAR.infer))
    answers = sum(b'"success"' in raw for raw in raws)
    assert [m.raw for m in said.malformed] == [raw for raw in raws]
    assert len(raws) > answers > 0 and said.trades is None and said.books is None
    assert "topic 'trade.BCHUSDT' is not known" in said.malformed[0].reason
