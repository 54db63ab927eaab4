"""The price of a pair over its venues: weighted by volume, and who is highest, lowest and best."""

from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from tidemill.gateway.queries.answer import (
    EXACT,
    FRESH_NS,
    Answer,
    Envelope,
    iso,
    names,
    ratio,
    respond,
)
from tidemill.gateway.queries.clickhouse import Row
from tidemill.gateway.queries.parameters import Asked, Symbol
from tidemill.gateway.queries.problems import Problem
from tidemill.gateway.queries.resolve import Instrument, instruments
from tidemill.gateway.queries.stores import Bound, Stores
from tidemill.gateway.queries.venues import last_prices
from tidemill.schemas.enums import BarFlag

ROUTES = APIRouter()
LIMIT_MAX = 1_000
KEEP_S = 1.0


class AggregatedAsked(Asked):
    """How many of the newest."""

    limit: int = Field(1, ge=1, le=LIMIT_MAX, description="More than 1: a list, newest first.")


class Aggregated(BaseModel):
    """One price over venues. Exact numbers are text, quotients half to even at 18 decimals."""

    timestamp: int = Field(description="When it was made, ms UTC.")
    time: str = Field(description="The same, ISO 8601.")
    ts: int = Field(description="The same, ns UTC.")
    symbol: str
    pair: str
    window: str
    vwap: str | None = Field(description="total_quote_volume / total_volume; null without volume")
    avg_price: str | None = Field(description="Mean of the venues' last prices.")
    total_volume: str = Field(description="Of the fresh venues, in the window.")
    total_quote_volume: str
    max_spread_percent: str | None = Field(description="(high - low) / low x 100")
    max_spread_exchange_high: str | None
    max_spread_exchange_low: str | None
    high_price: str | None
    low_price: str | None
    exchanges_count: int
    best_bid: str | None
    best_bid_volume: str
    best_bid_exchange: str | None
    best_ask: str | None
    best_ask_volume: str
    best_ask_exchange: str | None
    prices: dict[str, str] | None = Field(
        description="Last price of each fresh venue; null in lists."
    )
    flags: list[str]
    r: int


@ROUTES.get(
    "/api/market-data/aggregated/{symbol:path}",
    response_model=Envelope[Aggregated | list[Aggregated]],
)
async def aggregated(
    request: Request, symbol: Symbol, asked: Annotated[AggregatedAsked, Query()]
) -> Response:
    """The newest price of a pair over its venues; the answer may be a second old."""

    async def find(stores: Stores) -> Answer:
        bound = await stores.bind(asked, "prices", "trades", "quotes", "instruments")
        found = await instruments(stores, bound, symbol)
        pair = found[0].pair
        rows = await stores.ask("aggregated", bound, {"pair": pair, "limit": asked.limit})
        if not rows:
            raise Problem(404, "NO_DATA", f"no price of {pair} up to r {bound.root}")
        items = [_item(row, symbol) for row in rows]
        if asked.limit == 1:
            all_of_pair = await instruments(stores, bound, pair)
            items[0]["prices"] = await _prices(stores, bound, all_of_pair, rows[0])
        flags = {flag for item in items for flag in item["flags"]}
        now_ns = await stores.time_of(bound)
        if now_ns is not None and now_ns - rows[0]["ns"] > FRESH_NS:
            flags.add("STALE")
        return Answer(items if asked.limit > 1 else items[0], bound, flags)

    return await respond(request, asked, find, KEEP_S)


async def _prices(
    stores: Stores, bound: Bound, found: list[Instrument], row: Row
) -> dict[str, str]:
    """Return what each fresh venue had last traded at when the row was made."""
    then = Bound(row["r"], bound.tables, bound.version)
    spot = [one for one in found if one.product == "SPOT"]
    prices = await last_prices(stores, then, spot, row["ns"])
    return {one.venue: one.price for one in prices if one.fresh}


def _item(row: Row, symbol: str) -> dict[str, Any]:
    volume, quote_volume, total, high, low = (
        Decimal(row[name])
        for name in ("volume", "quote_volume", "last_price_sum", "high_price", "low_price")
    )
    return {
        "timestamp": row["ns"] // 1_000_000,
        "time": iso(row["ns"]),
        "ts": row["ns"],
        "symbol": symbol,
        "pair": row["pair"],
        "window": "24h",
        "vwap": ratio(quote_volume, volume),
        "avg_price": ratio(total, Decimal(row["venues"])),
        "total_volume": row["volume"],
        "total_quote_volume": row["quote_volume"],
        "max_spread_percent": ratio(EXACT.multiply(high - low, Decimal(100)), low),
        "max_spread_exchange_high": row["high_venue"] or None,
        "max_spread_exchange_low": row["low_venue"] or None,
        "high_price": row["high_price"] if row["high_venue"] else None,
        "low_price": row["low_price"] if row["low_venue"] else None,
        "exchanges_count": row["venues"],
        **_best(row),
        "prices": None,
        "flags": names(BarFlag, row["flags"]),
        "r": row["r"],
    }


def _best(row: Row) -> dict[str, Any]:
    best: dict[str, Any] = {}
    for side in ("bid", "ask"):
        venue = row[f"best_{side}_venue"]
        best[f"best_{side}"] = row[f"best_{side}"] if venue else None
        best[f"best_{side}_volume"] = row[f"best_{side}_quantity"]
        best[f"best_{side}_exchange"] = venue or None
    return best
