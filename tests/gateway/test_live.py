"""The live server over a real NATS: what is committed reaches clients, with its position."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from math import nan
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tidemill.deploy.embedded.ports import free_port
from tidemill.gateway.live.app import serve
from tidemill.gateway.live.settings import LiveSettings
from tidemill.schemas.frame import encode
from tidemill.schemas.identifiers import partition
from tidemill.schemas.kinds import KINDS
from tidemill.schemas.rows import from_rows
from tidemill.streams import jetstream_connection, subjects
from tidemill.streams.declarations import streams
from tidemill.streams.jetstream import JetStreamLog
from tidemill.streams.log import Fence
from tidemill.streams.migrator import migrate
from tidemill.tests.servers import RunningNats

pytestmark = pytest.mark.integration

PART = partition("BTC/USDT")
T_NS = 1_723_118_400_000_000_000


class Streams:
    """LOG and OUT, and the live server before them."""

    def __init__(self, log: JetStreamLog, out: JetStreamLog, port: int) -> None:
        self.log, self.out, self.port = log, out, port
        self.url = f"ws://127.0.0.1:{port}/live"
        self.http = f"http://127.0.0.1:{port}"

    async def trades(self, *prices: int, symbol: str = "BTCUSDT", venue: str = "BINANCE") -> int:
        rows = [
            {"ts_event": T_NS + at, "ts_recv": T_NS + 5, "trade_id": 7 + at, "price": price}
            | {"quantity": 12_000_000, "aggressor_side": 2}
            for at, price in enumerate(prices)
        ]
        return await self._append("trade", rows, venue, symbol)

    async def quote(self, *bids: int, symbol: str = "BTCUSDT", venue: str = "BINANCE") -> int:
        rows = [
            {"ts_event": -(1 << 63), "ts_recv": T_NS + at, "bid_price": bid, "bid_quantity": 10**8}
            | {"ask_price": 0, "ask_quantity": 0}
            for at, bid in enumerate(bids)
        ]
        return await self._append("quote", rows, venue, symbol)

    async def time(self) -> int:
        frame = encode(KINDS["time"], from_rows(KINDS["time"], [{"ts": T_NS}]), 1)
        return await self.log.append([("time", frame)], None)

    async def bar(self, r: int, minute: int, revision: int = 0) -> None:
        opens = T_NS + minute * 60_000_000_000
        row = {"at_r": r, "at_i": 3, "n": PART << 24, "ts_open": opens, "interval_s": 60}
        row |= {"revision": revision, "open": 1, "high": 4, "low": 1, "close": 250_000_000}
        row |= {"volume": 1 << 70, "trade_count": 9, "flags": 1}
        frame = encode(KINDS["bar"], from_rows(KINDS["bar"], [row]), 1, -8, -8)
        subject = subjects.derived("bars", "1m", "BINANCE", "BTCUSDT", PART)
        await self.out.append([(subject, frame)], None)

    async def activity_bar(self, r: int, sequence: int, revision: int = 0) -> None:
        row = {"at_r": r, "at_i": 3, "n": PART << 24, "ts_open": T_NS, "ts_close": T_NS + 5}
        row |= {"sequence": sequence, "revision": revision, "aggregation": 1, "close": 250_000_000}
        row |= {"volume": 1 << 70, "trade_count": 9}
        kind = KINDS["activity_bar"]
        frame = encode(kind, from_rows(kind, [row]), 1, -8, -8)
        subject = subjects.derived("activity_bars", "tick", "BINANCE", "BTCUSDT", PART)
        await self.out.append([(subject, frame)], None)

    async def resampled_bar(self, r: int, spec: str) -> None:
        row = {"at_r": r, "at_i": 3, "n": PART << 24, "ts_open": T_NS, "ts_close": T_NS + 5}
        row |= {"close": 250_000_000, "volume": 1 << 70, "trade_count": 9}
        kind = KINDS["resampled_bar"]
        frame = encode(kind, from_rows(kind, [row]), 1, -8, -8)
        subject = subjects.derived("resampled_bars", spec, "BINANCE", "BTCUSDT", PART)
        await self.out.append([(subject, frame)], None)

    async def composite_bar(self, r: int, venues: str, missing: str) -> None:
        row = {"at_r": r, "at_i": 3, "n": PART << 24, "ts_open": T_NS, "interval_s": 60}
        row |= {"close": 250_000_000, "trade_count": 9, "venues": venues, "missing": missing}
        kind = KINDS["composite_bar"]
        frame = encode(kind, from_rows(kind, [row]), 1, -8, -8)
        subject = subjects.derived("composite_bars", "1m", "COMPOSITE", "BTCUSDT", PART)
        await self.out.append([(subject, frame)], None)

    async def indicator(self, r: int, value: float, output: str = "macd") -> None:
        row = {"at_r": r, "at_i": 3, "n": PART << 24, "ts_open": T_NS, "ts_close": T_NS + 5}
        row |= {"indicator": "macd(12,26,9)", "output": output, "value": value, "flags": 1}
        kind = KINDS["indicator"]
        subject = subjects.derived("indicators", "1m", "BINANCE", "BTCUSDT", PART)
        await self.out.append([(subject, encode(kind, from_rows(kind, [row]), 1))], None)

    async def signal(self, r: int, screen: str, close: float = 5.0) -> None:
        row = {"at_r": r, "at_i": 3, "n": PART << 24, "ts_open": T_NS, "ts_close": T_NS + 5}
        row |= {"bars": "15m", "status": 1, "close": close, "score": nan, "flags": 1}
        kind = KINDS["signal"]
        subject = subjects.derived("signals", screen, "BINANCE", "BTCUSDT", PART)
        await self.out.append([(subject, encode(kind, from_rows(kind, [row]), 1))], None)

    async def anomaly(self, r: int, detector: str, score: float) -> None:
        row = {"at_r": r, "at_i": 3, "n": PART << 24, "ts_open": T_NS, "ts_close": T_NS + 5}
        row |= {"bars": "1m", "detector": detector, "severity": 3, "score": score, "density": nan}
        kind = KINDS["anomaly"]
        subject = subjects.derived("anomalies", "watch", "BINANCE", "BTCUSDT", PART)
        await self.out.append([(subject, encode(kind, from_rows(kind, [row]), 1))], None)

    async def _append(self, kind: str, rows: list[Any], venue: str, symbol: str) -> int:
        frame = encode(KINDS[kind], from_rows(KINDS[kind], rows), 1, -8, -8)
        return await self.log.append([(subjects.md(kind, venue, symbol, PART), frame)], None)


class Client:
    """A WebSocket client that reads objects one by one."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self._waiting: list[dict[str, Any]] = []

    async def say(self, **request: Any) -> None:
        await self.socket.send(json.dumps(request))

    async def hear(self, timeout_s: float = 5) -> dict[str, Any]:
        while not self._waiting:
            async with asyncio.timeout(timeout_s):
                self._waiting = json.loads(await self.socket.recv())
        return self._waiting.pop(0)

    async def subscribe(
        self, channel: str, symbol: str = "BTCUSDT", venue: str = "BINANCE", **other: str
    ) -> dict[str, Any]:
        await self.say(op="subscribe", channel=channel, symbol=symbol, venue=venue, **other)
        return await self.hear()

    async def silence(self) -> None:
        """Nothing comes."""
        with pytest.raises(TimeoutError):
            await self.hear(0.2)


