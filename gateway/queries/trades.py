"""The newest trades of a symbol or pair."""

from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from tidemill.gateway.queries.answer import EXACT, Answer, Envelope, names, plain, respond
from tidemill.gateway.queries.clickhouse import Row
from tidemill.gateway.queries.parameters import ROOT_MAX, Asked, Moment, Symbol, Venue
from tidemill.gateway.queries.resolve import bindings, instruments
from tidemill.gateway.queries.stores import Stores
from tidemill.schemas.enums import RecordFlag

ROUTES = APIRouter()
LIMIT, LIMIT_MAX = 100, 1_000


class TradesAsked(Asked):
    """Which trades."""

    venue: Venue | None = Field(None, description="Of this venue only; of all where left out.")
    limit: int = Field(LIMIT, ge=1, le=LIMIT_MAX)
    from_: Moment | None = Field(None, alias="from", description="Event time, inclusive.")
    to: Moment | None = Field(None, description="Event time, exclusive.")


class Trade(BaseModel):
    """A trade. Exact numbers are text. Integers of ns are beyond what JavaScript holds exactly."""

    id: int
    price: str
    qty: str
    quoteQty: str = Field(description="price x qty, exact")
    time: int = Field(description="Event time, ms UTC.")
    isBuyerMaker: bool
    symbol: str
    venue: str
    aggressor_side: str
    ts_event: int = Field(description="Event time by the venue's clock, ns UTC.")
    ts_recv: int = Field(description="When it was received, ns UTC.")
    r: int
    i: int
    flags: list[str]


class Trades(BaseModel):
    """Trades, newest first."""

    symbol: str
    trades: list[Trade]


@ROUTES.get("/api/market-data/trades/{symbol:path}", response_model=Envelope[Trades])
async def trades(
    request: Request, symbol: Symbol, asked: Annotated[TradesAsked, Query()]
) -> Response:
    """The newest trades by position, newest first."""

    async def find(stores: Stores) -> Answer:
        bound = await stores.bind(asked, "trades", "instruments")
        found = await instruments(stores, bound, symbol, asked.venue)
        values = {
            **bindings(found),
            "from": asked.from_ or 0,
            "to": asked.to or ROOT_MAX,
            "limit": asked.limit,
        }
        if asked.from_ or asked.to:
            rows = await stores.ask("trades", bound, {**values, "floor": 0})
        else:
            rows = await stores.newest("trades", bound, values, asked.limit)
        items = [_item(row) for row in rows]
        flags = [flag for item in items for flag in item["flags"]]
        return Answer({"symbol": symbol, "trades": items}, bound, flags)

    return await respond(request, asked, find)


def _item(row: Row) -> dict[str, Any]:
    total = EXACT.multiply(Decimal(row["price"]), Decimal(row["quantity"]))
    return {
        "id": row["trade_id"],
        "price": row["price"],
        "qty": row["quantity"],
        "quoteQty": plain(total),
        "time": row["event_ns"] // 1_000_000,
        "isBuyerMaker": row["aggressor_side"] == "SELLER",
        "symbol": row["symbol"],
        "venue": row["venue"],
        "aggressor_side": row["aggressor_side"],
        "ts_event": row["event_ns"],
        "ts_recv": row["recv_ns"],
        "r": row["r"],
        "i": row["i"],
        "flags": names(RecordFlag, row["flags"]),
    }
