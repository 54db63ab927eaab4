"""A live feed against the simulated exchange: what is in LOG is what the exchange traded."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import numpy as np
import orjson
import pytest
from websockets.asyncio.server import ServerConnection, serve

from tidemill.schemas import events, kinds
from tidemill.schemas.enums import RecordFlag
from tidemill.schemas.events.event import Event
from tidemill.schemas.events.feed import BookGapDetected, FeedConnected, FeedDisconnected
from tidemill.streams.feeds import live, websocket
from tidemill.streams.feeds.binance_spot import BinanceSpot
from tidemill.streams.feeds.binance_usdm import BinanceUsdm
from tidemill.streams.feeds.capture import CaptureFile, Recorder
from tidemill.streams.feeds.feed import Endpoints
from tidemill.streams.feeds.frames import cut
from tidemill.streams.feeds.items import Item
from tidemill.streams.feeds.live import LiveFeed
from tidemill.streams.feeds.replay import Replay
from tidemill.streams.feeds.role import Feed, Nowhere, Subscription, known_of, record
from tidemill.streams.log import Message
from tidemill.streams.memory import MemoryLog
from tidemill.streams.subjects import LOG_SUBJECTS

pytestmark = pytest.mark.integration

SYMBOLS = ["BTCUSDT", "ETHUSDT"]
PRICES = ("price", "quantity", "ts_event", "aggressor_side")


class SimulatedExchange:
    """The exchange in a process of its own, and what it says of itself."""

    def __init__(self, ready: dict[str, Any]) -> None:
        self.endpoints = Endpoints(ready["ws"], ready["rest"])
        self._client = httpx2.AsyncClient(base_url=ready["rest"])

    async def fault(self, kind: str, **options: object) -> None:
        answer = await self._client.post("/sim/faults", params={"kind": kind, **options})
        assert answer.status_code == 200, answer.text

    async def trades(self, symbol: str, first: int, last: int) -> dict[int, dict[str, Any]]:
        found: dict[int, dict[str, Any]] = {}
        while first <= last:
            query = {"symbol": symbol, "fromId": first, "limit": min(1000, last - first + 1)}
            answer = await self._client.get("/api/v3/historicalTrades", params=query)
            found |= {trade["id"]: trade for trade in answer.json()}
            first += 1000
        return found

    async def close(self) -> None:
        await self._client.aclose()


@asynccontextmanager
async def exchange(*options: str) -> AsyncIterator[SimulatedExchange]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tidemill.deploy.exchange", "--venue", "BINANCE", "--port", "0"),
        *("--seed", "1", "--symbols", ",".join(SYMBOLS), "--rate", "200", *options),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    ready = json.loads(await process.stdout.readline())
    assert ready["venue"] == "BINANCE"
    simulated = SimulatedExchange(ready)
    try:
        yield simulated
    finally:
        await simulated.close()
        process.terminate()
        await process.wait()


@asynccontextmanager
async def fed(feeding: Feed) -> AsyncIterator[Feed]:
    """Run a feed until it is started, and then as long as the test needs it."""
    async with running(feeding.run()):
        await until(lambda: bool(feeding.feeds))
        yield feeding


@asynccontextmanager
async def running(work: Awaitable[None]) -> AsyncIterator[asyncio.Future[None]]:
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(outcome, asyncio.CancelledError), outcome


async def until(condition: Callable[[], bool], timeout_s: float = 15) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.02)


async def contents(log: MemoryLog) -> list[Message]:
    reader = await log.read(1, LOG_SUBJECTS)
    found: list[Message] = []
    while pulled := await reader.pull(1000, 1 << 24, 0.01):
        found += pulled
    await reader.close()
    return found


def trades(messages: list[Message], symbol: str) -> Any:
    found = [m for m in messages if m.subject.startswith(f"md.trade.BINANCE.{symbol}.")]
    return np.concatenate([kinds.decode(m.payload).records for m in found])


def facts(messages: list[Message]) -> list[Event]:
    return [events.decode(m.payload) for m in messages if m.payload.startswith(b"{")]


def names(messages: list[Message]) -> list[str]:
    return [type(event).__name__ for event in facts(messages)]


async def equal_to_the_exchange(
    simulated: SimulatedExchange, messages: list[Message], symbol: str
) -> Any:
    """Every trade in the log is the exchange's, each once, in id order, without a hole."""
    found = trades(messages, symbol)
    ids = found["trade_id"].astype(np.int64)
    assert (np.diff(ids) == 1).all()
    truth = await simulated.trades(symbol, int(ids[0]), int(ids[-1]))
    for row in found:
        trade = truth[int(row["trade_id"])]
        assert int(trade["price"].replace(".", "")) == row["price"]
        assert int(trade["qty"].replace(".", "")) == row["quantity"]
        assert trade["time"] * 1_000_000 == row["ts_event"]
        assert (row["aggressor_side"] == 2) == trade["isBuyerMaker"]
    return found


