"""Faults that a test asks of the exchange: each does what it says, on any channel, and no more."""

import asyncio
import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import httpx2
import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from tidemill.deploy.exchange.faults import Faults, Topic
from tidemill.deploy.exchange.limits import Limits
from tidemill.tests.deploy.simulated_exchange import Venue, read, venue

pytestmark = pytest.mark.integration

TRADES = "/ws/btcusdt@trade"
BOOKS = "/ws/btcusdt@depth@100ms"


def count(number: int) -> Callable[[list[Any]], bool]:
    return lambda seen: len(seen) >= number


async def done(it: Venue, kind: str) -> int:
    counted: int = (await it.answer("/sim/state"))["faults"]["done"][kind]
    return counted


def missing(ids: list[int]) -> list[int]:
    return sorted(set(range(ids[0], max(ids) + 1)) - set(ids))


@pytest.mark.parametrize("kind", ["drop", "duplicate", "reorder", "delay"])
async def test_a_share_of_messages_goes_wrong_and_the_rest_does_not(kind: str):
    async with venue(rate=3_000.0) as it, it.ws(TRADES, max_queue=None) as socket:
        await it.fault(kind=kind, channel="trade", rate="0.05", ms=30)
        ids = [trade["t"] for trade in await read(socket, count(1_500))]
        wrong = await done(it, kind)
        await it.fault(kind="clear")
        await asyncio.sleep(0.6)  # what was held back or late is sent by then
        await read(socket, count(1_500))
        ids = [trade["t"] for trade in await read(socket, count(200))]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert 20 < wrong < 400


@pytest.mark.parametrize(
    ("kind", "holds"),
    [
        ("drop", lambda ids: len(missing(ids)) > 10 and ids == sorted(ids)),
        ("duplicate", lambda ids: not missing(ids) and len(ids) > len(set(ids)) + 10),
        ("reorder", lambda ids: sum(b < a for a, b in pairwise(ids)) > 10),
        ("delay", lambda ids: max(a - b for a, b in pairwise(ids)) > 3),
    ],
)
async def test_each_kind_is_seen_in_the_ids(kind: str, holds: Callable[[list[int]], bool]):
    async with venue(rate=3_000.0) as it, it.ws(TRADES, max_queue=None) as socket:
        await it.fault(kind=kind, rate="0.05", ms=30)
        ids = [trade["t"] for trade in await read(socket, count(1_500))]
    assert holds(ids)
    late = len(ids) - len(set(ids))
    assert kind != "reorder" or late == 0


async def test_a_fault_of_one_channel_and_symbol_spares_the_others():
    streams = "/".join(f"{s}@{c}" for s in ("btcusdt", "ethusdt") for c in ("trade", "depth@100ms"))
    async with venue() as it, it.ws(f"/stream?streams={streams}") as socket:
        await it.fault(kind="drop", channel="book", symbol="BTCUSDT", rate="1")
        seen = await read(socket, count(150))
        assert await done(it, "drop") > 2
    by_stream: dict[str, list[Any]] = {}
    for message in seen:
        by_stream.setdefault(message["stream"], []).append(message["data"])
    assert "btcusdt@depth@100ms" not in by_stream
    for symbol in ("btcusdt", "ethusdt"):
        ids = [trade["t"] for trade in by_stream[f"{symbol}@trade"]]
        assert not missing(ids)
    assert all(b["U"] == a["u"] + 1 for a, b in pairwise(by_stream["ethusdt@depth@100ms"]))


async def test_a_dropped_depth_update_breaks_the_chain_once():
    async with venue() as it, it.ws(BOOKS) as socket:
        seen = await read(socket, count(2))
        await it.fault(kind="drop", channel="book", count=1)
        seen += await read(socket, count(8))
    assert sum(b["U"] != a["u"] + 1 for a, b in pairwise(seen)) == 1


async def test_malformed_messages_are_no_good_json_or_no_good_numbers():
    async with venue() as it, it.ws(TRADES) as socket:
        await it.fault(kind="malformed", count=12)
        bad = []
        async with asyncio.timeout(10):
            while len(bad) < 12:
                text = await socket.recv()
                if not _good(text):
                    bad.append(text)
        await read(socket, count(5))
    assert {_what(text) for text in bad} == {"cut off", "no number", "null"}


