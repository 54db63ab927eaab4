"""Open interest of contracts: of one venue, of all, and over time."""

from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from tidemill.gateway.queries import derivatives
from tidemill.gateway.queries.answer import EXACT, Answer, Envelope, percent, plain, respond
from tidemill.gateway.queries.clickhouse import Row
from tidemill.gateway.queries.derivatives import DerivativeAsked, DerivativeHistoryAsked
from tidemill.gateway.queries.parameters import Asked, Symbol
from tidemill.gateway.queries.resolve import Instrument
from tidemill.gateway.queries.stores import Stores
from tidemill.schemas.enums import DerivativeFlag

ROUTES = APIRouter()
_SIGNALS = {"SHORT_SQUEEZE": "NEUTRAL", "LONG_LIQUIDATION": "NEUTRAL"}
_SAID = {
    "NEUTRAL": "neither open interest nor price moved much in 24 hours",
    "BULLISH": "open interest and price rose: new longs",
    "BEARISH": "open interest rose and the price fell: new shorts",
    "SHORT_SQUEEZE": "open interest fell and the price rose: shorts are closed",
    "LONG_LIQUIDATION": "open interest and price fell: longs are closed",
}


class OpenInterest(BaseModel):
    """Open interest and what it was 24 hours ago. Exact numbers are text; null: not known yet."""

    symbol: str
    exchange: str
    openInterest: str = Field(description="In base units or contracts, as the venue counts.")
    openInterestBase: str | None = Field(
        description="In base units: times contractMultiplier; null for inverse contracts."
    )
    contractMultiplier: str
    openInterestChange24h: str | None
    openInterestChangePct: str | None
    price: str
    priceChange24h: str | None = Field(description="Percent.")
    volume24h: str
    signal: str = Field(description="BULLISH, BEARISH or NEUTRAL.")
    explanation: str
    timestamp: int = Field(description="ms UTC")
    ts: int = Field(description="ns UTC")
    ts_recv: int = Field(description="When the venue was last heard, ns UTC.")
    r: int
    flags: list[str]


class InterestSummary(BaseModel):
    """Over the venues whose contracts can be counted in base units."""

    totalOpenInterestBase: str
    venues: int


class InterestOfAll(BaseModel):
    """By venue, and together."""

    exchanges: dict[str, OpenInterest]
    summary: InterestSummary


@ROUTES.get(
    "/api/market-data/{symbol:path}/open-interest/all", response_model=Envelope[InterestOfAll]
)
async def interest_of_all(
    request: Request, symbol: Symbol, asked: Annotated[Asked, Query()]
) -> Response:
    """The newest open interest at every venue that has a contract of the pair."""

    async def find(stores: Stores) -> Answer:
        bit = derivatives.INTEREST
        return await derivatives.answer_all(stores, asked, symbol, bit, _item, _summary)

    return await respond(request, asked, find)


@ROUTES.get(
    "/api/market-data/{symbol:path}/open-interest/history",
    response_model=Envelope[list[OpenInterest]],
)
async def interest_history(
    request: Request, symbol: Symbol, asked: Annotated[DerivativeHistoryAsked, Query()]
) -> Response:
    """Open interest over a window of time, oldest first: the last of each interval."""

    async def find(stores: Stores) -> Answer:
        return await derivatives.answer_history(stores, asked, symbol, derivatives.INTEREST, _item)

    return await respond(request, asked, find)


@ROUTES.get("/api/market-data/{symbol:path}/open-interest", response_model=Envelope[OpenInterest])
async def open_interest(
    request: Request, symbol: Symbol, asked: Annotated[DerivativeAsked, Query()]
) -> Response:
    """The newest open interest of the contract of a symbol or pair at one venue."""

    async def find(stores: Stores) -> Answer:
        return await derivatives.answer_newest(stores, asked, symbol, derivatives.INTEREST, _item)

    return await respond(request, asked, find)


def _item(one: Instrument, row: Row, now_ns: int | None) -> dict[str, Any]:
    compared = not row["flags"] & DerivativeFlag.PARTIAL_24H
    base = EXACT.multiply(Decimal(row["open_interest"]), one.multiplier)
    return {
        "symbol": one.symbol,
        "exchange": one.venue,
        "openInterest": row["open_interest"],
        "openInterestBase": None if one.inverse else plain(base),
        "contractMultiplier": plain(one.multiplier),
        "openInterestChange24h": row["open_interest_change"] if compared else None,
        "openInterestChangePct": percent(row["open_interest_change_ratio"]) if compared else None,
        "price": row["last_price"],
        "priceChange24h": percent(row["price_change_ratio"]) if compared else None,
        "volume24h": row["volume"],
        "signal": _SIGNALS.get(row["interest_signal"], row["interest_signal"]),
        "explanation": _SAID[row["interest_signal"]],
        "timestamp": row["ns"] // 1_000_000,
        "ts": row["ns"],
        "ts_recv": row["recv_ns"],
        "r": row["r"],
        "flags": derivatives.flags(row, now_ns),
    }


def _summary(items: dict[str, dict[str, Any]]) -> dict[str, Any]:
    counted = [item["openInterestBase"] for item in items.values() if item["openInterestBase"]]
    total = Decimal(0)
    for text in counted:
        total = EXACT.add(total, Decimal(text))
    return {"totalOpenInterestBase": plain(total), "venues": len(counted)}
