"""Bybit's market-data protocol, v5: spot and linear contracts over their public sockets.

Written after Bybit's V5 documents (bybit-exchange.github.io/docs/v5, 2026-07-15) and a capture of
2026-08-09 (what is in each topic: bybit_messages.py, when it is sent: bybit_streams.py, requests:
bybit_rest.py). ``/v5/public/spot`` and ``/v5/public/linear``: a command is answered as a whole, as
captured after the data that its topics begin with; 21,000 characters of arguments a connection, on
spot 10 arguments a command; ``{"op":"ping"}`` is answered. When a market is halted or goes on, its
books begin anew with ``u`` = 1. Different here: the ``seq`` of trades counts taker orders and is
not that of books; a bar's ``timestamp`` is when it was sent; contracts that are halted are
Delivering; a connection may stay silent for ten minutes. Not here: options, inverse and dated
contracts, RPI, block trades, ``orderbook.full``.
"""

from collections.abc import Iterable
from typing import Any, ClassVar
from urllib.parse import urlsplit

import orjson

from tidemill.deploy.exchange.bybit_rest import PRODUCTS, Key, Rest, body
from tidemill.deploy.exchange.bybit_streams import (
    BAR_US,
    BEST_US,
    DEPTHS_US,
    LIQUIDATIONS_US,
    TICKER_US,
    Publisher,
)
from tidemill.deploy.exchange.limits import Limits, Verdict
from tidemill.deploy.exchange.market import Happened, Market
from tidemill.deploy.exchange.protocol import Answer, Floor, Protocol, Request
from tidemill.deploy.exchange.sessions import CountedConnection, Session
from tidemill.deploy.exchange.symbols import Symbol, listed, symbol_of

SOCKETS = "/v5/public/"
ARGUMENTS_CHARACTERS_MAX = 21_000
SPOT_ARGUMENTS_MAX = 10
LINEAR_LOT_PLACES = 3


class BybitSession(Session):
    """A connection: its path decides its product."""

    def __init__(self, connection: CountedConnection, product: str, number: int) -> None:
        super().__init__(connection)
        self.product = product
        self.id = f"{number:08x}-0000-4000-8000-000000000000"
        self.topics: dict[str, str] = {}  # topic: stream


