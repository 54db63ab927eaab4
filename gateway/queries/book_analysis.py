"""What a book offers and what that is for: now, over a window of time, and of every book."""

from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from tidemill.gateway.queries import books
from tidemill.gateway.queries.answer import Answer, Envelope, names, percent, respond
from tidemill.gateway.queries.clickhouse import Row
from tidemill.gateway.queries.parameters import Asked, Symbol, Venue
from tidemill.gateway.queries.problems import Problem
from tidemill.gateway.queries.resolve import instruments
from tidemill.gateway.queries.stores import Stores
from tidemill.gateway.queries.windows import HOURS, Hours, WindowAsked, window
from tidemill.schemas.enums import BookFlag

ROUTES = APIRouter()
VENUE, KEEP_S = "BINANCE", 5.0
_TABLES = ("book_metrics", "trades", "quotes", "instruments")


class BookAsked(Asked):
    """Whose book."""

    venue: Venue = VENUE


class BookHistoryAsked(WindowAsked):
    """Whose book, how far back."""

    venue: Venue = VENUE


class StatusAsked(Asked):
    """Books heard of in the last hours."""

    hours: Hours = HOURS


class BookSnapshot(BaseModel):
    """A book's metrics. Exact numbers are text; null where a book is not VALID."""

    symbol: str
    venue: str
    state: str
    bestBid: str | None
    bestAsk: str | None
    bestBidVolume: str | None
    bestAskVolume: str | None
    spread: str | None
    spreadPercent: str | None
    bidDepth1Percent: str | None = Field(description="In quote units, within 1 % of mid.")
    askDepth1Percent: str | None
    bidDepth5Percent: str | None
    askDepth5Percent: str | None
    imbalance: str | None = Field(description="Of the volumes within 1 %, -1 to 1.")
    bidWall: tuple[str, str] | None = Field(description="Price and quantity of the largest wall.")
    askWall: tuple[str, str] | None
    bidLevels: int
    askLevels: int
    lastUpdateId: int
    timestamp: int = Field(description="ms UTC")
    ts: int = Field(description="ns UTC")
    ts_recv: int = Field(description="Receipt of the newest change, ns UTC.")
    r: int
    flags: list[str]


class AnalysisDetails(BaseModel):
    """What the signal is made of."""

    spreadQuality: str
    liquidityScore: int
    hasLargeWalls: bool


class Analysis(BaseModel):
    """A signal and why."""

    signal: str
    reason: str
    confidence: str
    details: AnalysisDetails


class AnalysedBook(BaseModel):
    """A snapshot and its analysis."""

    snapshot: BookSnapshot
    analysis: Analysis


class BookStatus(BaseModel):
    """Whether one book is proven."""

    symbol: str
    venue: str
    state: str
    lastUpdateId: int
    timestamp: int = Field(description="Receipt of its newest change, ms UTC.")
    r: int
    flags: list[str]


@ROUTES.get("/api/market-data/orderbook/status", response_model=Envelope[list[BookStatus]])
async def book_status(request: Request, asked: Annotated[StatusAsked, Query()]) -> Response:
    """Every book that was heard of, and whether it is proven; the answer may be 5 s old."""

    async def find(stores: Stores) -> Answer:
        bound = await stores.bind(asked, *_TABLES)
        rows = await stores.ask("book_status", bound, await window(stores, bound, asked.hours))
        items = [_status(row) for row in rows]
        return Answer(items, bound, [flag for item in items for flag in item["flags"]])

    return await respond(request, asked, find, KEEP_S)


@ROUTES.get(
    "/api/market-data/{symbol:path}/orderbook/history", response_model=Envelope[list[BookSnapshot]]
)
async def book_history(
    request: Request, symbol: Symbol, asked: Annotated[BookHistoryAsked, Query()]
) -> Response:
    """A book's metrics over a window of time, oldest first: the last of each interval."""

    async def find(stores: Stores) -> Answer:
        bound = await stores.bind(asked, *_TABLES)
        one = (await instruments(stores, bound, symbol, asked.venue))[0]
        cut = await window(stores, bound, asked.hours, asked.limit)
        values = {"symbol": one.symbol, "venue": one.venue, **cut}
        rows = await stores.ask("book_history", bound, values)
        items = [_snapshot(row, one.symbol, one.venue) for row in reversed(rows)]
        return Answer(items, bound, [flag for item in items for flag in item["flags"]])

    return await respond(request, asked, find)


