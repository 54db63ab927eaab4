"""Connections to a scripted venue: several kinds, redundant ones, silent ones, late ones."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from websockets.asyncio.server import ServerConnection, serve

from tidemill.schemas.events.feed import FeedConnected, FeedDisconnected
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.streams.feeds import asking, live, websocket
from tidemill.streams.feeds.binance_spot import BinanceSpot
from tidemill.streams.feeds.connections import Turn, socket_message
from tidemill.streams.feeds.feed import Channel, Command, Endpoints, Poll, Proof, Socket
from tidemill.streams.feeds.items import Fact, Item
from tidemill.streams.feeds.live import LiveFeed
from tidemill.streams.feeds.websocket import Acknowledgements

pytestmark = pytest.mark.integration


class TwoSockets(BinanceSpot):
    """Binance spot's messages over two kinds of connections, one of which wants to hear of us."""

    sockets = (
        Socket("trades", (Channel("trade", "trade", Proof.CONTIGUOUS),), b"ping", 0.1),
        Socket("quotes", (Channel("bookTicker", "quote", Proof.CONFLATED),)),
    )
    limits = BinanceSpot.limits._replace(commands_per_s=100.0, requests_per_s=100.0)

    def url(self, endpoint: str, socket: Socket) -> str:
        return f"{endpoint}/{socket.name}"


