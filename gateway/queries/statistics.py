"""How instruments of a venue move together: correlations, and rolling betas to a benchmark.

Of log returns from one closed bar to the next interval's; an interval without a trade has no bar,
and then neither it nor the next has a return. Two instruments are compared over the intervals in
which both have one, so every pair says of how many its number is.
"""

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator, BaseModel, Field
from starlette.responses import Response

from tidemill.gateway.queries.answer import Answer, Envelope, names, respond
from tidemill.gateway.queries.parameters import Asked, Symbol, Venue
from tidemill.gateway.queries.problems import Problem
from tidemill.gateway.queries.resolve import instruments
from tidemill.gateway.queries.stores import Bound, Stores
from tidemill.schemas.bar_type import BUILT_SPECS, INTERVALS_S
from tidemill.schemas.enums import BarFlag

ROUTES = APIRouter()
KEEP_S = 30.0
SYMBOLS_MAX = 50
WINDOW, WINDOW_MIN, WINDOW_MAX = 100, 3, 1_000
Floats = np.ndarray[Any, np.dtype[np.float64]]


def _built(spec: str) -> str:
    if spec not in BUILT_SPECS:
        raise ValueError(f"there are returns of {', '.join(BUILT_SPECS)}")
    return spec


def _listed(text: str) -> str:
    names = text.split(",")
    if not 2 <= len(names) <= SYMBOLS_MAX or len(set(names)) < len(names):
        raise ValueError(f"name 2 to {SYMBOLS_MAX} instruments, each once, with commas")
    return text


class ReturnsAsked(Asked):
    """Which returns, and how many of them."""

    venue: Venue = "BINANCE"
    timeframe: Annotated[str, AfterValidator(_built), Field(max_length=4)] = "1m"
    window: int = Field(
        WINDOW, ge=WINDOW_MIN, le=WINDOW_MAX, description="Intervals that a number is of."
    )


class CorrelationAsked(ReturnsAsked):
    """Of which instruments."""

    symbols: Annotated[
        str,
        AfterValidator(_listed),
        Field(
            pattern=r"^[A-Z0-9_\-/:]{1,48}(,[A-Z0-9_\-/:]{1,48})*$",
            max_length=2_500,
            description="Venue's symbols or pairs, with commas.",
            examples=["BTCUSDT,ETHUSDT"],
        ),
    ]


class BetaAsked(ReturnsAsked):
    """Against what, and how many windows, each an interval later than the one before."""

    benchmark: Symbol = "BTC-USDT"
    limit: int = Field(100, ge=1, le=1_000)


class Correlation(BaseModel):
    """Pearson's, of every two; null of fewer than three intervals, or where nothing moved."""

    venue: str
    timeframe: str
    symbols: list[str]
    matrix: list[list[float | None]]
    observations: list[list[int]] = Field(description="Intervals in which both have a return.")
    ts_from: int = Field(description="ns UTC, opening time of the first interval.")
    ts_to: int = Field(description="ns UTC, end of the last one, exclusive.")


class Beta(BaseModel):
    """Returns of an instrument by those of the benchmark, by least squares over one window."""

    ts_open: int = Field(description="ns UTC, of the window's last interval.")
    beta: float
    alpha: float = Field(description="Log return of an interval in which the benchmark stands.")
    r2: float | None = Field(description="Null where the instrument did not move.")


class Betas(BaseModel):
    """Windows of as many common returns, oldest first."""

    symbol: str
    benchmark: str
    venue: str
    timeframe: str
    window: int
    series: list[Beta]


@ROUTES.get("/api/analytics/correlation", response_model=Envelope[Correlation])
async def correlation(request: Request, asked: Annotated[CorrelationAsked, Query()]) -> Response:
    """How closely instruments moved together over the newest intervals; may be 30 s old."""

    async def find(stores: Stores) -> Answer:
        bound = await stores.bind(asked, "bars", "trades", "quotes", "instruments")
        listed = [
            (await instruments(stores, bound, name, asked.venue))[0].symbol
            for name in asked.symbols.split(",")
        ]
        moves, flags, times = await _returns(stores, bound, asked, listed, asked.window)
        matrix, observations = correlated(moves)
        data = {"venue": asked.venue, "timeframe": asked.timeframe, "symbols": listed}
        span = {"ts_from": int(times[0]), "ts_to": int(times[-1])}
        return Answer(
            {**data, "matrix": matrix, "observations": observations, **span}, bound, flags
        )

    return await respond(request, asked, find, KEEP_S)