def feed(log: MemoryLog, simulated: SimulatedExchange, venue: BinanceSpot | None = None) -> Feed:
    return Feed(log, [Subscription(venue or BinanceSpot(), SYMBOLS, simulated.endpoints)])


def one(endpoints: Endpoints) -> list[Subscription]:
    return [Subscription(BinanceSpot(), ["BTCUSDT"], endpoints)]


def connections_of(running_feed: Feed) -> int:
    turns = [line.turn for line in running_feed.feeds[0].lines.all]
    return max((turn.connection for turn in turns if turn), default=0)


def count(running_feed: Feed, name: str) -> int:
    return running_feed.feeds[0].intake.counts[name] if running_feed.feeds else 0


async def test_what_the_exchange_trades_is_in_the_log_in_order_and_exact():
    log = MemoryLog("LOG", LOG_SUBJECTS)
    async with exchange() as simulated:
        feeding = feed(log, simulated)
        async with fed(feeding):
            await until(lambda: count(feeding, "trades") > 200)
        messages = await contents(log)
        for symbol in SYMBOLS:
            found = await equal_to_the_exchange(simulated, messages, symbol)
            assert not found["flags"].any()
    for symbol in SYMBOLS:
        mine = [m.subject for m in messages if f".{symbol}." in m.subject]
        assert mine[0].startswith("md.instrument.")
    statuses = [
        kinds.decode(m.payload).records[0]
        for m in messages
        if m.subject == "md.status.BINANCE.SPOT.all"
    ]
    assert (np.diff([int(s["venue_time"]) for s in statuses]) >= 0).all()
    assert names(messages).count("FeedConnected") == 1


