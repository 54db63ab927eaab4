"""Closed candles of one instrument as its venue made them, to hold our own against."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from tidemill.gateway.queries.answer import Answer, Envelope, names, respond
from tidemill.gateway.queries.candles import CandlesAsked
from tidemill.gateway.queries.clickhouse import Row
from tidemill.gateway.queries.parameters import Symbol
from tidemill.gateway.queries.resolve import instruments
from tidemill.gateway.queries.stores import Stores
from tidemill.schemas.enums import RecordFlag

ROUTES = APIRouter()


class VenueCandle(BaseModel):
    """A bar that its venue closed. Exact numbers are text; null where the venue gives none."""

    symbol: str
    venue: str
    timeframe: str
    time: int = Field(description="Opening time, ms UTC.")
    open: str = Field(description="As the venue has it: the first price, or the close before.")
    high: str
    low: str
    close: str
    volume: str
    quoteVolume: str | None
    trades: int | None
    ts_open: int = Field(description="Opening time, ns UTC.")
    ts_event: int = Field(description="When the venue sent it, ns UTC.")
    flags: list[str]
    r: int


@ROUTES.get(
    "/api/market-data/venue-candles/{symbol:path}", response_model=Envelope[list[VenueCandle]]
)
async def venue_bars(
    request: Request, symbol: Symbol, asked: Annotated[CandlesAsked, Query()]
) -> Response:
    """The newest candles that the venue closed, oldest first, as it sent them."""

    async def find(stores: Stores) -> Answer:
        bound = await stores.bind(asked, "venue_bars", "trades", "quotes", "instruments")
        one = (await instruments(stores, bound, symbol, asked.venue))[0]
        rows = await stores.ask("venue_bars", bound, asked.bindings(one))
        items = [_item(row, one.symbol, asked) for row in reversed(rows)]
        return Answer(items, bound, [flag for item in items for flag in item["flags"]])

    return await respond(request, asked, find)


def _item(row: Row, symbol: str, asked: CandlesAsked) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "venue": asked.venue,
        "timeframe": asked.timeframe,
        "time": row["open_ns"] // 1_000_000,
        **{name: row[name] for name in ("open", "high", "low", "close", "volume")},
        "quoteVolume": row["quote_volume"] if row["quote_volume"] != "0" else None,
        "trades": row["trade_count"] or None,
        "ts_open": row["open_ns"],
        "ts_event": row["event_ns"],
        "flags": names(RecordFlag, row["flags"]),
        "r": row["r"],
    }
