"""Binance's market-data protocols: what spot and USD-M share, and spot.

Written after the spot API documents: "WebSocket Streams for Binance" (the text of 2023-12-04, with
what its page of 2026 says since: a ping every 20 s and a minute for the pong, timeUnit=MICROSECOND,
trades without order ids) and "Public Rest API for Binance" (binance_rest.py), against the change
log up to 2026-09-18. Binance.US speaks the same. `/ws/<stream>`, `/stream?streams=a/b` and
live subscriptions; 24 hours a connection, 1,024 streams, 5 incoming messages a second. A URL is at
most 8,192 bytes: subscribe live to more. Not here: user data streams, the WebSocket API, SBE
streams, tickers over 24 hours, block trades, reference prices, the event serverShutdown.
"""

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from tidemill.deploy.exchange import binance_messages, binance_requests
from tidemill.deploy.exchange.binance_rest import BadRequest, SpotRest
from tidemill.deploy.exchange.binance_streams import Publisher, Variant
from tidemill.deploy.exchange.limits import Limits, Verdict
from tidemill.deploy.exchange.market import Happened, Market
from tidemill.deploy.exchange.protocol import Answer, Floor, Protocol, Request
from tidemill.deploy.exchange.sessions import CountedConnection, Session
from tidemill.deploy.exchange.symbols import Symbol, symbol_of

BAD_UNIT = "Data sent for parameter 'X-MBX-TIME-UNIT' is not valid."
UNITS_US = {"MILLISECOND": 1_000, "MICROSECOND": 1}
SPOT_SPEEDS_US = {"depth@100ms": 100_000, "depth": 1_000_000}


class Binance(Protocol):
    """What Binance's products have in common: streams by name, requests, weights and refusals."""

    def __init__(self, floor: Floor) -> None:
        super().__init__(floor)
        self.publishers: dict[Market, Publisher] = {}

    # what happens

    @abstractmethod
    def publisher(self, market: Market) -> Publisher:
        """The streams of a market."""

    def opened(self, market: Market) -> None:
        super().opened(market)
        self.publishers[market] = self.publisher(market)

    def changed(self, market: Market) -> None:
        super().changed(market)
        if market.symbol.raw not in self.markets:
            del self.publishers[market]

    def happened(self, market: Market, what: Happened) -> None:
        self.publishers[market].happened(what)

    def beat(self, period_us: int, now_us: int) -> None:
        for publisher in self.publishers.values():
            publisher.beat(period_us, now_us)

    # sockets

    def session(self, connection: CountedConnection, target: str) -> Session:
        route, mode, _ = self.parted(target)
        unit = parse_qs(urlsplit(target).query).get("timeUnit", ["MILLISECOND"])[0].upper()
        return Session(connection, Variant(mode == "stream", UNITS_US.get(unit, 1_000), route))

    def parted(self, target: str) -> tuple[str, str, list[str]]:
        """(route, "ws" or "stream", streams) of a path and query; the mode is empty for none."""
        url = urlsplit(target)
        route, path = self.routed(url.path)
        if path in ("/stream", "/stream/"):
            names = parse_qs(url.query).get("streams", [""])[0].split("/")
            return route, "stream", [name for name in names if name]
        if path == "/ws" or path.startswith("/ws/"):
            names = unquote(path.removeprefix("/ws")).split("/")
            return route, "ws", [name for name in names if name]
        return route, "", []

    def route(self, stream: str) -> str:
        """The path that carries a stream, where there are several."""
        return ""

    def routed(self, path: str) -> tuple[str, str]:
        """The route that a path names, and the rest of it."""
        return "", path

    def serves_socket(self, path: str) -> bool:
        return bool(self.parted(path)[1])

    def connected(self, session: Session, target: str) -> None:
        streams = self.parted(target)[2]
        if len(streams) > binance_requests.STREAMS_MAX:
            raise ValueError("too many streams")
        self.hub.subscribe(session, streams)

    def answer(self, session: Session, message: str | bytes) -> Iterable[str]:
        return (binance_requests.answer(self.hub, session, message),)

    # REST

    def refusal(self, request: Request, verdict: Verdict) -> Answer:
        """Error -1003 in the words of change log 2022-12-13."""
        if verdict.handshake:
            return Answer({"code": -1003, "msg": "Too many connection attempts."}, verdict.status)
        use = "Please use WebSocket Streams for live updates to avoid"
        if verdict.status == 429:
            limit = f"current limit is {self.allowed.weight_max} request weight per 1 MINUTE"
            text = f"Too much request weight used; {limit}. {use} polling the API."
        else:
            until = self.floor.now_us() // 1_000 + verdict.retry_after_s * 1_000
            text = f"Way too much request weight used; IP banned until {until}. {use} bans."
        wait = {"Retry-After": str(verdict.retry_after_s)}
        return Answer({"code": -1003, "msg": text}, verdict.status, used(verdict) | wait)


def used(verdict: Verdict) -> dict[str, str]:
    """The headers that tell how much weight is used."""
    weight = str(verdict.used_weight)
    return {"X-MBX-USED-WEIGHT": weight, "X-MBX-USED-WEIGHT-1M": weight}


class BinanceSpot(Binance):
    """Binance spot."""

    products = ("SPOT",)
    limits: ClassVar[Limits] = Limits()
    api = "/api/v3/"

    def __init__(self, floor: Floor) -> None:
        super().__init__(floor)
        self._rest = SpotRest(self, floor.now_us)

    def symbol(self, name: str, product: str) -> Symbol:
        return symbol_of(name)

    def publisher(self, market: Market) -> Publisher:
        return Publisher(market, self.hub, binance_messages, SPOT_SPEEDS_US)

    def beat(self, period_us: int, now_us: int) -> None:
        super().beat(period_us, now_us)
        for publisher in self.publishers.values():
            publisher.partial_depth(period_us)

    def serves_rest(self, path: str) -> bool:
        return path.startswith(self.api) and self._rest.known(path.removeprefix(self.api))

    def weight(self, request: Request) -> int:
        return self._rest.weight(request.path.removeprefix(self.api), request.fields)

    def rest(self, request: Request, verdict: Verdict) -> Answer:
        if request.method != "GET":
            return Answer({"code": -1, "msg": "Only GET is offered."}, 405, used(verdict))
        unit = request.headers.get("X-MBX-TIME-UNIT", "MILLISECOND").upper()
        if unit not in UNITS_US:
            return Answer({"code": -1130, "msg": BAD_UNIT}, 400, used(verdict))
        name = request.path.removeprefix(self.api)
        try:
            body = self._rest.answer(name, request.fields, UNITS_US[unit])
        except BadRequest as bad:
            return Answer(bad.body, 400, used(verdict))
        return Answer(body, 200, used(verdict))