async def test_dropped_trades_are_fetched_and_duplicates_vanish():
    log = MemoryLog("LOG", LOG_SUBJECTS)
    async with exchange() as simulated:
        feeding = feed(log, simulated)
        async with fed(feeding):
            await until(lambda: count(feeding, "trades") > 50)
            await simulated.fault("duplicate", symbol="BTCUSDT", count=20)
            await until(lambda: feeding.feeds[0].intake.sequences["BTCUSDT"].duplicates >= 20)
            await simulated.fault("drop", symbol="BTCUSDT", count=5)
            await until(lambda: feeding.feeds[0].intake.events["TradeGapFilled"] > 0)
            seen = count(feeding, "trades")
            await until(lambda: count(feeding, "trades") > seen + 50)
        messages = await contents(log)
        found = await equal_to_the_exchange(simulated, messages, "BTCUSDT")
    assert (found["flags"] == RecordFlag.FILLED).sum() == 5
    assert "TradeGapDeclared" not in names(messages)
    holds = [
        int(kinds.decode(m.payload).records[0]["hold"])
        for m in messages
        if m.subject.startswith("md.status.BINANCE.BTCUSDT.")
    ]
    assert holds and holds == [1, 0] * (len(holds) // 2)


async def test_after_a_cut_the_feed_connects_again_and_what_was_missed_is_fetched(monkeypatch):
    monkeypatch.setattr(websocket, "BACKOFF_S_MIN", 2.0)  # long enough that something is missed
    log = MemoryLog("LOG", LOG_SUBJECTS)
    async with exchange() as simulated:
        feeding = feed(log, simulated)
        async with fed(feeding):
            await until(lambda: count(feeding, "trades") > 50)
            await simulated.fault("cut")
            await until(lambda: feeding.feeds[0].intake.events["FeedConnected"] == 2)
            seen = count(feeding, "trades")
            await until(lambda: count(feeding, "trades") > seen + 100)
        messages = await contents(log)
        found = [await equal_to_the_exchange(simulated, messages, s) for s in SYMBOLS]
    story = [n for n in names(messages) if n.startswith("Feed")]
    assert story == ["FeedConnected", "FeedDisconnected", "FeedConnected"]
    assert sum((f["flags"] == RecordFlag.FILLED).sum() for f in found) > 0


async def test_a_restarted_feed_continues_after_the_newest_trade_in_the_log():
    log = MemoryLog("LOG", LOG_SUBJECTS)
    async with exchange() as simulated:
        first = feed(log, simulated)
        async with fed(first):
            await until(lambda: count(first, "trades") > 50)
        await asyncio.sleep(0.5)
        second = feed(log, simulated)
        async with fed(second):
            await until(lambda: count(second, "trades") > 200)
        messages = await contents(log)
        found = [await equal_to_the_exchange(simulated, messages, s) for s in SYMBOLS]
    assert all((f["flags"] == RecordFlag.FILLED).any() for f in found)
    assert names(messages).count("InstrumentDefined") == len(SYMBOLS), "known ones are not said"
    sequences = [
        events.decode(m.payload).sequence
        if m.payload.startswith(b"{")
        else kinds.decode(m.payload).sequence
        for m in messages
    ]
    assert sequences == list(range(1, len(sequences) + 1))


async def test_holds_that_a_killed_feed_left_on_are_ended():
    log = MemoryLog("LOG", LOG_SUBJECTS)
    async with exchange() as simulated:
        feeding = feed(log, simulated)
        async with fed(feeding):
            await until(
                lambda: count(feeding, "trades") > 20 and feeding.feeds[0].intake.clock.newest
            )
        held = feeding.feeds[0].intake.release(["ETHUSDT"], 1)[0]
        held.records["hold"] = 1
        await log.append([*feeding.writer._source.cut([held], 10_000)], None)
        known = await known_of(log, BinanceSpot(), SYMBOLS)
        assert known.held == ["ETHUSDT"] and known.lasts.keys() == set(SYMBOLS)
        assert known.venue_time > 0
        again = feed(log, simulated)
        async with fed(again):
            await until(lambda: count(again, "trades") > 20)
        assert (await known_of(log, BinanceSpot(), SYMBOLS)).held == []


def proven(feeding: Feed) -> bool:
    """Whether every book is valid."""
    books = feeding.feeds[0].intake.books.state() if feeding.feeds else {}
    return len(books) == len(SYMBOLS) and all(b["state"] == "VALID" for b in books.values())


async def test_books_of_a_feed_before_this_one_are_not_valid_until_a_snapshot():
    log = MemoryLog("LOG", LOG_SUBJECTS)
    async with exchange() as simulated:
        feeding = feed(log, simulated)
        async with fed(feeding):
            await until(lambda: proven(feeding))
        end = log.end
        again = feed(log, simulated)
        async with fed(again):
            await until(lambda: proven(again))
        later = [m for m in log.slice(end, log.end) if m is not None]
        for symbol in SYMBOLS:
            mine = [m for m in later if f".{symbol}." in m.subject]
            said = [m.subject.split(".")[1] for m in mine if m.subject.split(".")[1] != "status"]
            event = events.decode(next(m for m in mine if ".event." in m.subject).payload)
            assert isinstance(event, BookGapDetected) and event.reason == "DISCONNECTED"
            assert said.index("event") < said.index("book"), "it is said before anything else"


async def test_sockets_are_replaced_before_their_end_and_nothing_comes_twice():
    class ShortLived(BinanceSpot):
        limits = BinanceSpot.limits._replace(life_s=1.0)

    log = MemoryLog("LOG", LOG_SUBJECTS)
    async with exchange() as simulated:
        feeding = feed(log, simulated, ShortLived())
        async with fed(feeding):
            await until(lambda: connections_of(feeding) >= 3)
            await until(lambda: count(feeding, "duplicates") > 0)
        messages = await contents(log)
        for symbol in SYMBOLS:
            found = await equal_to_the_exchange(simulated, messages, symbol)
            assert not found["flags"].any(), "make before break: nothing had to be fetched"
            quotes = [m for m in messages if m.subject.startswith(f"md.quote.BINANCE.{symbol}.")]
            ids = np.concatenate([kinds.decode(m.payload).records["update_id"] for m in quotes])
            assert (np.diff(ids.astype(np.int64)) > 0).all()
    assert "FeedDisconnected" not in names(messages)
    assert not any(n.startswith("TradeGap") for n in names(messages))


async def test_what_is_recorded_live_replays_to_the_same_trades(tmp_path):
    log = MemoryLog("LOG", LOG_SUBJECTS)
    async with exchange() as simulated:
        feeding = feed(log, simulated)
        async with fed(feeding):
            await until(lambda: count(feeding, "trades") > 0)
            files = await record(
                Subscription(BinanceSpot(), SYMBOLS, simulated.endpoints), tmp_path, 3.0
            )
        messages = await contents(log)
    replaying = Replay(files, BinanceSpot())
    replayed = [Message(0, s, p) for batch in replaying.batches() for s, p in batch]
    assert replaying.counts.events["InstrumentDefined"] == 2
    for symbol in SYMBOLS:
        live_trades, again = trades(messages, symbol), trades(replayed, symbol)
        ids = again["trade_id"]
        assert len(again) > 50 and (np.diff(ids.astype(np.int64)) == 1).all()
        same = live_trades[np.isin(live_trades["trade_id"], ids)]
        common = again[np.isin(ids, same["trade_id"])]
        assert len(common) > 50
        assert all((same[name] == common[name]).all() for name in PRICES)


INFO = {
    "timezone": "UTC",
    "serverTime": 1,
    "symbols": [
        {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT"}
        | {"baseAssetPrecision": 8, "quoteAssetPrecision": 8, "filters": []}
    ],
}


class Scripted:
    """A venue that sends what a test says, and answers REST from a table."""

    def __init__(self, script: list[list[bytes]]) -> None:
        self.script = script
        self.rest: dict[str, bytes] = {"/api/v3/exchangeInfo": orjson.dumps(INFO)}
        self.rest["/api/v3/time"] = b'{"serverTime":1700000000000}'
        self.rest["/api/v3/depth"] = b'{"lastUpdateId":1,"bids":[["1","1"]],"asks":[["2","1"]]}'
        self.asked: list[str] = []
        self.subscribes = True

    async def serve(self, socket: ServerConnection) -> None:
        command = orjson.loads(await socket.recv())
        if not self.subscribes:
            await socket.send(b'{"code":2,"msg":"Invalid request: no"}')
            return
        await socket.send(orjson.dumps({"result": None, "id": command["id"]}), text=True)
        for raw in self.script.pop(0) if self.script else []:
            await socket.send(raw, text=True)
        await socket.wait_closed()

    def answer(self, connection: ServerConnection, request: Any) -> Any:
        path = request.path.partition("?")[0]
        if path == "/stream":
            return None
        self.asked.append(request.path)
        response = connection.respond(200, self.rest.get(path, b"[]").decode())
        return response


@asynccontextmanager
async def scripted(venue: Scripted) -> AsyncIterator[Endpoints]:
    async with serve(venue.serve, "127.0.0.1", 0, process_request=venue.answer) as server:
        port = server.sockets[0].getsockname()[1]
        yield Endpoints(f"ws://127.0.0.1:{port}", f"http://127.0.0.1:{port}")


def trade(trade_id: int, price: str = "1.5") -> bytes:
    data = {"e": "trade", "E": 1700000000000, "s": "BTCUSDT", "t": trade_id, "p": price}
    data |= {"q": "1", "T": 1700000000000, "m": False, "M": True}
    return orjson.dumps({"stream": "btcusdt@trade", "data": data})


async def test_an_unreadable_message_is_kept_counted_and_said_and_the_feed_goes_on(tmp_path):
    log = MemoryLog("LOG", LOG_SUBJECTS)
    venue = Scripted([[trade(1), b"{broken", trade(2, "x"), trade(3)]])
    venue.rest["/api/v3/historicalTrades"] = b"[]"
    async with scripted(venue) as endpoints:
        feeding = Feed(log, one(endpoints), dead=tmp_path)
        async with fed(feeding):
            await until(lambda: feeding.feeds[0].intake.events["TradeGapDeclared"] == 1)
    (dead,) = tmp_path.iterdir()
    assert [raw.strip() for _, raw in CaptureFile(dead)] == [b"{broken", trade(2, "x")]
    messages = await contents(log)
    assert list(trades(messages, "BTCUSDT")["trade_id"]) == [1, 3]
    given_up = [e for e in facts(messages) if type(e).__name__ == "RecordsGivenUp"]
    assert sum(e.records for e in given_up) == 2


async def test_a_hole_that_rest_cannot_fill_is_declared_after_two_seconds_over_both_paths():
    log = MemoryLog("LOG", LOG_SUBJECTS)
    venue = Scripted([[trade(1), trade(4)]])
    async with scripted(venue) as endpoints:
        feeding = Feed(log, one(endpoints))
        loop = asyncio.get_running_loop()
        async with fed(feeding):
            await until(lambda: feeding.feeds[0].intake.holes)
            began = loop.time()
            await until(lambda: not feeding.feeds[0].intake.holes)
            assert 1.8 < loop.time() - began < 3.0
    paths = {path.partition("?")[0] for path in venue.asked}
    assert {"/api/v3/historicalTrades", "/api/v3/trades"} <= paths
    assert list(trades(await contents(log), "BTCUSDT")["trade_id"]) == [1, 4]


async def test_an_announced_shutdown_opens_the_next_socket_first():
    shutdown = b'{"e":"serverShutdown","E":1700000000000}'
    venue = Scripted([[trade(1), shutdown], [trade(1), trade(2)]])
    log = MemoryLog("LOG", LOG_SUBJECTS)
    async with scripted(venue) as endpoints:
        feeding = Feed(log, one(endpoints))
        async with fed(feeding):
            await until(lambda: count(feeding, "trades") == 2)
    assert "FeedDisconnected" not in names(await contents(log))


async def test_refused_subscriptions_end_the_socket_and_are_tried_again_after_a_while(monkeypatch):
    monkeypatch.setattr(websocket, "SUBSCRIBE_TIMEOUT_S", 0.3)
    venue = Scripted([[trade(1)]])
    venue.subscribes = False
    log = MemoryLog("LOG", LOG_SUBJECTS)
    async with scripted(venue) as endpoints:
        feeding = Feed(log, one(endpoints))
        async with fed(feeding):
            await until(lambda: feeding.feeds[0].failures["connect"] >= 2)
            assert feeding.feeds[0].failures["refused"] >= 1 and not feeding.feeds[0].connected
            venue.subscribes = True
            await until(lambda: count(feeding, "trades") == 1)


async def test_while_no_socket_is_up_there_is_no_status():
    venue = Scripted([[trade(1)]])
    venue.subscribes = False
    log = MemoryLog("LOG", LOG_SUBJECTS)
    async with scripted(venue) as endpoints:
        feeding = Feed(log, one(endpoints))
        async with fed(feeding):
            await asyncio.sleep(1.5)
    assert not any(m.subject.startswith("md.status.") for m in await contents(log))


async def test_an_outlet_that_fails_ends_the_feed():
    class Broken(Nowhere):
        async def put(self, items: list[Any]) -> None:
            raise RuntimeError("the outlet is gone")

    venue = Scripted([[trade(1)]])
    async with scripted(venue) as endpoints:
        feeding = LiveFeed(BinanceSpot(), ["BTCUSDT"], endpoints, Broken())
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.timeout(10):
                await feeding.run()
    assert caught.group_contains(RuntimeError, match="the outlet is gone")


def test_the_receive_clock_never_steps():
    clock = live.ReceiveClock()
    times = [clock() for _ in range(1000)]
    assert times == sorted(times)


async def test_a_venue_that_closes_every_socket_is_not_stormed():
    class Closing(Scripted):
        connections = 0

        async def serve(self, socket: ServerConnection) -> None:
            self.connections += 1
            command = orjson.loads(await socket.recv())
            await socket.send(orjson.dumps({"result": None, "id": command["id"]}), text=True)

    log = MemoryLog("LOG", LOG_SUBJECTS)
    venue = Closing([])
    async with scripted(venue) as endpoints, fed(Feed(log, one(endpoints))):
        await asyncio.sleep(3)
    assert 2 <= venue.connections <= 7, "0.25, 0.5, 1, 2 s and so on, at least half of each"


async def test_two_products_of_a_venue_share_one_writer_and_go_on_after_a_restart():
    log = MemoryLog("LOG", LOG_SUBJECTS)
    perpetuals = [f"{symbol}-PERP" for symbol in SYMBOLS]
    async with exchange("--product", "SPOT,USDM") as simulated:
        products = [
            Subscription(BinanceSpot(), SYMBOLS, simulated.endpoints),
            Subscription(BinanceUsdm(), perpetuals, simulated.endpoints, connections=2),
        ]
        for _ in range(2):
            feeding = Feed(log, products)
            async with fed(feeding):
                await until(lambda f=feeding: all(x.intake.counts["trades"] > 50 for x in f.feeds))
        messages = await contents(log)
        for symbol in SYMBOLS:
            await equal_to_the_exchange(simulated, messages, symbol)
    for symbol in perpetuals:
        ids = trades(messages, symbol)["trade_id"].astype(np.int64)
        assert len(ids) > 20 and (np.diff(ids) == 1).all()
    own = [
        events.decode(m.payload).sequence
        if m.payload.startswith(b"{")
        else kinds.decode(m.payload).sequence
        for m in messages
    ]
    assert own == list(range(1, len(own) + 1)), "one writer"
    connected = [e.product for e in facts(messages) if type(e).__name__ == "FeedConnected"]
    assert sorted(connected) == ["SPOT", "SPOT", "USDM", "USDM"]
    statuses = {m.subject for m in messages if m.subject.endswith(".all")}
    assert {f"md.status.BINANCE.{p}.all" for p in ("SPOT", "USDM")} <= statuses


async def test_a_half_open_connection_is_noticed_and_what_it_lost_is_fetched(monkeypatch):
    monkeypatch.setattr(websocket, "PING_INTERVAL_S", 0.5)
    monkeypatch.setattr(websocket, "PING_TIMEOUT_S", 0.5)
    log = MemoryLog("LOG", LOG_SUBJECTS)
    async with exchange() as simulated:
        feeding = feed(log, simulated)
        async with fed(feeding):
            await until(lambda: count(feeding, "trades") > 50)
            await simulated.fault("half_open")
            await until(lambda: feeding.feeds[0].intake.events["FeedConnected"] == 2)
            seen = count(feeding, "trades")
            await until(lambda: count(feeding, "trades") > seen + 100)
        messages = await contents(log)
        for symbol in SYMBOLS:
            await equal_to_the_exchange(simulated, messages, symbol)
    assert "TradeGapDeclared" not in names(messages)


async def test_a_venue_that_mutes_us_is_noticed(monkeypatch):
    monkeypatch.setattr(websocket, "SILENT_S", 1.0)
    log = MemoryLog("LOG", LOG_SUBJECTS)
    async with exchange() as simulated:
        feeding = feed(log, simulated)
        async with fed(feeding):
            await until(lambda: count(feeding, "trades") > 50)
            await simulated.fault("mute", seconds=4)
            await until(lambda: feeding.feeds[0].intake.events["FeedDisconnected"] > 0)
            await until(lambda: feeding.feeds[0].connected)
            seen = count(feeding, "trades")
            await until(lambda: count(feeding, "trades") > seen + 100)
        messages = await contents(log)
        for symbol in SYMBOLS:
            await equal_to_the_exchange(simulated, messages, symbol)
    (down, *_) = [e for e in facts(messages) if type(e).__name__ == "FeedDisconnected"]
    assert "silent" in down.reason


async def test_a_capture_with_a_reconnect_says_what_the_live_feed_said(tmp_path, monkeypatch):
    """Records to the byte and events in order; only when a hole was noted may differ."""
    monkeypatch.setattr(websocket, "BACKOFF_S_MIN", 0.5)
    outlet = Kept()
    async with exchange() as simulated:
        recorder = Recorder(tmp_path, "capture")
        feeding = LiveFeed(
            BinanceSpot(), SYMBOLS, simulated.endpoints, outlet, recorder=recorder, connections=2
        )
        recorder.on_file = feeding.beginning
        async with running(feeding.run()):
            await until(lambda: feeding.intake.counts["trades"] > 50)
            await simulated.fault("cut")
            await until(lambda: feeding.intake.events["FeedConnected"] == 2)
            await simulated.fault("drop", symbol="BTCUSDT", count=3)
            await until(lambda: feeding.intake.events["TradeGapFilled"] > 0)
            seen = feeding.intake.counts["trades"]
            await until(lambda: feeding.intake.counts["trades"] > seen + 50)
    lived = [Message(0, subject, payload) for subject, payload in cut(outlet.items, 1)]
    replaying = Replay(recorder.files, BinanceSpot())
    replayed = [Message(0, s, p) for batch in replaying.batches() for s, p in batch]
    said = {m.subject for m in lived if not m.payload.startswith(b"{")}
    kinds_said = {subject.split(".")[1] for subject in said}
    assert {"trade", "quote", "book", "status"} <= kinds_said
    for subject in said:
        if not subject.startswith("md.status."):
            assert bytes_of(replayed, subject) == bytes_of(lived, subject), subject
    assert story_of(replayed) == story_of(lived)
    names_said = names(lived)
    assert names_said.count("FeedDisconnected") == 1 and names_said.count("FeedConnected") == 2


class Kept(Nowhere):
    """An outlet that keeps what it is given."""

    def __init__(self) -> None:
        self.items: list[Item] = []

    async def put(self, items: list[Item]) -> None:
        self.items += items


def bytes_of(messages: list[Message], subject: str) -> bytes:
    """The records of a subject; how frames are cut is the writer's business."""
    found = [kinds.decode(m.payload).records for m in messages if m.subject == subject]
    return b"".join(records.tobytes() for records in found)


def story_of(messages: list[Message]) -> list[tuple[str, dict[str, Any]]]:
    """Events of trades, of books and of the rest by subject, each in order.

    When a hole was seen, and what of two channels is told first, depend on what was decoded
    together.
    """
    told: list[tuple[str, dict[str, Any]]] = []
    for m in messages:
        if m.payload.startswith(b"{"):
            event = events.decode(m.payload)
            left_out = {"sequence"}
            if not isinstance(event, FeedConnected | FeedDisconnected):
                left_out |= {"ts_recv", "offset_ns", "latency_ns", "invalid_ns"}
            family = type(event).__name__[:4]
            told.append((f"{m.subject} {family}", event.model_dump(exclude=left_out)))
    return sorted(told, key=lambda one: one[0])
