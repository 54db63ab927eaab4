"""Closed candles of one instrument."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator, BaseModel, Field
from starlette.responses import Response

from tidemill.gateway.queries.answer import Answer, Envelope, names, respond
from tidemill.gateway.queries.clickhouse import Row
from tidemill.gateway.queries.parameters import ROOT_MAX, Asked, Moment, Symbol, Venue
from tidemill.gateway.queries.resolve import Instrument, instruments
from tidemill.gateway.queries.stores import Stores
from tidemill.schemas.bar_type import BUILT_SPECS, INTERVALS_S, SPECS
from tidemill.schemas.enums import BarFlag

ROUTES = APIRouter()
LIMIT, LIMIT_MAX = 100, 1_000
VENUE = "BINANCE"


def _built(spec: str) -> str:
    """Pass a timeframe that is made. Raises ValueError naming those that are."""
    if spec not in BUILT_SPECS:
        known = "is not made here" if spec in SPECS else "is no timeframe"
        raise ValueError(f"{spec} {known}; there are {', '.join(BUILT_SPECS)}")
    return spec


Timeframe = Annotated[
    str,
    AfterValidator(_built),
    Field(max_length=4, json_schema_extra={"enum": list(BUILT_SPECS)}),
]


class CandlesAsked(Asked):
    """Which candles."""

    timeframe: Timeframe = "1m"
    venue: Venue = VENUE
    limit: int = Field(LIMIT, ge=1, le=LIMIT_MAX)
    from_: Moment | None = Field(None, alias="from", description="Opening time, inclusive.")
    to: Moment | None = Field(None, description="Opening time, exclusive.")

    def bindings(self, one: Instrument) -> dict[str, Any]:
        """Return the values of a statement about the candles of an instrument."""
        return {
            "symbol": one.symbol,
            "venue": one.venue,
            "interval_s": INTERVALS_S[self.timeframe],
            "from": self.from_ or 0,
            "to": self.to or ROOT_MAX,
            "limit": self.limit,
        }


class Candle(BaseModel):
    """A closed bar, as last revised at the position. Exact numbers are text."""

    symbol: str
    venue: str
    timeframe: str
    time: int = Field(description="Opening time, ms UTC.")
    open: str
    high: str
    low: str
    close: str
    volume: str
    quoteVolume: str
    trades: int
    takerBuyVolume: str
    firstTradeId: int
    lastTradeId: int
    ts_open: int = Field(description="Opening time, ns UTC.")
    ts_close: int = Field(description="End of the interval, exclusive, ns UTC.")
    revision: int = Field(description="0 when it closed, one more for each late trade.")
    flags: list[str]
    r: int


@ROUTES.get("/api/market-data/candles/{symbol:path}", response_model=Envelope[list[Candle]])
async def candles(
    request: Request, symbol: Symbol, asked: Annotated[CandlesAsked, Query()]
) -> Response:
    """The newest closed candles, oldest first; an interval without a trade has none."""

    async def find(stores: Stores) -> Answer:
        bound = await stores.bind(asked, "bars", "instruments")
        one = (await instruments(stores, bound, symbol, asked.venue))[0]
        rows = await stores.ask("candles", bound, asked.bindings(one))
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
        "quoteVolume": row["quote_volume"],
        "trades": row["trade_count"],
        "takerBuyVolume": row["taker_buy_volume"],
        "firstTradeId": row["first_trade_id"],
        "lastTradeId": row["last_trade_id"],
        "ts_open": row["open_ns"],
        "ts_close": row["open_ns"] + INTERVALS_S[asked.timeframe] * 1_000_000_000,
        "revision": row["revision"],
        "flags": names(BarFlag, row["flags"]),
        "r": row["r"],
    }
