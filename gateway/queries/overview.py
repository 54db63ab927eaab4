"""The market of a venue over 24 hours: who rose, who fell, who was traded most."""

from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from tidemill.gateway.queries.answer import EXACT, Answer, Envelope, names, plain, ratio, respond
from tidemill.gateway.queries.clickhouse import Row
from tidemill.gateway.queries.parameters import Asked, Venue
from tidemill.gateway.queries.problems import Problem
from tidemill.gateway.queries.stores import Stores
from tidemill.schemas.enums import BarFlag

ROUTES = APIRouter()
KEEP_S = 30.0
DAY_NS = 86_400_000_000_000
LEADERS, LEADERS_MAX = 10, 100


class OverviewAsked(Asked):
    """Which venue, and how many leaders of each kind."""

    venue: Venue = "BINANCE"
    quote: str = Field(
        "USDT", pattern=r"^[A-Z0-9]{1,16}$", description="Instruments quoted in it: one currency."
    )
    limit: int = Field(LEADERS, ge=1, le=LEADERS_MAX)


class Mover(BaseModel):
    """One instrument over 24 hours of closed minutes. Exact numbers are text."""

    symbol: str
    price: str = Field(description="Close of the newest minute.")
    change: str
    changePercent: str
    high: str
    low: str
    volume: str
    quoteVolume: str
    trades: int
    minutes: int = Field(description="Minutes with a trade; below 1440 it is of less.")
    volatility: float | None = Field(
        description="Deviation (sample's) of the log returns of minutes x sqrt(1440), in percent."
    )
    flags: list[str]


class MarketStats(BaseModel):
    """Of all instruments, not of the leaders alone."""

    totalVolume: str = Field(description="Sum of quote volumes.")
    symbols: int
    averageVolatility: float | None
    gainers: int
    losers: int
    unchanged: int


class Overview(BaseModel):
    """Leaders of each kind, the first first, and the whole."""

    venue: str
    quote: str
    topGainers: list[Mover]
    topLosers: list[Mover]
    volumeLeaders: list[Mover]
    marketStats: MarketStats
    timestamp: int = Field(description="ms UTC")


@ROUTES.get("/api/analytics/market-overview", response_model=Envelope[Overview])
async def overview(request: Request, asked: Annotated[OverviewAsked, Query()]) -> Response:
    """Spot and contracts of a venue that are quoted in one currency; may be 30 s old (F-158)."""

    async def find(stores: Stores) -> Answer:
        bound = await stores.bind(asked, "bars", "trades", "quotes", "instruments")
        now_ns = await stores.time_of(bound)
        if now_ns is None:
            raise Problem(404, "NO_DATA", f"nothing was heard up to r {bound.root}")
        known = await stores.records(
            "overview_symbols", bound, bound.root, asked.venue, asked.quote
        )
        symbols = {record["symbol"] for record in known}
        day = {"venue": asked.venue, "from": now_ns - DAY_NS, "to": now_ns}
        rows = await stores.ask("overview", bound, day)
        movers = [_mover(row) for row in rows if row["symbol"] in symbols]
        data = {"venue": asked.venue, "quote": asked.quote, "timestamp": now_ns // 1_000_000}
        flags = [flag for mover in movers for flag in mover["flags"]]
        return Answer({**data, **_ranked(movers, asked.limit)}, bound, flags)

    return await respond(request, asked, find, KEEP_S)


def _mover(row: Row) -> dict[str, Any]:
    first, last = Decimal(row["first"]), Decimal(row["last"])
    change = EXACT.subtract(last, first)
    return {
        "symbol": row["symbol"],
        "price": row["last"],
        "change": plain(change),
        "changePercent": ratio(EXACT.multiply(change, Decimal(100)), first) or "0",
        "high": row["highest"],
        "low": row["lowest"],
        "volume": row["base_volume"],
        "quoteVolume": row["notional"],
        "trades": row["trades"],
        "minutes": row["minutes"],
        "volatility": row["volatility"],
        "flags": names(BarFlag, row["all_flags"]),
    }


def _ranked(movers: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    """Rank movers; equal ones by symbol, in which order they come."""
    changes = [Decimal(mover["changePercent"]) for mover in movers]
    volumes = [Decimal(mover["quoteVolume"]) for mover in movers]
    volatile = [mover["volatility"] for mover in movers if mover["volatility"] is not None]

    def best(values: list[Decimal], sign: int) -> list[dict[str, Any]]:
        order = sorted(range(len(movers)), key=lambda k: -sign * values[k])
        return [movers[k] for k in order][:limit]

    gained = [mover for mover in best(changes, 1) if Decimal(mover["changePercent"]) > 0]
    lost = [mover for mover in best(changes, -1) if Decimal(mover["changePercent"]) < 0]
    total = Decimal(0)
    for volume in volumes:
        total = EXACT.add(total, volume)
    return {
        "topGainers": gained,
        "topLosers": lost,
        "volumeLeaders": best(volumes, 1),
        "marketStats": {
            "totalVolume": plain(total),
            "symbols": len(movers),
            "averageVolatility": sum(volatile) / len(volatile) if volatile else None,
            "gainers": sum(change > 0 for change in changes),
            "losers": sum(change < 0 for change in changes),
            "unchanged": sum(change == 0 for change in changes),
        },
    }
