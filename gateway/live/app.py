"""The live server: WebSocket at ``/live``, and ``/health`` and ``/metrics`` on the same port.

On the websockets library, without compression: one process sends what is written once to many.
"""

import logging
import time
from importlib.metadata import version

import orjson
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as listen
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from tidemill.gateway.live.hub import Hub
from tidemill.gateway.live.metrics import Metrics
from tidemill.gateway.live.session import Session
from tidemill.gateway.live.settings import LiveSettings

PATH = "/live"
WRITE_BYTES = 64 << 10
"""What the server holds for a client beside its queue, until the socket takes it."""
_STOP_TIMEOUT_S = 2.0
_VERSION = version("tidemill")
_QUIET = logging.getLogger("tidemill.gateway.live.websockets")
_QUIET.setLevel(logging.CRITICAL)  # what strangers send instead of a handshake is not our error
log = logging.getLogger(__name__)


class LiveServer:
    """Everything of one server process but its port."""

    def __init__(self, settings: LiveSettings) -> None:
        self._settings, self._metrics = settings, Metrics()
        self._hub = Hub(settings.nats_gateway, self._metrics)
        self._clients = 0
        self._started_at = time.monotonic()

    async def run(self, host: str, port: int) -> None:
        """Serve until cancelled."""
        async with listen(
            self._serve,
            host,
            port,
            process_request=self._on_request,
            compression=None,
            max_size=self._settings.live_message_bytes_max,
            max_queue=16,
            write_limit=WRITE_BYTES,
            ping_interval=None,  # a session pings itself, with the close code of F-267
            close_timeout=_STOP_TIMEOUT_S,
            server_header=None,
            logger=_QUIET,
        ):
            await self._hub.run()

    async def _serve(self, socket: ServerConnection) -> None:
        self._clients += 1
        try:
            with self._metrics.clients.track_inprogress():
                await Session(socket, self._hub, self._settings, self._metrics).run()
        except Exception:
            log.exception("a session failed")
            raise
        finally:
            self._clients -= 1

    def _on_request(self, _: ServerConnection, request: Request) -> Response | None:
        path = request.path.partition("?")[0]
        if path == "/health":
            return self._health()
        if path == "/metrics":
            return _response(200, "text/plain; version=0.0.4", self._metrics.render())
        if path != PATH:
            return _problem(404, "NOT_FOUND", f"WebSocket is at {PATH}")
        if self._clients >= self._settings.live_clients_max:
            self._metrics.refused.labels("clients").inc()
            return _problem(503, "SERVICE_UNAVAILABLE", "too many clients")
        return None

    def _health(self) -> Response:
        connected = self._hub.connected
        body = {
            "status": "RUNNING" if connected else "ERROR",
            "service": "live",
            "version": _VERSION,
            "timestamp": time.time_ns() // 1_000_000,
            "uptime": round(time.monotonic() - self._started_at, 3),
            "connections": {"nats": connected},
            "clients": self._clients,
            "as_of": self._hub.newest,
        }
        return _response(200 if connected else 503, "application/json", orjson.dumps(body))


def _problem(status: int, code: str, message: str) -> Response:
    error = {"code": code, "message": message}
    body = {"success": False, "error": error, "timestamp": time.time_ns() // 1_000_000}
    return _response(status, "application/json", orjson.dumps(body))


def _response(status: int, kind: str, body: bytes) -> Response:
    headers = {
        "Content-Type": kind,
        "Content-Length": str(len(body)),
        "Connection": "close",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }
    return Response(status, "", Headers(headers), body)


async def serve(host: str, port: int, settings: LiveSettings | None = None) -> None:
    """Serve until cancelled; without `settings`, those of the environment."""
    await LiveServer(settings or LiveSettings()).run(host, port)
