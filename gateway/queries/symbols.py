"""Which symbols trade; every one of them is followed, so they are the tickers too."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from tidemill.gateway.queries.answer import Answer, Envelope, respond
from tidemill.gateway.queries.parameters import Asked, Venue
from tidemill.gateway.queries.stores import Stores

ROUTES = APIRouter()
KEEP_S = 5.0


class SymbolsAsked(Asked):
    """Whose symbols."""

    venue: Venue | None = None


@ROUTES.get("/api/market-data/symbols", response_model=Envelope[list[str]])
@ROUTES.get("/api/market-data/tickers", response_model=Envelope[list[str]])
async def symbols(request: Request, asked: Annotated[SymbolsAsked, Query()]) -> Response:
    """Symbols of instruments that trade, each once, sorted."""

    async def find(stores: Stores) -> Answer:
        bound = await stores.bind(asked, "instruments")
        rows = await stores.records("symbols", bound, bound.root, asked.venue)
        return Answer([row["symbol"] for row in rows], bound)

    return await respond(request, asked, find, KEEP_S)
