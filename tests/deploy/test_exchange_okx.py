"""The simulated exchange as a client of OKX meets it, over real sockets on loopback."""

import asyncio
import json
import zlib
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tidemill.deploy.exchange.limits import Limits
from tidemill.tests.deploy.simulated_exchange import Venue, fields, published, read, venue

pytestmark = pytest.mark.integration

PUBLIC, BUSINESS = "/ws/v5/public", "/ws/v5/business"
FOLDER = "crates/adapters/okx/test_data"
SPOT, SWAP = "BTC-USDT", "BTC-USDT-SWAP"


def okx(**options: Any) -> Any:
    return venue("OKX", ("SPOT", "SWAP"), **{"rate": 1000.0, **options})


def arg(channel: str, instrument: str = SPOT) -> dict[str, str]:
    by_type = channel in ("instruments", "liquidation-orders")
    return {"channel": channel, "instType" if by_type else "instId": instrument}


async def subscribe(socket: ClientConnection, *args: dict[str, str], op: str = "subscribe") -> None:
    await socket.send(json.dumps({"id": "7", "op": op, "args": list(args)}))


def of(messages: list[Any], channel: str) -> list[Any]:
    return [m for m in messages if "data" in m and m["arg"]["channel"] == channel]


def some(channel: str, count: int) -> Callable[[list[Any]], bool]:
    return lambda seen: len(of(seen, channel)) >= count


def answers(count: int) -> Callable[[list[Any]], bool]:
    return lambda seen: len([m for m in seen if "event" in m]) >= count


async def trades_of_record(it: Venue, product: str, first: int, last: int) -> list[Any]:
    got: list[Any] = await it.answer(
        "/sim/trades", symbol="BTCUSDT", product=product, from_id=first, limit=last - first + 1
    )
    return got


async def book_of_record(it: Venue, product: str, seq_id: int) -> dict[str, Any]:
    got: dict[str, Any] = await it.answer(
        "/sim/book", symbol="BTCUSDT", product=product, update_id=seq_id
    )
    return got


