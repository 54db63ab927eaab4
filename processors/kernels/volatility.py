"""Volatility: true range, and the deviation of returns by close, by range, by both.

Realised volatilities are of one record times sqrt(`a_year`), records in a year: 365 for days,
525,600 for minutes; 1 leaves them as they are. Fractions, not percent.
"""

import math

from numba import njit

from tidemill.processors.kernels.indicator import SIGNATURE, Given, Indicator, Parameter, Values
from tidemill.processors.kernels.moving_averages import NAN, larger, period, push, smaller
from tidemill.processors.kernels.oscillators import wilder
from tidemill.schemas.mathematics import log

LN2 = 0.6931471805599453


@njit(cache=True, error_model="numpy")
def average_range(
    state: Values, parameters: Values, inputs: Values, outputs: Values, relative: bool
) -> None:
    """ATR, or NATR: the same in percent of the close."""
    length = parameters[0]
    seen, average, before = state[0], state[1], state[2]
    for k in range(inputs.shape[1]):
        close = inputs[2, k]
        outputs[0, k] = NAN
        if seen > 0.0:
            reach = larger(inputs[0, k], before) - smaller(inputs[1, k], before)
            _, average = wilder(seen - 1.0, average, length, reach)
        if seen >= length:
            outputs[0, k] = average
            if relative:
                outputs[0, k] = 100.0 * (average / close) if close != 0.0 else 0.0
        seen = smaller(seen + 1.0, length + 1.0)
        before = close
    state[0], state[1], state[2] = seen, average, before


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_atr(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """Wilder's average of the true range, max(high, close before) - min(low, close before), from
    the second record on (J. W. Wilder, 1978; TA-Lib)."""
    average_range(state, parameters, inputs, outputs, False)


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_natr(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """100 x ATR / close (J. Forman, 2006; TA-Lib)."""
    average_range(state, parameters, inputs, outputs, True)


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_realised(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """Deviation of the last `period` log returns of closes, the sample's (by period - 1)."""
    length, year = parameters[0], parameters[1]
    seen, before, at = state[0], state[1], int(state[2])
    total, at2, squares = state[3], int(state[4]), state[5]
    ring, ring2 = state[6 : 6 + int(length)], state[6 + int(length) :]
    for k in range(inputs.shape[1]):
        close = log(inputs[0, k])
        if seen > 0.0:
            change = close - before
            at, total = push(ring, at, total, change)
            at2, squares = push(ring2, at2, squares, change * change)
        before = close
        variance = (squares - total * total / length) / (length - 1.0)
        outputs[0, k] = math.sqrt(larger(variance, 0.0) * year) if seen >= length else NAN
        seen = smaller(seen + 1.0, length)
    state[0], state[1], state[2] = seen, before, at
    state[3], state[4], state[5] = total, at2, squares


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_parkinson(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """sqrt(mean of ln(high/low)^2 / (4 ln 2)) (M. Parkinson, Journal of Business 53, 1980)."""
    length, year = parameters[0], parameters[1]
    seen, at, total, ring = state[0], int(state[1]), state[2], state[3:]
    for k in range(inputs.shape[1]):
        reach = log(inputs[0, k] / inputs[1, k])
        at, total = push(ring, at, total, reach * reach)
        seen = smaller(seen + 1.0, length)
        mean = larger(total, 0.0) / length / (4.0 * LN2)
        outputs[0, k] = math.sqrt(mean * year) if seen >= length else NAN
    state[0], state[1], state[2] = seen, at, total


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_garman_klass(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """sqrt(mean of ln(high/low)^2 / 2 - (2 ln 2 - 1) ln(close/open)^2) (M. Garman and M. Klass,
    Journal of Business 53, 1980)."""
    length, year = parameters[0], parameters[1]
    seen, at, total, ring = state[0], int(state[1]), state[2], state[3:]
    for k in range(inputs.shape[1]):
        reach, moved = log(inputs[1, k] / inputs[2, k]), log(inputs[3, k] / inputs[0, k])
        one = 0.5 * reach * reach - (2.0 * LN2 - 1.0) * moved * moved
        at, total = push(ring, at, total, one)
        seen = smaller(seen + 1.0, length)
        outputs[0, k] = math.sqrt(larger(total, 0.0) / length * year) if seen >= length else NAN
    state[0], state[1], state[2] = seen, at, total


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_yang_zhang(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """sqrt(variance of ln(open / close before) + w variance of ln(close/open) + (1 - w) Rogers and
    Satchell's), the variances by period - 1, w = 0.34 / (1.34 + (period + 1) / (period - 1)) (D.
    Yang and Q. Zhang, Journal of Business 73, 2000)."""
    length, year = parameters[0], parameters[1]
    n = int(length)
    weight = 0.34 / (1.34 + (length + 1.0) / (length - 1.0))
    seen, before, at = state[0], state[1], int(state[2])
    gaps, gaps2, moves, moves2, ranges = state[3], state[4], state[5], state[6], state[7]
    r = state[8:]
    ring1, ring2, ring3 = r[:n], r[n : 2 * n], r[2 * n : 3 * n]
    ring4, ring5 = r[3 * n : 4 * n], r[4 * n :]
    for k in range(inputs.shape[1]):
        opened, close = log(inputs[0, k]), log(inputs[3, k])
        up, down = log(inputs[1, k]) - opened, log(inputs[2, k]) - opened
        if seen > 0.0:
            gap, move = opened - before, close - opened
            _, gaps = push(ring1, at, gaps, gap)
            _, gaps2 = push(ring2, at, gaps2, gap * gap)
            _, moves = push(ring3, at, moves, move)
            _, moves2 = push(ring4, at, moves2, move * move)
            at, ranges = push(ring5, at, ranges, up * (up - move) + down * (down - move))
        before = close
        overnight = larger(gaps2 - gaps * gaps / length, 0.0) / (length - 1.0)
        inside = larger(moves2 - moves * moves / length, 0.0) / (length - 1.0)
        variance = overnight + weight * inside + (1.0 - weight) * larger(ranges, 0.0) / length
        outputs[0, k] = math.sqrt(variance * year) if seen >= length else NAN
        seen = smaller(seen + 1.0, length)
    state[0], state[1], state[2] = seen, before, at
    state[3], state[4], state[5], state[6], state[7] = gaps, gaps2, moves, moves2, ranges


def _before(given: Given) -> int:
    return int(given[0]) - 1


def _period(given: Given) -> int:
    return int(given[0])


HLC = ("high", "low", "close")
OHLC = ("open", *HLC)
YEAR = Parameter("a_year", 365, 1, 1e8, False)
REALISING = (period(20, low=2), YEAR)
ATR = Indicator("atr", HLC, (period(14),), ("atr",), lambda g: 3, _period, run_atr)
NATR = Indicator("natr", HLC, (period(14),), ("natr",), lambda g: 3, _period, run_natr)
REALISED = Indicator(
    "realised",
    ("close",),
    REALISING,
    ("volatility",),
    lambda g: int(6 + 2 * g[0]),
    _period,
    run_realised,
)
PARKINSON = Indicator(
    "parkinson",
    ("high", "low"),
    REALISING,
    ("volatility",),
    lambda g: 3 + _period(g),
    _before,
    run_parkinson,
)
GARMAN_KLASS = Indicator(
    "garman_klass",
    OHLC,
    REALISING,
    ("volatility",),
    lambda g: 3 + _period(g),
    _before,
    run_garman_klass,
)
YANG_ZHANG = Indicator(
    "yang_zhang",
    OHLC,
    REALISING,
    ("volatility",),
    lambda g: int(8 + 5 * g[0]),
    _period,
    run_yang_zhang,
)
FAMILY = (ATR, NATR, REALISED, PARKINSON, GARMAN_KLASS, YANG_ZHANG)
