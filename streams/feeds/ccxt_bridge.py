"""The bridge to any exchange that ccxt knows: a process of its own, so that nobody else loads it.

    python -m tidemill.streams.feeds.ccxt_bridge kraken --port 7480

It watches what its clients subscribe to and tells them in the words of `ccxt_venue.py`, over one
loopback port: WebSocket ``/stream``, and GET ``/markets``, ``/trades?symbol=``, ``/time``,
``/health`` (which asks nobody). It listens before it has read the exchange's markets: an exchange
that is away keeps nobody from starting, and who subscribes waits for them.

ccxt connects again by itself when an exchange is lost; a watch that fails ends every client's
connection instead, so that the feed says what it may have missed. Needs the extra ``exchanges``.
"""

import argparse
import asyncio
import importlib
import json
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import orjson
import structlog
from websockets.asyncio.server import Server, ServerConnection, broadcast, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tidemill.streams.feeds.ccxt_venue import KINDS, MINUTE_MS, symbol_of

TRADES_ASKED = 500
BARS_ASKED = 60
"""Minutes, at most, that are asked for at once after the exchange did not answer."""
BARS_LATE_MS = 3_000
"""How long after its end a minute is asked for."""
BARS_AGAIN_S = 5.0
"""Pause before the bars that were not answered are asked for again."""
LOAD_S_MIN, LOAD_S_MAX = 0.5, 30.0
"""Pauses before the markets are asked for again."""
LOST = 1013
"""Close code "try again later": the exchange's own connection was lost."""
TICK_SIZE, DECIMAL_PLACES = 4, 2
"""ccxt's modes of precision."""

log = structlog.get_logger()


class Exchange(Protocol):
    """What of a ``ccxt.pro`` exchange is used."""

    id: str
    has: Mapping[str, Any]
    markets: Mapping[str, Mapping[str, Any]]
    precisionMode: int

    async def load_markets(self, reload: bool = False) -> Any: ...
    async def fetch_time(self) -> int: ...
    async def fetch_trades(
        self, symbol: str, since: int | None = None, limit: int | None = None
    ) -> Sequence[Mapping[str, Any]]: ...
    async def fetch_ohlcv(
        self, symbol: str, timeframe: str, since: int | None = None, limit: int | None = None
    ) -> Sequence[Sequence[Any]]: ...
    async def watch_trades(self, symbol: str) -> Sequence[Mapping[str, Any]]: ...
    async def watch_order_book(
        self, symbol: str, limit: int | None = None
    ) -> Mapping[str, Any]: ...
    async def close(self) -> None: ...


def exchange_of(name: str, options: Mapping[str, Any] | None = None) -> Exchange:
    """Return the exchange by its ccxt id, whose numbers stay texts.

    Raises ImportError without the extra ``exchanges``, ValueError for an id that is not known.
    """
    pro = importlib.import_module("ccxt.pro")
    if name not in pro.exchanges:
        raise ValueError(f"ccxt has no sockets of {name!r}")
    exchange: Any = getattr(pro, name)(
        {"enableRateLimit": True, "newUpdates": True} | {**(options or {})}
    )
    exchange.number = str
    found: Exchange = exchange
    return found


def wall_ms() -> int:
    """UTC in ms."""
    return time.time_ns() // 1_000_000


