"""What is unusual of a bar beside those before it: robust z-scores, a score of pumps and dumps, and
half-space trees, with every term that makes them."""

from typing import Any

import numpy as np
from numba import njit, uint64

from tidemill.processors.kernels.indicator import SIGNATURE, Given, Indicator, Parameter, Values
from tidemill.processors.kernels.moving_averages import NAN, larger, push, smaller

NORMAL, NORMAL_MEAN = 1.482602218505602, 1.2533141373155001
"""Standard deviations of a normal distribution in one median, one mean absolute deviation."""
HEIGHT = 6
"""Of a half-space tree: so many cuts lead to a leaf."""
NODES = 1 << (HEIGHT + 1)
"""Places of a tree's nodes: the root is 1, the two below node n are 2n and 2n + 1."""
FEATURES = 3
SMALL = 0.1
"""A node that saw less than this part of a window is not followed further."""
HEAD = 7
"""Words of a half-space trees' state before its masses."""
_30, _27, _31, _11 = (np.uint64(bits) for bits in (30, 27, 31, 11))
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX1, _MIX2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@njit(cache=True, error_model="numpy")
def changed(value: float, before: float) -> float:
    """Return by what part a value is above the one before it; 0 where that was 0."""
    return value / before - 1.0 if before else 0.0


@njit(cache=True, error_model="numpy")
def width(high: float, low: float, close: float) -> float:
    """Return the range of a bar as a part of its close; 0 where that is 0."""
    return (high - low) / close if close else 0.0


@njit(cache=True, error_model="numpy")
def order_in(order: Values, count: int, value: float) -> None:
    """Insert `value` among the first `count` of `order`, which rise."""
    at = count
    while at > 0 and order[at - 1] > value:
        order[at] = order[at - 1]
        at -= 1
    order[at] = value


@njit(cache=True, error_model="numpy")
def reorder(order: Values, old: float, value: float) -> None:
    """Replace one `old` by `value` in `order`, which rises before and after."""
    at, high = 0, len(order) - 1
    while at < high:
        middle = (at + high) >> 1
        if order[middle] < old:
            at = middle + 1
        else:
            high = middle
    while at + 1 < len(order) and order[at + 1] < value:
        order[at] = order[at + 1]
        at += 1
    order_in(order, at, value)


@njit(cache=True, error_model="numpy")
def median_apart(order: Values, median: float) -> float:
    """Return the median of the distances from the median, walking away from it on both sides."""
    count = len(order)
    below = (count - 1) >> 1
    above, found, before = below + 1, 0.0, 0.0
    for _ in range((count >> 1) + 1):
        left = median - order[below] if below >= 0 else np.inf
        right = order[above] - median if above < count else np.inf
        before, found = found, smaller(left, right)
        if left <= right:
            below -= 1
        else:
            above += 1
    return found if count & 1 else (before + found) / 2.0


@njit(cache=True, error_model="numpy")
def mean_apart(order: Values, median: float) -> float:
    """Return the mean of the distances from the median."""
    total = 0.0
    for k in range(len(order)):
        total += abs(order[k] - median)
    return total / len(order)