def _good(text: str | bytes) -> bool:
    return _what(text) == "good"


def _what(text: str | bytes) -> str:
    try:
        message = json.loads(text)
    except json.JSONDecodeError:
        return "cut off"
    if message is None:
        return "null"
    return "no number" if "many" in message.values() else "good"


async def test_a_huge_message_is_as_large_as_asked_and_too_large_for_a_careful_client():
    async with venue() as it, it.ws(TRADES, max_size=1 << 16) as socket:
        await it.fault(kind="huge", bytes=1 << 20)
        with pytest.raises(ConnectionClosedError) as closed:
            await read(socket, count(10**6))
    assert closed.value.sent is not None and closed.value.sent.code == 1009


async def test_connections_are_cut_every_so_often():
    async with venue() as it:
        await it.fault(kind="cut", every="0.4")
        loop = asyncio.get_running_loop()
        began, cuts = loop.time(), 0
        while loop.time() - began < 2.0:
            async with it.ws(TRADES) as socket:
                with pytest.raises(ConnectionClosedError):
                    await read(socket, count(10**6), timeout_s=2)
                cuts += 1
        await it.fault(kind="clear")
        async with it.ws(TRADES) as socket:
            with pytest.raises(TimeoutError):
                await read(socket, count(10**6), timeout_s=0.8)
    assert 3 <= cuts <= 7


async def test_a_half_open_connection_says_nothing_and_answers_no_ping():
    limits = Limits(ping_interval_s=0.2, pong_timeout_s=0.2)
    async with venue(limits=limits) as it, it.ws(TRADES, ping_interval=None) as socket:
        await read(socket, count(3))
        await it.fault(kind="half_open")
        await asyncio.sleep(0.05)
        with pytest.raises(TimeoutError):
            await read(socket, count(200), timeout_s=0.8)
        pong = await socket.ping()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await pong
        async with it.ws(TRADES) as other:
            await read(other, count(3))
        socket.transport.abort()


async def test_handshakes_are_refused_and_then_not():
    async with venue() as it:
        await it.fault(kind="refuse", count=2, status=502)
        for _ in range(2):
            with pytest.raises(InvalidStatus) as refused:
                await it.ws(TRADES)
            assert refused.value.response.status_code == 502
        async with it.ws(TRADES) as socket:
            await read(socket, count(1))


@pytest.mark.parametrize("status", [429, 418])
async def test_requests_are_refused_in_the_venues_words_with_retry_after(status: int):
    async with venue("BINANCE", ("SPOT", "USDM")) as it:
        await it.fault(kind="limit", count=2, status=status, seconds=7)
        for path in ("/api/v3/ping", "/fapi/v1/ping"):
            answer = await it.http.get(path)
            assert answer.status_code == status
            assert answer.json()["code"] == -1003
            assert answer.headers["Retry-After"] == "7"
        assert (await it.http.get("/api/v3/ping")).status_code == 200


async def test_requests_fail_and_are_late():
    async with venue() as it:
        await it.fault(kind="rest", status=500)
        assert (await it.get("time")).status_code == 500
        await it.fault(kind="slow", seconds=5)
        with pytest.raises(httpx2.ReadTimeout):
            await it.http.get("/api/v3/time", timeout=0.3)
        assert (await it.get("time")).status_code == 200


async def test_a_stale_snapshot_is_a_book_of_the_past_by_the_record():
    async with venue(rate=2_000.0) as it, it.ws(BOOKS) as socket:
        first = (await read(socket, count(10)))[0]
        await it.fault(kind="stale", symbol="BTCUSDT", behind=200)
        old = (await it.get("depth", symbol="BTCUSDT", limit=5000)).json()
        new = (await it.get("depth", symbol="BTCUSDT", limit=5000)).json()
        query = {"symbol": "BTCUSDT", "update_id": old["lastUpdateId"]}
        recorded = await it.answer("/sim/book", **query)
    assert first["U"] < old["lastUpdateId"] < new["lastUpdateId"] - 150
    for side in ("bids", "asks"):
        assert [[float(p), float(q)] for p, q in old[side]] == [
            [float(p), float(q)] for p, q in recorded[side]
        ]