@asynccontextmanager
async def client_of(live: Streams) -> AsyncIterator[Client]:
    async with connect(live.url) as socket:
        client = Client(socket)
        assert (await client.hear())["event"] == "connected"
        yield client


@asynccontextmanager
async def live_on(nats: RunningNats, **settings: Any) -> AsyncIterator[Streams]:
    """Streams as the migrator makes them, and a live server that is connected."""
    admin = await jetstream_connection.connect(nats.url)
    await migrate(admin, streams(), apply=True)
    logs = [await JetStreamLog.open(admin, name) for name in ("LOG", "OUT")]
    given = LiveSettings.model_validate({"nats_gateway": nats.urls["gateway"], **settings})
    live = Streams(logs[0], logs[1], free_port())
    task = asyncio.create_task(serve("127.0.0.1", live.port, given))
    try:
        await until_running(live)
        yield live
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await admin.close()


async def until_running(live: Streams) -> dict[str, Any]:
    async with httpx2.AsyncClient() as http, asyncio.timeout(15):
        while True:
            with suppress(httpx2.TransportError):
                answer = await http.get(f"{live.http}/health")
                if answer.status_code == 200:
                    found: dict[str, Any] = answer.json()
                    return found
            await asyncio.sleep(0.02)


@pytest.fixture
async def live(nats: RunningNats) -> AsyncIterator[Streams]:
    async with live_on(nats) as streams_and_server:
        yield streams_and_server