class Session:
    """One connection to the scripted venue: where to, what it subscribed to."""

    def __init__(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.socket, self.path = socket, socket.request.path
        self.streams: list[str] = []
        self.said: list[bytes] = []

    async def send(self, raw: bytes) -> None:
        await self.socket.send(raw, text=True)


class Script:
    """A venue: answers commands, lists `symbols`, and otherwise does what the test does."""

    def __init__(self, *symbols: str) -> None:
        self.symbols = list(symbols)
        self.sessions: list[Session] = []
        self.all: list[Session] = []
        self.asked: Counter[str] = Counter()
        self.accepts = True
        self.endpoints = Endpoints("", "")

    async def serve(self, socket: ServerConnection) -> None:
        session = Session(socket)
        self.sessions.append(session)
        self.all.append(session)
        try:
            async for message in socket:
                raw = message.encode() if isinstance(message, str) else message
                session.said.append(raw)
                if raw != b"ping" and self.accepts:
                    command = orjson.loads(raw)
                    session.streams += command["params"]
                    await session.send(orjson.dumps({"result": None, "id": command["id"]}))
        finally:
            self.sessions.remove(session)

    def answer(self, connection: ServerConnection, request: Any) -> Any:
        path = request.path.partition("?")[0]
        if not path.startswith("/api/"):
            return None
        self.asked[request.path] += 1
        if path == "/api/v3/time":
            return connection.respond(200, '{"serverTime":1700000000000}')
        if path != "/api/v3/exchangeInfo":
            return connection.respond(200, "[]")
        full = "symbols=" not in request.path
        wanted = [s for s in SYMBOLS if f"%22{s}%22" in request.path]
        if not full and set(wanted) - set(self.symbols):
            return connection.respond(400, '{"code":-1121,"msg":"Invalid symbol."}')
        entries = [entry(s) for s in self.symbols if full or s in wanted]
        return connection.respond(200, orjson.dumps({"symbols": entries}).decode())

    def of(self, name: str) -> list[Session]:
        return [s for s in self.sessions if s.path == f"/{name}"]

    async def tell(self, raw: bytes, name: str = "trades") -> None:
        for session in self.of(name):
            await session.send(raw)


SYMBOLS = ["BTCUSDT", "ETHUSDT", "BNBUSDT"]


def entry(symbol: str) -> dict[str, Any]:
    assets = {"baseAsset": symbol[:3], "quoteAsset": "USDT"}
    precisions = {"baseAssetPrecision": 8, "quoteAssetPrecision": 8}
    return {"symbol": symbol, "status": "TRADING", "filters": []} | assets | precisions


def trade(trade_id: int, symbol: str = "BTCUSDT") -> bytes:
    data = {"e": "trade", "E": 1700000000000, "s": symbol, "t": trade_id, "p": "1.5"}
    data |= {"q": "1", "T": 1700000000000, "m": False, "M": True}
    return orjson.dumps({"stream": f"{symbol.lower()}@trade", "data": data})


def quote(update_id: int) -> bytes:
    return b'{"u":%d,"s":"BTCUSDT","b":"1","B":"1","a":"2","A":"1"}' % update_id


class Kept:
    """An outlet that keeps what it is given."""

    def __init__(self) -> None:
        self.items: list[Item] = []

    async def put(self, items: list[Item]) -> None:
        self.items += items

    def events(self, kind: type) -> list[Any]:
        return [i.event for i in self.items if isinstance(i, Fact) and isinstance(i.event, kind)]

    def values(self, kind: str, name: str) -> list[int]:
        batches = [i for i in self.items if not isinstance(i, Fact) and i.kind.name == kind]
        return [int(value) for batch in batches for value in batch.records[name]]


@asynccontextmanager
async def script(*symbols: str) -> AsyncIterator[Script]:
    venue = Script(*symbols)
    async with serve(venue.serve, "127.0.0.1", 0, process_request=venue.answer) as server:
        port = server.sockets[0].getsockname()[1]
        venue.endpoints = Endpoints(f"ws://127.0.0.1:{port}", f"http://127.0.0.1:{port}")
        yield venue


@asynccontextmanager
async def feeding(
    venue: Script,
    symbols: Sequence[str] = ("BTCUSDT",),
    connections: int = 1,
    file: BinanceSpot | None = None,
) -> AsyncIterator[tuple[LiveFeed, Kept]]:
    kept = Kept()
    file = file or TwoSockets()
    feed = LiveFeed(file, symbols, venue.endpoints, kept, connections=connections)
    task = asyncio.create_task(feed.run())
    try:
        await until(lambda: feed.connected or task.done())
        yield feed, kept
    finally:
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(outcome, asyncio.CancelledError), outcome


async def until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


async def test_every_kind_of_connection_carries_its_own_channels_and_keeps_alive():
    async with script("BTCUSDT") as venue, feeding(venue) as (feed, kept):
        (trades,), (quotes,) = venue.of("trades"), venue.of("quotes")
        assert trades.streams == ["btcusdt@trade"] and quotes.streams == ["btcusdt@bookTicker"]
        await venue.tell(trade(1))
        await venue.tell(quote(7), "quotes")
        await until(lambda: trades.said.count(b"ping") >= 3)
        assert b"ping" not in quotes.said
        await until(lambda: feed.intake.counts["quotes"] == 1)
        assert kept.values("trade", "trade_id") == [1]
        assert len(kept.events(FeedConnected)) == 1


class FewCommands(TwoSockets):
    """A venue that sends a snapshot on subscribing, and allows five commands an hour."""

    limits = TwoSockets.limits._replace(commands_an_hour=5)

    def resubscriptions(
        self, socket: Socket, symbols: Sequence[str], first_id: int = 1
    ) -> list[Command]:
        names = [f"{symbol.lower()}@trade" for symbol in symbols]
        methods = ("UNSUBSCRIBE", "SUBSCRIBE")
        return [
            Command(orjson.dumps({"method": method, "params": names, "id": first_id + i}))
            for i, method in enumerate(methods)
        ]


async def test_what_an_hours_commands_do_not_allow_is_not_begun_and_another_connection_does_it(
    monkeypatch,
):
    monkeypatch.setattr(websocket, "OVERLAP_S", 0.1)
    async with script("BTCUSDT") as venue, feeding(venue, file=FewCommands()) as (feed, kept):
        (session,) = venue.of("trades")
        (line,) = [line for line in feed.lines.all if line.plan.socket.name == "trades"]
        assert feed.lines.commands_left == 4
        assert await asyncio.to_thread(lambda: feed.lines.commands_left) == 4  # as metrics do
        assert [await line.resubscribe("BTCUSDT") for _ in range(3)] == [True, True, False]
        assert line.commands_left == 0
        sent = [orjson.loads(raw)["method"] for raw in session.said if raw != b"ping"]
        assert sent == ["SUBSCRIBE"] + 2 * ["UNSUBSCRIBE", "SUBSCRIBE"]
        await until(lambda: session not in venue.sessions)
        assert line.commands_left == 4 and await line.resubscribe("BTCUSDT")
        await until(lambda: venue.of("trades")[0].said.count(b"ping") >= 2)
        assert not kept.events(FeedDisconnected) and len(venue.of("quotes")) == 1


async def test_one_kind_that_goes_disconnects_the_feed_until_it_is_back():
    async with script("BTCUSDT") as venue, feeding(venue) as (_, kept):
        await venue.of("quotes")[0].socket.close(1001, "maintenance")
        await until(lambda: len(kept.events(FeedConnected)) == 2)
        (down,) = kept.events(FeedDisconnected)
        assert "maintenance" in down.reason and down.connection == 2
        assert len(venue.of("trades")) == 1 and len(venue.all) == 3


async def test_redundant_connections_say_everything_once_and_one_may_go():
    async with script("BTCUSDT") as venue, feeding(venue, connections=2) as (feed, kept):
        assert len(venue.of("trades")) == len(venue.of("quotes")) == 2
        for i in range(1, 6):
            await venue.tell(trade(i))
            await venue.tell(quote(i), "quotes")
        await until(lambda: feed.intake.counts["quotes"] == 5)
        first, second = venue.of("trades")
        await first.socket.close()
        await second.send(trade(6))
        await until(lambda: feed.intake.counts["trades"] == 6)
        assert kept.values("trade", "trade_id") == [1, 2, 3, 4, 5, 6]
        assert kept.values("quote", "update_id") == [1, 2, 3, 4, 5]
        assert not kept.events(FeedDisconnected) and feed.connected


async def test_a_connection_that_falls_silent_is_taken_for_dead_and_a_quiet_one_is_not(monkeypatch):
    monkeypatch.setattr(websocket, "SILENT_S", 0.4)
    monkeypatch.setattr(websocket, "BACKOFF_S_MIN", 0.05)

    class Lively(TwoSockets):
        sockets = (TwoSockets.sockets[0]._replace(keep_alive=b""), TwoSockets.sockets[1])

    async with script("BTCUSDT") as venue, feeding(venue, file=Lively()) as (feed, kept):
        quotes, trades = venue.of("quotes")[0], venue.of("trades")[0]
        for i in range(1, 100):  # quotes come all the time, trades every fifth as often
            await quotes.send(quote(i))
            if i % 5 == 0:
                await trades.send(trade(i // 5))
            await asyncio.sleep(0.02)
        assert not kept.events(FeedDisconnected)
        await until(lambda: bool(kept.events(FeedDisconnected)))
        assert "silent" in kept.events(FeedDisconnected)[0].reason
        await until(lambda: feed.connected)


async def test_a_venue_that_never_says_much_is_left_more_and_more_time(monkeypatch):
    monkeypatch.setattr(websocket, "SILENT_S", 0.1)
    monkeypatch.setattr(websocket, "SILENT_GAPS", 2.0)
    monkeypatch.setattr(websocket, "BACKOFF_S_MIN", 0.01)
    file = TwoSockets()
    file.sockets = (TwoSockets.sockets[1],)  # type: ignore[assignment]  # one kind is enough here
    async with script("BTCUSDT") as venue, feeding(venue, file=file):
        await asyncio.sleep(3.0)
        assert 3 <= len(venue.all) <= 8, "0.1, 0.2, 0.4, 0.8, 1.6 s and so on"


async def test_an_instrument_listed_while_running_joins_and_nobody_misses_anything(monkeypatch):
    monkeypatch.setattr(asking, "LISTING_S", 0.2)
    monkeypatch.setattr(websocket, "OVERLAP_S", 0.3)
    async with (
        script("BTCUSDT", "ETHUSDT") as venue,
        feeding(venue, SYMBOLS) as (feed, kept),
    ):
        assert venue.of("trades")[0].streams == ["btcusdt@trade", "ethusdt@trade"]
        await venue.tell(trade(1))
        venue.symbols.append("BNBUSDT")
        await until(lambda: any("bnbusdt@trade" in s.streams for s in venue.of("trades")))
        await venue.tell(trade(2))
        await until(lambda: len(venue.sessions) == 2)
        await venue.tell(trade(1, "BNBUSDT"))
        await venue.tell(trade(3))
        await until(lambda: feed.intake.counts["trades"] == 4)
        assert feed.connected and not kept.events(FeedDisconnected)
        assert [e.symbol for e in kept.events(InstrumentDefined)] == SYMBOLS
        assert sorted(kept.values("trade", "trade_id")) == [1, 1, 2, 3]


async def test_a_delisted_instrument_is_said_once_and_left_out(monkeypatch):
    monkeypatch.setattr(asking, "DEFINITIONS_S", 0.2)
    monkeypatch.setattr(websocket, "OVERLAP_S", 0.1)
    symbols = SYMBOLS[:2]
    async with script(*symbols) as venue, feeding(venue, symbols) as (feed, kept):
        venue.symbols.remove("ETHUSDT")
        await until(lambda: [s.streams for s in venue.of("trades")] == [["btcusdt@trade"]])
        await until(lambda: feed.connected and len(venue.sessions) == 2)
        await asyncio.sleep(0.5)
        gone = [e for e in kept.events(InstrumentDefined) if e.symbol == "ETHUSDT"]
        assert [e.status for e in gone] == ["TRADING", "DELISTED"]
        assert feed.connected and not kept.events(FeedDisconnected)
        venue.symbols.append("ETHUSDT")
        await until(lambda: any("ethusdt@trade" in s.streams for s in venue.of("trades")))


async def test_the_last_instrument_that_is_delisted_closes_its_connections(monkeypatch):
    monkeypatch.setattr(asking, "DEFINITIONS_S", 0.2)

    class OneEach(TwoSockets):
        limits = TwoSockets.limits._replace(streams_max=1)

    symbols = SYMBOLS[:2]
    async with script(*symbols) as venue, feeding(venue, symbols, file=OneEach()) as (feed, kept):
        assert len(venue.sessions) == 4
        venue.symbols.remove("BTCUSDT")
        await until(lambda: len(venue.sessions) == 2)
        await until(lambda: feed.connected)
        assert not kept.events(FeedDisconnected)


async def test_an_announced_end_replaces_every_connection_once(monkeypatch):
    monkeypatch.setattr(websocket, "OVERLAP_S", 0.2)
    shutdown = b'{"e":"serverShutdown","E":1700000000000}'
    async with script("BTCUSDT") as venue, feeding(venue) as (feed, kept):
        for session in list(venue.sessions):
            await session.send(shutdown)
        await until(lambda: len(venue.all) == 4 and len(venue.sessions) == 2)
        await asyncio.sleep(0.5)
        assert len(venue.all) == 4 and feed.connected
        assert not kept.events(FeedDisconnected)


async def test_polls_are_asked_at_their_periods_and_their_answers_are_messages():
    class Polling(TwoSockets):
        def polls(self, symbols: Sequence[str]) -> tuple[Poll, ...]:
            return tuple(Poll(f"/api/v3/openInterest?symbol={s}", 0.3) for s in symbols)

    symbols = SYMBOLS[:2]
    async with script(*symbols) as venue, feeding(venue, symbols, file=Polling()):
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.sleep(2.0)
        periods = (loop.time() - began) / 0.3
        for symbol in symbols:
            asked = venue.asked[f"/api/v3/openInterest?symbol={symbol}"]
            assert periods / 3 <= asked <= periods + 2


async def test_status_waits_for_messages_that_are_not_decoded_yet():
    async with script("BTCUSDT") as venue, feeding(venue) as (feed, kept):
        await until(lambda: bool(kept.values("status", "ts_recv")))
        async with feed._lock:
            feed.inbox.note(trade(1))
            waiting = feed.inbox.heard_until()
            await asyncio.sleep(1.2)  # the pump waits, and so does a tick
        await until(lambda: len(kept.values("status", "ts_recv")) >= 3)
        order = [
            (item.kind.name, int(item.records["ts_recv"][-1]))
            for item in kept.items
            if not isinstance(item, Fact)
        ]
        before = order[: order.index(("trade", waiting))]
        assert all(ts <= waiting for kind, ts in before if kind == "status")


async def test_a_command_is_accepted_by_as_many_answers_as_it_has():
    acknowledgements = Acknowledgements()

    def commands(first: int) -> list[Command]:
        return [Command(b"", answers=2), Command(b"", answers=0), Command(b"", answers=1)]

    first, made = acknowledgements.numbered(commands)
    waiting = asyncio.ensure_future(acknowledgements.all_of(first, len(made)))
    for answered in (first, first + 2, 99):
        acknowledgements.accepted(answered)
        await asyncio.sleep(0)
        assert not waiting.done()
    acknowledgements.accepted(first)
    await waiting
    assert acknowledgements.numbered(commands)[0] == first + 3


async def test_a_capture_that_begins_now_says_what_is_wanted_known_and_up():
    async with script("BTCUSDT") as venue, feeding(venue) as (feed, _):
        wanted, *told = feed.beginning()
        assert wanted == socket_message(Turn("", 0, "UP", "", ("BTCUSDT",)))
        assert told[0].startswith(b'{"stream":"rest:/api/v3/exchangeInfo')
        turns = [
            Turn(name, i, "UP", "", ("BTCUSDT",)) for i, name in enumerate(("trades", "quotes"), 1)
        ]
        assert sorted(told[1:]) == sorted(map(socket_message, turns))


async def test_a_venue_that_refuses_is_not_connected_and_asked_less_and_less(monkeypatch):
    monkeypatch.setattr(websocket, "SUBSCRIBE_TIMEOUT_S", 0.05)
    monkeypatch.setattr(live, "START_RETRY_S", 0.1)
    async with script("BTCUSDT") as venue:
        venue.accepts = False
        kept = Kept()
        feed = LiveFeed(TwoSockets(), ["BTCUSDT"], venue.endpoints, kept)
        task = asyncio.create_task(feed.run())
        await asyncio.sleep(3)
        assert not feed.connected and 4 <= len(venue.all) <= 14, len(venue.all)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not kept.values("status", "ts_recv")