async def test_the_record_has_the_book_after_every_depth_update():
    async with venue(rate=2_000.0) as it, it.ws(BOOKS) as socket:
        snapshot = (await it.get("depth", symbol="BTCUSDT", limit=5000)).json()
        updates = [u for u in await read(socket, count(12)) if u["u"] > snapshot["lastUpdateId"]]
        book = {s: {float(p): float(q) for p, q in snapshot[s]} for s in ("bids", "asks")}
        for update in updates:
            for side, changes in (("bids", update["b"]), ("asks", update["a"])):
                book[side] |= {float(p): float(q) for p, q in changes}
                book[side] = {p: q for p, q in book[side].items() if q}
            recorded = await it.answer("/sim/book", symbol="BTCUSDT", update_id=update["u"])
            for side in ("bids", "asks"):
                assert {float(p): float(q) for p, q in recorded[side]} == book[side]
        unknown = await it.http.get(
            "/sim/book", params={"symbol": "BTCUSDT", "update_id": updates[-1]["u"] + 10**9}
        )
    assert len(updates) >= 8 and unknown.status_code == 404


async def test_a_market_is_listed_halted_and_delisted_while_clients_listen():
    streams = "btcusdt@trade/ethusdt@trade/solusdt@trade"
    async with venue() as it, it.ws(f"/stream?streams={streams}") as socket:
        await it.fault(kind="list", symbol="SOLUSDT", product="SPOT")
        await it.fault(kind="halt", symbol="BTCUSDT")
        await it.fault(kind="delist", symbol="ETHUSDT")
        await asyncio.sleep(0.1)
        await read(socket, lambda seen: seen[-1:] != [] and seen[-1]["stream"] == "solusdt@trade")
        seen = await read(socket, count(40))
        info = (await it.get("exchangeInfo")).json()
        gone = await it.get("depth", symbol="ETHUSDT")
        again = await it.http.post("/sim/faults", params={"kind": "list", "symbol": "SOLUSDT"})
    assert {message["stream"] for message in seen} == {"solusdt@trade"}
    assert {one["symbol"]: one["status"] for one in info["symbols"]} == {
        "BTCUSDT": "BREAK",
        "SOLUSDT": "TRADING",
    }
    assert gone.status_code == 400 and again.status_code == 400


@pytest.mark.parametrize(
    "asked",
    [
        {"kind": "drop", "channel": "gossip"},
        {"kind": "drop", "rate": "2"},
        {"kind": "drop", "count": "some"},
        {"kind": "halt", "symbol": "NOPE"},
        {"kind": "list", "symbol": "nope"},
        {"kind": "list", "symbol": "SOLUSDT", "product": "OPTIONS"},
        {},
    ],
)
async def test_what_cannot_be_done_is_refused_and_does_nothing(asked: dict[str, str]):
    async with venue() as it:
        before = await it.answer("/sim/state")
        answer = await it.http.post("/sim/faults", params=asked)
        after = await it.answer("/sim/state")
    assert answer.status_code == 400 and answer.json()["error"]
    assert before["faults"] == after["faults"]


def test_faults_of_one_seed_hit_the_same_messages():
    topic = Topic("x", "trade", "SPOT", "BTCUSDT", "BTCUSDT")
    hits = []
    for seed in (1, 1, 2):
        faults = Faults(seed)
        faults.arm({"kind": "drop", "rate": "0.1"}, 0.0)
        hits.append([faults.of_listener(topic, 0.0) is not None for _ in range(500)])
    assert hits[0] == hits[1] != hits[2]
    assert 25 < sum(hits[0]) < 90


def test_a_wrong_checksum_differs_and_is_a_checksum():
    faults = Faults()
    faults.arm({"kind": "checksum", "channel": "book"}, 0.0)
    rule = faults.of_message(Topic("x", "book", "SPOT", "BTCUSDT", "BTC-USDT"))
    assert rule is not None
    text = '{"data":[{"checksum":-855196043,"seqId":123}]}'
    assert json.loads(faults.corrupted(rule, text))["data"][0]["checksum"] != -855196043
    assert json.loads(faults.corrupted(rule, text))["data"][0]["seqId"] == 123
