"""The front of an exchange: WebSocket and REST of all its protocols on one loopback port.

Beside them, for tests and from loopback only, `/sim/` (control.py).
"""

import asyncio
from http import HTTPStatus
from ipaddress import ip_address
from urllib.parse import urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request as Handshake
from websockets.http11 import Response

from tidemill.deploy.exchange.control import Control
from tidemill.deploy.exchange.exchange import Exchange
from tidemill.deploy.exchange.limits import Verdict
from tidemill.deploy.exchange.protocol import Answer, Protocol, Request
from tidemill.deploy.exchange.sessions import CountedConnection, Session, now_s

POLICY_VIOLATION = 1008


async def listen(exchange: Exchange, host: str, port: int) -> Server:
    """Serve on host and port (0: any free one)."""
    front = Front(exchange)
    return await serve(
        front.serve,
        host,
        port,
        process_request=front.before_handshake,
        create_connection=CountedConnection,
        compression=None,
        ping_interval=exchange.limits.ping_interval_s,
        ping_timeout=exchange.limits.pong_timeout_s,
        max_size=1 << 16,
        close_timeout=1.0,
    )


class Front:
    """What a client meets: it belongs to one exchange and knows no venue's words."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._control = Control(exchange)

    # sockets

    async def serve(self, connection: ServerConnection) -> None:
        """Live with one connection until it ends."""
        assert isinstance(connection, CountedConnection) and connection.request is not None
        target = connection.request.path
        protocol = self._of_socket(urlsplit(target).path)
        assert protocol is not None, "the handshake was let through"
        session = protocol.session(connection, target)
        protocol.hub.sessions[session] = None
        try:
            protocol.connected(session, target)
            async with asyncio.timeout(protocol.allowed.connection_age_max_s):
                await self._answer(protocol, session)
        except ValueError as error:
            await connection.close(POLICY_VIOLATION, str(error))
        except (TimeoutError, ConnectionClosed):
            pass  # its time is up, or it went away: both are ordinary ends of a connection
        finally:
            protocol.hub.leave(session)

    @staticmethod
    async def _answer(protocol: Protocol, session: Session) -> None:
        while True:
            async with asyncio.timeout(protocol.allowed.silence_max_s):
                message = await session.connection.recv()
            if session.too_many_incoming(now_s(), protocol.allowed.incoming_max):
                await session.connection.close(POLICY_VIOLATION, "too many requests")
                return
            for text in protocol.answer(session, message):
                session.send(text)

    def _of_socket(self, path: str) -> Protocol | None:
        return next((p for p in self._exchange.protocols if p.serves_socket(path)), None)

    # requests

    async def before_handshake(
        self, connection: ServerConnection, handshake: Handshake
    ) -> Response | None:
        """Answer what is not a WebSocket handshake; None lets the handshake go on."""
        url = urlsplit(handshake.path)
        ip = connection.remote_address[0]
        request = Request(handshake.method, url.path, url.query, handshake.headers, ip)
        if url.path.startswith("/sim/"):
            if not ip_address(ip).is_loopback:
                return _response(Answer({"error": "only from loopback"}, 403))
            return _response(self._control.answer(request))
        socket = self._of_socket(url.path)
        answer = self._welcome(socket, request) if socket else await self._rest(request)
        return None if answer is None else _response(answer)

    def _welcome(self, protocol: Protocol, request: Request) -> Answer | None:
        """Refuse a handshake, or None."""
        rule = self._exchange.faults.of_request("refuse")
        if rule is not None:
            return Answer({}, rule.status)
        if protocol.meter.may_connect(request.ip, self._exchange.now_us() / 1e6):
            return None
        return protocol.refusal(request, Verdict(429, 0, 0, handshake=True))

    async def _rest(self, request: Request) -> Answer:
        protocol = next((p for p in self._exchange.protocols if p.serves_rest(request.path)), None)
        if protocol is None:
            return Answer({"code": -1, "msg": "No such path."}, 404)
        weight = protocol.weight(request)
        verdict = protocol.meter.request(request.ip, weight, self._exchange.now_us() / 1e6)
        rule = self._exchange.faults.of_request("limit", "rest", "slow")
        if rule is not None and rule.kind == "limit":
            verdict = Verdict(rule.status, int(rule.seconds), verdict.used_weight)
        elif rule is not None and rule.kind == "rest":
            return Answer({}, rule.status)
        elif rule is not None:
            await asyncio.sleep(rule.seconds)
        if verdict.status != 200:
            return protocol.refusal(request, verdict)
        instead = self._exchange.answer_instead
        answer = instead(request) if instead is not None else None
        return answer if answer is not None else protocol.rest(request, verdict)


def _response(answer: Answer) -> Response:
    data = answer.data()
    fields = {"Content-Type": "application/json;charset=UTF-8", "Connection": "close"}
    fields |= {"Content-Length": str(len(data)), **answer.headers}
    return Response(answer.status, HTTPStatus(answer.status).phrase, Headers(fields), data)
