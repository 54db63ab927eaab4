"""Moving averages: simple, exponential, weighted and their combinations, adaptive, by volume.

Seeds are TA-Lib's defaults (https://ta-lib.org/functions/): an exponential average begins as the
simple average of its first `period` values.
"""

import math

import numpy as np
from numba import njit

from tidemill.processors.kernels.indicator import SIGNATURE, Given, Indicator, Parameter, Values

PERIOD_MAX = 1_000
NAN = np.nan


def period(default: float, name: str = "period", low: float = 1) -> Parameter:
    """Return the parameter that says how many records a window or an average has."""
    return Parameter(name, default, low, PERIOD_MAX)


@njit(cache=True, error_model="numpy")
def larger(a: float, b: float) -> float:
    """Return the larger of two; `max` compiles to branches that mind NaN, three times as slow."""
    return a if a > b else b


@njit(cache=True, error_model="numpy")
def smaller(a: float, b: float) -> float:
    """Return the smaller of two."""
    return a if a < b else b


@njit(cache=True, error_model="numpy")
def push(ring: Values, at: int, total: float, value: float) -> tuple[int, float]:
    """Let `value` take the place `at` of a ring of zeros or values; return the next place and sum.

    The sum is added up anew whenever the ring has gone round.
    """
    total += value - ring[at]
    ring[at] = value
    at += 1
    if at == len(ring):
        at = 0
        total = 0.0
        for k in range(len(ring)):
            total += ring[k]
    return at, total


