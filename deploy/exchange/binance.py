"""Binance spot's market-data protocol over one loopback port: WebSocket streams and REST.

Written after the spot API documents: "WebSocket Streams for Binance" (the text of 2023-12-04, with
what its page of 2026 says since: a ping every 20 s and a minute for the pong, timeUnit=MICROSECOND,
trades without order ids) and "Public Rest API for Binance" (rest.py, limits.py), against the change
log up to 2026-09-18. Binance.US speaks the same. `/ws/<stream>`, `/stream?streams=a/b` and live
subscriptions; 24 hours a connection, 1,024 streams, 5 incoming messages a second. A URL is at most
8,192 bytes: subscribe live to more. Not here: user data streams, the WebSocket API, SBE streams,
tickers over 24 hours, block trades, reference prices, the event serverShutdown.

Beside it, for tests and from loopback only: `POST /sim/faults?kind=drop&symbol=BTCUSDT&count=3`
(faults.py) and `GET /sim/state`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

import orjson
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tidemill.deploy.exchange import requests
from tidemill.deploy.exchange.faults import Faults
from tidemill.deploy.exchange.limits import Limits, Meter
from tidemill.deploy.exchange.market import Market
from tidemill.deploy.exchange.publisher import Publisher
from tidemill.deploy.exchange.rest import BadRequest, Rest
from tidemill.deploy.exchange.sessions import CountedConnection, Hub, Session, now_s

API = "/api/v3/"
BAD_UNIT = "Data sent for parameter 'X-MBX-TIME-UNIT' is not valid."
UNITS_US = {"MILLISECOND": 1_000, "MICROSECOND": 1}
TICK_S = 0.005
CATCH_UP_S = 1.0  # what a market owes after a pause of the process, at most
FULL_SPEED_EVENTS = 256  # of a market at a turn, when clients set the pace
CONGESTED_BYTES = 1 << 18
POLICY_VIOLATION = 1008


@dataclass
class Exchange:
    """One venue: its markets, its clients and its clock.

    `rates` are events (trades and quotes) a second by symbol; None lets the clients' sockets set
    the pace. `clock_us` reads UTC microseconds.
    """

    venue: str
    markets: dict[str, Market]
    rates: dict[str, float] | None
    clock_us: Callable[[], int]
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self.hub = Hub()
        self.faults = Faults()
        self._meter = Meter(self.limits)
        self._rest = Rest(self.markets, self.limits, self._now_us)
        self._publishers = {
            name: Publisher(market, self.hub, self.faults) for name, market in self.markets.items()
        }
        self._last_us = 0
        self._owed = dict.fromkeys(self.markets, 0.0)
        self._stalled_s = 0.0

    def _now_us(self) -> int:
        """The venue's clock: it never goes back."""
        self._last_us = max(self._last_us, self.clock_us())
        return self._last_us

    # --- the market's side -------------------------------------------------------------------

    async def run(self) -> None:
        """Let the markets live and send what happens, until cancelled."""
        loop = asyncio.get_running_loop()
        before = loop.time()
        tenth = self._now_us() // 100_000
        while True:
            turn = loop.time()
            self._live(turn - before)
            before = turn
            now_us = self._now_us()
            if now_us // 100_000 > tenth:
                self._periodic(now_us, tenth)
                tenth = now_us // 100_000
            self._send(turn)
            pause = TICK_S if self.rates is not None or not self._full_speed() else 0.0
            await asyncio.sleep(max(0.0, pause - (loop.time() - turn)))

    def _full_speed(self) -> bool:
        """Whether somebody listens and everybody keeps up."""
        return any(True for _ in self.hub.streams()) and not self.hub.congested(CONGESTED_BYTES)

    def _live(self, seconds: float) -> None:
        if self.rates is None:
            if self._full_speed():
                for name, market in self.markets.items():
                    self._advance(name, market.events + FULL_SPEED_EVENTS)
            return
        for name, rate in self.rates.items():
            owed = min(self._owed[name] + rate * seconds, max(1.0, rate * CATCH_UP_S))
            market = self.markets[name]
            events = market.events
            if owed >= 1.0:
                self._advance(name, events + int(owed))
            self._owed[name] = owed - (market.events - events)

    def _advance(self, name: str, events_until: int) -> None:
        market, publisher = self.markets[name], self._publishers[name]
        while market.events < events_until:
            publisher.happened(market.advance(events_until, self._now_us()))

    def _periodic(self, now_us: int, tenth: int) -> None:
        second = now_us // 1_000_000
        for publisher in self._publishers.values():
            publisher.tenth(now_us)
            if second > tenth // 10:
                publisher.second(now_us, second)

    def _send(self, turn_s: float) -> None:
        if self.faults.cut_now:
            self.faults.cut_now = False
            self.faults.done["cut"] += len(self.hub.sessions)
            for session in list(self.hub.sessions):
                session.cut()
        if turn_s < self.faults.muted_until_s:
            for session in self.hub.sessions:
                self.faults.done["mute"] += len(session.out)
                session.out.clear()
        if turn_s >= self.faults.paused_until_s:
            self.hub.flush(self.limits.buffer_bytes_max)
        self._cut_stalled(turn_s)

    def _cut_stalled(self, turn_s: float) -> None:
        """A client that stops reading would hold a full-speed market for ever."""
        if self.rates is not None or not self.hub.congested(CONGESTED_BYTES):
            self._stalled_s = turn_s
        elif turn_s - self._stalled_s > self.limits.stall_max_s:
            for session in list(self.hub.sessions):
                if session.buffered_bytes > CONGESTED_BYTES:
                    session.cut()

    # --- the clients' side -------------------------------------------------------------------

    async def listen(self, host: str, port: int) -> Server:
        """Serve on host and port (0: any free one)."""
        return await serve(
            self._serve,
            host,
            port,
            process_request=self._before_handshake,
            create_connection=CountedConnection,
            compression=None,
            ping_interval=self.limits.ping_interval_s,
            ping_timeout=self.limits.pong_timeout_s,
            max_size=1 << 16,
            close_timeout=1.0,
        )

    async def _serve(self, connection: ServerConnection) -> None:
        assert isinstance(connection, CountedConnection) and connection.request is not None
        session = _session_of(connection, connection.request.path)
        streams = _streams_of(connection.request.path)
        if len(streams) > requests.STREAMS_MAX:
            await connection.close(POLICY_VIOLATION, "too many streams")
            return
        self.hub.sessions[session] = None
        try:
            self.hub.subscribe(session, streams)
            async with asyncio.timeout(self.limits.connection_age_max_s):
                await self._answer(session)
        except (TimeoutError, ConnectionClosed):
            pass  # its time is up, or it went away: both are ordinary ends of a connection
        finally:
            self.hub.leave(session)

    async def _answer(self, session: Session) -> None:
        async for message in session.connection:
            if session.too_many_incoming(now_s(), self.limits.incoming_max):
                await session.connection.close(POLICY_VIOLATION, "too many requests")
                return
            session.send(requests.answer(self.hub, session, message))

    def _before_handshake(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer what is not a WebSocket handshake; None lets the handshake go on."""
        ip = connection.remote_address[0]
        url = urlsplit(request.path)
        if url.path in ("/ws", "/stream", "/stream/") or url.path.startswith("/ws/"):
            if self._meter.may_connect(ip, self._now_us() / 1e6):
                return None
            return _json(429, {"code": -1003, "msg": "Too many connection attempts."})
        if url.path.startswith("/sim/"):
            return self._control(ip, request, url.path, url.query)
        name = url.path.removeprefix(API)
        if not url.path.startswith(API) or not self._rest.known(name):
            return _json(404, {"code": -1, "msg": "No such path."})
        return self._api(ip, request, name, url.query)

    def _api(self, ip: str, request: Request, name: str, query: str) -> Response:
        weight = self._rest.weight(name, dict(parse_qsl(query, keep_blank_values=True)))
        verdict = self._meter.request(ip, weight, self._now_us() / 1e6)
        used = {
            "X-MBX-USED-WEIGHT": verdict.used_weight,
            "X-MBX-USED-WEIGHT-1M": verdict.used_weight,
        }
        if verdict.status != 200:
            wait = {"Retry-After": verdict.retry_after_s}
            body = _refusal(verdict.status, self.limits.weight_max, self._now_us(), verdict)
            return _json(verdict.status, body, **used, **wait)
        if request.method != "GET":
            return _json(405, {"code": -1, "msg": "Only GET is offered."}, **used)
        unit = request.headers.get("X-MBX-TIME-UNIT", "MILLISECOND").upper()
        if unit not in UNITS_US:
            return _json(400, {"code": -1130, "msg": BAD_UNIT}, **used)
        try:
            return _json(200, self._rest.answer(name, query, UNITS_US[unit]), **used)
        except BadRequest as bad:
            return _json(400, bad.body, **used)

    def _control(self, ip: str, request: Request, path: str, query: str) -> Response:
        if not ip_address(ip).is_loopback:
            return _json(403, {"error": "only from loopback"})
        if (request.method, path) == ("GET", "/sim/state"):
            return _json(200, self.state())
        if (request.method, path) != ("POST", "/sim/faults"):
            return _json(404, {"error": "no such control"})
        asked = dict(parse_qsl(query))
        try:
            count, seconds = int(asked.get("count", "1")), float(asked.get("seconds", "1"))
            symbol = asked.get("symbol", "")
            if asked.get("kind") in ("drop", "duplicate") and symbol not in self.markets:
                raise ValueError(f"unknown symbol {symbol!r}")
            self.faults.arm(asked.get("kind", ""), symbol, count, seconds, now_s())
        except ValueError as error:
            return _json(400, {"error": str(error)})
        return _json(200, self.state())

    def state(self) -> dict[str, Any]:
        """What a test needs to know: how far each market is and which faults happened."""
        markets = {
            name: {
                "events": market.events,
                "steps": market.steps,
                "trades": market.history.last_id,
                "update_id": market.update_id,
            }
            for name, market in self.markets.items()
        }
        armed = {"drop": self.faults.drop, "duplicate": self.faults.duplicate}
        faults = {"armed": armed, "done": self.faults.done}
        return {
            "venue": self.venue,
            "sessions": len(self.hub.sessions),
            "markets": markets,
            "faults": faults,
        }


def _session_of(connection: CountedConnection, path: str) -> Session:
    url = urlsplit(path)
    unit = parse_qs(url.query).get("timeUnit", ["MILLISECOND"])[0].upper()
    combined = url.path.startswith("/stream")
    return Session(connection, combined=combined, unit_us=UNITS_US.get(unit, 1_000))


def _streams_of(path: str) -> list[str]:
    """The streams a URL names: /ws/a, or /stream?streams=a/b."""
    url = urlsplit(path)
    if url.path.startswith("/stream"):
        names = parse_qs(url.query).get("streams", [""])[0].split("/")
    else:
        names = unquote(url.path.removeprefix("/ws")).split("/")
    return [name for name in names if name]


def _refusal(status: int, weight_max: int, now_us: int, verdict: Any) -> dict[str, Any]:
    """Error -1003 in the words of change log 2022-12-13."""
    use = "Please use WebSocket Streams for live updates to avoid"
    if status == 429:
        limit = f"current limit is {weight_max} request weight per 1 MINUTE"
        text = f"Too much request weight used; {limit}. {use} polling the API."
    else:
        until = now_us // 1_000 + verdict.retry_after_s * 1_000
        text = f"Way too much request weight used; IP banned until {until}. {use} bans."
    return {"code": -1003, "msg": text}


def _json(status: int, body: Any, **headers: object) -> Response:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    fields = {"Content-Type": "application/json;charset=UTF-8", "Connection": "close"}
    fields |= {"Content-Length": str(len(data))}
    fields |= {name: str(value) for name, value in headers.items()}
    return Response(status, HTTPStatus(status).phrase, Headers(fields), data)
