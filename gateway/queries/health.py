"""Whether this server can answer: it asks its databases (F-264)."""

import time
from importlib.metadata import version

import orjson
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from tidemill.gateway.queries.stores import Stores

ROUTES = APIRouter()
NEEDED = ("clickhouse", "postgres")
_VERSION = version("tidemill")


class Health(BaseModel):
    """200 and RUNNING, or 503 and ERROR. The cache (redis) may be away."""

    status: str = Field(examples=["RUNNING"])
    service: str
    version: str
    timestamp: int = Field(description="ms UTC")
    uptime: float = Field(description="seconds")
    connections: dict[str, bool] = Field(description="clickhouse, postgres, redis")


@ROUTES.get("/health", response_model=Health, responses={503: {"model": Health}})
async def health(request: Request) -> Response:
    """Ask ClickHouse, Postgres and Valkey whether they answer."""
    stores: Stores = request.app.state.stores
    connections = await stores.probe()
    running = all(connections[name] for name in NEEDED)
    body = {
        "status": "RUNNING" if running else "ERROR",
        "service": "queries",
        "version": _VERSION,
        "timestamp": time.time_ns() // 1_000_000,
        "uptime": round(time.monotonic() - request.app.state.started_at, 3),
        "connections": connections,
    }
    return Response(orjson.dumps(body), 200 if running else 503, media_type="application/json")


@ROUTES.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Prometheus metrics."""
    body = request.app.state.metrics.render()
    return Response(body, media_type="text/plain; version=0.0.4; charset=utf-8")