class Bybit(Protocol):
    """Bybit: spot and linear have the same topics, each on its own path."""

    products = ("SPOT", "LINEAR")
    limits: ClassVar[Limits] = Limits(
        weight_max=600,
        window_s=5,
        refusals_max=1 << 30,
        connections_max=500,
        incoming_max=100,
        ping_interval_s=None,
        silence_max_s=600.0,
    )
    beats_us: ClassVar[tuple[int, ...]] = tuple(
        sorted({BEST_US, *DEPTHS_US.values(), *TICKER_US.values(), LIQUIDATIONS_US, BAR_US})
    )

    def __init__(self, floor: Floor) -> None:
        super().__init__(floor)
        self._listed: dict[Key, Market] = {}
        self._publishers: dict[Key, Publisher] = {}
        self._closed: list[Market] = []
        self.requests = Rest(
            self._listed, self._closed, self._publishers, self.snapshot, floor.now_us
        )
        self._count = 0

    # what is traded

    def symbol(self, name: str, product: str) -> Symbol:
        """BTCUSDT of both products; contracts have lots of at most three places."""
        symbol = symbol_of(name)
        places = symbol.qty_places
        if product == "LINEAR":
            places = min(places, LINEAR_LOT_PLACES)
        return listed(symbol, product, name, qty_places=places)

    def opened(self, market: Market) -> None:
        """Both products have the same symbols: they are kept by both."""
        key = market.symbol.product, market.symbol.raw
        self._listed[key] = market
        self._publishers[key] = Publisher(market, self.hub, self.snapshot)

    def changed(self, market: Market) -> None:
        key = market.symbol.product, market.symbol.raw
        if market.status == "DELISTED":
            self._closed.append(self._listed.pop(key))
            del self._publishers[key]
        else:
            self._publishers[key].changed(self.floor.now_us())

    def happened(self, market: Market, what: Happened) -> None:
        self._publishers[market.symbol.product, market.symbol.raw].happened(what)

    def beat(self, period_us: int, now_us: int) -> None:
        for publisher in self._publishers.values():
            publisher.beat(period_us, now_us)

    # sockets

    def serves_socket(self, path: str) -> bool:
        return path.startswith(SOCKETS) and path.removeprefix(SOCKETS) in PRODUCTS

    def session(self, connection: CountedConnection, target: str) -> Session:
        self._count += 1
        product = PRODUCTS[urlsplit(target).path.removeprefix(SOCKETS)]
        return BybitSession(connection, product, self._count)

    def answer(self, session: Session, message: str | bytes) -> Iterable[str]:
        """Answer a command; what its topics begin with is sent before."""
        assert isinstance(session, BybitSession)
        request = _request(message)
        op = request.get("op")
        if op == "ping":
            yield self._said(session, request, True, "pong")
        elif op == "subscribe":
            error = self._subscribe(session, request)
            accepted = "subscribe" if session.product == "SPOT" else ""
            yield self._said(session, request, not error, error or accepted)
        elif op == "unsubscribe":
            for topic in _topics(request):
                if (stream := session.topics.pop(topic, None)) is not None:
                    self.hub.unsubscribe(session, [stream])
            yield self._said(session, request, True, "")
        else:
            yield self._said(session, {"op": str(op or "")}, False, "Invalid op")

    def _subscribe(self, session: BybitSession, request: dict[str, Any]) -> str:
        """Subscribe every topic of a command, or none: return what is wrong with it."""
        topics = _topics(request)
        if not topics:
            return "error:Invalid args"
        if session.product == "SPOT" and len(topics) > SPOT_ARGUMENTS_MAX:
            return f"args size >{SPOT_ARGUMENTS_MAX}"
        characters = sum(map(len, (*session.topics, *topics)))
        if characters > ARGUMENTS_CHARACTERS_MAX:
            return f"args length >{ARGUMENTS_CHARACTERS_MAX}"
        found: list[tuple[str, str, Publisher]] = []
        for topic in topics:
            channel, _, raw = topic.rpartition(".")
            publisher = self._publishers.get((session.product, raw))
            if publisher is None or publisher.stream(channel) is None:
                return f"error:handler not found,topic:{topic}"
            if topic in session.topics:
                return f"error:already subscribed,topic:{topic}"
            found.append((topic, channel, publisher))
        for topic, channel, publisher in found:
            stream = publisher.stream(channel)
            assert stream is not None
            session.topics[topic] = stream
            publisher.begin(session, channel, self.floor.now_us())
        return ""

    @staticmethod
    def _said(session: BybitSession, request: dict[str, Any], success: bool, msg: str) -> str:
        """The answer to a command; spot repeats its id only where there is one."""
        said = {"success": success, "ret_msg": msg, "conn_id": session.id}
        if "req_id" in request or session.product != "SPOT":
            said["req_id"] = str(request.get("req_id", ""))
        return orjson.dumps({**said, "op": request["op"]}).decode()

    # REST

    def serves_rest(self, path: str) -> bool:
        return self.requests.known(path)

    def rest(self, request: Request, verdict: Verdict) -> Answer:
        return Answer(self.requests.answer(request.path, request.fields))

    def refusal(self, request: Request, verdict: Verdict) -> Answer:
        """Too many: Bybit says 403 to an address; what a test asks for is said as asked."""
        msg = "Too many visits. Exceeded the API Rate Limit."
        return Answer(body({}, 10006, msg, self.floor.now_us()), verdict.status)


def _request(message: str | bytes) -> dict[str, Any]:
    """A command of a client; empty for what is none."""
    try:
        request = orjson.loads(message)
    except orjson.JSONDecodeError:
        return {}
    return request if isinstance(request, dict) else {}


def _topics(request: dict[str, Any]) -> list[str]:
    topics = request.get("args")
    if not isinstance(topics, list) or not all(isinstance(topic, str) for topic in topics):
        return []
    return topics
