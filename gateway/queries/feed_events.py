"""What feeds said of themselves: connections, holes, gaps of books, clocks."""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from tidemill.gateway.queries.answer import Answer, Envelope, respond
from tidemill.gateway.queries.clickhouse import Row
from tidemill.gateway.queries.parameters import ROOT_MAX, Asked, Moment, Venue
from tidemill.gateway.queries.stores import Stores

ROUTES = APIRouter()
LIMIT, LIMIT_MAX = 100, 1_000


class FeedEventsAsked(Asked):
    """Which events."""

    venue: Venue | None = None
    symbol: Annotated[str, Field(pattern=r"^[A-Z0-9_\-/:]{1,48}$")] | None = None
    event: Annotated[str, Field(pattern=r"^[A-Za-z]{1,40}$")] | None = None
    limit: int = Field(LIMIT, ge=1, le=LIMIT_MAX)
    from_: Moment | None = Field(None, alias="from", description="Receive time, inclusive.")
    to: Moment | None = Field(None, description="Receive time, exclusive.")


class FeedEvent(BaseModel):
    """One event: what was expected and what came, as text; null where it has no such thing."""

    event: str
    venue: str
    symbol: str | None = Field(description="null for what is of a whole feed")
    product: str | None
    reason: str | None
    expected: str | None
    received: str | None
    firstId: int
    lastId: int = Field(description="Of trades; of a book its last update.")
    ts_from: int | None = Field(description="ns UTC")
    ts_to: int | None
    offset_ns: int = Field(description="The venue's clock minus ours, where it is told.")
    latency_ns: int
    detail: dict[str, Any] = Field(description="What events of this type alone have.")
    timestamp: int = Field(description="ms UTC")
    ts_recv: int = Field(description="ns UTC")
    r: int


@ROUTES.get("/api/market-data/feeds/events", response_model=Envelope[list[FeedEvent]])
async def feed_events(request: Request, asked: Annotated[FeedEventsAsked, Query()]) -> Response:
    """The newest events by position, newest first."""

    async def find(stores: Stores) -> Answer:
        bound = await stores.bind(asked, "feed_events", "trades", "quotes")
        values = {
            "venue": asked.venue or "",
            "symbol": asked.symbol or "",
            "event": asked.event or "",
            "from": asked.from_ or 0,
            "to": asked.to or ROOT_MAX,
            "limit": asked.limit,
        }
        if asked.from_ or asked.to:
            rows = await stores.ask("feed_events", bound, {**values, "floor": 0})
        else:
            rows = await stores.newest("feed_events", bound, values, asked.limit)
        return Answer([_item(row) for row in rows], bound)

    return await respond(request, asked, find)


def _item(row: Row) -> dict[str, Any]:
    texts = ("symbol", "product", "reason", "expected", "received")
    return {
        "event": row["event"],
        "venue": row["venue"],
        **{name: row[name] or None for name in texts},
        "firstId": row["first_id"],
        "lastId": row["last_id"],
        "ts_from": row["from_ns"],
        "ts_to": row["to_ns"],
        "offset_ns": row["offset_ns"],
        "latency_ns": row["latency_ns"],
        "detail": orjson.loads(row["detail"]) if row["detail"] else {},
        "timestamp": row["recv_ns"] // 1_000_000,
        "ts_recv": row["recv_ns"],
        "r": row["r"],
    }