class Bridge:
    """One exchange and its clients; `now_ms` (UTC) says which minutes have ended."""

    def __init__(self, exchange: Exchange, now_ms: Callable[[], int] = wall_ms) -> None:
        self._exchange, self._now_ms = exchange, now_ms
        self._raws: dict[str, str] = {}  # by our names
        self._clients: dict[ServerConnection, set[str]] = {}
        self._watching: dict[str, list[asyncio.Task[None]]] = {}  # by unified symbol
        self._quotes = 0
        self._asking_bars = asyncio.Lock()
        self._loaded = asyncio.Event()

    async def load(self) -> None:
        """Read the markets. Raises what ccxt does."""
        await self._exchange.load_markets(True)
        self._raws = {symbol_of(raw): raw for raw in self._exchange.markets}
        self._loaded.set()

    async def load_until_done(self) -> None:
        """Read the markets, again and again until the exchange has told them."""
        pause_s = LOAD_S_MIN
        while not self._loaded.is_set():
            try:
                await self.load()
            except Exception as error:  # ccxt's, or its libraries': nothing is lost by asking again
                log.warning("no markets", exchange=self._exchange.id, error=repr(error)[:300])
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LOAD_S_MAX)

    @asynccontextmanager
    async def listening(self, host: str, port: int) -> AsyncIterator[Server]:
        """Serve until the end of the block."""
        async with serve(self._serve, host, port, process_request=self._request) as server:
            try:
                yield server
            finally:
                for symbol in list(self._watching):
                    await self._unwatch(symbol)
                await self._exchange.close()

    # clients

    async def _serve(self, client: ServerConnection) -> None:
        self._clients[client] = set()
        try:
            await self._loaded.wait()
            async for message in client:
                await client.send(self._command(client, message))
        except ConnectionClosed:
            pass  # an ordinary end
        finally:
            gone = self._clients.pop(client)
            for raw in gone - set().union(*self._clients.values()):
                await self._unwatch(raw)

    def _command(self, client: ServerConnection, message: str | bytes) -> str:
        """Subscribe a client to symbols, ccxt's names or ours; return the answer."""
        number: Any = None
        try:
            command = orjson.loads(message)
            number = command["id"]
            raws = [self._raw(symbol) for symbol in command["subscribe"]]
        except (KeyError, TypeError, ValueError) as error:
            return json.dumps({"id": number, "error": f"{type(error).__name__}: {error}"})
        self._clients[client].update(raws)
        for raw in raws:
            self._watch(raw)
        return json.dumps({"id": number, "subscribed": raws})

    def _raw(self, symbol: str) -> str:
        raw = self._raws.get(symbol, symbol)
        if raw not in self._exchange.markets:
            raise ValueError(f"{self._exchange.id} has no {symbol!r}")
        return raw

    def _tell(self, raw: str, stream: str, data: Any) -> None:
        """One message to every client of a symbol; who does not read is not waited for."""
        text = orjson.dumps({"stream": stream, "symbol": raw, "data": data}).decode()
        broadcast([c for c, subscribed in self._clients.items() if raw in subscribed], text)

    # the exchange

    def _watch(self, raw: str) -> None:
        if raw not in self._watching:
            watches = [self._trades(raw), self._quotes_of(raw)]
            spot = self._exchange.markets[raw].get("type") == "spot"
            if spot and self._exchange.has.get("fetchOHLCV") is True:
                watches.append(self._bars(raw))
            self._watching[raw] = [asyncio.create_task(self._until_lost(w)) for w in watches]

    async def _unwatch(self, raw: str) -> None:
        tasks = self._watching.pop(raw, [])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _until_lost(self, watch: Awaitable[None]) -> None:
        """Watch until ccxt fails, by its errors or by its libraries' or its own bugs: whatever it
        was, from then on nobody may believe to hear everything."""
        try:
            await watch
        except Exception as error:
            log.warning("exchange lost", exchange=self._exchange.id, error=repr(error)[:300])
            await self._lose(f"{type(error).__name__}"[:100])

    async def _lose(self, reason: str) -> None:
        """End every client's connection; the last one to go ends its watches."""
        me = asyncio.current_task()
        for tasks in self._watching.values():
            for task in tasks:
                if task is not me:
                    task.cancel()
        self._watching.clear()
        await asyncio.gather(
            *(client.close(LOST, reason) for client in list(self._clients)), return_exceptions=True
        )

    async def _trades(self, raw: str) -> None:
        while True:
            trades = await self._exchange.watch_trades(raw)
            self._tell(raw, "trades", [told(trade) for trade in trades])

    async def _quotes_of(self, raw: str) -> None:
        """Tell the best levels when they change."""
        before: Any = None
        while True:
            book = await self._exchange.watch_order_book(raw)
            best = {side: _best(book[f"{side}s"]) for side in ("bid", "ask")}
            if best != before:
                before = best
                self._quotes += 1
                quote = {"id": self._quotes, "timestamp": book.get("timestamp"), **best}
                self._tell(raw, "quote", quote)

    async def _bars(self, raw: str) -> None:
        """Ask for the bars of minutes that have ended, and tell them; what fails is asked again.

        Not by ccxt's sockets: they do not tell whether a bar will change any more.
        """
        following = self._now_ms() // MINUTE_MS * MINUTE_MS
        while True:
            due = following + MINUTE_MS + BARS_LATE_MS
            while (now := self._now_ms()) < due:
                await asyncio.sleep(min(1.0, (due - now) / 1000))
            # One at a time: where ccxt paces requests, those for trades wait for one bar at most.
            async with self._asking_bars:
                ended = (self._now_ms() - BARS_LATE_MS) // MINUTE_MS * MINUTE_MS
                following = max(following, ended - BARS_ASKED * MINUTE_MS)
                bars = await self._bars_between(raw, following, ended)
            if bars is None:
                await asyncio.sleep(BARS_AGAIN_S)
                continue
            following = ended
            if bars:
                self._tell(raw, "bars", bars)

    async def _bars_between(self, raw: str, first: int, ended: int) -> list[list[Any]] | None:
        """Return the bars that began from `first` to before `ended` (ms); None: no answer."""
        limit = (ended - first) // MINUTE_MS + 1
        try:
            rows = await self._exchange.fetch_ohlcv(raw, "1m", first, limit)
            bars = {int(row[0]): list(map(plain, row[1:6])) for row in rows if None not in row}
        except Exception as error:  # ccxt's, or its libraries'
            log.warning("no bars", exchange=self._exchange.id, error=repr(error)[:300])
            return None
        return [[at, *bars[at]] for at in sorted(bars) if first <= at < ended]

    # requests

    async def _request(self, client: ServerConnection, request: Request) -> Response | None:
        """Answer what is not a WebSocket handshake."""
        url = urlsplit(request.path)
        if url.path == "/stream":
            return None
        try:
            answer = self._answers().get(url.path)
            if answer is None:
                return _response(404, {"error": "no such path"})
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            return _response(200, await answer(query))
        except Exception as error:  # as above: the client asks again
            return _response(503, {"error": repr(error)[:300]})

    def _answers(self) -> dict[str, Callable[[dict[str, str]], Awaitable[Any]]]:
        return {
            "/markets": self._markets,
            "/trades": self._newest,
            "/time": self._time,
            "/health": self._health,
        }

    async def _health(self, query: dict[str, str]) -> Any:
        return {"exchange": self._exchange.id, "loaded": self._loaded.is_set()}

    async def _markets(self, query: dict[str, str]) -> Any:
        await self.load()
        mode = self._exchange.precisionMode
        found = [m for m in self._exchange.markets.values() if m.get("type") in KINDS]
        return {"markets": [_market(market, mode) for market in found]}

    async def _newest(self, query: dict[str, str]) -> Any:
        raw = self._raw(query["symbol"])
        trades = await self._exchange.fetch_trades(raw, None, TRADES_ASKED)
        return {"trades": [told(trade) for trade in trades]}

    async def _time(self, query: dict[str, str]) -> Any:
        return {"time": int(await self._exchange.fetch_time())}


