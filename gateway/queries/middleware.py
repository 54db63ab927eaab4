"""One middleware around every request: it counts, sets security headers, and renders failures."""

import time
from collections.abc import Iterable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidemill.gateway.queries.metrics import UNKNOWN, Metrics
from tidemill.gateway.queries.problems import of, render

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src {connect}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Swagger UI sets styles inline.
DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Strict-Transport-Security": "max-age=31536000",
}


class Around:
    """The outermost ASGI layer. Nothing that is raised inside leaves it."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        development: bool,
        connect: Iterable[str],
        docs_path: str,
    ) -> None:
        self._app, self._metrics, self._development = app, metrics, development
        self._policy = PAGE_POLICY.format(connect=" ".join(connect))
        self._docs_path = docs_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._secure(MutableHeaders(scope=message), scope["path"])
            await send(message)

        with self._metrics.active.track_inprogress():
            try:
                await self._app(scope, receive, sending)
            except Exception as error:
                if status:
                    raise  # half an answer is out: the connection can only be cut
                await render(of(error, self._development))(scope, receive, sending)
            finally:
                route = getattr(scope.get("route"), "path", UNKNOWN)
                duration_s = time.perf_counter() - began
                self._metrics.answered(route, scope["method"], status, duration_s)

    def _secure(self, headers: MutableHeaders, path: str) -> None:
        for name, value in _HEADERS.items():
            headers[name] = value
        docs = path == self._docs_path
        headers["Content-Security-Policy"] = DOCS_POLICY if docs else self._policy
        headers.setdefault("Cache-Control", "no-store")
