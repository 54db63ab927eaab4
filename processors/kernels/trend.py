"""Trend: Aroon, directional movement, stops that trail (parabolic, SuperTrend), Ichimoku's lines.

Seeds are TA-Lib's defaults (https://ta-lib.org/functions/) where it has the indicator.
"""

from numba import njit

from tidemill.processors.kernels.indicator import SIGNATURE, Given, Indicator, Parameter, Values
from tidemill.processors.kernels.moving_averages import NAN, larger, period, smaller
from tidemill.processors.kernels.oscillators import extreme, settle, wilder


@njit(cache=True, error_model="numpy")
def highest(queue: Values, first: int, held: int, age: float, value: float) -> tuple[int, int]:
    """Let `value` of the record `age` into a falling queue; its front is the window's maximum.

    `queue` (2 x length,): values, then the records that they are of. Of equal values the newest
    stays. Returns the place of the front and how many are held. Amortised O(1).
    """
    length = len(queue) // 2
    if held and queue[length + first] <= age - length:
        first += 1
        if first == length:
            first = 0
        held -= 1
    at = first + held - 1
    if at >= length:
        at -= length
    while held and queue[at] <= value:
        held -= 1
        at -= 1
        if at < 0:
            at = length - 1
    at += 1
    if at == length or held == 0:
        at = 0 if held else first
    queue[at], queue[length + at] = value, age
    return first, held + 1


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_aroon(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """100 x (period - records since the highest high, or lowest low, of period + 1) / period: up,
    down, and up - down (T. Chande, 1995). Of equal extremes the newest counts."""
    length = parameters[0]
    window = int(length) + 1
    age, first, held = state[0], int(state[1]), int(state[2])
    first2, held2 = int(state[3]), int(state[4])
    high, low = state[5 : 5 + 2 * window], state[5 + 2 * window :]
    for k in range(inputs.shape[1]):
        age += 1.0
        first, held = highest(high, first, held, age, inputs[0, k])
        first2, held2 = highest(low, first2, held2, age, -inputs[1, k])
        outputs[0, k] = outputs[1, k] = outputs[2, k] = NAN
        if age >= window:
            up = 100.0 * ((length - (age - high[window + first])) / length)
            down = 100.0 * ((length - (age - low[window + first2])) / length)
            outputs[0, k], outputs[1, k], outputs[2, k] = up, down, up - down
    state[0], state[1], state[2], state[3], state[4] = age, first, held, first2, held2


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_adx(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """ADX, +DI and -DI (J. W. Wilder, 1978): sums of directional movement over that of true range,
    each s += x - s / period; DX = 100 x |+DI - -DI| / (+DI + -DI); ADX its Wilder average. 0 where
    nothing moved."""
    length = parameters[0]
    seen, high, low, close = state[0], state[1], state[2], state[3]
    rises, falls, reach, ready, average = state[4], state[5], state[6], state[7], state[8]
    for k in range(inputs.shape[1]):
        up, down = inputs[0, k] - high, low - inputs[1, k]
        high, low = inputs[0, k], inputs[1, k]
        outputs[0, k] = outputs[1, k] = outputs[2, k] = NAN
        if seen > 0.0:
            if seen >= length:
                rises -= rises / length
                falls -= falls / length
                reach -= reach / length
            if down > 0.0 and up < down:
                falls += down
            elif up > 0.0 and up > down:
                rises += up
            reach += larger(high, close) - smaller(low, close)
        close = inputs[2, k]
        if seen >= length:
            plus = 100.0 * (rises / reach) if reach > 0.0 else 0.0
            minus = 100.0 * (falls / reach) if reach > 0.0 else 0.0
            both = plus + minus
            moved = 100.0 * (abs(plus - minus) / both) if both > 0.0 else 0.0
            ready, average = wilder(ready, average, length, moved)
            outputs[1, k], outputs[2, k] = plus, minus
            if ready >= length:
                outputs[0, k] = average
        seen = smaller(seen + 1.0, length)
    state[0], state[1], state[2], state[3] = seen, high, low, close
    state[4], state[5], state[6], state[7], state[8] = rises, falls, reach, ready, average


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_psar(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """Wilder's parabolic stop and reverse: sar += a x (extreme - sar); a grows by `step` with each
    new extreme, to `most`. Begins long unless the second record's low fell by more than its high
    rose, as TA-Lib."""
    step, most = parameters[0], parameters[1]
    seen, long, sar, extreme = state[0], state[1], state[2], state[3]
    pace, before_high, before_low = state[4], state[5], state[6]
    for k in range(inputs.shape[1]):
        high, low = inputs[0, k], inputs[1, k]
        outputs[0, k] = NAN
        if seen == 1.0:
            up, down = high - before_high, before_low - low
            long = 0.0 if down > 0.0 and up < down else 1.0
            extreme, sar = (high, before_low) if long else (low, before_high)
            pace = step
            before_high, before_low = high, low
        if seen >= 1.0:
            if (long and low <= sar) or (not long and high >= sar):
                turned = extreme
                if long:
                    turned = larger(turned, larger(before_high, high))
                    extreme = low
                else:
                    turned = smaller(turned, smaller(before_low, low))
                    extreme = high
                long = 1.0 - long
                outputs[0, k] = turned
                pace, sar = step, turned
            else:
                outputs[0, k] = sar
                if long and high > extreme:
                    extreme, pace = high, smaller(pace + step, most)
                elif not long and low < extreme:
                    extreme, pace = low, smaller(pace + step, most)
            sar += pace * (extreme - sar)
            sar = (
                smaller(sar, smaller(before_low, low))
                if long
                else larger(sar, larger(before_high, high))
            )
        before_high, before_low = high, low
        seen = smaller(seen + 1.0, 2.0)
    state[0], state[1], state[2], state[3] = seen, long, sar, extreme
    state[4], state[5], state[6] = pace, before_high, before_low


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_supertrend(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """The line below a rising (direction 1) or above a falling market (-1): (high + low) / 2 -+
    `multiplier` x ATR(period), which only tightens until a close passes it (O. Seban). Begins
    falling unless the first close with an ATR is above the upper band."""
    length, multiplier = parameters[0], parameters[1]
    seen, average, close = state[0], state[1], state[2]
    upper, lower, direction = state[3], state[4], state[5]
    for k in range(inputs.shape[1]):
        high, low, before = inputs[0, k], inputs[1, k], close
        close = inputs[2, k]
        outputs[0, k] = outputs[1, k] = NAN
        if seen > 0.0:
            _, average = wilder(
                seen - 1.0, average, length, larger(high, before) - smaller(low, before)
            )
        if seen >= length:
            middle, reach = (high + low) / 2.0, multiplier * average
            top, bottom = middle + reach, middle - reach
            if direction == 0.0:
                upper, lower, direction = top, bottom, 1.0 if close > top else -1.0
            else:
                upper = top if top < upper or before > upper else upper
                lower = bottom if bottom > lower or before < lower else lower
                if close > upper:
                    direction = 1.0
                elif close < lower:
                    direction = -1.0
            outputs[0, k] = lower if direction > 0.0 else upper
            outputs[1, k] = direction
        seen = smaller(seen + 1.0, length + 1.0)
    state[0], state[1], state[2] = seen, average, close
    state[3], state[4], state[5] = upper, lower, direction


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_ichimoku(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """Middles of highest high and lowest low (G. Hosoda, 1969): conversion, base, span A (the mean
    of both), span B over `span`, and the close. As of this record: charts draw the spans `base`
    records later and the close as many earlier."""
    a, b, c = int(parameters[0]), int(parameters[1]), int(parameters[2])
    age, at1, at2, at3 = state[0], int(state[1]), int(state[2]), int(state[3])
    most1, least1, most2 = state[4], state[5], state[6]
    least2, most3, least3 = state[7], state[8], state[9]
    blocks = state[10:]
    high1, low1 = blocks[:a], blocks[a : 2 * a]
    high2, low2 = blocks[2 * a : 2 * a + b], blocks[2 * a + b : 2 * (a + b)]
    high3, low3 = blocks[2 * (a + b) : 2 * (a + b) + c], blocks[2 * (a + b) + c :]
    for k in range(inputs.shape[1]):
        high, fall = inputs[0, k], -inputs[1, k]
        age = smaller(age + 1.0, c)
        most1, top1 = extreme(high1, at1, most1, high)
        least1, bottom1 = extreme(low1, at1, least1, fall)
        at1 = settle(high1, low1, at1)
        most2, top2 = extreme(high2, at2, most2, high)
        least2, bottom2 = extreme(low2, at2, least2, fall)
        at2 = settle(high2, low2, at2)
        most3, top3 = extreme(high3, at3, most3, high)
        least3, bottom3 = extreme(low3, at3, least3, fall)
        at3 = settle(high3, low3, at3)
        conversion, base = (top1 - bottom1) / 2.0, (top2 - bottom2) / 2.0
        outputs[0, k] = conversion if age >= a else NAN
        outputs[1, k] = base if age >= b else NAN
        outputs[2, k] = (conversion + base) / 2.0 if age >= b else NAN
        outputs[3, k] = (top3 - bottom3) / 2.0 if age >= c else NAN
        outputs[4, k] = inputs[2, k]
    state[0], state[1], state[2], state[3] = age, at1, at2, at3
    state[4], state[5], state[6] = most1, least1, most2
    state[7], state[8], state[9] = least2, most3, least3


def _rising(given: Given) -> str:
    return "" if given[0] < given[1] < given[2] else "the periods must rise"


HLC = ("high", "low", "close")
AROON = Indicator(
    "aroon",
    ("high", "low"),
    (period(25),),
    ("up", "down", "oscillator"),
    lambda g: int(5 + 4 * (g[0] + 1)),
    lambda g: int(g[0]),
    run_aroon,
)
ADX = Indicator(
    "adx",
    HLC,
    (period(14, low=2),),
    ("adx", "plus_di", "minus_di"),
    lambda g: 9,
    lambda g: int(2 * g[0]) - 1,
    run_adx,
)
PSAR = Indicator(
    "psar",
    ("high", "low"),
    (Parameter("step", 0.02, 1e-4, 1, False), Parameter("most", 0.2, 1e-4, 1, False)),
    ("psar",),
    lambda g: 7,
    lambda g: 1,
    run_psar,
    valid=lambda g: "" if g[0] <= g[1] else "step must not be above most",
)
SUPERTREND = Indicator(
    "supertrend",
    HLC,
    (period(10), Parameter("multiplier", 3, 0.01, 100, False)),
    ("supertrend", "direction"),
    lambda g: 6,
    lambda g: int(g[0]),
    run_supertrend,
)
ICHIMOKU = Indicator(
    "ichimoku",
    HLC,
    (period(9, "conversion"), period(26, "base"), period(52, "span")),
    ("conversion", "base", "span_a", "span_b", "close"),
    lambda g: int(10 + 2 * sum(g)),
    lambda g: int(g[2]) - 1,
    run_ichimoku,
    valid=_rising,
)
FAMILY = (AROON, ADX, PSAR, SUPERTREND, ICHIMOKU)
