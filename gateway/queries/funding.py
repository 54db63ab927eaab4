"""Funding rates of perpetual contracts: of one venue, of all, and over time."""

from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from tidemill.gateway.queries import derivatives
from tidemill.gateway.queries.answer import Answer, Envelope, ratio, respond
from tidemill.gateway.queries.clickhouse import Row
from tidemill.gateway.queries.derivatives import DerivativeAsked, DerivativeHistoryAsked
from tidemill.gateway.queries.parameters import Asked, Symbol
from tidemill.gateway.queries.resolve import Instrument
from tidemill.gateway.queries.stores import Stores

ROUTES = APIRouter()
_SENTIMENT = {"EXTREME_LONGS": "BULLISH", "EXTREME_SHORTS": "BEARISH"}
_SAID = {
    "NEUTRAL": "balanced: neither side pays much",
    "BULLISH": "longs pay: more want to be long",
    "BEARISH": "shorts pay: more want to be short",
    "EXTREME_LONGS": "extreme: overheated longs",
    "EXTREME_SHORTS": "extreme: overheated shorts",
}
_HOUR_S = 3_600


class FundingRate(BaseModel):
    """A funding rate of one interval and what it was. Exact numbers are text."""

    symbol: str
    exchange: str
    timestamp: int = Field(description="ms UTC")
    fundingRate: str
    fundingIntervalHours: str | None
    nextFundingTime: int | None = Field(description="ms UTC")
    avgFunding24h: str
    avgFunding7d: str
    annualized: str = Field(description="Over 365 days, not compounded.")
    markPrice: str | None
    indexPrice: str | None
    sentiment: str = Field(description="BULLISH, BEARISH or NEUTRAL.")
    signal: str
    ts: int = Field(description="ns UTC")
    ts_recv: int = Field(description="When the venue was last heard, ns UTC.")
    r: int
    flags: list[str]


class FundingSummary(BaseModel):
    """Over the venues."""

    avgFundingRate: str
    highest: str = Field(description="Venue.")
    lowest: str
    venues: int


class FundingOfAll(BaseModel):
    """By venue, and together."""

    exchanges: dict[str, FundingRate]
    summary: FundingSummary


@ROUTES.get(
    "/api/market-data/{symbol:path}/funding-rate/all", response_model=Envelope[FundingOfAll]
)
async def funding_of_all(
    request: Request, symbol: Symbol, asked: Annotated[Asked, Query()]
) -> Response:
    """The newest funding rate at every venue that has a contract of the pair."""

    async def find(stores: Stores) -> Answer:
        bit = derivatives.FUNDING
        return await derivatives.answer_all(stores, asked, symbol, bit, _item, _summary)

    return await respond(request, asked, find)


@ROUTES.get(
    "/api/market-data/{symbol:path}/funding-rate/history",
    response_model=Envelope[list[FundingRate]],
)
async def funding_history(
    request: Request, symbol: Symbol, asked: Annotated[DerivativeHistoryAsked, Query()]
) -> Response:
    """Funding rates over a window of time, oldest first: the last of each interval."""

    async def find(stores: Stores) -> Answer:
        return await derivatives.answer_history(stores, asked, symbol, derivatives.FUNDING, _item)

    return await respond(request, asked, find)


@ROUTES.get("/api/market-data/{symbol:path}/funding-rate", response_model=Envelope[FundingRate])
async def funding(
    request: Request, symbol: Symbol, asked: Annotated[DerivativeAsked, Query()]
) -> Response:
    """The newest funding rate of the perpetual contract of a symbol or pair at one venue."""

    async def find(stores: Stores) -> Answer:
        return await derivatives.answer_newest(stores, asked, symbol, derivatives.FUNDING, _item)

    return await respond(request, asked, find)


def _item(one: Instrument, row: Row, now_ns: int | None) -> dict[str, Any]:
    signal = row["funding_signal"]
    interval = derivatives.known(row, derivatives.INTERVAL) and row["funding_interval_s"]
    next_known = derivatives.known(row, derivatives.NEXT_FUNDING)
    return {
        "symbol": one.symbol,
        "exchange": one.venue,
        "timestamp": row["ns"] // 1_000_000,
        "fundingRate": row["funding_rate"],
        "fundingIntervalHours": ratio(Decimal(interval), Decimal(_HOUR_S)) if interval else None,
        "nextFundingTime": row["next_funding_ns"] // 1_000_000 if next_known else None,
        "avgFunding24h": row["funding_24h"],
        "avgFunding7d": row["funding_7d"],
        "annualized": row["funding_annualized"],
        "markPrice": row["mark_price"] if derivatives.known(row, derivatives.MARK) else None,
        "indexPrice": row["index_price"] if derivatives.known(row, derivatives.INDEX) else None,
        "sentiment": _SENTIMENT.get(signal, signal),
        "signal": _SAID[signal],
        "ts": row["ns"],
        "ts_recv": row["recv_ns"],
        "r": row["r"],
        "flags": derivatives.flags(row, now_ns),
    }


def _summary(items: dict[str, dict[str, Any]]) -> dict[str, Any]:
    rates = {venue: Decimal(item["fundingRate"]) for venue, item in items.items()}
    return {
        "avgFundingRate": ratio(sum(rates.values(), Decimal(0)), Decimal(len(rates))),
        "highest": max(sorted(rates), key=lambda venue: rates[venue]),
        "lowest": min(sorted(rates), key=lambda venue: rates[venue]),
        "venues": len(rates),
    }
