"""What an activity bar has to reach: fixed steps, and expectations learned from the bars before.

Imbalance and runs bars after M. Lopez de Prado, Advances in Financial Machine Learning (2018), ch.
2.3.2, in its letters: of trade t, b is 1 or -1 as it counts as bought or sold, v its measure.

    imbalance  theta = |sum of b v|               expected E[T] |E[b v]|
    runs       theta = max(bought, sold)          expected E[T] max(P E[v|b=1], (1-P) E[v|b=-1])

The book leaves to its reader how the averages begin and what keeps them from running away, so these
are ours. E[.] is an exponential average over bars (SPAN), one value a bar: its trades T, theta's
sum over T, its measure over T, the part P of its trades that were bought, the mean measure of
those, and of the others. All begin with the values of the first bar, which is counted in trades
because nothing is known to expect; it has as many as E[T] begins with. E[T] stays within a tenth
and ten times that: without bounds a long bar expects a longer one (mlfinlab's "expected number of
ticks constraints", for the same reason). In a market as even as a coin E[b v] is near 0 and every
trade would close a bar; so the threshold of an imbalance is at least sqrt(E[T]) E[v], the deviation
that chance alone has after E[T] trades, which fair coins reach after E[T] trades on average.
"""

from typing import Any

import numpy as np
from numba import njit

from tidemill.processors.kernels.activity_state import (
    IMBALANCE,
    MEASURED,
    NEVER,
    NOTIONAL,
    PLAIN,
    QUANTITY,
    RANGE,
    RENKO,
    RUNS,
    SPAN,
    STRETCH,
    TICKS,
    TRADES,
)
from tidemill.schemas.exact import Hi, Lo, add, compare, rescale, subtract, widen

WEIGHT = 2.0 / (SPAN + 1)
_WORD = 18446744073709551616.0
_MOST = 2.0**124
_0 = np.uint64(0)
_1 = np.uint64(1)

Bar = Any
"""One record of OPEN."""
Totals = Any
"""One record of TOTALS."""


@njit(cache=True)
def whole_of(totals: Totals, measure: int, inverse: bool) -> tuple[Hi, Lo]:
    """Return the sum of a measure. A quantity of an inverse contract is its value."""
    if measure == TRADES:
        return widen(totals.trades)
    if measure == QUANTITY or inverse:
        return totals.volume_hi, totals.volume_lo
    return totals.quote_volume_hi, totals.quote_volume_lo


@njit(cache=True)
def bought_of(totals: Totals, measure: int, inverse: bool) -> tuple[Hi, Lo]:
    """Return the sum of a measure over what counts as bought."""
    if measure == TRADES:
        return widen(totals.trades_up)
    if measure == QUANTITY or inverse:
        return totals.volume_up_hi, totals.volume_up_lo
    return totals.quote_volume_up_hi, totals.quote_volume_up_lo


@njit(cache=True)
def split(totals: Totals, measure: int, inverse: bool) -> tuple[Hi, Lo, Hi, Lo]:
    """Return the sums of a measure over what was bought and what was sold."""
    hi, lo = whole_of(totals, measure, inverse)
    up_hi, up_lo = bought_of(totals, measure, inverse)
    down_hi, down_lo, _ = subtract(hi, lo, up_hi, up_lo)
    return up_hi, up_lo, down_hi, down_lo


@njit(cache=True)
def aim(bar: Bar, k: int, totals: Totals, inverse: bool) -> None:
    """Set where a bar that opens after `totals` closes."""
    bar.trades_due = 0
    bar.above_hi, bar.below_hi, bar.above_lo, bar.below_lo = NEVER, NEVER, _0, _0
    if k >= MEASURED:
        return
    measure, form = k // 3, k % 3
    if form == IMBALANCE:
        bar.below_hi = -NEVER
    hi, lo = bar.threshold_hi, bar.threshold_lo
    if hi == 0 and lo == _0:  # counted in trades: nothing is known to expect
        bar.trades_due = totals.trades + (TICKS if form == PLAIN else np.int64(bar.step_lo))
        return
    if measure == TRADES and form == PLAIN:
        bar.trades_due = totals.trades + np.int64(lo)
        return
    up_hi, up_lo, down_hi, down_lo = split(totals, measure, inverse)
    if form == PLAIN:
        whole_hi, whole_lo = whole_of(totals, measure, inverse)
        bar.above_hi, bar.above_lo, _ = add(whole_hi, whole_lo, hi, lo)
    elif form == IMBALANCE:
        sum_hi, sum_lo, _ = subtract(up_hi, up_lo, down_hi, down_lo)
        bar.above_hi, bar.above_lo, _ = add(sum_hi, sum_lo, hi, lo)
        bar.below_hi, bar.below_lo, _ = subtract(sum_hi, sum_lo, hi, lo)
    else:
        bar.above_hi, bar.above_lo, _ = add(up_hi, up_lo, hi, lo)
        bar.below_hi, bar.below_lo, _ = add(down_hi, down_lo, hi, lo)


