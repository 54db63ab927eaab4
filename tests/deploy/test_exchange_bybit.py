"""The simulated exchange as a client of Bybit meets it, over real sockets on loopback."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest
from websockets.asyncio.client import ClientConnection

from tidemill.deploy.exchange.limits import Limits
from tidemill.schemas.events.feed import TradeGapSuspected
from tidemill.streams.feeds.bybit import Bybit
from tidemill.streams.feeds.feed import Instruments
from tidemill.streams.feeds.intake import Intake
from tidemill.streams.feeds.items import Fact
from tidemill.tests.deploy.simulated_exchange import Venue, fields, published, read, venue

pytestmark = pytest.mark.integration

SPOT, LINEAR = "/v5/public/spot", "/v5/public/linear"
FOLDER = "crates/adapters/bybit/test_data"


def bybit(**options: Any) -> Any:
    return venue("BYBIT", ("SPOT", "LINEAR"), **{"rate": 1000.0, **options})


async def command(socket: ClientConnection, *topics: str, op: str = "subscribe") -> None:
    await socket.send(json.dumps({"req_id": "7", "op": op, "args": list(topics)}))


def of(messages: list[Any], channel: str) -> list[Any]:
    return [m for m in messages if m.get("topic", "").startswith(f"{channel}.")]


def some(channel: str, count: int) -> Callable[[list[Any]], bool]:
    return lambda seen: len(of(seen, channel)) >= count


def answered(count: int) -> Callable[[list[Any]], bool]:
    return lambda seen: len([m for m in seen if "op" in m]) >= count


async def record(it: Venue, product: str, kind: str, **query: Any) -> Any:
    return await it.answer(f"/sim/{kind}", symbol="BTCUSDT", product=product, **query)


class Book:
    """A book as a client keeps it after Bybit's documents."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[str, str]] = {"b": {}, "a": {}}
        self.number = 0

    def take(self, message: dict[str, Any]) -> None:
        data = message["data"]
        if message["type"] == "snapshot":
            self.sides = {"b": {}, "a": {}}
        else:
            assert data["u"] == self.number + 1
        self.number = data["u"]
        for name, side in self.sides.items():
            for price, quantity in data[name]:
                side.pop(price, None)
                if quantity != "0":
                    side[price] = quantity

    def levels(self, side: str) -> list[tuple[Decimal, Decimal]]:
        rows = [(Decimal(price), Decimal(quantity)) for price, quantity in self.sides[side].items()]
        return sorted(rows, reverse=side == "b")


async def test_trades_are_those_of_the_record_and_rest_tells_the_same_ones():
    async with bybit() as it:
        for path, product in ((SPOT, "SPOT"), (LINEAR, "LINEAR")):
            async with it.ws(path) as socket:
                await command(socket, "publicTrade.BTCUSDT")
                seen = await read(socket, some("publicTrade", 30))
            trades = [trade for message in of(seen, "publicTrade") for trade in message["data"]]
            assert len({trade["i"] for trade in trades}) == len(trades)
            numbers = [trade["seq"] for trade in trades]
            assert numbers == sorted(numbers) and len(set(numbers)) < len(numbers)
            rest = await it.answer(
                "/v5/market/recent-trade", category=product.lower(), symbol="BTCUSDT", limit=1000
            )
            told = {trade["execId"]: trade for trade in rest["result"]["list"]}
            limit = 60 if product == "SPOT" else 1000
            assert 30 < len(told) <= limit
            for trade in trades[-5:] if product == "LINEAR" else ():
                same = told[trade["i"]]
                assert (same["price"], same["size"], same["side"]) == (
                    trade["p"], trade["v"], trade["S"],
                )  # fmt: skip
                assert same["time"] == str(trade["T"]) and same["seq"] == str(trade["seq"])
            rows = await record(it, product, "trades", limit=1_000)
            ours = [(Decimal(t["p"]), Decimal(t["v"]), t["S"] == "Sell") for t in trades]
            theirs = [(Decimal(p), Decimal(q), maker) for _, p, q, _, maker in rows]
            starts = [at for at in range(len(theirs)) if theirs[at : at + len(ours)] == ours]
            assert len(starts) == 1


