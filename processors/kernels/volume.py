"""Volume: what was traded as prices rose and fell, and average prices by it.

Seeds are TA-Lib's defaults (https://ta-lib.org/functions/) where it has the indicator.
"""

from numba import njit

from tidemill.processors.kernels.indicator import SIGNATURE, Given, Indicator, Parameter, Values
from tidemill.processors.kernels.moving_averages import NAN, period, push, smaller, smooth

DAY_NS = 86_400_000_000_000.0


@njit(cache=True, error_model="numpy")
def placed(high: float, low: float, close: float) -> float:
    """Return where the close stands in its record: 1 at the high, -1 at the low, 0 of no range."""
    reach = high - low
    return ((close - low) - (high - close)) / reach if reach > 0.0 else 0.0


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_obv(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """Sum of volumes, each with the sign of the close's change; begins with the first (J.
    Granville, 1963; TA-Lib)."""
    seen, before, total = state[0], state[1], state[2]
    for k in range(inputs.shape[1]):
        close, volume = inputs[0, k], inputs[1, k]
        if seen == 0.0 or close > before:
            total += volume
        elif close < before:
            total -= volume
        outputs[0, k] = total
        before, seen = close, 1.0
    state[0], state[1], state[2] = seen, before, total


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_adl(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """Accumulation and distribution: sum of volumes by where each close stands (M. Chaikin)."""
    total = state[0]
    for k in range(inputs.shape[1]):
        total += placed(inputs[0, k], inputs[1, k], inputs[2, k]) * inputs[3, k]
        outputs[0, k] = total
    state[0] = total


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_chaikin(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """EMA(fast) - EMA(slow) of accumulation and distribution, both begun at its first value
    (TA-Lib's ADOSC)."""
    alpha, alpha2 = 2.0 / (parameters[0] + 1.0), 2.0 / (parameters[1] + 1.0)
    slow = parameters[1]
    seen, total, fast_average, slow_average = state[0], state[1], state[2], state[3]
    for k in range(inputs.shape[1]):
        total += placed(inputs[0, k], inputs[1, k], inputs[2, k]) * inputs[3, k]
        if seen == 0.0:
            fast_average = slow_average = total
        else:
            fast_average += (total - fast_average) * alpha
            slow_average += (total - slow_average) * alpha2
        seen = smaller(seen + 1.0, slow)
        outputs[0, k] = fast_average - slow_average if seen >= slow else NAN
    state[0], state[1], state[2], state[3] = seen, total, fast_average, slow_average


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_cmf(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """Sum of volumes by where each close stands over that of volumes, of `period` (M. Chaikin). 0
    where nothing was traded."""
    length = int(parameters[0])
    seen, at, flow, volume = state[0], int(state[1]), state[2], state[3]
    flows, volumes = state[4 : 4 + length], state[4 + length :]
    for k in range(inputs.shape[1]):
        quantity = inputs[3, k]
        one = placed(inputs[0, k], inputs[1, k], inputs[2, k]) * quantity
        _, flow = push(flows, at, flow, one)
        at, volume = push(volumes, at, volume, quantity)
        seen = smaller(seen + 1.0, length)
        value = flow / volume if volume > 0.0 else 0.0
        outputs[0, k] = value if seen >= length else NAN
    state[0], state[1], state[2], state[3] = seen, at, flow, volume


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_mfi(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """100 x rising / (rising + falling) typical price x volume of `period` (G. Quong and A.
    Soudack, Technical Analysis of Stocks & Commodities, 1989-03). 50 where none flowed (TA-Lib says
    0 below 1)."""
    length = int(parameters[0])
    seen, before, at, rise, fall = state[0], state[1], int(state[2]), state[3], state[4]
    rises, falls = state[5 : 5 + length], state[5 + length :]
    for k in range(inputs.shape[1]):
        typical = (inputs[0, k] + inputs[1, k] + inputs[2, k]) / 3.0
        flow = typical * inputs[3, k]
        if seen > 0.0:
            _, rise = push(rises, at, rise, flow if typical > before else 0.0)
            at, fall = push(falls, at, fall, flow if typical < before else 0.0)
        before = typical
        both = rise + fall
        value = 100.0 * (rise / both) if both > 0.0 else 50.0
        outputs[0, k] = value if seen >= length else NAN
        seen = smaller(seen + 1.0, length)
    state[0], state[1], state[2], state[3], state[4] = seen, before, at, rise, fall


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_force(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """EMA of the close's change x volume (A. Elder, Trading for a Living, 1993)."""
    length = parameters[0]
    alpha = 2.0 / (length + 1.0)
    any_before, before, seen, average = state[0], state[1], state[2], state[3]
    for k in range(inputs.shape[1]):
        close = inputs[0, k]
        if any_before > 0.0:
            seen, average = smooth(seen, average, length, alpha, (close - before) * inputs[1, k])
        outputs[0, k] = average if seen >= length else NAN
        before, any_before = close, 1.0
    state[0], state[1], state[2], state[3] = any_before, before, seen, average


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_eom(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """Mean of `period` times the middle's way by range over volume: (m - m before) x (high - low) x
    `scale` / volume (R. Arms). 0 of a record without volume."""
    length, scale = int(parameters[0]), parameters[1]
    seen, before, at, total, ring = state[0], state[1], int(state[2]), state[3], state[4:]
    for k in range(inputs.shape[1]):
        high, low, volume = inputs[0, k], inputs[1, k], inputs[2, k]
        middle = (high + low) / 2.0
        if seen > 0.0:
            ease = (middle - before) * (high - low) * scale / volume if volume > 0.0 else 0.0
            at, total = push(ring, at, total, ease)
        before = middle
        outputs[0, k] = total / length if seen >= length else NAN
        seen = smaller(seen + 1.0, length)
    state[0], state[1], state[2], state[3] = seen, before, at, total


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_vwap(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """What was paid over what was bought since the UTC day began, exactly as traded (quote volume
    over volume, not typical prices); the close until something is."""
    day, notional, volume = state[0], state[1], state[2]
    for k in range(inputs.shape[1]):
        today = inputs[3, k] // DAY_NS + 1.0
        if today != day:
            day, notional, volume = today, 0.0, 0.0
        notional += inputs[1, k]
        volume += inputs[2, k]
        outputs[0, k] = notional / volume if volume > 0.0 else inputs[0, k]
    state[0], state[1], state[2] = day, notional, volume


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_anchored_vwap(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """The same since the first record that opens at or after `anchor` (seconds of UTC)."""
    anchor = parameters[0] * 1e9
    notional, volume = state[0], state[1]
    for k in range(inputs.shape[1]):
        outputs[0, k] = NAN
        if inputs[3, k] >= anchor:
            notional += inputs[1, k]
            volume += inputs[2, k]
            outputs[0, k] = notional / volume if volume > 0.0 else inputs[0, k]
    state[0], state[1] = notional, volume


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_vwap_typical(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """Typical prices, (high + low + close) / 3, by volume since the UTC day began: what charts draw
    that know no trades; the close until something is traded."""
    day, notional, volume = state[0], state[1], state[2]
    for k in range(inputs.shape[1]):
        today = inputs[4, k] // DAY_NS + 1.0
        if today != day:
            day, notional, volume = today, 0.0, 0.0
        typical = (inputs[0, k] + inputs[1, k] + inputs[2, k]) / 3.0
        notional += typical * inputs[3, k]
        volume += inputs[3, k]
        outputs[0, k] = notional / volume if volume > 0.0 else inputs[2, k]
    state[0], state[1], state[2] = day, notional, volume


def _period(given: Given) -> int:
    return int(given[0])


HLCV = ("high", "low", "close", "volume")
TRADED = ("close", "quote_volume", "volume", "ts_open")
OBV = Indicator("obv", ("close", "volume"), (), ("obv",), lambda g: 3, lambda g: 0, run_obv)
ADL = Indicator("adl", HLCV, (), ("adl",), lambda g: 1, lambda g: 0, run_adl)
CHAIKIN = Indicator(
    "chaikin",
    HLCV,
    (period(3, "fast"), period(10, "slow")),
    ("chaikin",),
    lambda g: 4,
    lambda g: int(g[1]) - 1,
    run_chaikin,
    valid=lambda g: "" if g[0] < g[1] else "fast must be below slow",
)
CMF = Indicator(
    "cmf",
    HLCV,
    (period(20),),
    ("cmf",),
    lambda g: int(4 + 2 * g[0]),
    lambda g: int(g[0]) - 1,
    run_cmf,
)
MFI = Indicator("mfi", HLCV, (period(14),), ("mfi",), lambda g: int(5 + 2 * g[0]), _period, run_mfi)
FORCE = Indicator(
    "force", ("close", "volume"), (period(13),), ("force",), lambda g: 4, _period, run_force
)
EOM = Indicator(
    "eom",
    ("high", "low", "volume"),
    (period(14), Parameter("scale", 1e8, 1e-12, 1e12, False)),
    ("eom",),
    lambda g: int(4 + g[0]),
    _period,
    run_eom,
)
VWAP = Indicator("vwap", TRADED, (), ("vwap",), lambda g: 3, lambda g: 0, run_vwap)
ANCHORED_VWAP = Indicator(
    "anchored_vwap",
    TRADED,
    (Parameter("anchor", 0, 0, 9e9, False),),
    ("vwap",),
    lambda g: 2,
    lambda g: None if g[0] > 0.0 else 0,
    run_anchored_vwap,
)
VWAP_TYPICAL = Indicator(
    "vwap_typical",
    (*HLCV, "ts_open"),
    (),
    ("vwap",),
    lambda g: 3,
    lambda g: 0,
    run_vwap_typical,
)
FAMILY = (OBV, ADL, CHAIKIN, CMF, MFI, FORCE, EOM, VWAP, ANCHORED_VWAP, VWAP_TYPICAL)
