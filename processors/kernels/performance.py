"""How well an account did: returns, ratios of return to risk, falls from the peak, and its trips.

Ratios are of daily returns, a year having 365 days. Where a number is not defined (nothing lost,
nothing varied, fewer than two days) it is None. Sources:

- Sharpe: mean excess return over its standard deviation, n - 1 (W. F. Sharpe, The Sharpe Ratio,
  Journal of Portfolio Management, 1994); information ratio: the same against a benchmark.
- Sortino: the root mean square of returns below the target, over all days, instead (F. Sortino and
  R. van der Meer, Downside Risk, 1991).
- Calmar: the yearly growth over the greatest fall (T. W. Young, Futures, 1991).
- Omega: gains above the threshold, here zero, over what is lost below it (C. Keating and
  W. F. Shadwick, A Universal Performance Measure, 2002).
- Ulcer: the root mean square of falls in percent (P. Martin and B. McCann, 1989), of days' ends.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import from_dtype, njit, types
from numpy.typing import NDArray

from tidemill.processors.kernels.backtest.money import approximate
from tidemill.processors.kernels.backtest.state import TRIP
from tidemill.processors.kernels.indicator import Values
from tidemill.schemas.exact import subtract
from tidemill.schemas.mathematics import exp, log

DAYS = 365.0
DAY_NS = 86_400_000_000_000
Ints = NDArray[np.int64]


def _total(values: Values) -> float:
    """Add up in the order of the values: NumPy's own sum goes by the width of the processor."""
    return float(np.cumsum(values)[-1]) if len(values) else 0.0


def _mean(values: Values) -> float:
    return _total(values) / len(values)


def _deviation(values: Values) -> float:
    """Return the standard deviation of a sample, n - 1."""
    apart = values - _mean(values)
    return math.sqrt(_total(apart * apart) / (len(values) - 1))


def daily(ts: Ints, equity: Values, initial: float) -> Values:
    """Return the returns (D,) of UTC days, of equity (P,) that is known at the end of `ts` (P,).

    A day ends with the last value up to it, midnight included; a day without any is as the one
    before. The first return is from `initial`.
    """
    if not len(ts):
        return np.empty(0)
    days = (ts - 1) // DAY_NS
    last = np.flatnonzero(np.append(np.diff(days) > 0, True))
    all_days = np.arange(days[0], days[-1] + 1)
    at_ends = equity[last[np.searchsorted(days[last], all_days, side="right") - 1]]
    before = np.concatenate([[initial], at_ends[:-1]])
    found: Values = at_ends / before - 1.0
    return found


@njit("UniTuple(float64, 3)(int64[:], float64[::1], float64)", cache=True)
def fall(ts: Any, equity: Any, initial: float) -> tuple[float, float, float]:
    """Return the greatest fall from a peak as a part of it, the longest time (ns) from a peak until
    it was reached again, or until the end, and the root mean square of all falls."""
    peak, peak_ts = initial, ts[0] if len(ts) else 0
    worst, longest, squares, fallen = 0.0, 0.0, 0.0, False
    for k in range(len(equity)):
        if equity[k] >= peak:
            if fallen:
                longest = max(longest, float(ts[k] - peak_ts))
            peak, peak_ts, fallen = equity[k], ts[k], False
        else:
            fallen = True
            below = 1.0 - equity[k] / peak
            worst = max(worst, below)
            squares += below * below
            longest = max(longest, float(ts[k] - peak_ts))
    return worst, longest, math.sqrt(squares / max(len(equity), 1))


def growth(total: float, days: float) -> float | None:
    """Return the yearly growth that makes a total return in so many days."""
    if days <= 0 or total <= -1.0:
        return None
    return float(exp(log(1.0 + total) * DAYS / days)) - 1.0


def sharpe(excess: Values) -> float | None:
    """Return the yearly Sharpe ratio of daily excess returns; of active ones, information ratio."""
    if len(excess) < 2:
        return None
    deviation = _deviation(excess)
    # Returns that are all one number differ from their mean by what rounding leaves.
    if deviation <= 1e-15 * max(1.0, float(np.abs(excess).max())):
        return None
    return _mean(excess) / deviation * math.sqrt(DAYS)


def sortino(excess: Values) -> float | None:
    """Return the yearly Sortino ratio of daily excess returns."""
    below = np.minimum(excess, 0.0)
    downside = math.sqrt(_mean(below * below)) if len(excess) else 0.0
    return _mean(excess) / downside * math.sqrt(DAYS) if downside > 0.0 else None


