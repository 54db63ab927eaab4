"""How much each screen found: signals by class, over a window."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from tidemill.gateway.queries.answer import Answer, Envelope, respond
from tidemill.gateway.queries.parameters import Asked
from tidemill.gateway.queries.screener import TABLES
from tidemill.gateway.queries.stores import Stores
from tidemill.gateway.queries.windows import Hours, window

ROUTES = APIRouter()


class StatsAsked(Asked):
    """How far back."""

    hours: Hours = 24


class ScreenStats(BaseModel):
    """What one screen found, of bars of one spec."""

    screen: str
    timeframe: str
    instruments: int
    raised: int = Field(description="Signals; those that were taken back are not among them.")
    withdrawn: int = Field(description="Signals that a revision of their bar took back.")
    scored: int = Field(description="Bars whose score was told.")
    recommendations: dict[str, int] = Field(description="Signals and scores by class.")
    newest: int = Field(description="When the newest one's bar ended, ns UTC.")


class Stats(BaseModel):
    """Every screen that found something."""

    screens: list[ScreenStats]


@ROUTES.get("/api/screener/stats", response_model=Envelope[Stats])
async def stats(request: Request, asked: Annotated[StatsAsked, Query()]) -> Response:
    """How much each screen found, by name."""

    async def find(stores: Stores) -> Answer:
        bound = await stores.bind(asked, *TABLES)
        span = await window(stores, bound, asked.hours)
        rows = await stores.ask("screener_stats", bound, {k: span[k] for k in ("from", "to")})
        found = [
            {
                **{name: row[name] for name in ("screen", "instruments", "raised", "withdrawn")},
                "timeframe": row["bars"],
                "scored": row["scored"],
                "recommendations": dict(zip(row["classes"], row["counts"], strict=True)),
                "newest": row["newest_ns"],
            }
            for row in rows
        ]
        return Answer({"screens": found}, bound)

    return await respond(request, asked, find)