@ROUTES.get("/api/market-data/{symbol:path}/orderbook", response_model=Envelope[AnalysedBook])
async def analysed_book(
    request: Request, symbol: Symbol, asked: Annotated[BookAsked, Query()]
) -> Response:
    """A book's newest metrics, and what its imbalance is for."""

    async def find(stores: Stores) -> Answer:
        bound = await stores.bind(asked, *_TABLES)
        one = (await instruments(stores, bound, symbol, asked.venue))[0]
        row = await books.state(stores, bound, books.Place(one.symbol, one.venue))
        if row is None:
            raise Problem(404, "NO_DATA", f"no book of {one.id} up to r {bound.root}")
        snapshot = _snapshot(row, one.symbol, one.venue)
        return Answer({"snapshot": snapshot, "analysis": _analysis(row)}, bound, snapshot["flags"])

    return await respond(request, asked, find)


def _status(row: Row) -> dict[str, Any]:
    state = {"state": row["newest_state"], "flags": row["newest_flags"]}
    return {
        "symbol": row["symbol"],
        "venue": row["venue"],
        "state": row["newest_state"],
        "lastUpdateId": row["update_id"],
        "timestamp": row["recv_ns"] // 1_000_000,
        "r": row["r"],
        "flags": books.flags(state),
    }


def _snapshot(row: Row, symbol: str, venue: str) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "venue": venue,
        "state": row["state"],
        **(_offer(row) if row["state"] == "VALID" else _NOTHING),
        "bidLevels": row["bid_levels"],
        "askLevels": row["ask_levels"],
        "lastUpdateId": row["last_update_id"],
        "timestamp": row["ns"] // 1_000_000,
        "ts": row["ns"],
        "ts_recv": row["recv_ns"],
        "r": row["r"],
        "flags": books.flags(row),
    }


def _offer(row: Row) -> dict[str, Any]:
    bid, ask = row["bid_quantity"] != "0", row["ask_quantity"] != "0"
    # A sum that would leave 128 bits is not known: it is not zero.
    known = "OVERFLOW" not in names(BookFlag, row["flags"])
    return {
        "bestBid": row["bid_price"] if bid else None,
        "bestAsk": row["ask_price"] if ask else None,
        "bestBidVolume": row["bid_quantity"] if bid else None,
        "bestAskVolume": row["ask_quantity"] if ask else None,
        "spread": row["spread"] if bid and ask else None,
        "spreadPercent": percent(row["spread_ratio"]) if bid and ask else None,
        **{public: row[own] if known else None for public, own in _DEPTHS.items()},
        "imbalance": row["imbalance"] if known else None,
        "bidWall": _wall(row, "bid"),
        "askWall": _wall(row, "ask"),
    }


_DEPTHS = {
    f"{side}Depth{within}Percent": f"{side}_depth_{within}"
    for side in ("bid", "ask")
    for within in (1, 5)
}
_NOTHING = dict.fromkeys(
    (
        *("bestBid", "bestAsk", "bestBidVolume", "bestAskVolume", "spread", "spreadPercent"),
        *_DEPTHS,
        *("imbalance", "bidWall", "askWall"),
    )
)


def _wall(row: Row, side: str) -> tuple[str, str] | None:
    price, quantity = row[f"{side}_wall_price"], row[f"{side}_wall_quantity"]
    return (price, quantity) if quantity != "0" else None


def _analysis(row: Row) -> dict[str, Any]:
    return {
        "signal": row["signal"],
        "reason": _reason(row),
        "confidence": row["confidence"],
        "details": {
            "spreadQuality": row["spread_quality"],
            "liquidityScore": row["liquidity_score"],
            "hasLargeWalls": row["bid_walls"] + row["ask_walls"] > 0,
        },
    }


def _reason(row: Row) -> str:
    """Say in words what the signal makes of a book; thresholds are the processor's."""
    if row["state"] != "VALID":
        return f"the book is {row['state']}"
    imbalance = f"imbalance {Decimal(row['imbalance']):.3f}"
    match row["signal"]:
        case "BUY":
            return f"more is bid than offered within 1 %: {imbalance}"
        case "SELL":
            return f"more is offered than bid within 1 %: {imbalance}"
    if Decimal(row["confidence"]) < Decimal("0.5"):
        return (
            f"wide or thin: spread {percent(row['spread_ratio'])} %,"
            f" liquidity {row['liquidity_score']}"
        )
    return f"balanced: {imbalance}"
