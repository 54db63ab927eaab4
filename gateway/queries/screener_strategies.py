"""Which strategies there are by name, and which screens LOG has defined."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from tidemill.gateway.queries.answer import Answer, Envelope, respond
from tidemill.gateway.queries.parameters import Asked
from tidemill.gateway.queries.stores import Stores
from tidemill.schemas.screening.strategies import STRATEGIES

ROUTES = APIRouter()


class StrategyTold(BaseModel):
    """A condition that is known by name."""

    name: str
    condition: str
    says: str
    timeframe: str = Field(description="The bars that it is meant for, empty for any.")


class Screen(BaseModel):
    """A screen that runs."""

    name: str
    instruments: list[str]
    timeframe: str
    condition: str = Field(description="Empty: the score of every bar.")
    r: int = Field(description="Where it was last defined.")


class Strategies(BaseModel):
    """What is built in, and what runs at the position."""

    strategies: list[StrategyTold]
    screens: list[Screen]


@ROUTES.get("/api/screener/strategies", response_model=Envelope[Strategies])
async def strategies(request: Request, asked: Annotated[Asked, Query()]) -> Response:
    """The built-in strategies, and every screen by name."""

    async def find(stores: Stores) -> Answer:
        bound = await stores.bind(asked, "screens")
        rows = await stores.ask("screener_strategies", bound)
        screens = [
            {
                "name": row["name"],
                "instruments": row["instruments"].split(","),
                "timeframe": row["bars"],
                "condition": row["condition"],
                "r": row["r"],
            }
            for row in rows
        ]
        known = [
            {"name": name, "condition": one.condition, "says": one.says, "timeframe": one.bars}
            for name, one in STRATEGIES.items()
        ]
        return Answer({"strategies": known, "screens": screens}, bound)

    return await respond(request, asked, find)