def told(trade: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a unified trade is told."""
    return {
        "id": trade.get("id"),
        "timestamp": trade["timestamp"],
        "price": plain(trade["price"]),
        "amount": plain(trade["amount"]),
        "side": trade.get("side"),
    }


def _best(levels: Sequence[Sequence[Any]]) -> list[str] | None:
    return [plain(levels[0][0]), plain(levels[0][1])] if levels else None


def _market(market: Mapping[str, Any], mode: int) -> dict[str, Any]:
    """What of a unified market is told."""
    precision = market.get("precision") or {}
    contract = market.get("contractSize")
    return {
        "symbol": market["symbol"],
        "base": market["base"],
        "quote": market["quote"],
        "settle": market.get("settle"),
        "type": market["type"],
        "inverse": bool(market.get("inverse")),
        "active": market.get("active") is not False,
        "tick": step(precision.get("price"), mode),
        "lot": step(precision.get("amount"), mode),
        "contract": None if contract is None else plain(contract),
        "expiry": market.get("expiry"),
    }


def step(precision: Any, mode: int) -> str | None:
    """Return a precision as the step that it stands for; None where there is none of this kind."""
    if precision is None:
        return None
    if mode == DECIMAL_PLACES:
        return plain(f"1E{-int(precision)}")
    return plain(precision) if mode == TICK_SIZE else None


def plain(number: Any) -> str:
    """Return a number of ccxt as decimal text; of a float its shortest. Raises ValueError."""
    text = number if isinstance(number, str) else repr(number)
    try:
        return f"{Decimal(text):f}"
    except InvalidOperation as error:
        raise ValueError(f"{number!r} is no number") from error


def _response(status: int, body: Any) -> Response:
    data = orjson.dumps(body)
    fields = {"Content-Type": "application/json", "Connection": "close"}
    reason = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}[status]
    return Response(status, reason, Headers(fields | {"Content-Length": str(len(data))}), data)


async def _run(name: str, host: str, port: int) -> None:
    bridge = Bridge(exchange_of(name))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with bridge.listening(host, port) as server:
        bound = next(iter(server.sockets)).getsockname()[1]
        address = f"{host}:{bound}"
        ready = {"exchange": name, "ws": f"ws://{address}", "rest": f"http://{address}"}
        print(json.dumps(ready), flush=True)
        loading = asyncio.create_task(bridge.load_until_done())
        try:
            await stop.wait()
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve one exchange until a signal; print one JSON line when that begins."""
    parser = argparse.ArgumentParser(prog="ccxt_bridge", description="An exchange by ccxt.")
    parser.add_argument("exchange", help="its id in ccxt, as kraken")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7480)
    options = parser.parse_args(arguments)
    asyncio.run(_run(options.exchange, options.host, options.port))


if __name__ == "__main__":
    main()