def omega(returns: Values, threshold: float = 0.0) -> float | None:
    """Return what was gained above a daily threshold over what was lost below it."""
    apart = returns - threshold
    lost = -_total(apart[apart < 0.0])
    return _total(apart[apart > 0.0]) / lost if lost > 0.0 else None


@dataclass(frozen=True)
class Trips:
    """What trips say (reference.md F-154 and F-155). Money in the quote currency."""

    trades: int
    wins: int
    losses: int
    win_rate: float | None
    profit_factor: float | None
    expectancy: float | None
    average_win: float | None
    average_loss: float | None
    largest_win: float
    largest_loss: float
    wins_in_a_row: int
    losses_in_a_row: int

    @classmethod
    def of(cls, gains: Values) -> "Trips":
        """Return it of the gains (T,) of trips in order, fees taken off."""
        won, lost = gains[gains > 0.0], gains[gains < 0.0]
        total_won, total_lost = _total(won), -_total(lost)
        count = len(gains)
        return cls(
            count,
            len(won),
            len(lost),
            len(won) / count if count else None,
            total_won / total_lost if total_lost > 0.0 else None,
            _total(gains) / count if count else None,
            total_won / len(won) if len(won) else None,
            -total_lost / len(lost) if len(lost) else None,
            float(gains.max(initial=0.0)),
            float(gains.min(initial=0.0)),
            _in_a_row(gains > 0.0),
            _in_a_row(gains < 0.0),
        )


def _in_a_row(held: NDArray[np.bool_]) -> int:
    """Return the most that held one after the other."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], held, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))


@dataclass(frozen=True)
class Performance:
    """What the equity says. `exposure` is the part of bars with a position, `turnover` what was
    traded over the mean equity, `max_drawdown` of all bars, a part of the peak."""

    total_return: float
    cagr: float | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    omega: float | None
    information_ratio: float | None
    ulcer: float
    max_drawdown: float
    max_drawdown_s: float
    volatility: float | None
    exposure: float
    turnover: float


def performance(
    ts: Ints,
    equity: Values,
    initial: float,
    began: int,
    risk_free: float,
    benchmark: Values | None = None,
    held: int = 0,
    traded: float = 0.0,
) -> Performance:
    """Return it of equity (P,) at `ts` (P,) ns, from `began` (ns) on; P at least 1.

    `risk_free` is a year's return; `benchmark` (D,) daily returns of what is compared with; `held`
    how many points had a position; `traded` the notional of all fills.
    """
    returns = daily(ts, equity, initial)
    excess = returns - risk_free / DAYS
    total = float(equity[-1]) / initial - 1.0
    worst, longest, _ = fall(ts, equity, initial)
    days = initial * np.cumprod(1.0 + returns)
    ulcer = fall(np.arange(len(days)), days, initial)[2]
    yearly = growth(total, float(ts[-1] - began) / DAY_NS)
    active = None if benchmark is None else returns - benchmark
    return Performance(
        total,
        yearly,
        sharpe(excess),
        sortino(excess),
        yearly / worst if yearly is not None and worst > 0.0 else None,
        omega(returns),
        None if active is None else sharpe(active),
        100.0 * ulcer,
        worst,
        longest / 1e9,
        _deviation(returns) * math.sqrt(DAYS) if len(returns) > 1 else None,
        held / len(ts),
        traded / _mean(equity),
    )


@njit(types.void(from_dtype(TRIP)[::1], types.float64, types.float64[::1]), cache=True)
def _gains(trips: Any, divisor: float, out: Any) -> None:
    for k in range(len(trips)):
        one = trips[k]
        hi, lo, _ = subtract(one.exit_hi, one.exit_lo, one.entry_hi, one.entry_lo)
        if one.side < 0:
            hi, lo, _ = subtract(one.entry_hi, one.entry_lo, one.exit_hi, one.exit_lo)
        hi, lo, _ = subtract(hi, lo, one.fees_hi, one.fees_lo)
        out[k] = approximate(hi, lo) / divisor


def gains_of(trips: NDArray[np.void], exponent: int) -> Values:
    """Return what each of `trips` (T,) gained, fees taken off, in the quote currency."""
    found = np.empty(len(trips))
    _gains(trips, 10.0**-exponent, found)
    return found