async def test_trades_come_with_their_position_and_exact_text(live: Streams) -> None:
    async with client_of(live) as client:
        told = await client.subscribe("trades")
        assert told == {"event": "subscribed", "channel": "trades", "symbol": "BTCUSDT"} | {
            "venue": "BINANCE",
            "as_of": 0,
        }
        r = await live.trades(6_183_763_000_000, 6_183_762_123_456)
        update = await client.hear()
        assert (update["channel"], update["r"]) == ("trades", r)
        assert [trade["i"] for trade in update["data"]] == [0, 1]
        assert update["data"][1] == {
            "r": r,
            "i": 1,
            "id": 8,
            "price": "61837.62123456",
            "quantity": "0.12",
            "aggressor_side": "SELLER",
            "ts_event": T_NS + 1,
            "ts_recv": T_NS + 5,
            "time": T_NS // 1_000_000,
            "flags": [],
        }


async def test_of_quotes_the_last_of_a_frame_and_an_empty_side_is_null(live: Streams) -> None:
    async with client_of(live) as client:
        await client.subscribe("quotes")
        r = await live.quote(100_000_000, 250_000_000)
        (quote,) = (await client.hear())["data"]
        assert (quote["r"], quote["i"], quote["bid"], quote["ask"]) == (r, 1, "2.5", None)
        assert quote["ts_event"] is None


async def test_bars_carry_the_position_of_their_cause(live: Streams) -> None:
    async with client_of(live) as client:
        await client.subscribe("bars", interval="1m")
        await live.bar(4_711, minute=0)
        update = await client.hear()
        assert (update["interval"], update["r"]) == ("1m", 4_711)
        (bar,) = update["data"]
        assert (bar["r"], bar["i"], bar["n"]) == (4_711, 3, PART << 24)
        assert (bar["close"], bar["volume"], bar["flags"]) == (
            "2.5",
            "11805916207174.11303424",
            ["GAP"],
        )
        assert (bar["ts_open"], bar["trades"]) == (T_NS, 9)


async def test_bars_by_what_was_traded_are_bars_whose_interval_is_their_aggregation(
    live: Streams,
) -> None:
    async with client_of(live) as client:
        await client.subscribe("bars", interval="tick")
        await live.bar(4_710, minute=0)
        await live.activity_bar(4_711, sequence=6)
        update = await client.hear()
        assert (update["interval"], update["r"]) == ("tick", 4_711)
        (bar,) = update["data"]
        assert (bar["sequence"], bar["ts_open"], bar["ts_close"]) == (6, T_NS, T_NS + 5)
        assert (bar["close"], bar["trades"], bar["flags"]) == ("2.5", 9, [])


async def test_bars_made_of_bars_are_bars_of_their_interval(live: Streams) -> None:
    async with client_of(live) as client:
        await client.subscribe("bars", interval="1M")
        await live.bar(4_710, minute=0)
        await live.resampled_bar(4_711, "3m")
        await live.resampled_bar(4_712, "1M")
        update = await client.hear()
        assert (update["interval"], update["r"]) == ("1M", 4_712)
        (bar,) = update["data"]
        assert (bar["ts_open"], bar["ts_close"], bar["close"]) == (T_NS, T_NS + 5, "2.5")


async def test_bars_over_venues_say_whose_they_are(live: Streams) -> None:
    async with client_of(live) as client:
        await client.subscribe("bars", venue="COMPOSITE", interval="1m")
        await live.bar(4_710, minute=0)
        await live.composite_bar(4_711, "BINANCE,OKX", "BYBIT")
        update = await client.hear()
        assert (update["venue"], update["interval"], update["r"]) == ("COMPOSITE", "1m", 4_711)
        (bar,) = update["data"]
        assert (bar["venues"], bar["missing"], bar["late"]) == (["BINANCE", "OKX"], ["BYBIT"], [])
        assert (bar["close"], bar["trades"]) == ("2.5", 9)


async def test_indicators_are_told_by_name_with_the_position_of_their_bar(live: Streams) -> None:
    async with client_of(live) as client:
        await client.subscribe("indicators", interval="1m")
        await live.bar(4_710, minute=0)
        await live.indicator(4_711, -12.5)
        update = await client.hear()
        assert (update["channel"], update["interval"], update["r"]) == ("indicators", "1m", 4_711)
        (told,) = update["data"]
        assert (told["indicator"], told["output"]) == ("macd(12,26,9)", "macd")
        assert (told["value"], told["flags"], told["ts_open"]) == (-12.5, ["GAP"], T_NS)


