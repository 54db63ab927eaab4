"""Arbitrage over the venues of each pair, net of fees, for the size that is there."""

from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from tidemill.gateway.queries.answer import EXACT, Answer, Envelope, names, percent, plain, respond
from tidemill.gateway.queries.clickhouse import Row
from tidemill.gateway.queries.parameters import Asked
from tidemill.gateway.queries.stores import Stores
from tidemill.gateway.queries.windows import window
from tidemill.schemas.enums import OpportunityFlag

ROUTES = APIRouter()
LIMIT, LIMIT_MAX, KEEP_S = 20, 100, 1.0
OPEN_HOURS_MAX = 24
"""An opportunity that has not changed for longer is not looked for."""


class ArbitrageAsked(Asked):
    """Which opportunities."""

    minSpread: Decimal = Field(
        Decimal("0.1"), ge=0, le=1_000, max_digits=12, decimal_places=6, description="Percent."
    )
    legs: Literal["SPOT", "PERPETUAL", "BASIS"] | None = None
    limit: int = Field(LIMIT, ge=1, le=LIMIT_MAX)


class Opportunity(BaseModel):
    """Buy at one venue, sell at another. Exact numbers are text."""

    symbol: str = Field(description="The pair.")
    legs: str = Field(description="SPOT, PERPETUAL or BASIS (one of each).")
    spread_percent: str = Field(description="Between the best prices, before fees.")
    net_percent: str = Field(description="Of what it costs, over the whole quantity, after fees.")
    high_exchange: str = Field(description="Where it is sold.")
    low_exchange: str = Field(description="Where it is bought.")
    high_symbol: str
    low_symbol: str
    high_price: str
    low_price: str
    quantity: str = Field(description="Base units over which every one earns its fees.")
    gross: str = Field(description="In quote units.")
    fees: str
    net: str
    exchanges_count: int
    opened: int = Field(description="ns UTC")
    changes: int
    timestamp: int = Field(description="ms UTC")
    ts: int = Field(description="ns UTC")
    r: int
    flags: list[str]


@ROUTES.get("/api/market-data/arbitrage", response_model=Envelope[list[Opportunity]])
async def arbitrage(request: Request, asked: Annotated[ArbitrageAsked, Query()]) -> Response:
    """Opportunities that stand open, the widest first; the answer may be 1 s old."""

    async def find(stores: Stores) -> Answer:
        bound = await stores.bind(asked, "opportunities", "trades", "quotes")
        values = {
            **await window(stores, bound, OPEN_HOURS_MAX),
            "least": plain(asked.minSpread / 100),
            "legs": asked.legs or "",
            "limit": asked.limit,
        }
        items = [_item(row) for row in await stores.ask("arbitrage", bound, values)]
        return Answer(items, bound, [flag for item in items for flag in item["flags"]])

    return await respond(request, asked, find, KEEP_S)


def _item(row: Row) -> dict[str, Any]:
    return {
        "symbol": row["pair"],
        "legs": row["legs"],
        "spread_percent": percent(row["spread_ratio"]),
        "net_percent": percent(row["net_ratio"]),
        "high_exchange": row["sell_venue"],
        "low_exchange": row["buy_venue"],
        "high_symbol": row["sell_symbol"],
        "low_symbol": row["buy_symbol"],
        "high_price": row["sell_price"],
        "low_price": row["buy_price"],
        "quantity": row["quantity"],
        "gross": row["gross"],
        "fees": plain(EXACT.add(Decimal(row["buy_fee"]), Decimal(row["sell_fee"]))),
        "net": row["net"],
        "exchanges_count": row["venues"],
        "opened": row["opened_ns"],
        "changes": row["changes"],
        "timestamp": row["ns"] // 1_000_000,
        "ts": row["ns"],
        "r": row["r"],
        "flags": names(OpportunityFlag, row["flags"]),
    }
