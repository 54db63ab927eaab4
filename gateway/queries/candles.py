"""Closed candles of one instrument."""

from typing import Annotated, Any, Self

from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator, BaseModel, Field, model_validator
from starlette.responses import Response

from tidemill.gateway.queries.answer import Answer, Envelope, names, respond
from tidemill.gateway.queries.clickhouse import Row
from tidemill.gateway.queries.parameters import ROOT_MAX, Asked, Moment, Symbol, Venue
from tidemill.gateway.queries.resolve import Instrument, instruments
from tidemill.gateway.queries.stores import Stores
from tidemill.schemas.bar_type import (
    ACTIVITY_SPECS,
    BUILT_SPECS,
    INTERVALS_S,
    SPECS,
    BarType,
    activity_of,
)
from tidemill.schemas.enums import BarFlag
from tidemill.schemas.events.composites import VENUE as COMPOSITE
from tidemill.schemas.identifiers import InstrumentId
from tidemill.schemas.kinds.composite_bar import venues_of

ROUTES = APIRouter()
LIMIT, LIMIT_MAX = 100, 1_000
VENUE = "BINANCE"


def _made(spec: str) -> str:
    """Pass a timeframe that is made. Raises ValueError naming those that are."""
    if spec not in SPECS:
        raise ValueError(f"{spec} is no timeframe; there are {', '.join(SPECS)}")
    return spec


Timeframe = Annotated[
    str,
    AfterValidator(_made),
    Field(max_length=4, json_schema_extra={"enum": list(SPECS)}),
]


def _activity(text: str) -> str:
    """Pass ``TICK``, or ``1000-TICK``, in whatever case. Raises ValueError."""
    step, _, unit = text.upper().rpartition("-")
    activity_of(step or "1", unit)
    return f"{step}-{unit}"


Activity = Annotated[
    str,
    AfterValidator(_activity),
    Field(
        max_length=60,
        description="Bars that close by what was traded instead of those of a timeframe: one of"
        f" {', '.join(ACTIVITY_SPECS)}, or with its step, as 1000-tick.",
        examples=["tick", "1000-TICK", "0.5-VOLUME"],
    ),
]


class CandlesAsked(Asked):
    """Which candles."""

    timeframe: Timeframe = "1m"
    type: Activity | None = None
    venue: Venue = VENUE
    limit: int = Field(LIMIT, ge=1, le=LIMIT_MAX)
    from_: Moment | None = Field(None, alias="from", description="Opening time, inclusive.")
    to: Moment | None = Field(None, description="Opening time, exclusive.")

    @model_validator(mode="after")
    def _of_composites(self) -> Self:
        if self.venue == COMPOSITE and (self.type or self.timeframe not in BUILT_SPECS):
            raise ValueError(f"a composite has bars {', '.join(BUILT_SPECS)}")
        return self

    def bindings(self, one: Instrument) -> dict[str, Any]:
        """Return the values of a statement about the candles of an instrument."""
        step, _, aggregation = (self.type or "").partition("-")
        which = (
            {"aggregation": aggregation, "step": step}
            if self.type
            else {"interval_s": INTERVALS_S.get(self.timeframe, 0)}
        )
        return {
            "symbol": one.symbol,
            "venue": one.venue,
            **which,
            "from": self.from_ or 0,
            "to": self.to or ROOT_MAX,
            "limit": self.limit,
        }


class AnyCandle(BaseModel):
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
    ts_open: int = Field(description="Opening time, ns UTC.")
    ts_close: int = Field(description="End of the interval, exclusive, ns UTC.")
    revision: int = Field(description="0 when it closed, one more for each late trade.")
    flags: list[str]
    r: int


class Candle(AnyCandle):
    """A closed bar of one venue's trades."""

    firstTradeId: int
    lastTradeId: int


class CompositeCandle(AnyCandle):
    """A closed bar of a pair, made of the bars of several venues."""

    venues: list[str] = Field(description="In it, in order of precedence.")
    missing: list[str] = Field(description="Of these it was not known whether they traded.")
    late: list[str] = Field(description="In it, but their bars came after it had closed.")


