"""Order flow: who pressed, what their pressing costs, and where the book leans.

Trades' sides are the venues' own (takers' bought volume), not guessed from prices.
"""

from numba import njit

from tidemill.processors.kernels.indicator import (
    QUOTE_INPUTS,
    SIGNATURE,
    Given,
    Indicator,
    Parameter,
    Values,
)
from tidemill.processors.kernels.moving_averages import NAN, larger, period, push, smaller


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_ofi(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """Sum over `period` changes of the best quotes of what was added to the bid and taken off the
    ask: [b >= b'] q - [b <= b'] q' - [a <= a'] s + [a >= a'] s' (R. Cont, A. Kukanov and S.
    Stoikov, The Price Impact of Order Book Events, J. Financial Econometrics 12, 2014)."""
    length = int(parameters[0])
    seen, bid, ask, bid_size, ask_size = state[0], state[1], state[2], state[3], state[4]
    at, total, ring = int(state[5]), state[6], state[7:]
    for k in range(inputs.shape[1]):
        outputs[0, k] = NAN
        if seen > 0.0:
            flow = 0.0
            if inputs[0, k] >= bid:
                flow += inputs[2, k]
            if inputs[0, k] <= bid:
                flow -= bid_size
            if inputs[1, k] <= ask:
                flow -= inputs[3, k]
            if inputs[1, k] >= ask:
                flow += ask_size
            at, total = push(ring, at, total, flow)
        bid, ask, bid_size, ask_size = inputs[0, k], inputs[1, k], inputs[2, k], inputs[3, k]
        if seen >= length:
            outputs[0, k] = total
        seen = smaller(seen + 1.0, length)
    state[0], state[1], state[2], state[3], state[4] = seen, bid, ask, bid_size, ask_size
    state[5], state[6] = at, total


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_microprice(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """(bid x ask size + ask x bid size) / (bid size + ask size), and the bid's share of both sizes:
    the middle weighted by the imbalance (the first approximation of S. Stoikov, The Micro-Price,
    Quantitative Finance 18, 2018). The middle, and 0.5, where both sizes are 0."""
    for k in range(inputs.shape[1]):
        bid, ask, bids, asks = inputs[0, k], inputs[1, k], inputs[2, k], inputs[3, k]
        both = bids + asks
        share = bids / both if both > 0.0 else 0.5
        outputs[0, k] = bid + (ask - bid) * share
        outputs[1, k] = share


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_vpin(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """Mean over the last `buckets` of |bought - sold| / volume, each bucket `volume` traded, a
    record split over buckets in proportion (D. Easley, M. Lopez de Prado and M. O'Hara, Review of
    Financial Studies 25, 2012). NaN until so many buckets are full."""
    size, many = parameters[0], int(parameters[1])
    filled, bought, full = state[0], state[1], state[2]
    at, total, ring = int(state[3]), state[4], state[5:]
    for k in range(inputs.shape[1]):
        volume, share = inputs[0, k], 0.5
        if volume > 0.0:
            share = smaller(larger(inputs[1, k] / volume, 0.0), 1.0)
        if volume >= (many + 2.0) * size:  # all buckets that are kept are of this record alone,
            # after one that fills what was begun; a remainder is exact
            volume = volume % size + (many + 1.0) * size
        while filled + volume >= size:
            part = size - filled
            volume -= part
            bought += part * share
            at, total = push(ring, at, total, abs(2.0 * bought - size) / size)
            filled, bought, full = 0.0, 0.0, smaller(full + 1.0, many)
        filled += volume
        bought += volume * share
        outputs[0, k] = total / many if full >= many else NAN
    state[0], state[1], state[2], state[3], state[4] = filled, bought, full, at, total


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_kyle(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """Slope of the close's change on signed volume (bought - sold) over `period`, by least squares
    (A. Kyle, Econometrica 53, 1985). 0 where signed volume did not vary beyond rounding."""
    length = parameters[0]
    n = int(length)
    least = 1e-15 * length  # of the sum of squares: what rounding may leave of it
    seen, before, at = state[0], state[1], int(state[2])
    xs, ys, xx, xy = state[3], state[4], state[5], state[6]
    r = state[7:]
    ring1, ring2, ring3, ring4 = r[:n], r[n : 2 * n], r[2 * n : 3 * n], r[3 * n :]
    for k in range(inputs.shape[1]):
        close, signed = inputs[0, k], 2.0 * inputs[2, k] - inputs[1, k]
        outputs[0, k] = NAN
        if seen > 0.0:
            change = close - before
            _, xs = push(ring1, at, xs, signed)
            _, ys = push(ring2, at, ys, change)
            _, xx = push(ring3, at, xx, signed * signed)
            at, xy = push(ring4, at, xy, signed * change)
        before = close
        if seen >= length:
            varied = xx - xs * xs / length
            outputs[0, k] = (xy - xs * ys / length) / varied if varied > least * xx else 0.0
        seen = smaller(seen + 1.0, length)
    state[0], state[1], state[2] = seen, before, at
    state[3], state[4], state[5], state[6] = xs, ys, xx, xy


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_amihud(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """Mean over `period` of |return| / quote volume, times `scale` (Y. Amihud, J. Financial Markets
    5, 2002). A record without volume counts 0."""
    length, scale = int(parameters[0]), parameters[1]
    seen, before, at, total, ring = state[0], state[1], int(state[2]), state[3], state[4:]
    for k in range(inputs.shape[1]):
        close, notional = inputs[0, k], inputs[1, k]
        if seen > 0.0:
            moved = notional > 0.0 and before != 0.0
            at, total = push(
                ring, at, total, abs(close / before - 1.0) * scale / notional if moved else 0.0
            )
        before = close
        outputs[0, k] = total / length if seen >= length else NAN
        seen = smaller(seen + 1.0, length)
    state[0], state[1], state[2], state[3] = seen, before, at, total


def _period(given: Given) -> int:
    return int(given[0])


OFI = Indicator(
    "ofi",
    QUOTE_INPUTS,
    (period(100),),
    ("ofi",),
    lambda g: int(7 + g[0]),
    _period,
    run_ofi,
    source="quote",
)
MICROPRICE = Indicator(
    "microprice",
    QUOTE_INPUTS,
    (),
    ("microprice", "bid_share"),
    lambda g: 0,
    lambda g: 0,
    run_microprice,
    source="quote",
)
VPIN = Indicator(
    "vpin",
    ("volume", "taker_buy_volume"),
    (Parameter("volume", 1_000, 1e-9, 1e18, False), period(50, "buckets")),
    ("vpin",),
    lambda g: int(5 + g[1]),
    lambda g: None,
    run_vpin,
)
KYLE = Indicator(
    "kyle",
    ("close", "volume", "taker_buy_volume"),
    (period(50, low=2),),
    ("lambda",),
    lambda g: int(7 + 4 * g[0]),
    _period,
    run_kyle,
)
AMIHUD = Indicator(
    "amihud",
    ("close", "quote_volume"),
    (period(20), Parameter("scale", 1e6, 1e-12, 1e18, False)),
    ("illiquidity",),
    lambda g: int(4 + g[0]),
    _period,
    run_amihud,
)
FAMILY = (OFI, MICROPRICE, VPIN, KYLE, AMIHUD)