@ROUTES.get("/api/analytics/beta/{symbol:path}", response_model=Envelope[Betas])
async def beta(request: Request, symbol: Symbol, asked: Annotated[BetaAsked, Query()]) -> Response:
    """How much an instrument moves when a benchmark does; may be 30 s old."""

    async def find(stores: Stores) -> Answer:
        bound = await stores.bind(asked, "bars", "trades", "quotes", "instruments")
        one = (await instruments(stores, bound, symbol, asked.venue))[0].symbol
        other = (await instruments(stores, bound, asked.benchmark, asked.venue))[0].symbol
        intervals = asked.window + asked.limit - 1
        moves, flags, times = await _returns(stores, bound, asked, [one, other], intervals)
        series = betas(moves[0], moves[1], times[:-1], asked.window)[-asked.limit :]
        data = {"symbol": one, "benchmark": other, "venue": asked.venue}
        which = {"timeframe": asked.timeframe, "window": asked.window}
        return Answer({**data, **which, "series": series}, bound, flags)

    return await respond(request, asked, find, KEEP_S)


async def _returns(
    stores: Stores, bound: Bound, asked: ReturnsAsked, symbols: list[str], intervals: int
) -> tuple[Floats, list[str], np.ndarray[Any, np.dtype[np.int64]]]:
    """Return log returns (S, N) of the newest closed intervals, NaN where there is none, the flags
    of their bars, and the N + 1 ends of intervals (ns). Raises Problem before any time."""
    now_ns = await stores.time_of(bound)
    if now_ns is None:
        raise Problem(404, "NO_DATA", f"nothing was heard up to r {bound.root}")
    length = INTERVALS_S[asked.timeframe] * 1_000_000_000
    to = now_ns // length * length
    times = to - length * np.arange(intervals, -1, -1)
    span = {"from": int(times[0]) - length, "to": to}
    which = {"symbols": symbols, "venue": asked.venue, "interval_s": length // 1_000_000_000}
    rows = await stores.ask("closes", bound, which | span)
    closes = np.full((len(symbols), intervals + 1), np.nan)
    places = {symbol: k for k, symbol in enumerate(symbols)}
    flags = 0
    for row in rows:
        flags |= row["flags"]
        if row["close"] > 0:
            closes[places[row["symbol"]], (row["open_ns"] - span["from"]) // length] = row["close"]
    return np.diff(np.log(closes), axis=1), names(BarFlag, flags), times


def correlated(moves: Floats) -> tuple[list[list[float | None]], list[list[int]]]:
    """Return Pearson's correlation of every two rows of returns (S, N), and of how many it is."""
    matrix: list[list[float | None]] = []
    observations = []
    for one in moves:
        both = [~np.isnan(one) & ~np.isnan(other) for other in moves]
        matrix.append([_pearson(one[m], other[m]) for m, other in zip(both, moves, strict=True)])
        observations.append([int(m.sum()) for m in both])
    return matrix, observations


def _pearson(one: Floats, other: Floats) -> float | None:
    if len(one) < WINDOW_MIN:
        return None
    x, y = one - one.mean(), other - other.mean()
    moved = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return min(1.0, max(-1.0, float((x * y).sum()) / moved)) if moved else None


def betas(
    moves: Floats, benchmark: Floats, times: np.ndarray[Any, np.dtype[np.int64]], window: int
) -> list[dict[str, Any]]:
    """Return, for each interval (N,) with returns of both that ends a window of them, the line of
    least squares; none where the benchmark did not move."""
    both = ~np.isnan(moves) & ~np.isnan(benchmark)
    if int(both.sum()) < window:
        return []
    y, x = (
        np.lib.stride_tricks.sliding_window_view(one[both], window) for one in (moves, benchmark)
    )
    y_mean, x_mean = y.mean(axis=1), x.mean(axis=1)
    dy, dx = y - y_mean[:, None], x - x_mean[:, None]
    xx, xy, yy = ((a * b).sum(axis=1) for a, b in ((dx, dx), (dx, dy), (dy, dy)))
    return [
        {
            "ts_open": int(ts),
            "beta": float(xy[k] / xx[k]),
            "alpha": float(y_mean[k] - xy[k] / xx[k] * x_mean[k]),
            "r2": float(xy[k] ** 2 / (xx[k] * yy[k])) if yy[k] else None,
        }
        for k, ts in enumerate(times[both][window - 1 :])
        if xx[k]
    ]