class ActivityCandle(Candle):
    """A bar that closed by what was traded, as last revised at the position."""

    type: str = Field(description="NautilusTrader's name of its bar type; empty while it seeds.")
    sequence: int = Field(description="How many bars of its aggregation closed before it.")
    step: str = Field(description="Its parameter; 0 of a bar that seeds it.")
    threshold: str = Field(description="What it had to reach; 0: it was counted in trades.")
    ts_close: int = Field(description="Event time of its last trade, ns UTC.")


@ROUTES.get(
    "/api/market-data/candles/{symbol:path}",
    response_model=Envelope[list[ActivityCandle] | list[Candle] | list[CompositeCandle]],
)
async def candles(
    request: Request, symbol: Symbol, asked: Annotated[CandlesAsked, Query()]
) -> Response:
    """The newest closed candles, oldest first; an interval without a trade has none.

    With `type` bars that close by what was traded; `timeframe` is then of no matter. Of the venue
    COMPOSITE bars of a pair over venues, where they are asked for.
    """

    async def find(stores: Stores) -> Answer:
        table, question = _source(asked)
        bound = await stores.bind(asked, table, "instruments")
        one = (await instruments(stores, bound, symbol, asked.venue))[0]
        rows = await stores.ask(question, bound, asked.bindings(one))
        form = FORMS[question]
        items = [form(row, one.symbol, asked) for row in reversed(rows)]
        return Answer(items, bound, [flag for item in items for flag in item["flags"]])

    return await respond(request, asked, find)


def _source(asked: CandlesAsked) -> tuple[str, str]:
    """Return the table that has these candles, and the statement."""
    if asked.type:
        return "activity_bars", "activity_candles"
    if asked.venue == COMPOSITE:
        return "composite_bars", "composite_candles"
    if asked.timeframe in BUILT_SPECS:
        return "bars", "candles"
    return "resampled_bars", "resampled_candles"


def _activity_item(row: Row, symbol: str, asked: CandlesAsked) -> dict[str, Any]:
    spec, step = row["aggregation"].lower(), row["step"]
    named = BarType(InstrumentId(symbol, asked.venue), spec, step=step)
    return {
        **_values(row, symbol, asked),
        **_ids(row),
        "timeframe": spec,
        "type": "" if step == "0" else str(named),
        "sequence": row["sequence"],
        "step": step,
        "threshold": row["threshold"],
        "ts_close": row["close_ns"],
    }


def _item(row: Row, symbol: str, asked: CandlesAsked) -> dict[str, Any]:
    return {**_timed(row, symbol, asked), **_ids(row)}


def _composite_item(row: Row, symbol: str, asked: CandlesAsked) -> dict[str, Any]:
    return {**_timed(row, symbol, asked), **venues_of(row)}


FORMS = {
    "activity_candles": _activity_item,
    "candles": _item,
    "composite_candles": _composite_item,
    "resampled_candles": _item,
}
"""What the rows of each statement are as candles."""


def _timed(row: Row, symbol: str, asked: CandlesAsked) -> dict[str, Any]:
    return {
        **_values(row, symbol, asked),
        "timeframe": asked.timeframe,
        "ts_close": row.get("close_ns")
        or row["open_ns"] + INTERVALS_S[asked.timeframe] * 1_000_000_000,
    }


def _ids(row: Row) -> dict[str, Any]:
    return {"firstTradeId": row["first_trade_id"], "lastTradeId": row["last_trade_id"]}


def _values(row: Row, symbol: str, asked: CandlesAsked) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "venue": asked.venue,
        "time": row["open_ns"] // 1_000_000,
        **{name: row[name] for name in ("open", "high", "low", "close", "volume")},
        "quoteVolume": row["quote_volume"],
        "trades": row["trade_count"],
        "takerBuyVolume": row["taker_buy_volume"],
        "ts_open": row["open_ns"],
        "revision": row["revision"],
        "flags": names(BarFlag, row["flags"]),
        "r": row["r"],
    }
