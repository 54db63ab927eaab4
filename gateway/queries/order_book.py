"""The order book of one instrument, now or at any record of the past."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field, model_validator
from starlette.responses import Response

from tidemill.gateway.queries import books
from tidemill.gateway.queries.answer import Answer, Envelope, respond
from tidemill.gateway.queries.clickhouse import Row
from tidemill.gateway.queries.parameters import Asked, Symbol, Venue
from tidemill.gateway.queries.problems import Problem
from tidemill.gateway.queries.resolve import instruments
from tidemill.gateway.queries.stores import Stores

ROUTES = APIRouter()
LIMIT, LIMIT_MAX = 20, 100
VENUE = "BINANCE"


class OrderBookAsked(Asked):
    """Whose book, and how much of it."""

    venue: Venue = VENUE
    limit: int = Field(LIMIT, ge=1, le=LIMIT_MAX, description="Levels of each side.")
    i: int | None = Field(
        None,
        ge=0,
        lt=books.EVERY_RECORD,
        description="With a position in as_of: the book after its last whole message at or before"
        " record i; else after all records.",
    )

    @model_validator(mode="after")
    def _of_a_position(self) -> "OrderBookAsked":
        if self.i is not None and (self.past is None or self.past.root is None):
            raise ValueError("i is a record of a position: as_of=<r> is needed")
        return self


class OrderBook(BaseModel):
    """Levels of price and quantity, exact as text, best first. None unless it is VALID."""

    symbol: str
    venue: str
    state: str = Field(description="VALID, SYNCHRONIZING (no whole snapshot yet) or INVALID.")
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    lastUpdateId: int = Field(description="The venue's id of the last change that is in it.")
    timestamp: int = Field(description="When the last change in it was received, ms UTC.")
    ts_recv: int = Field(description="The same in ns.")
    state_r: int = Field(description="Position since which its state and flags are known.")
    flags: list[str]


@ROUTES.get("/api/market-data/orderbook/{symbol:path}", response_model=Envelope[OrderBook])
async def order_book(
    request: Request, symbol: Symbol, asked: Annotated[OrderBookAsked, Query()]
) -> Response:
    """The book as its changes make it; of one that is not proven only its state is told."""

    async def find(stores: Stores) -> Answer:
        tables = (*books.TABLES, "trades", "quotes", "instruments")
        bound = await stores.bind(asked, *tables)
        one = (await instruments(stores, bound, symbol, asked.venue))[0]
        i = books.EVERY_RECORD if asked.i is None else asked.i
        place = books.Place(one.symbol, one.venue, i)
        state, begin = await asyncio.gather(
            books.state(stores, bound, place), books.start(stores, bound, place)
        )
        if state is None:
            raise Problem(404, "NO_DATA", f"no book of {one.id} up to r {bound.root}")
        valid = state["state"] == "VALID"
        rows = await books.levels(stores, bound, place, begin, asked.limit) if valid else []
        flags = books.flags(state)
        return Answer(_item(place, state, rows, flags), bound, flags)

    return await respond(request, asked, find)


def _item(place: books.Place, state: Row, rows: list[Row], flags: list[str]) -> dict[str, Any]:
    newest = rows[0] if rows else {"update_id": state["last_update_id"], **state}
    return {
        "symbol": place.symbol,
        "venue": place.venue,
        "state": state["state"],
        "bids": [(row["price"], row["quantity"]) for row in rows if row["side"] == "BUY"],
        "asks": [(row["price"], row["quantity"]) for row in rows if row["side"] == "SELL"],
        "lastUpdateId": newest["update_id"],
        "timestamp": newest["recv_ns"] // 1_000_000,
        "ts_recv": newest["recv_ns"],
        "state_r": state["r"],
        "flags": flags,
    }
