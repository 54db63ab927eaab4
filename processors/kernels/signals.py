"""Targets of the built-in strategies: columns of indicators into what is to be held.

A target is 1 long, 0 nothing, -1 short, and HOLD where nothing changes; `state` (1,) begins as
zeros and is changed in place, so that any split of the columns gives the same targets.
"""

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from tidemill.processors.kernels.backtest.state import HOLD
from tidemill.processors.kernels.indicator import Values

LONG = 1_000_000
Targets = NDArray[np.int64]
_Floats = types.Array(types.float64, 1, "C", readonly=True)


@njit(types.void(types.float64[::1], _Floats, _Floats, types.boolean, types.int64[::1]), cache=True)
def cross(state: Values, fast: Values, slow: Values, short: bool, targets: Targets) -> None:
    """Long when `fast` comes above `slow`, nothing (short) when it comes below; equal is as before.
    Where the two begin is no crossing. `state`: the side that fast was on."""
    side = state[0]
    for k in range(len(fast)):
        targets[k] = HOLD
        now = side
        if fast[k] > slow[k]:
            now = 1.0
        elif fast[k] < slow[k]:
            now = -1.0
        if side != 0.0 and now != side:
            targets[k] = LONG if now > 0.0 else (-LONG if short else 0)
        side = now
    state[0] = side


@njit(
    types.void(
        types.float64[::1], _Floats, types.float64, types.float64, types.boolean, types.int64[::1]
    ),
    cache=True,
)
def reverse(
    state: Values, values: Values, low: float, high: float, short: bool, targets: Targets
) -> None:
    """Long when a value comes below `low`, nothing (short) when above `high`. `state`: the side."""
    side = state[0]
    for k in range(len(values)):
        targets[k] = HOLD
        if values[k] < low and side <= 0.0:
            side = 1.0
            targets[k] = LONG
        elif values[k] > high and side >= 0.0:
            if side > 0.0 or short:
                targets[k] = -LONG if short else 0
            side = -1.0
    state[0] = side
