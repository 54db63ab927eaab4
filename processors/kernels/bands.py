"""Bands around an average: Bollinger's, Keltner's, Donchian's; and the deviation that they use."""

import math

from numba import njit

from tidemill.processors.kernels.indicator import SIGNATURE, Indicator, Parameter, Values
from tidemill.processors.kernels.moving_averages import NAN, larger, period, smaller, smooth
from tidemill.processors.kernels.oscillators import extreme, settle, wilder


@njit(cache=True, error_model="numpy")
def spread(
    ring: Values, at: int, origin: float, total: float, squares: float, value: float
) -> tuple[int, float, float, float]:
    """Let `value` into a window; return the next place, the origin, and the sums of what the values
    are above the origin and of its squares.

    The origin is a value of the window, taken anew and the sums with it whenever the ring has gone
    round: so squares do not cancel, however far from zero prices are.
    """
    old, new = ring[at] - origin, value - origin
    total += new - old
    squares += new * new - old * old
    ring[at] = value
    at += 1
    if at == len(ring):
        at, origin, total, squares = 0, value, 0.0, 0.0
        for k in range(len(ring)):
            apart = ring[k] - origin
            total += apart
            squares += apart * apart
    return at, origin, total, squares


@njit(cache=True, error_model="numpy")
def begin(ring: Values, origin: float) -> tuple[float, float, float]:
    """Fill a window with its first value; return the origin and the sums over it."""
    for k in range(len(ring)):
        ring[k] = origin
    return origin, 0.0, 0.0


@njit(cache=True, error_model="numpy")
def deviation(length: float, total: float, squares: float) -> float:
    """Return the standard deviation of a full window, divided by its length (population's)."""
    mean = total / length
    variance = squares / length - mean * mean
    return math.sqrt(variance) if variance > 0.0 else 0.0


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_stddev(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """Standard deviation of the last `period` closes, the population's."""
    length = parameters[0]
    seen, at, origin, total, squares = state[0], int(state[1]), state[2], state[3], state[4]
    ring = state[5:]
    for k in range(inputs.shape[1]):
        if seen == 0.0:
            origin, total, squares = begin(ring, inputs[0, k])
        at, origin, total, squares = spread(ring, at, origin, total, squares, inputs[0, k])
        seen = smaller(seen + 1.0, length)
        outputs[0, k] = deviation(length, total, squares) if seen >= length else NAN
    state[0], state[1], state[2], state[3], state[4] = seen, at, origin, total, squares


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_bollinger(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """Mean of `period` closes and `deviations` population's deviations above and below it; %B =
    (close - lower) / (upper - lower), 0.5 where they are one; bandwidth = 100 x (upper - lower) /
    middle (J. Bollinger, Bollinger on Bollinger Bands, 2001)."""
    length, times = parameters[0], parameters[1]
    seen, at, origin, total, squares = state[0], int(state[1]), state[2], state[3], state[4]
    ring = state[5:]
    for k in range(inputs.shape[1]):
        close = inputs[0, k]
        if seen == 0.0:
            origin, total, squares = begin(ring, close)
        at, origin, total, squares = spread(ring, at, origin, total, squares, close)
        seen = smaller(seen + 1.0, length)
        for j in range(5):
            outputs[j, k] = NAN
        if seen >= length:
            middle = origin + total / length
            reach = times * deviation(length, total, squares)
            upper, lower = middle + reach, middle - reach
            wide = upper - lower
            outputs[0, k], outputs[1, k], outputs[2, k] = upper, middle, lower
            outputs[3, k] = (close - lower) / wide if wide > 0.0 else 0.5
            outputs[4, k] = 100.0 * (wide / middle) if middle != 0.0 else 0.0
    state[0], state[1], state[2], state[3], state[4] = seen, at, origin, total, squares


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_keltner(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """EMA of `period` closes, and `multiplier` x ATR(`atr_period`) above and below it (L. Raschke's
    form of C. Keltner's channel, as StockCharts has it)."""
    length, length2, times = parameters[0], parameters[1], parameters[2]
    alpha = 2.0 / (length + 1.0)
    seen, average, seen2, reach, before, any_before = state
    for k in range(inputs.shape[1]):
        high, low, close = inputs[0, k], inputs[1, k], inputs[2, k]
        seen, average = smooth(seen, average, length, alpha, close)
        if any_before > 0.0:
            seen2, reach = wilder(
                seen2, reach, length2, larger(high, before) - smaller(low, before)
            )
        before, any_before = close, 1.0
        outputs[0, k] = outputs[1, k] = outputs[2, k] = NAN
        if seen >= length:
            outputs[1, k] = average
            if seen2 >= length2:
                outputs[0, k], outputs[2, k] = average + times * reach, average - times * reach
    state[0], state[1], state[2] = seen, average, seen2
    state[3], state[4], state[5] = reach, before, any_before


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_donchian(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """Highest high and lowest low of `period`, and their middle (R. Donchian)."""
    window = int(parameters[0])
    age, place, most, least = state[0], int(state[1]), state[2], state[3]
    high, low = state[4 : 4 + window], state[4 + window :]
    for k in range(inputs.shape[1]):
        age = smaller(age + 1.0, window)
        most, top = extreme(high, place, most, inputs[0, k])
        least, fall = extreme(low, place, least, -inputs[1, k])
        place, bottom = settle(high, low, place), -fall
        outputs[0, k] = outputs[1, k] = outputs[2, k] = NAN
        if age >= window:
            outputs[0, k], outputs[1, k], outputs[2, k] = top, (top + bottom) / 2.0, bottom
    state[0], state[1], state[2], state[3] = age, place, most, least


CHANNEL = ("upper", "middle", "lower")
STDDEV = Indicator(
    "stddev",
    ("close",),
    (period(20, low=2),),
    ("stddev",),
    lambda g: int(5 + g[0]),
    lambda g: int(g[0]) - 1,
    run_stddev,
)
BOLLINGER = Indicator(
    "bollinger",
    ("close",),
    (period(20, low=2), Parameter("deviations", 2, 0.01, 100, False)),
    (*CHANNEL, "percent_b", "bandwidth"),
    lambda g: int(5 + g[0]),
    lambda g: int(g[0]) - 1,
    run_bollinger,
)
KELTNER = Indicator(
    "keltner",
    ("high", "low", "close"),
    (period(20), period(10, "atr_period"), Parameter("multiplier", 2, 0.01, 100, False)),
    CHANNEL,
    lambda g: 6,
    lambda g: int(max(g[0] - 1, g[1])),
    run_keltner,
)
DONCHIAN = Indicator(
    "donchian",
    ("high", "low"),
    (period(20),),
    CHANNEL,
    lambda g: int(4 + 2 * g[0]),
    lambda g: int(g[0]) - 1,
    run_donchian,
)
FAMILY = (STDDEV, BOLLINGER, KELTNER, DONCHIAN)
