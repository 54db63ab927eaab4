"""Trades of one instrument into bars of an interval: where each ends, and its prices."""

from typing import Any

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

_Column = types.Array(types.int64, 1, "C", readonly=True)
_Floats = types.Array(types.float64, 1, "C", readonly=True)
_Bars = types.Array(types.int64, 2, "C")

OPENED, CLOSED, END, OPEN, HIGH, LOW, LAST = range(7)
"""Rows of the bars: when each opens and closes (ns), one more than its last trade, and prices."""


@njit(
    types.int64(_Column, _Column, _Floats, types.int64, _Bars, types.float64[::1]),
    cache=True,
)
def fold(ts: Any, price: Any, quantity: Any, interval_ns: int, bars: Any, volume: Any) -> int:
    """Fill `bars` (7, B), prices as mantissas, and `volume` (B,); return how many there are, or
    -1 - k where trade k is before the one before it. An interval without a trade has no bar."""
    count, end = 0, ts[0] - 1 if len(ts) else 0
    for k in range(len(ts)):
        if k and ts[k] < ts[k - 1]:
            return -1 - k
        if ts[k] >= end:
            start = ts[k] // interval_ns * interval_ns
            end = start + interval_ns
            bars[OPENED, count], bars[CLOSED, count] = start, end
            bars[OPEN, count] = bars[HIGH, count] = bars[LOW, count] = price[k]
            volume[count] = 0.0
            count += 1
        bar = count - 1
        bars[END, bar], bars[LAST, bar] = k + 1, price[k]
        bars[HIGH, bar] = max(bars[HIGH, bar], price[k])
        bars[LOW, bar] = min(bars[LOW, bar], price[k])
        volume[bar] += quantity[k]
    return count


def most_bars(ts: NDArray[np.int64], interval_ns: int) -> int:
    """Return a number of bars that trades at `ts` (N,) cannot exceed."""
    return min(len(ts), int((ts[-1] - ts[0]) // interval_ns) + 2) if len(ts) else 0
