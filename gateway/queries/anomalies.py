"""What was unusual: anomalies of bars, the newest first, with what speaks for them."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator, BaseModel, Field
from starlette.responses import Response

from tidemill.gateway.queries.answer import Answer, Envelope, names, respond
from tidemill.gateway.queries.clickhouse import Row
from tidemill.gateway.queries.indicators import bars_of
from tidemill.gateway.queries.parameters import Asked, Venue
from tidemill.gateway.queries.stores import Stores
from tidemill.gateway.queries.windows import Hours, window
from tidemill.schemas.enums import BarFlag
from tidemill.schemas.kinds.anomaly import EVIDENCE

ROUTES = APIRouter()
LIMIT, LIMIT_MAX = 100, 1_000
Severe = Literal["LOW", "MEDIUM", "HIGH", "CRITICAL"]
Detects = Literal[
    "return_z", "volume_z", "range_z", "pump_and_dump", "half_space_trees", "flash_crash"
]


class AnomaliesAsked(Asked):
    """Which anomalies, and how far back."""

    symbol: str = Field("", pattern=r"^[A-Z0-9_\-/:]{0,48}$", description="Any, if left out.")
    venue: Venue | Literal[""] = Field("", description="Any, if left out.")
    timeframe: Annotated[str, AfterValidator(bars_of)] | Literal[""] = Field(
        "", max_length=24, description="Bars of this spec; any, if left out."
    )
    detector: Detects | Literal[""] = Field("", description="Any, if left out.")
    severity: Severe = Field("LOW", description="This one and worse.")
    hours: Hours = 24
    limit: int = Field(LIMIT, ge=1, le=LIMIT_MAX)


class Anomaly(BaseModel):
    """One anomaly, as last revised at the position."""

    detectors: str = Field(description="The set that asks for the detector.")
    detector: str = Field(description="Its name and parameters, as return_z(60).")
    symbol: str
    venue: str
    timeframe: str
    timestamp: int = Field(description="When its bar ended, ms UTC.")
    ts_open: int = Field(description="When its bar began, ns UTC.")
    ts_close: int = Field(description="When its bar ended, ns UTC.")
    severity: Severe
    score: float
    threshold: float = Field(description="From which score on it is told.")
    close: float = Field(description="Last price of its bar.")
    evidence: dict[str, float] = Field(description="What the score is made of, by name.")
    revision: int
    flags: list[str]
    r: int


class Anomalies(BaseModel):
    """Anomalies, the newest first."""

    anomalies: list[Anomaly]
    count: int


@ROUTES.get("/api/analytics/anomalies", response_model=Envelope[Anomalies])
async def anomalies(request: Request, asked: Annotated[AnomaliesAsked, Query()]) -> Response:
    """The newest anomalies; those that a revision took back are not among them."""

    async def find(stores: Stores) -> Answer:
        bound = await stores.bind(asked, "anomalies", "trades", "quotes")
        values = {
            "symbol": asked.symbol,
            "venue": asked.venue,
            "bars": asked.timeframe,
            "detector": asked.detector,
            "severity": asked.severity,
            **await window(stores, bound, asked.hours),
            "limit": asked.limit,
        }
        found = [_anomaly(row) for row in await stores.ask("anomalies", bound, values)]
        flags = [flag for one in found for flag in one["flags"]]
        return Answer({"anomalies": found, "count": len(found)}, bound, flags)

    return await respond(request, asked, find)


def _anomaly(row: Row) -> dict[str, Any]:
    same = ("detectors", "detector", "symbol", "venue", "severity", "score", "threshold", "close")
    evidence = {field.name: row[field.name] for field in EVIDENCE}
    return {
        **{name: row[name] for name in same},
        "timeframe": row["bars"],
        "timestamp": row["close_ns"] // 1_000_000,
        "ts_open": row["open_ns"],
        "ts_close": row["close_ns"],
        "evidence": {name: value for name, value in evidence.items() if value is not None},
        "revision": row["revision"],
        "flags": names(BarFlag, row["flags"]),
        "r": row["r"],
    }
