"""Oscillators: relative strength, stochastics, convergence of averages, rates of change, channels.

Seeds are TA-Lib's defaults (https://ta-lib.org/functions/). Where a range or a sum is zero, because
no price moved, each says what stands for it; nothing is divided by zero.
"""

from numba import njit

from tidemill.processors.kernels.indicator import SIGNATURE, Given, Indicator, Values
from tidemill.processors.kernels.moving_averages import (
    NAN,
    larger,
    period,
    push,
    smaller,
    smooth,
)


@njit(cache=True, error_model="numpy")
def wilder(seen: float, average: float, length: float, value: float) -> tuple[float, float]:
    """Take `value` into J. W. Wilder's average: the mean of the first `length`, then
    (average x (length - 1) + value) / length. Until then `average` is their sum.
    """
    if seen >= length:
        return seen, average * ((length - 1.0) / length) + value / length
    seen += 1.0
    average += value
    if seen >= length:
        average /= length
    return seen, average


@njit(cache=True, error_model="numpy")
def extreme(block: Values, at: int, best: float, value: float) -> tuple[float, float]:
    """Let `value` take the place `at` of a block; return the block's maximum so far, and the
    window's of the last len(block) values, once there were so many.

    The rest of the block has the maxima from each place to the end of the block before: `settle`
    makes them when a block is full (M. van Herk, Pattern Recognition Letters 13, 1992; J. Gil and
    M. Werman, 1993). Two comparisons a value, in any order of values.
    """
    if at == 0 or value > best:
        best = value
    block[at] = value
    if at + 1 == len(block):
        return best, best
    rest = block[at + 1]
    return best, rest if rest > best else best


