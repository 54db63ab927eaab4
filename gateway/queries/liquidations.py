"""The newest forced orders of the contracts of a symbol or pair."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from tidemill.gateway.queries.answer import Answer, Envelope, names, respond
from tidemill.gateway.queries.clickhouse import Row
from tidemill.gateway.queries.parameters import ROOT_MAX, Asked, Moment, Symbol, Venue
from tidemill.gateway.queries.resolve import bindings, contracts
from tidemill.gateway.queries.stores import Stores
from tidemill.schemas.enums import RecordFlag

ROUTES = APIRouter()
LIMIT, LIMIT_MAX = 100, 1_000


class LiquidationsAsked(Asked):
    """Which forced orders."""

    venue: Venue | None = Field(None, description="Of this venue only; of all where left out.")
    limit: int = Field(LIMIT, ge=1, le=LIMIT_MAX)
    from_: Moment | None = Field(None, alias="from", description="Event time, inclusive.")
    to: Moment | None = Field(None, description="Event time, exclusive.")


class Liquidation(BaseModel):
    """A forced order; venues publish only some of them. Exact numbers are text."""

    symbol: str
    venue: str
    side: str = Field(description="Of the order: SELL closes a long position.")
    price: str
    averagePrice: str | None = Field(description="null where the venue does not say")
    qty: str
    filledQty: str | None
    time: int = Field(description="Event time, ms UTC.")
    ts_event: int = Field(description="Event time by the venue's clock, ns UTC.")
    ts_recv: int = Field(description="ns UTC")
    r: int
    i: int
    flags: list[str]


@ROUTES.get(
    "/api/market-data/liquidations/{symbol:path}", response_model=Envelope[list[Liquidation]]
)
async def liquidations(
    request: Request, symbol: Symbol, asked: Annotated[LiquidationsAsked, Query()]
) -> Response:
    """The newest forced orders by position, newest first."""

    async def find(stores: Stores) -> Answer:
        bound = await stores.bind(asked, "liquidations", "trades", "quotes", "instruments")
        values = {
            **bindings(await contracts(stores, bound, symbol, asked.venue)),
            "from": asked.from_ or 0,
            "to": asked.to or ROOT_MAX,
            "limit": asked.limit,
        }
        items = [_item(row) for row in await stores.ask("liquidations", bound, values)]
        return Answer(items, bound, [flag for item in items for flag in item["flags"]])

    return await respond(request, asked, find)


def _item(row: Row) -> dict[str, Any]:
    filled = row["average_price"] != "0" or row["filled_quantity"] != "0"
    return {
        "symbol": row["symbol"],
        "venue": row["venue"],
        "side": row["side"],
        "price": row["price"],
        "averagePrice": row["average_price"] if filled else None,
        "qty": row["quantity"],
        "filledQty": row["filled_quantity"] if filled else None,
        "time": row["event_ns"] // 1_000_000,
        "ts_event": row["event_ns"],
        "ts_recv": row["recv_ns"],
        "r": row["r"],
        "i": row["i"],
        "flags": names(RecordFlag, row["flags"]),
    }
