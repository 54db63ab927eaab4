"""How good feeds are: which are silent, how far their clocks are off, what was missing."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from tidemill.gateway.queries.answer import Answer, Envelope, respond
from tidemill.gateway.queries.clickhouse import Row
from tidemill.gateway.queries.parameters import Asked
from tidemill.gateway.queries.stores import Bound, Stores
from tidemill.gateway.queries.windows import HOURS, Hours, window

ROUTES = APIRouter()
KEEP_S = 1.0


class FeedsAsked(Asked):
    """How far back events are counted."""

    hours: Hours = HOURS


class Feed(BaseModel):
    """One venue's product."""

    product: str
    state: str = Field(description="STALE: nothing was heard for over 5 s; else FRESH.")
    since: int | None = Field(description="ns UTC; null for one that never was silent.")
    offset_ns: int | None = Field(description="The venue's clock minus ours; null if not told.")
    latency_ns: int | None
    events: dict[str, int] = Field(description="How often each type was said of all of it.")


class VenueFeeds(BaseModel):
    """The feeds of one venue."""

    venue: str
    feeds: list[Feed]
    events: dict[str, int] = Field(description="How often each type was said of an instrument.")


@ROUTES.get("/api/market-data/feeds", response_model=Envelope[list[VenueFeeds]])
async def feeds(request: Request, asked: Annotated[FeedsAsked, Query()]) -> Response:
    """Every feed that was heard of; the answer may be 1 s old."""

    async def find(stores: Stores) -> Answer:
        bound = await stores.bind(asked, "feed_events", "feed_states", "trades", "quotes")
        since = await window(stores, bound, asked.hours)
        counts, states = await asyncio.gather(
            stores.ask("feed_counts", bound, since),
            stores.ask("feed_states", bound, {"venue": ""}),
        )
        items = _venues(counts, states)
        stale = any(feed["state"] == "STALE" for item in items for feed in item["feeds"])
        return Answer(items, bound, ["STALE"] if stale else [])

    return await respond(request, asked, find, KEEP_S)


async def stale(stores: Stores, bound: Bound, venue: str, product: str) -> bool:
    """Return whether a feed is silent at a position; `bound` needs the table feed_states."""
    states = await stores.ask("feed_states", bound, {"venue": venue})
    return any(row["product"] == product and row["newest_state"] == "STALE" for row in states)


def _venues(counts: list[Row], states: list[Row]) -> list[dict[str, Any]]:
    turned = {(row["venue"], row["product"]): row for row in states}
    said: dict[tuple[str, str], list[Row]] = {key: [] for key in turned}
    for row in counts:
        said.setdefault((row["venue"], row["product"]), []).append(row)
    of_symbols = {venue: _times(rows) for (venue, product), rows in said.items() if not product}
    return [
        {
            "venue": venue,
            "feeds": [
                _feed(product, rows, turned.get((at, product)))
                for (at, product), rows in sorted(said.items())
                if at == venue and product
            ],
            "events": of_symbols.get(venue, {}),
        }
        for venue in sorted({venue for venue, _ in said})
    ]


def _times(rows: list[Row]) -> dict[str, int]:
    return {row["event"]: row["times"] for row in rows}


def _feed(product: str, rows: list[Row], turned: Row | None) -> dict[str, Any]:
    clock = next((row for row in rows if row["event"] == "ClockSkew"), None)
    return {
        "product": product,
        "state": turned["newest_state"] if turned else "FRESH",
        "since": turned["ns"] if turned else None,
        "offset_ns": clock["newest_offset_ns"] if clock else None,
        "latency_ns": clock["newest_latency_ns"] if clock else None,
        "events": _times(rows),
    }