@njit(cache=True, error_model="numpy")
def settle(high: Values, low: Values, at: int) -> int:
    """Return the next place of two blocks; full, they become maxima to their end."""
    at += 1
    if at < len(high):
        return at
    most, least = high[at - 1], low[at - 1]
    for k in range(at - 2, -1, -1):
        most = high[k] if high[k] > most else most
        least = low[k] if low[k] > least else least
        high[k], low[k] = most, least
    return 0


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_rsi(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """100 x gain / (gain + loss), Wilder's averages of the closes' rises and falls (J. W. Wilder,
    New Concepts in Technical Trading Systems, 1978). 50 where nothing moved (TA-Lib says 0)."""
    length = parameters[0]
    seen, before, gain, loss = state[0], state[1], state[2], state[3]
    for k in range(inputs.shape[1]):
        value = inputs[0, k]
        outputs[0, k] = NAN
        if seen > 0.0:
            change = value - before
            _, gain = wilder(seen - 1.0, gain, length, larger(change, 0.0))
            _, loss = wilder(seen - 1.0, loss, length, larger(-change, 0.0))
        if seen >= length:
            moved = gain + loss
            outputs[0, k] = 100.0 * (gain / moved) if moved > 0.0 else 50.0
        seen = smaller(seen + 1.0, length + 1.0)
        before = value
    state[0], state[1], state[2], state[3] = seen, before, gain, loss


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_stochrsi(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """Where RSI stands between its lowest and highest of `k_period`, 0 to 100, then a mean of
    `k_smoothing` (k), and of that one of `d_period` (d) (T. Chande and S. Kroll, The New Technical
    Trader, 1994). 50 where RSI did not move."""
    length, window = parameters[0], int(parameters[1])
    smoothing, last = int(parameters[2]), int(parameters[3])
    seen, before, gain, loss = state[0], state[1], state[2], state[3]
    age, place, most, least = state[4], int(state[5]), state[6], state[7]
    at, total, at2, total2 = int(state[8]), state[9], int(state[10]), state[11]
    high, low = state[12 : 12 + window], state[12 + window : 12 + 2 * window]
    rest = state[12 + 2 * window :]
    ks, ds = rest[:smoothing], rest[smoothing:]
    for k in range(inputs.shape[1]):
        value = inputs[0, k]
        outputs[0, k] = outputs[1, k] = NAN
        if seen > 0.0:
            change = value - before
            _, gain = wilder(seen - 1.0, gain, length, larger(change, 0.0))
            _, loss = wilder(seen - 1.0, loss, length, larger(-change, 0.0))
        if seen >= length:
            moved = gain + loss
            rsi = 100.0 * (gain / moved) if moved > 0.0 else 50.0
            age += 1.0
            most, top = extreme(high, place, most, rsi)
            least, fall = extreme(low, place, least, -rsi)
            place, bottom = settle(high, low, place), -fall
            if age >= window:
                raw = 100.0 * ((rsi - bottom) / (top - bottom)) if top > bottom else 50.0
                at, total = push(ks, at, total, raw)
            if age >= window + smoothing - 1:
                outputs[0, k] = total / smoothing
                at2, total2 = push(ds, at2, total2, total / smoothing)
            if age >= window + smoothing + last - 2:
                outputs[1, k] = total2 / last
        seen = smaller(seen + 1.0, length + 1.0)
        before = value
    state[0], state[1], state[2], state[3], state[4] = seen, before, gain, loss, age
    state[5], state[6], state[7] = place, most, least
    state[8], state[9], state[10], state[11] = at, total, at2, total2


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_stochastic(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """Where the close stands between lowest low and highest high of `period`, 0 to 100, as a mean
    of `k_smoothing` (k), and of that one of `d_period` (d) (G. Lane; TA-Lib's STOCH). 50 where
    high and low are one."""
    window, smoothing, last = int(parameters[0]), int(parameters[1]), int(parameters[2])
    age, place, most, least = state[0], int(state[1]), state[2], state[3]
    at, total, at2, total2 = int(state[4]), state[5], int(state[6]), state[7]
    high, low, rest = (
        state[8 : 8 + window],
        state[8 + window : 8 + 2 * window],
        state[8 + 2 * window :],
    )
    ks, ds = rest[:smoothing], rest[smoothing:]
    for k in range(inputs.shape[1]):
        age += 1.0
        most, top = extreme(high, place, most, inputs[0, k])
        least, fall = extreme(low, place, least, -inputs[1, k])
        place, bottom = settle(high, low, place), -fall
        outputs[0, k] = outputs[1, k] = NAN
        if age >= window:
            raw = 100.0 * ((inputs[2, k] - bottom) / (top - bottom)) if top > bottom else 50.0
            at, total = push(ks, at, total, raw)
        if age >= window + smoothing - 1:
            outputs[0, k] = total / smoothing
            at2, total2 = push(ds, at2, total2, total / smoothing)
        if age >= window + smoothing + last - 2:
            outputs[1, k] = total2 / last
    state[0], state[1], state[2], state[3] = age, place, most, least
    state[4], state[5], state[6], state[7] = at, total, at2, total2


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_williams_r(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """-100 x (highest high - close) / (highest high - lowest low) of `period` (L. Williams). -50
    where high and low are one."""
    window = int(parameters[0])
    age, place, most, least = state[0], int(state[1]), state[2], state[3]
    high, low = state[4 : 4 + window], state[4 + window :]
    for k in range(inputs.shape[1]):
        age = smaller(age + 1.0, window)
        most, top = extreme(high, place, most, inputs[0, k])
        least, fall = extreme(low, place, least, -inputs[1, k])
        place, bottom = settle(high, low, place), -fall
        value = -100.0 * ((top - inputs[2, k]) / (top - bottom)) if top > bottom else -50.0
        outputs[0, k] = value if age >= window else NAN
    state[0], state[1], state[2], state[3] = age, place, most, least


@njit(cache=True, error_model="numpy")
def converge(
    state: Values, parameters: Values, inputs: Values, outputs: Values, relative: bool
) -> None:
    """MACD, or PPO: the same in percent of the slow average. As TA-Lib does it, MACD's fast average
    begins late, with the newest of the slow one's first values, and PPO's with its own first."""
    fast, slow, last = parameters[0], parameters[1], parameters[2]
    alpha, alpha2, alpha3 = 2.0 / (fast + 1.0), 2.0 / (slow + 1.0), 2.0 / (last + 1.0)
    seen, quick, seen2, long, seen3, signal = state
    for k in range(inputs.shape[1]):
        value = inputs[0, k]
        seen2, long = smooth(seen2, long, slow, alpha2, value)
        if relative or seen2 > slow - fast:
            seen, quick = smooth(seen, quick, fast, alpha, value)
        outputs[0, k] = outputs[1, k] = outputs[2, k] = NAN
        if seen2 >= slow:
            apart = quick - long
            if relative:
                apart = 100.0 * (apart / long) if long != 0.0 else 0.0
            seen3, signal = smooth(seen3, signal, last, alpha3, apart)
            outputs[0, k] = apart
            if seen3 >= last:
                outputs[1, k], outputs[2, k] = signal, apart - signal
    state[0], state[1], state[2] = seen, quick, seen2
    state[3], state[4], state[5] = long, seen3, signal


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_macd(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """EMA(fast) - EMA(slow), its EMA(signal), and the first minus the second (G. Appel)."""
    converge(state, parameters, inputs, outputs, False)


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_ppo(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """100 x (EMA(fast) - EMA(slow)) / EMA(slow), its EMA(signal), and their difference."""
    converge(state, parameters, inputs, outputs, True)


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_roc(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """100 x (close / close `period` ago - 1); 0 where that was 0."""
    seen, at, ring = state[0], int(state[1]), state[2:]
    length = len(ring)
    for k in range(inputs.shape[1]):
        value, before = inputs[0, k], ring[at]
        ring[at] = value
        at = at + 1 if at + 1 < length else 0
        change = (value / before - 1.0) * 100.0 if before != 0.0 else 0.0
        outputs[0, k] = change if seen >= length else NAN
        seen = smaller(seen + 1.0, length)
    state[0], state[1] = seen, at


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_momentum(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """close - close `period` ago."""
    seen, at, ring = state[0], int(state[1]), state[2:]
    length = len(ring)
    for k in range(inputs.shape[1]):
        value, before = inputs[0, k], ring[at]
        ring[at] = value
        at = at + 1 if at + 1 < length else 0
        outputs[0, k] = value - before if seen >= length else NAN
        seen = smaller(seen + 1.0, length)
    state[0], state[1] = seen, at


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_cci(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """(typical price - its mean) / (0.015 x mean absolute deviation from that mean), typical =
    (high + low + close) / 3 (D. Lambert, Commodities, 1980-10). 0 where nothing deviates. O(period)
    a record: the mean moves, so that every deviation does."""
    length = int(parameters[0])
    seen, at, total, ring = state[0], int(state[1]), state[2], state[3:]
    for k in range(inputs.shape[1]):
        typical = (inputs[0, k] + inputs[1, k] + inputs[2, k]) / 3.0
        at, total = push(ring, at, total, typical)
        seen = smaller(seen + 1.0, length)
        outputs[0, k] = NAN
        if seen >= length:
            mean = total / length
            deviation = 0.0
            for j in range(length):
                deviation += abs(ring[j] - mean)
            deviation /= length
            apart = typical - mean
            outputs[0, k] = apart / (0.015 * deviation) if deviation > 0.0 else 0.0
    state[0], state[1], state[2] = seen, at, total


@njit(cache=True, error_model="numpy")
def add_up(ring: Values, last: int) -> float:
    """Return the sum of the `last` values of a ring that has just gone round."""
    total = 0.0
    for k in range(len(ring) - last, len(ring)):
        total += ring[k]
    return total


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_ultimate(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """100 x (4 a + 2 b + c) / 7, each the buying pressure over the true range, summed over `short`,
    `middle` and `long` (L. Williams, Technical Analysis of Stocks & Commodities, 1985-04). The
    three hold their weight at 50 each where nothing moved."""
    seen, before, at = state[0], state[1], int(state[2])
    short, middle, long = int(parameters[0]), int(parameters[1]), int(parameters[2])
    low1, true1, low2 = state[3], state[4], state[5]
    true2, low3, true3 = state[6], state[7], state[8]
    lows, trues = state[9 : 9 + long], state[9 + long :]
    for k in range(inputs.shape[1]):
        high, low, close = inputs[0, k], inputs[1, k], inputs[2, k]
        outputs[0, k] = NAN
        if seen > 0.0:
            bottom = smaller(low, before)
            pressure, reach = close - bottom, larger(high, before) - bottom
            one_ago, two_ago = at - short, at - middle
            one_ago += long if one_ago < 0 else 0
            two_ago += long if two_ago < 0 else 0
            low1, true1 = low1 + (pressure - lows[one_ago]), true1 + (reach - trues[one_ago])
            low2, true2 = low2 + (pressure - lows[two_ago]), true2 + (reach - trues[two_ago])
            _, low3 = push(lows, at, low3, pressure)
            at, true3 = push(trues, at, true3, reach)
            if at == 0:
                low1, true1 = add_up(lows, short), add_up(trues, short)
                low2, true2 = add_up(lows, middle), add_up(trues, middle)
        if seen >= long:
            one = low1 / true1 if true1 > 0.0 else 0.5
            two = low2 / true2 if true2 > 0.0 else 0.5
            three = low3 / true3 if true3 > 0.0 else 0.5
            outputs[0, k] = 100.0 * (4.0 * one + 2.0 * two + three) / 7.0
        seen = smaller(seen + 1.0, long)
        before = close
    state[0], state[1], state[2] = seen, before, at
    state[3], state[4], state[5] = low1, true1, low2
    state[6], state[7], state[8] = true2, low3, true3


def _sum_stochrsi(given: Given) -> int:
    return int(12 + 2 * given[1] + given[2] + given[3])


def _rising(given: Given) -> str:
    return "" if given[0] < given[1] < given[2] else "the periods must rise"


def _fast_first(given: Given) -> str:
    return "" if given[0] < given[1] else "fast must be below slow"


HLC = ("high", "low", "close")
CROSSING = (period(12, "fast"), period(26, "slow"), period(9, "signal"))
SMOOTHED = (period(3, "k_smoothing"), period(3, "d_period"))
RSI = Indicator(
    "rsi", ("close",), (period(14),), ("rsi",), lambda g: 4, lambda g: int(g[0]), run_rsi
)
STOCHRSI = Indicator(
    "stochrsi",
    ("close",),
    (period(14), period(14, "k_period"), *SMOOTHED),
    ("k", "d"),
    _sum_stochrsi,
    lambda g: int(sum(g)) - 3,
    run_stochrsi,
)
STOCHASTIC = Indicator(
    "stochastic",
    HLC,
    (period(14), *SMOOTHED),
    ("k", "d"),
    lambda g: int(8 + 2 * g[0] + g[1] + g[2]),
    lambda g: int(sum(g)) - 3,
    run_stochastic,
)
WILLIAMS_R = Indicator(
    "williams_r",
    HLC,
    (period(14),),
    ("williams_r",),
    lambda g: int(4 + 2 * g[0]),
    lambda g: int(g[0]) - 1,
    run_williams_r,
)
MACD = Indicator(
    "macd",
    ("close",),
    CROSSING,
    ("macd", "signal", "histogram"),
    lambda g: 6,
    lambda g: int(g[1] + g[2]) - 2,
    run_macd,
    valid=_fast_first,
)
PPO = Indicator(
    "ppo",
    ("close",),
    CROSSING,
    ("ppo", "signal", "histogram"),
    lambda g: 6,
    lambda g: int(g[1] + g[2]) - 2,
    run_ppo,
    valid=_fast_first,
)
ROC = Indicator(
    "roc",
    ("close",),
    (period(10),),
    ("roc",),
    lambda g: int(2 + g[0]),
    lambda g: int(g[0]),
    run_roc,
)
MOMENTUM = Indicator(
    "momentum",
    ("close",),
    (period(10),),
    ("momentum",),
    lambda g: int(2 + g[0]),
    lambda g: int(g[0]),
    run_momentum,
)
CCI = Indicator(
    "cci", HLC, (period(20),), ("cci",), lambda g: int(3 + g[0]), lambda g: int(g[0]) - 1, run_cci
)
ULTIMATE = Indicator(
    "ultimate",
    HLC,
    (period(7, "short"), period(14, "middle"), period(28, "long")),
    ("ultimate",),
    lambda g: int(9 + 2 * g[2]),
    lambda g: int(g[2]),
    run_ultimate,
    valid=_rising,
)
FAMILY = (RSI, STOCHRSI, STOCHASTIC, WILLIAMS_R, MACD, PPO, ROC, MOMENTUM, CCI, ULTIMATE)