@pytest.mark.parametrize("depth", ["50", "200", "1000"])
async def test_a_book_of_snapshot_and_changes_is_the_books_of_the_record(depth: str):
    async with bybit() as it, it.ws(LINEAR) as socket, it.ws(LINEAR) as other:
        channel, book = f"orderbook.{depth}", Book()
        await command(other, f"{channel}.BTCUSDT")
        await read(other, some(channel, 3))
        await command(socket, f"{channel}.BTCUSDT")
        seen = await read(socket, some(channel, 10))
        for message in of(seen, channel):
            book.take(message)
            kept = await record(it, "LINEAR", "book", update_id=book.number, channel=channel)
            for side, name in (("b", "bids"), ("a", "asks")):
                rows = [(Decimal(p), Decimal(q)) for p, q in kept[name]]
                assert book.levels(side) == rows[: int(depth)]
        types = [message["type"] for message in of(seen, channel)]
        assert types == ["snapshot"] + ["delta"] * (len(types) - 1)


async def test_a_halted_market_that_goes_on_begins_its_book_anew_with_u_1():
    async with bybit() as it, it.ws(SPOT) as socket:
        await command(socket, "orderbook.200.BTCUSDT")
        await read(socket, some("orderbook.200", 4))
        for kind in ("halt", "resume"):
            await it.fault(kind=kind, symbol="BTCUSDT", product="SPOT")
        book = Book()
        seen = await read(
            socket,
            lambda seen: (
                [m for m in seen if m["type"] == "snapshot"] != [] and seen[-1]["data"]["u"] == 4
            ),
        )
        again = [m["type"] for m in seen].index("snapshot")
        assert seen[again]["data"]["u"] == 1
        for message in seen[again:]:
            book.take(message)
        kept = await record(it, "SPOT", "book", update_id=4, channel="orderbook.200")
        assert book.levels("b") == [(Decimal(p), Decimal(q)) for p, q in kept["bids"][:200]]


async def test_a_stale_snapshot_is_an_older_book_whose_changes_do_not_follow():
    async with bybit() as it, it.ws(LINEAR) as socket:
        await command(socket, "orderbook.50.BTCUSDT")
        await read(socket, some("orderbook.50", 20))
        await command(socket, "orderbook.50.BTCUSDT", op="unsubscribe")
        await read(socket, lambda seen: any(m.get("op") == "unsubscribe" for m in seen))
        await it.fault(kind="stale", symbol="BTCUSDT", behind=200)
        await command(socket, "orderbook.50.BTCUSDT")
        seen = of(await read(socket, some("orderbook.50", 2)), "orderbook.50")
        first, second = (message["data"] for message in seen[:2])
        assert [message["type"] for message in seen[:2]] == ["snapshot", "delta"]
        assert second["u"] > first["u"] + 1
        kept = await record(it, "LINEAR", "book", update_id=first["u"], channel="orderbook.50")
        assert [Decimal(p) for p, _ in first["b"]] == [Decimal(p) for p, _ in kept["bids"][:50]]


async def test_the_best_levels_are_snapshots_and_come_again_when_nothing_changes():
    async with bybit() as it, it.ws(SPOT) as socket:
        await command(socket, "orderbook.1.BTCUSDT")
        quotes = of(await read(socket, some("orderbook.1", 10)), "orderbook.1")
        assert {quote["type"] for quote in quotes} == {"snapshot"}
        numbers = [quote["data"]["u"] for quote in quotes]
        assert numbers == list(range(numbers[0], numbers[0] + 10))
        await it.fault(kind="halt", symbol="BTCUSDT", product="SPOT")
        it.clock.offset_us += 4_000_000
        (last,) = (await read(socket, some("orderbook.1", 1)))[-1:]
        it.clock.offset_us += 4_000_000
        (again,) = (await read(socket, some("orderbook.1", 1)))[-1:]
        assert again["data"]["u"] == last["data"]["u"] and again["ts"] > last["ts"]