async def test_signals_come_by_screen_and_say_null_for_what_is_not_known(live: Streams) -> None:
    async with client_of(live) as client:
        told = await client.subscribe("signals", screen="oversold")
        assert (told["event"], told["screen"]) == ("subscribed", "oversold")
        await live.signal(4_711, "other")
        await live.signal(4_712, "oversold")
        update = await client.hear()
        assert (update["channel"], update["screen"], update["r"]) == ("signals", "oversold", 4_712)
        (one,) = update["data"]
        assert (one["bars"], one["status"], one["flags"]) == ("15m", "RAISED", ["GAP"])
        assert (one["score"], one["close"], one["recommendation"]) == (None, 5.0, "NONE")
        await client.subscribe("signals", symbol="*", venue="*", screen="*")
        await live.signal(4_713, "other")
        assert (await client.hear())["screen"] == "other"


async def test_anomalies_are_told_with_what_speaks_for_them(live: Streams) -> None:
    async with client_of(live) as client:
        await client.subscribe("anomalies", symbol="*", venue="*")
        await live.anomaly(4_711, "return_z(60)", -13.5)
        update = await client.hear()
        assert (update["channel"], update["symbol"], update["r"]) == ("anomalies", "BTCUSDT", 4_711)
        (one,) = update["data"]
        assert (one["detector"], one["severity"], one["score"]) == ("return_z(60)", "HIGH", -13.5)
        assert (one["bars"], one["density"], one["median"]) == ("1m", None, 0.0)
        assert (await client.subscribe("anomalies", interval="1m"))["code"] == "INVALID_INPUT"


@pytest.mark.parametrize("more", [{}, {"screen": "A"}, {"screen": "a", "interval": "1m"}])
async def test_signals_are_of_a_screen_and_not_of_an_interval(
    live: Streams, more: dict[str, str]
) -> None:
    async with client_of(live) as client:
        assert (await client.subscribe("signals", **more))["code"] == "INVALID_INPUT"
        refused = await client.subscribe("trades", screen="a")
        assert refused["code"] == "INVALID_INPUT" and "have a screen" in refused["message"]


async def test_only_what_is_subscribed_comes_and_only_until_unsubscribed(live: Streams) -> None:
    async with client_of(live) as client:
        await client.subscribe("trades")
        await live.trades(1, symbol="ETHUSDT")
        await live.trades(1, venue="BINANCE_US")
        await live.quote(1)
        await client.silence()
        await client.say(op="unsubscribe", channel="trades", symbol="BTCUSDT", venue="BINANCE")
        assert (await client.hear())["event"] == "unsubscribed"
        await live.trades(1)
        await client.silence()


async def test_a_star_is_every_symbol_and_twice_wanted_comes_once(live: Streams) -> None:
    async with client_of(live) as client:
        await client.subscribe("trades", symbol="*", venue="*")
        await client.subscribe("trades")
        first = await live.trades(1)
        second = await live.trades(1, symbol="ETHUSDT", venue="BINANCE_US")
        updates = [await client.hear(), await client.hear()]
        assert [(u["symbol"], u["venue"], u["r"]) for u in updates] == [
            ("BTCUSDT", "BINANCE", first),
            ("ETHUSDT", "BINANCE_US", second),
        ]
        await client.silence()


async def test_a_subscription_tells_a_position_behind_all_that_came_before(live: Streams) -> None:
    await live.trades(1)
    newest = await live.time()
    while (await until_running(live))["as_of"] < newest:
        await asyncio.sleep(0.01)
    async with client_of(live) as client:
        assert (await client.subscribe("trades"))["as_of"] == newest
        assert await live.trades(1) > newest
        assert (await client.hear())["r"] > newest