@njit(cache=True, error_model="numpy")
def judge(state: Values, length: int, value: float, outputs: Values, k: int) -> None:
    """Let `value` into the window of `state` (records seen, place, ring, order); write its z-score,
    the median, and the deviation that it is measured in."""
    seen, at = int(state[0]), int(state[1])
    ring, order = state[2 : 2 + length], state[2 + length : 2 + 2 * length]
    if seen < length:
        order_in(order, seen, value)
        seen += 1
    else:
        reorder(order, ring[at], value)
    ring[at] = value
    state[0], state[1] = seen, (at + 1) % length
    outputs[0, k] = outputs[1, k] = outputs[2, k] = NAN
    if seen < length:
        return
    median = (order[(length - 1) >> 1] + order[length >> 1]) / 2.0
    deviation = NORMAL * median_apart(order, median)
    if deviation == 0.0:
        deviation = NORMAL_MEAN * mean_apart(order, median)
    outputs[0, k] = (value - median) / deviation if deviation > 0.0 else 0.0
    outputs[1, k], outputs[2, k] = median, deviation


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_return_z(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """Robust z-score of the close's change: (x - median) / (1.4826 MAD) over `period` changes, its
    own among them (B. Iglewicz and D. Hoaglin, How to Detect and Handle Outliers, 1993). Where over
    half of the window is one value, MAD is 0: 1.2533 mean absolute deviations then (as IBM SPSS
    has it), and 0 where nothing differs. Usual threshold: 3."""
    length = int(parameters[0])
    for k in range(inputs.shape[1]):
        close, before = inputs[0, k], state[1]
        if state[0] > 0.0:
            judge(state[2:], length, changed(close, before), outputs, k)
        else:
            outputs[0, k] = outputs[1, k] = outputs[2, k] = NAN
        state[0], state[1] = 1.0, close


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_volume_z(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """Robust z-score of the volume, as `return_z` has it of changes. Usual threshold: 3."""
    for k in range(inputs.shape[1]):
        judge(state, int(parameters[0]), inputs[0, k], outputs, k)


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_range_z(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """Robust z-score of (high - low) / close, as `return_z` has it of changes. Usual threshold:
    2.5."""
    for k in range(inputs.shape[1]):
        wide = width(inputs[0, k], inputs[1, k], inputs[2, k])
        judge(state, int(parameters[0]), wide, outputs, k)


@njit(cache=True, error_model="numpy")
def points(percent: float, first: float, second: float, third: float, fourth: float) -> float:
    """Return 15, 20, 25 or 30 for what is above so many of four rising bounds, 0 for none."""
    if percent > fourth:
        return 30.0
    if percent > third:
        return 25.0
    if percent > second:
        return 20.0
    return 15.0 if percent > first else 0.0


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_pump_and_dump(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """A score of 0 to 100 and its terms: how far volume is above the mean of the `period` bars
    before it (over 100, 200, 300, 500 %: 15, 20, 25, 30 points); how far the highest close since is
    above the close `period` bars ago (over 10, 20, 30, 50 %: the same); the largest rise of one of
    these bars, 2 points a percent, at most 20; and what of the whole rise is lost again, 20 points
    for all of it, where that rise has points. From 50 on it is worth a look."""
    window = int(parameters[0])
    seen, at, at2, total = int(state[0]), int(state[1]), int(state[2]), state[3]
    closes, volumes = state[4 : 5 + window], state[5 + window :]
    for k in range(inputs.shape[1]):
        close, volume = inputs[0, k], inputs[1, k]
        closes[at] = close
        at = (at + 1) % (window + 1)
        for j in range(5):
            outputs[j, k] = NAN
        if seen >= window:
            first = before = peak = closes[at]
            leap = 0.0
            for j in range(1, window + 1):
                one = closes[(at + j) % (window + 1)]
                peak = larger(peak, one)
                leap = larger(leap, changed(one, before))
                before = one
            usual = total / window
            if usual > 0.0:
                of_volume = points(100.0 * (volume / usual - 1.0), 100.0, 200.0, 300.0, 500.0)
            else:
                of_volume = 30.0 if volume > 0.0 else 0.0
            of_price = points(100.0 * changed(peak, first), 10.0, 20.0, 30.0, 50.0)
            rapid = 20.0 * smaller(10.0 * leap, 1.0)
            lost = smaller((peak - close) / (peak - first), 1.0) if of_price else 0.0
            outputs[0, k] = of_volume + of_price + rapid + 20.0 * lost
            outputs[1, k], outputs[2, k] = of_volume, of_price
            outputs[3, k], outputs[4, k] = rapid, 20.0 * lost
        at2, total = push(volumes, at2, total, volume)
        seen = min(seen + 1, window)
    state[0], state[1], state[2], state[3] = seen, at, at2, total


@njit(uint64(uint64, uint64, uint64), cache=True)
def draw(seed: Any, tree: Any, place: Any) -> Any:
    """Return 64 bits that a seed, a tree and a place give, and no others (the mixing function of
    SplitMix64: G. Steele, D. Lea, C. Flood, Fast Splittable Pseudorandom Number Generators, 2014).
    """
    x = np.uint64(0)
    for part in (seed, tree, place):
        x = (x ^ part) + _GAMMA
        x = (x ^ (x >> _30)) * _MIX1
        x = (x ^ (x >> _27)) * _MIX2
        x = x ^ (x >> _31)
    return x


@njit(cache=True, error_model="numpy")
def beside(value: float, usual: float) -> float:
    """Return `value` beside what is usual, 0 to 1: 0.5 is as usual."""
    return value / (value + usual) if value + usual > 0.0 else 0.5


@njit(cache=True, error_model="numpy")
def descend(
    masses: Values, seed: int, tree: int, point: Values, low: Values, high: Values, least: float
) -> float:
    """Count `point` in the nodes of a tree that it comes to; return the mass that it met, times
    how many such nodes there are. `masses` (2, NODES): of the window before, of this one."""
    for q in range(FEATURES):
        share = float(draw(seed, tree, NODES + q) >> _11) * 2.0**-53
        reach = 2.0 * larger(share, 1.0 - share)
        low[q], high[q] = share - reach, share + reach
    node, met = 1, -1.0
    for depth in range(HEIGHT):
        if met < 0.0 and masses[node] < least:
            met = masses[node] * (1 << depth)
        masses[NODES + node] += 1.0
        q = int(draw(seed, tree, node) % np.uint64(FEATURES))
        middle = (low[q] + high[q]) / 2.0
        if point[q] < middle:
            high[q] = middle
            node = 2 * node
        else:
            low[q] = middle
            node = 2 * node + 1
    masses[NODES + node] += 1.0
    return met if met >= 0.0 else masses[node] * (1 << HEIGHT)


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_half_space_trees(
    state: Values, parameters: Values, inputs: Values, outputs: Values
) -> None:
    """How thin a bar's surroundings were in the `window` of bars before: `density` is the mass of
    the nodes that it comes to beside that of a space filled evenly (1), the mean over `trees`, at
    most 64; `score` is 1 - density / 64: 1 where no bar has been (S. C. Tan, K. M. Ting, F. T.
    Liu, Fast Anomaly Detection for Streaming Data, IJCAI 2011). Trees are 6 cuts high, and a
    function of `seed`. A bar is three numbers of 0 to 1: its change, volume and range beside
    their exponential means over `window`."""
    trees, window, seed = int(parameters[0]), parameters[1], int(parameters[2])
    count, known, before, began = state[0], state[1], state[2], state[3]
    usual = state[4:HEAD]  # of change, volume, range
    alpha = 2.0 / (window + 1.0)
    point, now = np.empty(FEATURES), np.empty(FEATURES)
    low, high = np.empty(FEATURES), np.empty(FEATURES)
    for k in range(inputs.shape[1]):
        close = inputs[2, k]
        change = changed(close, before)
        now[0], now[1] = abs(change), inputs[3, k]
        now[2] = width(inputs[0, k], inputs[1, k], close)
        for q in range(FEATURES):
            if began == 0.0:
                usual[q] = now[q]
            point[q] = beside(now[q], usual[q])
            usual[q] += (now[q] - usual[q]) * alpha
        # A fall is below the middle, a rise above it.
        point[0] = (1.0 + np.sign(change) * point[0]) / 2.0
        before, began = close, 1.0
        met = 0.0
        for tree in range(trees):
            masses = state[HEAD + tree * 2 * NODES : HEAD + (tree + 1) * 2 * NODES]
            met += descend(masses, seed, tree, point, low, high, SMALL * window)
        density = met / (trees * window)
        outputs[0, k] = 1.0 - density / (1 << HEIGHT) if known > 0.0 else NAN
        outputs[1, k] = density if known > 0.0 else NAN
        count += 1.0
        if count >= window:
            count, known = 0.0, 1.0
            for tree in range(trees):
                start = HEAD + tree * 2 * NODES
                for node in range(start, start + NODES):
                    state[node], state[NODES + node] = state[NODES + node], 0.0
    state[0], state[1], state[2], state[3] = count, known, before, began


LOOK_BACK = Parameter("period", 60, 5, 1440)
Z = ("z", "median", "deviation")


def _words(given: Given) -> int:
    return int(2 + 2 * given[0])


RETURN_Z = Indicator(
    "return_z",
    ("close",),
    (LOOK_BACK,),
    Z,
    lambda g: 2 + _words(g),
    lambda g: int(g[0]),
    run_return_z,
)
VOLUME_Z = Indicator(
    "volume_z", ("volume",), (LOOK_BACK,), Z, _words, lambda g: int(g[0]) - 1, run_volume_z
)
RANGE_Z = Indicator(
    "range_z",
    ("high", "low", "close"),
    (LOOK_BACK,),
    Z,
    _words,
    lambda g: int(g[0]) - 1,
    run_range_z,
)
PUMP_AND_DUMP = Indicator(
    "pump_and_dump",
    ("close", "volume"),
    (LOOK_BACK,),
    ("score", "volume", "price", "rapidity", "lost"),
    lambda g: int(5 + 2 * g[0]),
    lambda g: int(g[0]),
    run_pump_and_dump,
)
HALF_SPACE_TREES = Indicator(
    "half_space_trees",
    ("high", "low", "close", "volume"),
    (
        Parameter("trees", 8, 1, 15),
        Parameter("window", 250, 10, 10_000),
        Parameter("seed", 1, 0, 1_000_000),
    ),
    ("score", "density"),
    lambda g: int(HEAD + 2 * NODES * g[0]),
    lambda g: int(g[1]),
    run_half_space_trees,
)
FAMILY = (RETURN_Z, VOLUME_Z, RANGE_Z, PUMP_AND_DUMP, HALF_SPACE_TREES)
