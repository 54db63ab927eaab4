"""OKX's market-data protocol, v5: spot and perpetual swaps over its public and business sockets.

Written after OKX's API guide and change log (www.okx.com/docs-v5/en and /log_en, 2026-07 and 08;
what is in each channel: okx_messages.py, when it is sent: okx_streams.py, requests: okx_rest.py).
``/ws/v5/public`` and ``/ws/v5/business``: the text ``ping`` is answered by ``pong``; who says
nothing for 30 s is cut; every argument of a command is answered on its own, with the command's id;
480 commands an hour and connection. A subscription to ``instruments`` begins with all of a type.
Different here: checksums are sent as OKX did until June 2026 (0 since), so that they can be checked
and be wrong; new connections are counted in five minutes (900), not by the second; requests of all
paths are counted together (40 in 2 s of those that OKX allows 40 times). Not here: login, private
channels, options, futures, channels for VIPs (books-l2-tbt), RPI orders, SBE.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from math import floor, log10
from typing import Any, ClassVar
from urllib.parse import urlsplit

import orjson

from tidemill.deploy.exchange import okx_messages as messages
from tidemill.deploy.exchange.faults import Topic
from tidemill.deploy.exchange.limits import Limits, Verdict
from tidemill.deploy.exchange.market import Happened, Market
from tidemill.deploy.exchange.okx_rest import PREFIX, Refused, Rest
from tidemill.deploy.exchange.okx_streams import (
    BUSINESS,
    BY_TYPE,
    CHANNELS,
    EVERY_US,
    OF_CONTRACTS,
    Publisher,
    stream_of,
)
from tidemill.deploy.exchange.protocol import Answer, Floor, Protocol, Request
from tidemill.deploy.exchange.sessions import CountedConnection, Session
from tidemill.deploy.exchange.symbols import QUOTE_USD, Symbol, listed, symbol_of

PUBLIC_PATH, BUSINESS_PATH = "/ws/v5/public", "/ws/v5/business"
COMMANDS_AN_HOUR = 480
HOUR_US = 3_600_000_000
SWAP_LOT_PLACES = 2
WEIGHTS = {
    "market/books": 1,
    "market/trades": 1,
    "market/history-trades": 2,
    "market/candles": 1,
    "public/instruments": 2,
    "public/time": 4,
}


class OkxSession(Session):
    """A connection: its path decides what it can subscribe; it has an id, and a number of commands
    an hour."""

    def __init__(self, connection: CountedConnection, path: str, number: int) -> None:
        super().__init__(connection)
        self.path = path
        self.id = f"{number:08x}"
        self._commands_us: deque[int] = deque()

    def too_many_commands(self, now_us: int) -> bool:
        """Count a command."""
        while self._commands_us and self._commands_us[0] <= now_us - HOUR_US:
            self._commands_us.popleft()
        self._commands_us.append(now_us)
        return len(self._commands_us) > COMMANDS_AN_HOUR


class Okx(Protocol):
    """OKX: spot and swaps have the same channels and one address."""

    products = ("SPOT", "SWAP")
    limits: ClassVar[Limits] = Limits(
        weight_max=40,
        window_s=2,
        refusals_max=1 << 30,
        connections_max=3,
        connections_window_s=1.0,
        incoming_max=100,
        ping_interval_s=None,
        silence_max_s=30.0,
    )
    beats_us: ClassVar[tuple[int, ...]] = tuple(sorted({100_000, 1_000_000, *EVERY_US.values()}))

    def __init__(self, floor: Floor) -> None:
        super().__init__(floor)
        self._publishers: dict[str, Publisher] = {}
        self._rest = Rest(self._publishers, self.markets, self.snapshot, floor.now_us)
        self._count = 0

    # what is traded

    def symbol(self, name: str, product: str) -> Symbol:
        """BTC-USDT, and BTC-USDT-SWAP of contracts of 100 to 1,000 USD (BTC: 0.01)."""
        symbol = symbol_of(name)
        raw = messages.index_of(symbol)
        if product == "SPOT":
            return listed(symbol, product, raw)
        price_usd = symbol.price * QUOTE_USD.get(symbol.quote, 1.0)
        return listed(
            symbol,
            product,
            f"{raw}-SWAP",
            qty_places=SWAP_LOT_PLACES,
            contract_places=2 - floor(log10(price_usd)),
        )

    def opened(self, market: Market) -> None:
        super().opened(market)
        publisher = Publisher(market, self.hub, self.snapshot)
        self._publishers[market.symbol.raw] = publisher
        publisher.changed()

    def changed(self, market: Market) -> None:
        super().changed(market)
        self._publishers[market.symbol.raw].changed()
        if market.symbol.raw not in self.markets:
            del self._publishers[market.symbol.raw]

    def happened(self, market: Market, what: Happened) -> None:
        self._publishers[market.symbol.raw].happened(what)

    def beat(self, period_us: int, now_us: int) -> None:
        for publisher in self._publishers.values():
            publisher.beat(period_us, now_us)

    # sockets

    def serves_socket(self, path: str) -> bool:
        return path in (PUBLIC_PATH, BUSINESS_PATH)

    def session(self, connection: CountedConnection, target: str) -> Session:
        self._count += 1
        return OkxSession(connection, urlsplit(target).path, self._count)

    def answer(self, session: Session, message: str | bytes) -> Iterable[str]:
        """Answer each argument of a command; a snapshot follows its own answer."""
        assert isinstance(session, OkxSession)
        text = message if isinstance(message, str) else message.decode(errors="replace")
        if text == "ping":
            yield "pong"
            return
        request = _request(text)
        if request is None:
            yield self._error(session, {}, "60012", f"Invalid request: {text[:200]}")
        elif not str(request.get("id", "0")).isalnum():
            yield self._error(session, request, "60033", "Parameter id error")
        elif session.too_many_commands(self.floor.now_us()):
            yield self._error(session, request, "60014", "Requests too frequent.")
        else:
            for argument in request["args"]:
                yield from self._each(session, request, argument)

    def _each(self, session: OkxSession, request: Any, argument: Any) -> Iterator[str]:
        """Do one argument of a command and answer it."""
        channel = argument.get("channel", "")
        if not self._exists(session.path, channel, argument):
            wrong = ",".join(f"{name}:{value}" for name, value in argument.items())
            yield self._error(
                session,
                request,
                "60018",
                f"Wrong URL or {wrong} doesn't exist. Please use the correct URL, channel and"
                " parameters referring to API document.",
            )
            return
        begins, stream = request["op"] == "subscribe", stream_of(argument)
        (self.hub.subscribe if begins else self.hub.unsubscribe)(session, [stream])
        named = {"id": request["id"]} if "id" in request else {}
        yield orjson.dumps(
            {**named, "event": request["op"], "arg": argument, "connId": session.id}
        ).decode()
        if begins:
            self._begin(session, channel, argument)

    def _exists(self, path: str, channel: str, argument: Any) -> bool:
        if channel not in CHANNELS or (channel in BUSINESS) != (path == BUSINESS_PATH):
            return False
        if channel in BY_TYPE:
            of = self.products if channel == "instruments" else ("SWAP",)
            return argument.get("instType") in of
        return self._named(channel, argument) in self._publishers

    @staticmethod
    def _named(channel: str, argument: Any) -> str:
        """The instrument of an argument: an index is that of its swap."""
        name = str(argument.get("instId", ""))
        if channel == "index-tickers":
            return f"{name}-SWAP"
        return name if channel not in OF_CONTRACTS or name.endswith("-SWAP") else ""

    def _begin(self, session: Session, channel: str, argument: Any) -> None:
        """Send what a channel begins with."""
        if channel not in BY_TYPE:
            publisher = self._publishers[self._named(channel, argument)]
            publisher.subscribed(session, channel, self.floor.now_us())
        elif channel == "instruments":
            product = argument["instType"]
            data = [
                messages.instrument(market)
                for market in self.markets.values()
                if market.symbol.product == product
            ]
            topic = Topic(stream_of(argument), "instrument", product, "", "")
            self.hub.publish_to(session, topic, messages.push(argument, data))

    @staticmethod
    def _error(session: OkxSession, request: Any, code: str, msg: str) -> str:
        named = {"id": request["id"]} if "id" in request else {}
        error = {**named, "event": "error", "code": code, "msg": msg, "connId": session.id}
        return orjson.dumps(error).decode()

    # REST

    def serves_rest(self, path: str) -> bool:
        return self._rest.known(path)

    def weight(self, request: Request) -> int:
        return WEIGHTS.get(request.path.removeprefix(PREFIX), 4)

    def rest(self, request: Request, verdict: Verdict) -> Answer:
        if request.method != "GET":
            body = {"code": "50115", "data": [], "msg": "Invalid request method."}
            return Answer(body, 405)
        try:
            return Answer(self._rest.answer(request.path, request.fields))
        except Refused as refused:
            return Answer(refused.body, refused.status)

    def refusal(self, request: Request, verdict: Verdict) -> Answer:
        return Answer({"code": "50011", "data": [], "msg": "Too Many Requests"}, verdict.status)


def _request(text: str) -> dict[str, Any] | None:
    """A command of a client; None for anything else."""
    try:
        request = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(request, dict) or request.get("op") not in ("subscribe", "unsubscribe"):
        return None
    arguments = request.get("args")
    if not isinstance(arguments, list) or not arguments:
        return None
    return request if all(isinstance(argument, dict) for argument in arguments) else None