@njit(cache=True, error_model="numpy")
def smooth(
    seen: float, average: float, length: float, alpha: float, value: float
) -> tuple[float, float]:
    """Take `value` into an exponential average that begins as the mean of its first `length`.

    `average` is the sum of the values until `seen` reaches `length`, the average from there on.
    """
    if seen >= length:
        return seen, average + (value - average) * alpha
    seen += 1.0
    average += value
    if seen >= length:
        average /= length
    return seen, average


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_sma(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """Mean of the last `period` closes."""
    length = int(parameters[0])
    seen, at, total, ring = state[0], int(state[1]), state[2], state[3:]
    for k in range(inputs.shape[1]):
        at, total = push(ring, at, total, inputs[0, k])
        seen += 1.0
        outputs[0, k] = total / length if seen >= length else NAN
    state[0], state[1], state[2] = smaller(seen, length), at, total


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_ema(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """average += (close - average) x 2 / (period + 1)."""
    length = parameters[0]
    alpha = 2.0 / (length + 1.0)
    seen, average = state[0], state[1]
    for k in range(inputs.shape[1]):
        seen, average = smooth(seen, average, length, alpha, inputs[0, k])
        outputs[0, k] = average if seen >= length else NAN
    state[0], state[1] = seen, average


@njit(cache=True, error_model="numpy")
def weigh(
    ring: Values, at: int, total: float, weighted: float, value: float
) -> tuple[int, float, float]:
    """Let `value` into a window of which the newest weighs its length, the oldest 1.

    Returns the next place, the sum and the weighted sum.
    """
    weighted += len(ring) * value - total
    total += value - ring[at]
    ring[at] = value
    at += 1
    if at == len(ring):
        at, total, weighted, weight = 0, 0.0, 0.0, 0.0
        for k in range(len(ring)):
            weight += 1.0
            total += ring[k]
            weighted += weight * ring[k]
    return at, total, weighted


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_wma(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """Mean of the last `period` closes, the newest weighing `period`, the oldest 1."""
    length = parameters[0]
    weights = length * (length + 1.0) / 2.0
    seen, at, total, weighted, ring = state[0], int(state[1]), state[2], state[3], state[4:]
    for k in range(inputs.shape[1]):
        at, total, weighted = weigh(ring, at, total, weighted, inputs[0, k])
        seen += 1.0
        outputs[0, k] = weighted / weights if seen >= length else NAN
    state[0], state[1], state[2], state[3] = smaller(seen, length), at, total, weighted


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_dema(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """2 EMA - EMA of EMA (P. Mulloy, Technical Analysis of Stocks & Commodities, 1994-02)."""
    length = parameters[0]
    alpha = 2.0 / (length + 1.0)
    seen, once, again, twice = state[0], state[1], state[2], state[3]
    for k in range(inputs.shape[1]):
        seen, once = smooth(seen, once, length, alpha, inputs[0, k])
        if seen >= length:
            again, twice = smooth(again, twice, length, alpha, once)
        outputs[0, k] = 2.0 * once - twice if again >= length else NAN
    state[0], state[1], state[2], state[3] = seen, once, again, twice


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_tema(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """3 EMA - 3 EMA of EMA + EMA of EMA of EMA (P. Mulloy, the same)."""
    length = parameters[0]
    alpha = 2.0 / (length + 1.0)
    seen, once, again, twice, third, thrice = state
    for k in range(inputs.shape[1]):
        seen, once = smooth(seen, once, length, alpha, inputs[0, k])
        if seen >= length:
            again, twice = smooth(again, twice, length, alpha, once)
        if again >= length:
            third, thrice = smooth(third, thrice, length, alpha, twice)
        outputs[0, k] = 3.0 * once - 3.0 * twice + thrice if third >= length else NAN
    state[0], state[1], state[2], state[3], state[4], state[5] = (
        seen, once, again, twice, third, thrice,
    )  # fmt: skip


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_hma(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """WMA over floor(sqrt(period)) of 2 WMA(floor(period / 2)) - WMA(period) (A. Hull, 2005,
    https://alanhull.com/hull-moving-average)."""
    length = int(parameters[0])
    half, root = length // 2, int(math.sqrt(parameters[0]))
    long, short, last = state[11 : 11 + length], state[11 + length :], state[11 + length + half :]
    short = short[:half]
    seen, at, total, weighted = state[0], int(state[1]), state[2], state[3]
    at2, total2, weighted2 = int(state[4]), state[5], state[6]
    ready, at3, total3, weighted3 = state[7], int(state[8]), state[9], state[10]
    weights, weights2 = length * (length + 1) / 2.0, half * (half + 1) / 2.0
    weights3 = root * (root + 1) / 2.0
    for k in range(inputs.shape[1]):
        value = inputs[0, k]
        at, total, weighted = weigh(long, at, total, weighted, value)
        at2, total2, weighted2 = weigh(short, at2, total2, weighted2, value)
        seen = smaller(seen + 1.0, length)
        if seen >= length:
            raw = 2.0 * (weighted2 / weights2) - weighted / weights
            at3, total3, weighted3 = weigh(last, at3, total3, weighted3, raw)
            ready = smaller(ready + 1.0, root)
        outputs[0, k] = weighted3 / weights3 if ready >= root else NAN
    state[0], state[1], state[2], state[3] = seen, at, total, weighted
    state[4], state[5], state[6] = at2, total2, weighted2
    state[7], state[8], state[9], state[10] = ready, at3, total3, weighted3


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_kama(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """Kaufman's adaptive average: it follows by how straight the way of `period` closes was.

    k += (x - k) (E (2/(fast+1) - 2/(slow+1)) + 2/(slow+1))^2, E = |x - x[period]| over the sum of
    the |changes| between; 1 where nothing moved. Begins at the close before the first value
    (P. Kaufman, Smarter Trading, 1995; as TA-Lib).
    """
    length = int(parameters[0])
    fast, slow = 2.0 / (parameters[1] + 1.0), 2.0 / (parameters[2] + 1.0)
    seen, at, total, average = state[0], int(state[1]), state[2], state[3]
    before, closes, changes = state[4], state[5 : 5 + length], state[5 + length :]
    for k in range(inputs.shape[1]):
        value = inputs[0, k]
        oldest = closes[at]
        closes[at] = value
        change = abs(value - before) if seen > 0.0 else 0.0
        at, total = push(changes, at, total, change)
        if seen >= length:
            if seen == length:
                average = before
                seen += 1.0
            moved = value - oldest
            straight = 1.0 if total <= moved or total == 0.0 else abs(moved / total)
            weight = straight * (fast - slow) + slow
            average += (value - average) * (weight * weight)
            outputs[0, k] = average
        else:
            seen += 1.0
            outputs[0, k] = NAN
        before = value
    state[0], state[1], state[2], state[3], state[4] = seen, at, total, average, before


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_vwma(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """Mean of the last `period` closes by volume; the close where nothing was traded in them."""
    length = int(parameters[0])
    seen, at, notional, volume = state[0], int(state[1]), state[2], state[3]
    notionals, volumes = state[4 : 4 + length], state[4 + length :]
    for k in range(inputs.shape[1]):
        close, quantity = inputs[0, k], inputs[1, k]
        _, notional = push(notionals, at, notional, close * quantity)
        at, volume = push(volumes, at, volume, quantity)
        seen += 1.0
        value = notional / volume if volume > 0.0 else close
        outputs[0, k] = value if seen >= length else NAN
    state[0], state[1], state[2], state[3] = smaller(seen, length), at, notional, volume


def _period(given: Given) -> int:
    return int(given[0])


def _before(given: Given) -> int:
    return int(given[0]) - 1


def _of_hull(given: Given) -> int:
    return 11 + _period(given) + _period(given) // 2 + math.isqrt(_period(given))


def _fast_first(given: Given) -> str:
    return "" if given[1] < given[2] else "fast must be below slow"


CLOSE = ("close",)
SMA = Indicator("sma", CLOSE, (period(20),), ("sma",), lambda g: 3 + _period(g), _before, run_sma)
EMA = Indicator("ema", CLOSE, (period(20),), ("ema",), lambda g: 2, _before, run_ema)
WMA = Indicator("wma", CLOSE, (period(20),), ("wma",), lambda g: 4 + _period(g), _before, run_wma)
DEMA = Indicator(
    "dema", CLOSE, (period(20),), ("dema",), lambda g: 4, lambda g: 2 * _before(g), run_dema
)
TEMA = Indicator(
    "tema", CLOSE, (period(20),), ("tema",), lambda g: 6, lambda g: 3 * _before(g), run_tema
)
HMA = Indicator(
    "hma",
    CLOSE,
    (period(20, low=2),),
    ("hma",),
    _of_hull,
    lambda g: _before(g) + math.isqrt(_period(g)) - 1,
    run_hma,
)
KAMA = Indicator(
    "kama",
    CLOSE,
    (period(10), period(2, "fast"), period(30, "slow")),
    ("kama",),
    lambda g: 5 + 2 * _period(g),
    _period,
    run_kama,
    valid=_fast_first,
)
VWMA = Indicator(
    "vwma",
    ("close", "volume"),
    (period(20),),
    ("vwma",),
    lambda g: 4 + 2 * _period(g),
    _before,
    run_vwma,
)
FAMILY = (SMA, EMA, WMA, DEMA, TEMA, HMA, KAMA, VWMA)
