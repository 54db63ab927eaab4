"""A pair at each of its venues, side by side."""

from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from tidemill.gateway.queries.answer import EXACT, Answer, Envelope, plain, ratio, respond
from tidemill.gateway.queries.clickhouse import Row
from tidemill.gateway.queries.parameters import Asked, Symbol
from tidemill.gateway.queries.problems import Problem
from tidemill.gateway.queries.resolve import bindings, instruments
from tidemill.gateway.queries.stores import Stores
from tidemill.gateway.queries.venues import LastPrice, last_prices

ROUTES = APIRouter()
KEEP_S = 5.0
DAY_NS = 86_400_000_000_000


class AtExchange(BaseModel):
    """One venue: its last price, its volume of 24 hours, and whether it is fresh (30 s)."""

    price: str
    volume: str
    available: bool


class Over(BaseModel):
    """Over the venues that are available."""

    vwap: str | None = Field(description="quote volume / volume of 24 hours")
    avgPrice: str | None
    totalVolume: str


class Spread(BaseModel):
    """Between the highest and the lowest last price of available venues."""

    percent: str | None
    highExchange: str | None
    lowExchange: str | None


class Comparison(BaseModel):
    """Exact numbers are text. Volumes are those of closed one-minute bars."""

    symbol: str
    exchanges: dict[str, AtExchange]
    aggregated: Over
    spread: Spread
    timestamp: int = Field(description="ms UTC")


@ROUTES.get("/api/market-data/comparison/{symbol:path}", response_model=Envelope[Comparison])
async def comparison(
    request: Request, symbol: Symbol, asked: Annotated[Asked, Query()]
) -> Response:
    """Spot prices and volumes of a pair at every venue; the answer may be 5 s old."""

    async def find(stores: Stores) -> Answer:
        bound = await stores.bind(asked, "bars", "trades", "quotes", "instruments")
        pair = (await instruments(stores, bound, symbol))[0].pair
        found = [one for one in await instruments(stores, bound, pair) if one.product == "SPOT"]
        now_ns = await stores.time_of(bound)
        prices = await last_prices(stores, bound, found, now_ns) if found and now_ns else []
        if not prices or now_ns is None:
            raise Problem(404, "NO_DATA", f"no trade of {pair} up to r {bound.root}")
        day = {"from": now_ns - DAY_NS, "to": now_ns}
        volumes = await stores.ask("comparison", bound, {**bindings(found), **day})
        return Answer(_compared(symbol, prices, volumes, now_ns), bound)

    return await respond(request, asked, find, KEEP_S)


def _compared(
    symbol: str, last: list[LastPrice], volumes: list[Row], now_ns: int
) -> dict[str, Any]:
    of = {(row["symbol"], row["venue"]): row for row in volumes}
    prices: dict[str, Decimal] = {}
    volume = quote_volume = Decimal(0)
    exchanges = {}
    for one in last:
        day = of.get((one.symbol, one.venue), {"volume": "0", "quote_volume": "0"})
        exchanges[one.venue] = {
            "price": one.price,
            "volume": day["volume"],
            "available": one.fresh,
        }
        if one.fresh:
            prices[one.venue] = Decimal(one.price)
            volume = EXACT.add(volume, Decimal(day["volume"]))
            quote_volume = EXACT.add(quote_volume, Decimal(day["quote_volume"]))
    return {
        "symbol": symbol,
        "exchanges": exchanges,
        "aggregated": {
            "vwap": ratio(quote_volume, volume),
            "avgPrice": ratio(sum(prices.values(), Decimal(0)), Decimal(len(prices))),
            "totalVolume": plain(volume),
        },
        "spread": _spread(prices),
        "timestamp": now_ns // 1_000_000,
    }


def _spread(prices: dict[str, Decimal]) -> dict[str, str | None]:
    if not prices:
        return {"percent": None, "highExchange": None, "lowExchange": None}
    high = max(prices, key=lambda venue: prices[venue])
    low = min(prices, key=lambda venue: prices[venue])
    difference = EXACT.multiply(prices[high] - prices[low], Decimal(100))
    return {
        "percent": ratio(difference, prices[low]),
        "highExchange": high,
        "lowExchange": low,
    }
