"""Values of the indicators that run on one instrument's bars."""

import re
from itertools import groupby
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator, BaseModel, Field
from starlette.responses import Response

from tidemill.gateway.queries.answer import Answer, Envelope, names, respond
from tidemill.gateway.queries.clickhouse import Row
from tidemill.gateway.queries.parameters import ROOT_MAX, Asked, Moment, Symbol, Venue
from tidemill.gateway.queries.resolve import instruments
from tidemill.gateway.queries.stores import Stores
from tidemill.schemas.bar_type import ACTIVITY_SPECS, SPECS
from tidemill.schemas.enums import BarFlag

ROUTES = APIRouter()
LIMIT, LIMIT_MAX, VALUES_MAX = 1, 1_000, 50_000
_SPECS = (*SPECS, *ACTIVITY_SPECS)
_INSTANCE = r"[a-z0-9_]{1,24}\([0-9.,e+-]{0,40}\)"
_BETWEEN = re.compile(r"(?<=\)),")


def bars_of(spec: str) -> str:
    """Pass bars that indicators run on. Raises ValueError naming them."""
    if spec not in _SPECS:
        raise ValueError(f"{spec}: indicators run on bars of {', '.join(_SPECS)}")
    return spec


class IndicatorsAsked(Asked):
    """Which values."""

    timeframe: Annotated[str, AfterValidator(bars_of), Field(max_length=24)] = "1m"
    indicators: str = Field(
        "",
        max_length=2_000,
        pattern=rf"^({_INSTANCE}(,{_INSTANCE})*)?$",
        description="With their parameters, as sma(20),macd(12,26,9); all that run, if left out.",
    )
    venue: Venue = "BINANCE"
    limit: int = Field(LIMIT, ge=1, le=LIMIT_MAX, description="Newest bars of each.")
    from_: Moment | None = Field(None, alias="from", description="Opening time, inclusive.")
    to: Moment | None = Field(None, description="Opening time, exclusive.")


class Value(BaseModel):
    """All outputs of an indicator at one bar, as last revised at the position."""

    ts_open: int = Field(description="When the bar began, ns UTC.")
    ts_close: int = Field(description="When it ended, ns UTC.")
    outputs: dict[str, float] = Field(description="By name, as macd, signal and histogram.")
    revision: int
    flags: list[str] = Field(description="Of the bars that its window is made of.")
    r: int


class Indicator(BaseModel):
    """One indicator, oldest value first."""

    indicator: str
    values: list[Value]


class Indicators(BaseModel):
    """The indicators of an instrument's bars."""

    symbol: str
    venue: str
    timeframe: str
    indicators: list[Indicator]


@ROUTES.get("/api/analytics/indicators/{symbol:path}", response_model=Envelope[Indicators])
async def indicators(
    request: Request, symbol: Symbol, asked: Annotated[IndicatorsAsked, Query()]
) -> Response:
    """The newest values of the indicators that LOG's sets ask for; none while they warm up."""

    async def find(stores: Stores) -> Answer:
        bound = await stores.bind(asked, "indicators", "instruments")
        one = (await instruments(stores, bound, symbol, asked.venue))[0]
        values = {
            "symbol": one.symbol,
            "venue": one.venue,
            "bars": asked.timeframe,
            "names": ";".join(_BETWEEN.split(asked.indicators)),
            "from": asked.from_ or 0,
            "to": asked.to or ROOT_MAX,
            "values": asked.limit,
            "most": VALUES_MAX,
        }
        rows = await stores.ask("indicators", bound, values)
        found = [
            {"indicator": name, "values": _values(list(mine))}
            for name, mine in groupby(rows, key=lambda row: row["indicator"])
        ]
        named = {"symbol": one.symbol, "venue": one.venue, "timeframe": asked.timeframe}
        flags = [flag for each in found for value in each["values"] for flag in value["flags"]]
        return Answer({**named, "indicators": found}, bound, flags)

    return await respond(request, asked, find)


def _values(rows: list[Row]) -> list[dict[str, Any]]:
    """Join the outputs of each bar; rows come newest bar first."""
    bars = groupby(rows, key=lambda row: (row["close_ns"], row["open_ns"]))
    found = [_value(list(outputs)) for _, outputs in bars]
    return found[::-1]


def _value(rows: list[Row]) -> dict[str, Any]:
    newest = max(rows, key=lambda row: row["r"])
    return {
        "ts_open": newest["open_ns"],
        "ts_close": newest["close_ns"],
        "outputs": {row["output"]: row["value"] for row in rows},
        "revision": newest["revision"],
        "flags": names(BarFlag, newest["flags"]),
        "r": newest["r"],
    }