async def test_an_attempt_that_is_refused_is_never_seen(live: Streams) -> None:
    async with client_of(live) as client:
        await client.subscribe("trades")
        subject = subjects.md("trade", "BINANCE", "BTCUSDT", PART)
        frame = encode(KINDS["trade"], from_rows(KINDS["trade"], [{"price": 666}]), 1, -8, -8)
        with pytest.raises(Exception, match="wrong last"):
            await live.log.append([(subject, frame), (subject, frame)], Fence(subject, 99))
        await live.trades(100_000_000)
        assert [trade["price"] for trade in (await client.hear())["data"]] == ["1"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"op":"drop"}',
        '{"op":"subscribe","channel":"orders","symbol":"BTCUSDT","venue":"BINANCE"}',
        '{"op":"subscribe","channel":"trades","symbol":"BTC.>","venue":"BINANCE"}',
        '{"op":"subscribe","channel":"trades","symbol":"btcusdt","venue":"BINANCE"}',
        '{"op":"subscribe","channel":"bars","symbol":"BTCUSDT","venue":"BINANCE"}',
        '{"op":"subscribe","channel":"trades","symbol":"BTCUSDT","venue":"B","interval":"1m"}',
        '{"op":"ping","more":1}',
    ],
)
async def test_what_is_no_request_is_refused_and_the_client_stays(live: Streams, text: str) -> None:
    async with client_of(live) as client:
        await client.socket.send(text)
        told = await client.hear()
        assert (told["event"], told["code"]) == ("error", "INVALID_INPUT") and told["message"]
        await client.say(op="ping")
        assert (await client.hear())["event"] == "pong"


async def test_more_than_ten_messages_a_second_are_refused_and_a_flood_ends_it(
    live: Streams,
) -> None:
    async with client_of(live) as client:
        for _ in range(12):
            await client.say(op="ping")
        told = [await client.hear() for _ in range(12)]
        assert [one.get("code") for one in told] == [None] * 10 + ["RATE_LIMITED"] * 2
        for _ in range(120):
            await client.say(op="ping")
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await client.hear()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008


async def test_a_long_message_ends_the_connection(live: Streams) -> None:
    async with client_of(live) as client:
        await client.socket.send("x" * 5_000)
        with pytest.raises(ConnectionClosed) as closed:
            await client.hear()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009


async def test_clients_and_subscriptions_are_limited(nats: RunningNats) -> None:
    async with live_on(nats, live_clients_max=2, live_subscriptions_max=1) as live:
        async with client_of(live) as client, client_of(live):
            with pytest.raises(InvalidStatus) as refused:
                await connect(live.url)
            assert refused.value.response.status_code == 503
            assert (await client.subscribe("trades"))["event"] == "subscribed"
            assert (await client.subscribe("quotes"))["code"] == "TOO_MANY_SUBSCRIPTIONS"
            assert (await client.subscribe("trades"))["event"] == "subscribed"
        with pytest.raises(InvalidStatus) as nowhere:
            await connect(live.url.replace("/live", "/other"))
        assert nowhere.value.response.status_code == 404


async def test_a_client_that_does_not_answer_pings_is_closed(nats: RunningNats) -> None:
    async with live_on(nats, live_ping_s=0.1, live_pong_s=0.2) as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        writer.write(
            b"GET /live HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        async with asyncio.timeout(5):
            everything = await reader.read()  # until the server closes
        writer.close()
        assert b"\x88\x09\x03\xe9no pong" in everything  # a close frame, code 1001


async def test_a_lost_connection_to_nats_is_told_with_a_position_behind_the_gap(
    nats: RunningNats, live: Streams
) -> None:
    async with client_of(live) as client:
        await client.subscribe("trades")
        await live.trades(1)
        assert (await client.hear())["channel"] == "trades"
        nats.kill()
        async with httpx2.AsyncClient() as http, asyncio.timeout(10):
            while (await http.get(f"{live.http}/health")).status_code == 200:
                await asyncio.sleep(0.02)
        await nats.restart()
        await until_running(live)
        newest = 0
        async with asyncio.timeout(20):
            while True:
                with suppress(Exception):
                    newest = await live.time()
                try:
                    told = await client.hear(0.3)
                    break
                except TimeoutError:
                    continue
        assert (told["event"], told["dropped"], told["channel"]) == ("gap", None, None)
        assert 1 < told["as_of"] <= newest


async def test_health_and_metrics_are_on_the_same_port(live: Streams) -> None:
    async with client_of(live) as client, httpx2.AsyncClient() as http:
        await client.subscribe("trades")
        await live.trades(1)
        await client.hear()
        health = (await http.get(f"{live.http}/health")).json()
        assert (health["status"], health["connections"], health["clients"]) == (
            "RUNNING",
            {"nats": True},
            1,
        )
        text = (await http.get(f"{live.http}/metrics")).text
        assert 'live_updates_total{channel="trades"} 1.0' in text and "live_clients 1.0" in text
        assert "BTCUSDT" not in text
