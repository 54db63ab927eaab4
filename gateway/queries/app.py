"""The queries server: its routes, middleware and documents, on granian."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI
from granian.constants import Interfaces
from granian.server.embed import Server
from starlette.middleware.cors import CORSMiddleware

from tidemill.gateway.queries import (
    aggregated,
    anomalies,
    arbitrage,
    book_analysis,
    candles,
    comparison,
    documents,
    feed_events,
    feeds,
    funding,
    health,
    indicators,
    instruments,
    liquidations,
    open_interest,
    order_book,
    overview,
    page,
    problems,
    quote,
    screener,
    screener_stats,
    screener_strategies,
    statistics,
    symbols,
    trades,
    venue_bars,
)
from tidemill.gateway.queries.answer import ErrorEnvelope
from tidemill.gateway.queries.metrics import Metrics
from tidemill.gateway.queries.middleware import Around
from tidemill.gateway.queries.settings import QueriesSettings
from tidemill.gateway.queries.stores import Stores

QUESTIONS = (
    *(symbols, instruments, trades, candles, quote, aggregated, comparison),
    *(liquidations, venue_bars, feeds, feed_events, arbitrage),
    *(book_analysis, order_book, funding, open_interest, overview, indicators),
    *(anomalies, screener, screener_stats, screener_strategies, statistics),
)
"""Every question there is: a module with ROUTES; a path that is fixed before one that is not."""
_ERRORS = {
    400: "A parameter is not valid: VALIDATION_ERROR.",
    404: "SYMBOL_NOT_FOUND, QUOTE_NOT_FOUND, NO_DATA.",
    503: "A database is away (SERVICE_UNAVAILABLE), or a position not reached (TIMEOUT).",
}


def create_app(settings: QueriesSettings | None = None) -> FastAPI:
    """Return the application; without `settings`, those of the environment."""
    settings = settings or QueriesSettings()
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.stores = Stores(settings, metrics)
        await app.state.stores.open()
        try:
            yield
        finally:
            await app.state.stores.close()

    app = FastAPI(
        title="Tidemill queries",
        version=version("tidemill"),
        description="Read-only answers; each says the position that it holds at (`meta.as_of`).",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        redirect_slashes=False,
    )
    app.state.settings, app.state.metrics = settings, metrics
    app.state.started_at = time.monotonic()
    problems.install(app)
    documented: dict[int | str, dict[str, Any]] = {
        code: {"model": ErrorEnvelope, "description": text} for code, text in _ERRORS.items()
    }
    for question in QUESTIONS:
        app.include_router(question.ROUTES, responses=documented, tags=["market data"])
    app.include_router(health.ROUTES, tags=["operation"])
    app.include_router(page.ROUTES)
    app.include_router(documents.ROUTES)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(settings.cors_origins), allow_methods=["GET"]
        )
    app.add_middleware(
        Around,
        metrics=metrics,
        development=settings.development,
        connect=["'self'", *_origin(settings.live_url)],
        docs_path=documents.PATH,
    )
    return app


def _origin(url: str) -> list[str]:
    """Return the origin of a WebSocket address, as a security policy names it."""
    if not url:
        return []
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError(f"{url!r} is no address as ws://host:port is")
    return [f"{parts.scheme}://{parts.netloc}"]


async def serve(host: str, port: int, settings: QueriesSettings | None = None) -> None:
    """Serve until cancelled, in this process and loop."""
    server = Server(
        create_app(settings),
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        websockets=False,
        log_enabled=False,
    )
    serving = asyncio.create_task(server.serve())
    stop: Callable[[], None] = server.stop
    try:
        await asyncio.shield(serving)
    finally:
        stop()
        await asyncio.wait((serving,), timeout=10)