@njit(cache=True)
def reached(bar: Bar, k: int, totals: Totals, inverse: bool) -> bool:
    """Return whether a bar that counts trades or measures is due."""
    if bar.trades_due > 0 and totals.trades >= bar.trades_due:
        return True
    measure, form = k // 3, k % 3
    hi, lo, down_hi, down_lo = split(totals, measure, inverse)
    if form == RUNS:
        if compare(down_hi, down_lo, bar.below_hi, bar.below_lo) >= 0:
            return True
    elif form == IMBALANCE:
        hi, lo, _ = subtract(hi, lo, down_hi, down_lo)
        if compare(hi, lo, bar.below_hi, bar.below_lo) <= 0:
            return True
    else:
        hi, lo = whole_of(totals, measure, inverse)
    return compare(hi, lo, bar.above_hi, bar.above_lo) >= 0


@njit(cache=True)
def rounded(hi: Hi, lo: Lo) -> tuple[Hi, Lo]:
    """Return the largest 1, 2 or 5 times a power of ten that is not above a number; at least 1."""
    power_hi, power_lo = np.int64(0), _1
    while True:
        next_hi, next_lo, overflow = rescale(power_hi, power_lo, 1)
        if overflow or compare(next_hi, next_lo, hi, lo) > 0:
            break
        power_hi, power_lo = next_hi, next_lo
    best_hi, best_lo = power_hi, power_lo
    sum_hi, sum_lo = power_hi, power_lo
    for times in range(2, 6):
        sum_hi, sum_lo, overflow = add(sum_hi, sum_lo, power_hi, power_lo)
        fits = not overflow and compare(sum_hi, sum_lo, hi, lo) <= 0
        if fits and times != 3 and times != 4:
            best_hi, best_lo = sum_hi, sum_lo
    return best_hi, best_lo


# --- what was learned -------------------------------------------------------------------------


@njit(cache=True)
def _float(hi: Hi, lo: Lo) -> float:
    return float(hi) * _WORD + float(lo)


@njit(cache=True)
def _average(known: float, value: float, first: bool) -> float:
    return value if first else known + WEIGHT * (value - known)


@njit(cache=True)
def _whole_number(value: float) -> tuple[Hi, Lo]:
    """Return the least integer from 1 on that is not below a number; at most 2^124."""
    value = min(max(np.ceil(value), 1.0), _MOST)
    hi = np.floor(value / _WORD)
    return np.int64(hi), np.uint64(value - hi * _WORD)


@njit(cache=True)
def _learn_imbalance(bar: Bar, length: float, up: float, down: float, first: bool) -> Any:
    expected = bar.expected
    expected.signed = _average(expected.signed, (up - down) / length, first)
    expected.size = _average(expected.size, (up + down) / length, first)
    chance = np.sqrt(expected.trades) * expected.size
    return max(expected.trades * abs(expected.signed), chance)


@njit(cache=True)
def _learn_runs(bar: Bar, length: float, ups: float, up: float, down: float, first: bool) -> Any:
    expected = bar.expected
    expected.up = _average(expected.up, ups / length, first)
    if ups > 0:
        expected.size_up = _average(expected.size_up, up / ups, first or expected.size_up == 0.0)
    if ups < length:
        size_down = down / (length - ups)
        unknown = first or expected.size_down == 0.0
        expected.size_down = _average(expected.size_down, size_down, unknown)
    run_up = expected.up * expected.size_up
    run_down = (1.0 - expected.up) * expected.size_down
    return expected.trades * max(run_up, run_down)


@njit(cache=True)
def learn(bar: Bar, k: int, totals: Totals, inverse: bool) -> None:
    """Set the threshold of the bar that follows one which closes at `totals`, k < 9."""
    measure, form = k // 3, k % 3
    first = bar.threshold_hi == 0 and bar.threshold_lo == _0
    if form == PLAIN:
        if first:
            hi, lo = whole_of(totals, measure, inverse)
            since_hi, since_lo = whole_of(bar.since, measure, inverse)
            hi, lo, _ = subtract(hi, lo, since_hi, since_lo)
            bar.step_hi, bar.step_lo = rounded(hi, lo)
            bar.threshold_hi, bar.threshold_lo = bar.step_hi, bar.step_lo
        return
    expected = bar.expected
    length = float(totals.trades - bar.since.trades)
    ups = float(totals.trades_up - bar.since.trades_up)
    up_hi, up_lo, down_hi, down_lo = split(totals, measure, inverse)
    since_up_hi, since_up_lo, since_down_hi, since_down_lo = split(bar.since, measure, inverse)
    up_hi, up_lo, _ = subtract(up_hi, up_lo, since_up_hi, since_up_lo)
    down_hi, down_lo, _ = subtract(down_hi, down_lo, since_down_hi, since_down_lo)
    up, down = _float(up_hi, up_lo), _float(down_hi, down_lo)
    if first:
        expected.first = float(np.int64(bar.step_lo))
    trades = _average(expected.trades, length, first)
    expected.trades = min(max(trades, expected.first / STRETCH), expected.first * STRETCH)
    if form == IMBALANCE:
        threshold = _learn_imbalance(bar, length, up, down, first)
    else:
        threshold = _learn_runs(bar, length, ups, up, down, first)
    bar.threshold_hi, bar.threshold_lo = _whole_number(threshold)


@njit(cache=True)
def exponent_of(k: int, price_exponent: int, quantity_exponent: int, inverse: bool) -> int:
    """Return the exponent of a threshold's mantissa: that of its measure, or of prices."""
    if k in (RENKO, RANGE):
        return price_exponent
    measure = k // 3
    if measure == TRADES:
        return 0
    if measure == NOTIONAL and not inverse:
        return price_exponent + quantity_exponent
    return quantity_exponent