async def test_bars_add_up_to_the_trades_of_their_minute():
    async with bybit() as it:
        async with it.ws(LINEAR) as socket:
            await command(socket, "publicTrade.BTCUSDT", "kline.1.BTCUSDT")
            it.clock.offset_us = 60_000_000 - it.clock() % 60_000_000
            await read(socket, some("kline.1", 1))
            seen = await read(socket, some("publicTrade", 40))
            it.clock.offset_us += 60_000_000
            seen += await read(
                socket, lambda seen: any(b["confirm"] for m in of(seen, "kline") for b in m["data"])
            )
        (bar,) = [b for m in of(seen, "kline") for b in m["data"] if b["confirm"]][:1]
        rows = await record(it, "LINEAR", "trades", limit=100_000)
        mine = [r for r in rows if bar["start"] <= r[3] // 1_000 <= bar["end"]]
        assert mine and Decimal(bar["volume"]) == sum(Decimal(r[2]) for r in mine)
        assert Decimal(bar["turnover"]) == sum(Decimal(r[1]) * Decimal(r[2]) for r in mine)
        assert Decimal(bar["close"]) == Decimal(mine[-1][1])
        assert fields(bar, "") == fields(
            published("bybit", f"{FOLDER}/ws_kline.json")["data"][0], ""
        )


@pytest.mark.parametrize("lost", [False, True])
async def test_a_feed_that_adds_trades_up_finds_the_minute_that_misses_one(lost: bool):
    feed = Bybit("LINEAR")
    intake = Intake(feed, Instruments(infer=feed.infer))
    events: list[Any] = []

    async with bybit() as it, it.ws(LINEAR) as socket:

        async def hear(seconds: float) -> None:
            loop = asyncio.get_running_loop()
            until = loop.time() + seconds
            while (left := until - loop.time()) > 0:
                with suppress(TimeoutError):
                    raw = await asyncio.wait_for(socket.recv(decode=False), left)
                    assert isinstance(raw, bytes)
                    items = intake.take([it.clock() * 1_000], [raw])
                    events.extend(item.event for item in items if isinstance(item, Fact))

        await command(socket, "publicTrade.BTCUSDT", "kline.1.BTCUSDT")
        for minute in range(3):
            it.clock.offset_us += 60_000_000 - it.clock() % 60_000_000
            await hear(1.2)
            if lost and minute == 1:
                await it.fault(kind="drop", channel="trade", symbol="BTCUSDT")
                await hear(0.6)
        it.clock.offset_us += 60_000_000 - it.clock() % 60_000_000
        await hear(1.2)
        it.clock.offset_us += 6_000_000
        await hear(0.5)
    differing = [event for event in events if isinstance(event, TradeGapSuspected)]
    assert len(differing) == lost, differing
    for event in differing:
        assert event.reason == "BAR_DIFFERS"
        assert Decimal(event.expected) > Decimal(event.received) > 0
    assert intake.counts["venue_bars"] >= 3 and intake.counts["trades"] > 100


async def test_a_ticker_begins_whole_and_goes_on_with_what_changed():
    async with bybit() as it:
        async with it.ws(LINEAR) as socket:
            await command(socket, "tickers.BTCUSDT")
            seen = of(await read(socket, some("tickers", 8)), "tickers")
            assert [message["type"] for message in seen] == ["snapshot"] + ["delta"] * 7
            whole = dict(seen[0]["data"])
            for message in seen[1:]:
                assert set(message["data"]) < set(whole)
                assert any(whole[name] != value for name, value in message["data"].items())
                whole |= message["data"]
        expected = published("bybit", f"{FOLDER}/ws_ticker_linear.json")
        assert fields(expected, "") <= fields(seen[0], "")


async def test_every_liquidation_is_told():
    async with bybit(liquidations=0.2) as it, it.ws(LINEAR) as socket:
        await command(socket, "allLiquidation.BTCUSDT")
        (message,) = of(await read(socket, some("allLiquidation", 1)), "allLiquidation")
        (first, *_) = message["data"]
        assert set(first) == {"T", "s", "S", "v", "p"} and first["S"] in ("Buy", "Sell")


async def test_messages_have_the_shapes_that_are_published():
    async with bybit() as it, it.ws(LINEAR) as socket:
        await command(socket, "publicTrade.BTCUSDT", "orderbook.1.BTCUSDT", "orderbook.50.BTCUSDT")
        seen = await read(
            socket, lambda seen: all(some(c, 3)(seen) for c in ("publicTrade", "orderbook.50"))
        )
        trade, best = of(seen, "publicTrade")[0], of(seen, "orderbook.1")[0]
        change = of(seen, "orderbook.50")[1]
        files = {"public_trade": trade, "orderbook_snapshot": best, "orderbook_delta": change}
        for name, ours in files.items():
            theirs = published("bybit", f"{FOLDER}/ws_{name}.json")
            missing = {f for f in fields(theirs, "") - fields(ours, "") if "[]" not in f}
            assert not missing, name
        ack = next(message for message in seen if "op" in message)
        expected = published("bybit", f"{FOLDER}/ws_subscription_ack.json")
        assert fields(ack, "") == fields(expected, "") and ack["req_id"] == "7"
        for path, name in (
            ("recent-trade?category=linear&symbol=BTCUSDT", "trades_recent"),
            ("instruments-info?category=linear", "instruments_linear_symbol_type"),
            ("instruments-info?category=spot", "instruments_spot_xstocks"),
            ("orderbook?category=linear&symbol=BTCUSDT", "orderbook"),
            ("kline?category=linear&symbol=BTCUSDT&interval=1", "klines_linear"),
        ):
            name_of_path, _, query = path.partition("?")
            ours = await it.answer(f"/v5/market/{name_of_path}", **dict(parse_qsl(query)))
            theirs = published("bybit", f"{FOLDER}/http_get_{name}.json")
            missing = (
                fields(theirs, "") - fields(ours, "") - {".result.list[].xstockMultiplier:str"}
            )
            assert not {f for f in missing if "nextPageCursor" not in f}, path


async def test_commands_that_cannot_be_done_are_refused_whole():
    async with bybit() as it, it.ws(SPOT) as socket:
        await command(socket, *(f"orderbook.{d}.{s}" for d in (1, 50, 200) for s in "ABCD"))
        await command(socket, "publicTrade.BTCUSDT", "publicTrade.NOPEUSDT")
        await command(socket, "allLiquidation.BTCUSDT")
        await command(socket, "publicTrade.BTCUSDT")
        await command(socket, "publicTrade.BTCUSDT")
        seen = await read(socket, answered(5))
        outcomes = [message["success"] for message in seen if "op" in message]
        assert outcomes == [False, False, False, True, False]
        await socket.send('{"op":"ping"}')
        (*_, pong) = await read(socket, lambda seen: any(m.get("op") == "ping" for m in seen))
        assert pong["ret_msg"] == "pong" and "req_id" not in pong


async def test_products_with_the_same_symbol_are_two_markets():
    async with bybit() as it:
        listed = {}
        for category in ("spot", "linear"):
            answer = await it.answer("/v5/market/instruments-info", category=category)
            listed[category] = answer["result"]["list"]
            assert [one["symbol"] for one in listed[category]] == ["BTCUSDT", "ETHUSDT"]
        assert "contractType" in listed["linear"][0] and "contractType" not in listed["spot"][0]
        await it.fault(kind="delist", symbol="BTCUSDT", product="LINEAR")
        await it.fault(kind="halt", symbol="ETHUSDT", product="LINEAR")
        by_status = {"": [], "PreLaunch": [], "Delivering": ["ETHUSDT"], "Closed": ["BTCUSDT"]}
        for status, expected in by_status.items():
            query = {"category": "linear"} | ({"status": status} if status else {})
            linear = await it.answer("/v5/market/instruments-info", **query)
            assert [one["symbol"] for one in linear["result"]["list"]] == expected, status
        one = await it.answer("/v5/market/instruments-info", category="linear", symbol="ETHUSDT")
        assert one["result"]["list"][0]["status"] == "Delivering"
        spot = await it.answer("/v5/market/instruments-info", category="spot")
        assert len(spot["result"]["list"]) == 2
        await it.fault(kind="halt", symbol="ETHUSDT", product="SPOT")
        spot = await it.answer("/v5/market/instruments-info", category="spot")
        assert [one["symbol"] for one in spot["result"]["list"]] == ["BTCUSDT"]


async def test_lists_of_contracts_have_pages():
    async with bybit() as it:
        path = "/v5/market/instruments-info"
        first = (await it.answer(path, category="linear", limit=1))["result"]
        second = (
            await it.answer(
                path, category="linear", limit=1, cursor=unquote(first["nextPageCursor"])
            )
        )["result"]
        assert [p["list"][0]["symbol"] for p in (first, second)] == ["BTCUSDT", "ETHUSDT"]
        assert first["nextPageCursor"] == "last%3DBTCUSDT" and not second["nextPageCursor"]


async def test_too_many_requests_are_refused_in_bybits_words():
    async with bybit(limits=Limits(weight_max=2, window_s=60)) as it:
        for _ in range(2):
            await it.answer("/v5/market/time")
        refused = await it.http.get("/v5/market/time")
        assert refused.status_code == 429 and refused.json()["retCode"] == 10006


async def test_wrong_requests_are_answered_with_codes():
    async with bybit() as it:
        for path, category in (("instruments-info", "inverse"), ("kline", "spot"), ("tickers", "")):
            answer = await it.answer(f"/v5/market/{path}", category=category)
            assert answer["retCode"] == 10001 and answer["result"] == {}
