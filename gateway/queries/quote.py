"""The newest quote of an instrument, with the price of its newest trade."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from tidemill.gateway.queries.answer import FRESH_NS, Answer, Envelope, names, respond
from tidemill.gateway.queries.clickhouse import Row
from tidemill.gateway.queries.parameters import Asked, Symbol, Venue
from tidemill.gateway.queries.problems import Problem
from tidemill.gateway.queries.resolve import bindings, instruments
from tidemill.gateway.queries.stores import Stores
from tidemill.schemas.enums import RecordFlag

ROUTES = APIRouter()


class QuoteAsked(Asked):
    """Whose quote."""

    venue: Venue | None = Field(None, description="Of this venue; of all, the newest, if left out.")


class Quote(BaseModel):
    """Best bid and offer. Exact numbers are text."""

    symbol: str
    venue: str
    price: str | None = Field(description="Of the newest trade there, by event time; null if none.")
    bid: str | None = Field(description="null where that side of the book is empty")
    ask: str | None = Field(description="null where that side of the book is empty")
    bidVolume: str
    askVolume: str
    timestamp: int = Field(description="When it was received, ms UTC.")
    ts_event: int | None = Field(description="ns UTC; null where the venue says none.")
    ts_recv: int = Field(description="ns UTC")
    price_ts_event: int | None = Field(description="Event time of the newest trade, ns UTC.")
    update_id: int
    r: int
    flags: list[str]


@ROUTES.get("/api/market-data/quote/{symbol:path}", response_model=Envelope[Quote])
async def quote(
    request: Request, symbol: Symbol, asked: Annotated[QuoteAsked, Query()]
) -> Response:
    """The newest quote; STALE where it is more than 30 s older than the answer's position, and
    BOOK_INVALID while its feed has lost the book.
    """

    async def find(stores: Stores) -> Answer:
        bound = await stores.bind(asked, "quotes", "trades", "instruments", "feed_events")
        found = await instruments(stores, bound, symbol, asked.venue)
        rows = await stores.newest("quote", bound, bindings(found), 1)
        if not rows:
            raise Problem(404, "QUOTE_NOT_FOUND", f"no quote of {symbol} up to r {bound.root}")
        row = rows[0]
        same = [one for one in found if (one.symbol, one.venue) == (row["symbol"], row["venue"])]
        traded, said, now_ns = await asyncio.gather(
            stores.newest("last_prices", bound, bindings(same), 1),
            stores.ask("book_doubt", bound, {"venue": row["venue"], "symbol": row["symbol"]}),
            stores.time_of(bound),
        )
        item = _item(row, traded[0] if traded else None)
        if now_ns is not None and now_ns - row["recv_ns"] > FRESH_NS:
            item["flags"].append("STALE")
        if said and said[0]["event"] == "BookGapDetected":
            item["flags"].append("BOOK_INVALID")
        return Answer(item, bound, item["flags"])

    return await respond(request, asked, find)


def _item(row: Row, trade: Row | None) -> dict[str, Any]:
    return {
        "symbol": row["symbol"],
        "venue": row["venue"],
        "price": trade["last_price"] if trade else None,
        "bid": row["bid_price"] if row["bid_quantity"] != "0" else None,
        "ask": row["ask_price"] if row["ask_quantity"] != "0" else None,
        "bidVolume": row["bid_quantity"],
        "askVolume": row["ask_quantity"],
        "timestamp": row["recv_ns"] // 1_000_000,
        "ts_event": row["event_ns"],
        "ts_recv": row["recv_ns"],
        "price_ts_event": trade["event_ns"] if trade else None,
        "update_id": row["update_id"],
        "r": row["r"],
        "flags": names(RecordFlag, row["flags"]),
    }
