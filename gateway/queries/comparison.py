"""A pair at each of its venues, side by side (F-013)."""

import asyncio
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from tidemill.gateway.queries.answer import EXACT, FRESH_NS, Answer, Envelope, plain, ratio, respond
from tidemill.gateway.queries.clickhouse import Row
from tidemill.gateway.queries.parameters import Asked, Symbol
from tidemill.gateway.queries.problems import Problem
from tidemill.gateway.queries.resolve import bindings, instruments
from tidemill.gateway.queries.stores import Stores

ROUTES = APIRouter()
KEEP_S = 5.0
DAY_NS = 86_400_000_000_000


class AtExchange(BaseModel):
    """One venue: its last price, its volume of 24 hours, and whether it traded within 30 s."""

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
        bound = await stores.bind(asked, "bars", "trades", "instruments")
        pair = (await instruments(stores, bound, symbol))[0].pair
        found = [one for one in await instruments(stores, bound, pair) if one.product == "SPOT"]
        trades, now_ns = await asyncio.gather(
            stores.newest("last_trades", bound, bindings(found), len(found)), stores.time_of(bound)
        )
        if not trades or now_ns is None:
            raise Problem(404, "NO_DATA", f"no trade of {pair} up to r {bound.root}")
        day = {"from": now_ns - DAY_NS, "to": now_ns}
        volumes = await stores.ask("comparison", bound, {**bindings(found), **day})
        return Answer(_compared(symbol, trades, volumes, now_ns), bound)

    return await respond(request, asked, find, KEEP_S)


def _compared(symbol: str, trades: list[Row], volumes: list[Row], now_ns: int) -> dict[str, Any]:
    of = {(row["symbol"], row["venue"]): row for row in volumes}
    prices: dict[str, Decimal] = {}
    volume = quote_volume = Decimal(0)
    exchanges = {}
    for trade in sorted(trades, key=lambda row: (row["venue"], row["r"])):
        day = of.get((trade["symbol"], trade["venue"]), {"volume": "0", "quote_volume": "0"})
        available = now_ns - trade["recv_ns"] <= FRESH_NS
        exchanges[trade["venue"]] = {
            "price": trade["price"],
            "volume": day["volume"],
            "available": available,
        }
        if available:
            prices[trade["venue"]] = Decimal(trade["price"])
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