class Book:
    """A book as a client keeps it after OKX's documents; the checksum is this test's own."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[str, str]] = {"bids": {}, "asks": {}}
        self.last = -1

    def take(self, message: dict[str, Any]) -> None:
        (data,) = message["data"]
        if message["action"] == "snapshot":
            assert data["prevSeqId"] == -1
            self.sides = {"bids": {}, "asks": {}}
        else:
            assert data["prevSeqId"] == self.last
        self.last = data["seqId"]
        for name, side in self.sides.items():
            for price, quantity, always_zero, _ in data[name]:
                assert always_zero == "0"
                side[price] = quantity
                if quantity == "0":
                    del side[price]
        assert data["checksum"] == self.checksum()

    def best(self, name: str, count: int) -> list[list[str]]:
        side = self.sides[name]
        prices = sorted(side, key=Decimal, reverse=name == "bids")[:count]
        return [[price, side[price]] for price in prices]

    def checksum(self) -> int:
        sides = self.best("bids", 25), self.best("asks", 25)
        turns = [s[i] for i in range(25) for s in sides if i < len(s)]
        crc = zlib.crc32(":".join(part for level in turns for part in level).encode())
        return crc - (1 << 32) if crc >= 1 << 31 else crc


# --- streams ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("product", "instrument"), [("SPOT", SPOT), ("SWAP", SWAP)])
async def test_trades_all_are_those_of_the_record_one_by_one(product: str, instrument: str):
    async with okx() as it, it.ws(BUSINESS) as socket:
        await subscribe(socket, arg("trades-all", instrument))
        seen = of(await read(socket, some("trades-all", 40)), "trades-all")
        assert all(len(message["data"]) == 1 for message in seen)
        trades = [message["data"][0] for message in seen]
        ids = [int(trade["tradeId"]) for trade in trades]
        record = await trades_of_record(it, product, ids[0], ids[-1])
    assert all(b == a + 1 for a, b in pairwise(ids))
    assert [[int(t["tradeId"]), t["px"], t["sz"], t["side"] == "sell"] for t in trades] == [
        [i, price, quantity, maker] for i, price, quantity, _, maker in record
    ]
    assert [int(t["ts"]) for t in trades] == [row[3] // 1000 for row in record]


async def test_aggregates_stand_for_the_trades_up_to_their_id():
    async with okx(rate=2000.0) as it, it.ws(PUBLIC) as socket:
        await subscribe(socket, arg("trades"))
        seen = of(await read(socket, some("trades", 200)), "trades")[1:]  # the first was before
        trades = [message["data"][0] for message in seen]
        first = int(trades[0]["tradeId"]) - int(trades[0]["count"]) + 1
        record = await trades_of_record(it, "SPOT", first, int(trades[-1]["tradeId"]))
    by_id = {row[0]: row for row in record}
    assert max(int(trade["count"]) for trade in trades) > 1
    following = first
    for trade in trades:
        last, count = int(trade["tradeId"]), int(trade["count"])
        assert last - count + 1 == following
        rows = [by_id[i] for i in range(following, last + 1)]
        assert {row[1] for row in rows} == {trade["px"]}
        assert sum(Decimal(row[2]) for row in rows) == Decimal(trade["sz"])
        following = last + 1


@pytest.mark.parametrize(("product", "instrument"), [("SPOT", SPOT), ("SWAP", SWAP)])
async def test_a_book_kept_as_documented_is_the_books_of_the_record(product: str, instrument: str):
    book = Book()
    async with okx() as it, it.ws(PUBLIC) as socket:
        await subscribe(socket, arg("books", instrument), arg("bbo-tbt", instrument))
        seen = await read(socket, some("books", 15))
        for message in of(seen, "books"):
            book.take(message)
            record = await book_of_record(it, product, book.last)
            for side in ("bids", "asks"):
                assert book.best(side, 400) == record[side][:400]
        for message in of(seen, "bbo-tbt"):
            (data,) = message["data"]
            record = await book_of_record(it, product, data["seqId"])
            for side in ("bids", "asks"):
                assert [level[:2] for level in data[side]] == record[side][:1]


async def test_a_second_listener_begins_where_the_next_change_follows_for_both():
    books = Book(), Book()
    async with okx(rate=1000.0) as it, it.ws(PUBLIC) as one, it.ws(PUBLIC) as two:
        await subscribe(one, arg("books"))
        for message in of(await read(one, some("books", 3)), "books"):
            books[0].take(message)
        await subscribe(two, arg("books"))
        for message in of(await read(two, some("books", 10)), "books"):
            books[1].take(message)
        for message in of(await read(one, some("books", 8)), "books"):
            books[0].take(message)
        await subscribe(two, arg("books"), op="unsubscribe")
        await read(two, answers(1))
        await subscribe(two, arg("books"))
        again = of(await read(two, some("books", 3)), "books")
        assert again[0]["action"] == "snapshot"
        for message in again:
            books[1].take(message)


async def test_a_quiet_book_says_that_its_connection_lives():
    async with okx(rate=100.0) as it, it.ws(PUBLIC) as socket:
        await subscribe(socket, arg("books"))
        await read(socket, some("books", 2))
        await it.fault(kind="halt", symbol="BTCUSDT", product="SPOT")
        await asyncio.sleep(0.3)
        it.clock.offset_us = 61_000_000
        seen = await read(
            socket,
            lambda seen: any(
                not m["data"][0]["asks"] + m["data"][0]["bids"] for m in of(seen, "books")
            ),
        )
    (data,) = of(seen, "books")[-1]["data"]
    assert data["seqId"] == data["prevSeqId"]


async def test_bars_close_with_what_was_traded():
    async with okx() as it, it.ws(BUSINESS) as socket:
        await subscribe(socket, arg("candle1m", SWAP), arg("trades-all", SWAP))
        await read(socket, lambda seen: some("candle1m", 1)(seen) and some("trades-all", 1)(seen))
        it.clock.offset_us = 60_000_000
        seen = await read(
            socket, lambda seen: any(m["data"][0][8] == "1" for m in of(seen, "candle1m"))
        )
        bar = next(m["data"][0] for m in of(seen, "candle1m") if m["data"][0][8] == "1")
        start_us = int(bar[0]) * 1000
        record = await it.answer("/sim/trades", symbol="BTCUSDT", product="SWAP", limit=50_000)
        body = await it.answer("/api/v5/market/candles", instId=SWAP, bar="1m", limit="5")
    rows = [row for row in record if start_us <= row[3] < start_us + 60_000_000]
    assert rows and Decimal(bar[5]) == sum(Decimal(row[2]) for row in rows)
    assert Decimal(bar[6]) == Decimal(bar[5]) / 100, "a contract is 0.01 BTC"
    turnover = sum(Decimal(row[1]) * Decimal(row[2]) for row in rows) / 100
    assert Decimal(bar[7]) == turnover
    assert (bar[1], bar[4]) == (rows[0][1], rows[-1][1])
    assert bar in body["data"]


async def test_what_a_contract_is_worth_and_liquidations():
    channels = ("funding-rate", "mark-price", "open-interest")
    async with okx(rate=2000.0, liquidations=0.05) as it, it.ws(PUBLIC) as socket:
        await subscribe(
            socket, *(arg(channel, SWAP) for channel in channels), arg("index-tickers"),
            arg("liquidation-orders", "SWAP"), arg("trades", SWAP),
        )  # fmt: skip
        seen = await read(
            socket,
            lambda seen: bool(
                all(of(seen, c) for c in (*channels, "liquidation-orders"))
                and len(of(seen, "mark-price")) > 3
                and len(of(seen, "index-tickers")) > 3
            ),
        )
        funding = of(seen, "funding-rate")[0]["data"][0]
        body = await it.answer("/api/v5/public/funding-rate", instId=SWAP)
        assert body["data"][0]["fundingTime"] == funding["fundingTime"]
        await it.answer("/api/v5/public/open-interest", instType="SWAP")
        await it.answer("/api/v5/public/mark-price", instType="SWAP", instId=SWAP)
        await it.answer("/api/v5/market/index-tickers", instId=SPOT)
    assert int(funding["nextFundingTime"]) - int(funding["fundingTime"]) == 8 * 3_600_000
    marks = [m["data"][0]["markPx"] for m in of(seen, "mark-price")][1:]
    assert len(set(marks)) > 1, "beside the first one, a price is told when it changes"
    liquidated = of(seen, "liquidation-orders")[0]["data"][0]
    assert liquidated["instId"].endswith("-SWAP")
    (detail,) = liquidated["details"]
    assert (detail["posSide"], detail["side"]) in (("short", "buy"), ("long", "sell"))


# --- subscriptions ---------------------------------------------------------------------------


async def test_every_argument_is_answered_on_its_own():
    wrong = {"channel": "trades-all", "instId": SPOT}
    unknown = {"channel": "books", "instId": "NOPE-USDT"}
    async with okx() as it, it.ws(PUBLIC) as socket:
        await subscribe(socket, arg("books"), wrong, unknown, arg("bbo-tbt"))
        seen = [m for m in await read(socket, answers(4)) if "event" in m]
        assert [m["event"] for m in seen] == ["subscribe", "error", "error", "subscribe"]
        assert {m["id"] for m in seen} == {"7"} and len({m["connId"] for m in seen}) == 1
        assert [m["arg"] for m in seen if m["event"] == "subscribe"] == [
            arg("books"),
            arg("bbo-tbt"),
        ]
        assert {m["code"] for m in seen if m["event"] == "error"} == {"60018"}
        await subscribe(socket, arg("books"), op="unsubscribe")
        answer = (await read(socket, lambda seen: "event" in seen[-1] if seen else False))[-1]
        assert answer["event"] == "unsubscribe"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("nonsense", "60012"),
        ('{"op":"subscribe"}', "60012"),
        ('{"op":"order","args":[{}]}', "60012"),
        ('{"id":"a-b","op":"subscribe","args":[{"channel":"books","instId":"BTC-USDT"}]}', "60033"),
        ('{"op":"subscribe","args":[{"channel":"funding-rate","instId":"BTC-USDT"}]}', "60018"),
        ('{"op":"subscribe","args":[{"channel":"liquidation-orders","instType":"SPOT"}]}', "60018"),
    ],
)
async def test_what_is_not_as_documented_is_an_error(text: str, code: str):
    async with okx() as it, it.ws(PUBLIC) as socket:
        await socket.send(text)
        (answer,) = await read(socket, answers(1))
    assert answer["event"] == "error" and answer["code"] == code


async def test_a_text_ping_is_answered_and_silence_is_cut():
    limits = Limits(silence_max_s=0.5, incoming_max=100, ping_interval_s=None)
    async with okx(limits=limits) as it, it.ws(PUBLIC) as socket:
        for _ in range(3):
            await asyncio.sleep(0.3)
            await socket.send("ping")
            assert await socket.recv() == "pong"
        with pytest.raises(ConnectionClosed):
            async with asyncio.timeout(5):
                await socket.recv()


async def test_commands_of_a_connection_are_counted_by_the_hour():
    limits = Limits(incoming_max=1000, ping_interval_s=None)
    async with okx(limits=limits) as it, it.ws(PUBLIC) as socket:
        for _ in range(481):
            await subscribe(socket, arg("instruments", "OPTION"))
        seen = await read(socket, answers(481))
        assert [m["code"] for m in seen].count("60014") == 1 and seen[-1]["code"] == "60014"
        it.clock.offset_us = 3_601_000_000
        await subscribe(socket, arg("instruments", "OPTION"))
        assert (await read(socket, answers(1)))[0]["code"] == "60018"


# --- REST ------------------------------------------------------------------------------------


async def test_old_trades_are_answered_by_id_the_newest_first():
    async with okx(rate=3000.0) as it:
        while it.exchange.market("SPOT", "BTCUSDT").history.last_id < 300:
            await asyncio.sleep(0.05)
        record = await trades_of_record(it, "SPOT", 101, 103)
        path = "/api/v5/market/history-trades"
        body = await it.answer(path, instId=SPOT, type="1", after="104", limit="3")
        newest = await it.answer("/api/v5/market/trades", instId=SPOT, limit="5")
    assert body["code"] == "0"
    assert [[int(t["tradeId"]), t["px"], t["sz"]] for t in body["data"]] == [
        row[:3] for row in reversed(record)
    ]
    ids = [int(t["tradeId"]) for t in newest["data"]]
    assert len(ids) == 5 and ids == sorted(ids, reverse=True)


async def test_a_snapshot_of_rest_has_the_id_of_the_books():
    async with okx() as it:
        body = await it.answer("/api/v5/market/books", instId=SWAP, sz="400")
        (book,) = body["data"]
        record = await book_of_record(it, "SWAP", book["seqId"])
    for side in ("bids", "asks"):
        assert [level[:2] for level in book[side]] == record[side][:400]


async def test_what_rest_refuses_has_okxs_codes():
    async with okx(limits=Limits(weight_max=10, window_s=1000, refusals_max=100)) as it:
        refusals = []
        for path in (
            "market/trades",
            "market/trades?instId=NOPE",
            "public/instruments?instType=X",
            "market/candles?instId=BTC-USDT&bar=7m",
        ):
            answer = await it.http.get(f"/api/v5/{path}")
            refusals.append((answer.status_code, answer.json()["code"]))
        assert refusals == [(400, "50014"), (200, "51001"), (400, "51000"), (400, "51000")]
        for _ in range(10):
            answer = await it.http.get("/api/v5/market/trades", params={"instId": SPOT})
        assert answer.status_code == 429 and answer.json()["code"] == "50011"


# --- listings --------------------------------------------------------------------------------


async def test_instruments_are_told_at_first_and_when_they_change():
    async with okx() as it, it.ws(PUBLIC) as socket:
        await subscribe(socket, arg("instruments", "SWAP"))
        (first,) = of(await read(socket, some("instruments", 1)), "instruments")
        assert {e["instId"] for e in first["data"]} == {SWAP, "ETH-USDT-SWAP"}
        entry = next(e for e in first["data"] if e["instId"] == SWAP)
        assert (entry["ctVal"], entry["lotSz"], entry["ctType"]) == ("0.01", "0.01", "linear")
        await it.fault(kind="halt", symbol="BTCUSDT", product="SWAP")
        await it.fault(kind="delist", symbol="BTCUSDT", product="SWAP")
        await it.fault(kind="list", symbol="SOLUSDT", product="SWAP")
        told = of(await read(socket, some("instruments", 3)), "instruments")
        body = await it.answer("/api/v5/public/instruments", instType="SWAP")
    assert [(m["data"][0]["instId"], m["data"][0]["state"]) for m in told] == [
        (SWAP, "suspend"),
        (SWAP, "expired"),
        ("SOL-USDT-SWAP", "live"),
    ]
    assert {e["instId"] for e in body["data"]} == {"ETH-USDT-SWAP", "SOL-USDT-SWAP"}


# --- faults ----------------------------------------------------------------------------------


def after_snapshot(seen: list[Any]) -> bool:
    actions = [message["action"] for message in of(seen, "books")]
    return "snapshot" in actions[:-1]


async def test_a_wrong_checksum_and_a_stale_snapshot_are_wrong():
    async with okx(rate=2000.0) as it, it.ws(PUBLIC) as socket:
        await it.fault(kind="checksum", channel="book", symbol="BTCUSDT", product="SPOT")
        await subscribe(socket, arg("books"))
        (snapshot,) = of(await read(socket, some("books", 1)), "books")
        with pytest.raises(AssertionError):
            Book().take(snapshot)
        await asyncio.sleep(0.5)
        await it.fault(kind="stale", symbol="BTCUSDT", product="SPOT", behind=100)
        await subscribe(socket, arg("books"), op="unsubscribe")
        await subscribe(socket, arg("books"))
        seen = of(await read(socket, after_snapshot), "books")
        at = next(i for i, message in enumerate(seen) if message["action"] == "snapshot")
        stale, following = (message["data"][0] for message in seen[at : at + 2])
        assert stale["seqId"] < following["prevSeqId"]


# --- the venue's published examples ----------------------------------------------------------

OPTIONAL = {"alias", "contTdSwTime", "instIdCode", "maxPlatOILmt", "posLmtAmt", "posLmtPct",
            "tradeQuoteCcyList[]", "futureSettlement", "openType", "preMktSwTime"}  # fmt: skip
"""Of instruments: what the venue added or takes away by and by."""


@pytest.mark.parametrize(
    ("name", "channel", "instrument", "path"),
    [
        ("ws_books_snapshot.json", "books", SPOT, PUBLIC),
        ("ws_bbo_tbt.json", "bbo-tbt", SPOT, PUBLIC),
        ("ws_tickers.json", "tickers", SPOT, PUBLIC),
        ("ws_trades.json", "trades", SPOT, PUBLIC),
        ("ws_candle.json", "candle1m", SPOT, BUSINESS),
        ("ws_funding_rate.json", "funding-rate", SWAP, PUBLIC),
        ("ws_instruments.json", "instruments", "SWAP", PUBLIC),
    ],
)
async def test_messages_have_the_fields_of_the_published_ones(
    name: str, channel: str, instrument: str, path: str
):
    example = published("okx", f"{FOLDER}/{name}")
    async with okx() as it, it.ws(path) as socket:
        await subscribe(socket, arg(channel, instrument))
        ours = of(await read(socket, some(channel, 1)), channel)[0]
    missing = fields(example, "") - fields(ours, "")
    assert {
        path for path in missing if path.split(":")[0].rpartition(".")[2] not in OPTIONAL
    } == set()


@pytest.mark.parametrize(
    ("name", "path", "query"),
    [
        ("http_get_trades.json", "market/trades", {"instId": SPOT}),
        ("http_get_order_book.json", "market/books", {"instId": SPOT, "sz": "5"}),
        ("http_get_candlesticks_full.json", "market/candles", {"instId": SWAP}),
        ("http_get_mark_price.json", "public/mark-price", {"instType": "SWAP"}),
        ("http_get_index_price.json", "market/index-tickers", {"instId": SPOT}),
        ("http_get_instruments_spot.json", "public/instruments", {"instType": "SPOT"}),
        ("http_get_instruments_swap.json", "public/instruments", {"instType": "SWAP"}),
    ],
)
async def test_answers_have_the_fields_of_the_published_ones(
    name: str, path: str, query: dict[str, str]
):
    example = published("okx", f"{FOLDER}/{name}")
    async with okx(rate=2000.0) as it:
        while not it.exchange.market("SPOT", "BTCUSDT").history.last_id:
            await asyncio.sleep(0.02)
        ours = await it.answer(f"/api/v5/{path}", **query)
    missing = fields(example, "") - fields(ours, "")
    assert {
        path for path in missing if path.split(":")[0].rpartition(".")[2] not in OPTIONAL
    } == set()
