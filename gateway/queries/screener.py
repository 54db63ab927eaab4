"""What screens found: signals, the newest first, and the score's ranking of instruments."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import AfterValidator, BaseModel, Field
from starlette.responses import Response

from tidemill.gateway.queries.answer import Answer, Envelope, names, respond
from tidemill.gateway.queries.clickhouse import Row
from tidemill.gateway.queries.indicators import bars_of
from tidemill.gateway.queries.parameters import Asked, Venue
from tidemill.gateway.queries.screener_reasons import reasons
from tidemill.gateway.queries.stores import Stores
from tidemill.gateway.queries.windows import Hours, window
from tidemill.schemas.enums import BarFlag
from tidemill.schemas.kinds.signal import INDICATORS

ROUTES = APIRouter()
LIMIT, RECOMMENDED, LIMIT_MAX = 100, 20, 1_000
TABLES = ("signals", "screens", "trades", "quotes")
Recommended = Literal["STRONG_BUY", "BUY", "HOLD", "SELL", "STRONG_SELL"]
ScreenName = Annotated[
    str, Field(pattern=r"^([a-z0-9][a-z0-9_-]{0,31})?$", description="A screen; any, if left out.")
]


class ScreenerAsked(Asked):
    """Which signals, and how far back."""

    screen: ScreenName = ""
    symbol: str = Field("", pattern=r"^[A-Z0-9_\-/:]{0,48}$", description="Any, if left out.")
    venue: Venue | Literal[""] = Field("", description="Any, if left out.")
    timeframe: Annotated[str, AfterValidator(bars_of)] | Literal[""] = Field(
        "", max_length=24, description="Bars of this spec; any, if left out."
    )
    hours: Hours = 24
    limit: int = Field(LIMIT, ge=1, le=LIMIT_MAX)


class RecommendedAsked(ScreenerAsked):
    """The same, of one class."""

    limit: int = Field(RECOMMENDED, ge=1, le=LIMIT_MAX)


class Reason(BaseModel):
    """A term of the score, or the condition that came true."""

    term: str
    says: str
    points: float | None = Field(description="What it adds to 50; null of a condition.")


class Classes(BaseModel):
    """What a score, ADX and ATR are called; NONE where they are not known yet."""

    trend: str
    strength: float | None = Field(description="The score, 0 to 100.")
    momentum: str
    volatility: str
    recommendation: str


class ClosePrice(BaseModel):
    """The price of a signal."""

    current: float | None = Field(description="Close of its bar.")


class Result(BaseModel):
    """One signal, as last revised at the position."""

    screen: str
    symbol: str
    venue: str
    timeframe: str
    timestamp: int = Field(description="When its bar ended, ms UTC.")
    ts_open: int = Field(description="When its bar began, ns UTC.")
    ts_close: int = Field(description="When its bar ended, ns UTC.")
    status: Literal["RAISED", "SCORED", "WITHDRAWN"] = Field(
        description="WITHDRAWN, in a scan: its bar's revision took the signal back, not the score."
    )
    score: float | None
    reasons: list[Reason]
    signals: Classes
    indicators: dict[str, float | None]
    price: ClosePrice
    revision: int
    flags: list[str]
    r: int


class Results(BaseModel):
    """Signals, the newest first; of a scan the highest score first."""

    results: list[Result]
    count: int


class RecommendedResults(Results):
    """Signals of one class, the newest first."""

    recommendation: Recommended


@ROUTES.get("/api/screener/results", response_model=Envelope[Results])
async def results(request: Request, asked: Annotated[ScreenerAsked, Query()]) -> Response:
    """The newest signals; those that a revision took back are not among them."""

    async def find(stores: Stores) -> Answer:
        return await _found(stores, asked, "screener", "")

    return await respond(request, asked, find)


@ROUTES.get("/api/screener/signals/{recommendation}", response_model=Envelope[RecommendedResults])
async def recommended(
    request: Request,
    recommendation: Annotated[Recommended, Path(description="The class of the score.")],
    asked: Annotated[RecommendedAsked, Query()],
) -> Response:
    """The newest signals of one class."""

    async def find(stores: Stores) -> Answer:
        answer = await _found(stores, asked, "screener", recommendation)
        return answer._replace(data={"recommendation": recommendation, **answer.data})

    return await respond(request, asked, find)


@ROUTES.get("/api/screener/scan", response_model=Envelope[Results])
async def scan(request: Request, asked: Annotated[ScreenerAsked, Query()]) -> Response:
    """Every instrument's newest score of each timeframe, the highest first."""

    async def find(stores: Stores) -> Answer:
        return await _found(stores, asked, "screener_scan", "")

    return await respond(request, asked, find)


async def _found(stores: Stores, asked: ScreenerAsked, name: str, recommendation: str) -> Answer:
    bound = await stores.bind(asked, *TABLES)
    values = {
        "screen": asked.screen,
        "symbol": asked.symbol,
        "venue": asked.venue,
        "bars": asked.timeframe,
        "recommendation": recommendation,
        **await window(stores, bound, asked.hours),
        "limit": asked.limit,
    }
    rows = await stores.ask(name, bound, values)
    found = [_result(row) for row in rows]
    flags = [flag for one in found for flag in one["flags"]]
    return Answer({"results": found, "count": len(found)}, bound, flags)


def _result(row: Row) -> dict[str, Any]:
    return {
        "screen": row["screen"],
        "symbol": row["symbol"],
        "venue": row["venue"],
        "timeframe": row["bars"],
        "timestamp": row["close_ns"] // 1_000_000,
        "ts_open": row["open_ns"],
        "ts_close": row["close_ns"],
        "status": row["status"],
        "score": row["score"],
        "reasons": reasons(row),
        "signals": {
            "trend": row["trend"],
            "strength": row["score"],
            "momentum": row["momentum"],
            "volatility": row["volatility"],
            "recommendation": row["recommendation"],
        },
        "indicators": {name: row[name] for name in INDICATORS},
        "price": {"current": row["close"]},
        "revision": row["revision"],
        "flags": names(BarFlag, row["flags"]),
        "r": row["r"],
    }
