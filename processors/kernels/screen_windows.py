"""What the language of screens asks of earlier bars, as kernels of indicators; and how kernels run
over many instruments at once.

A kernel here may be given NaN, of an indicator that warms up: a window with it has no value.
"""

from typing import Any

import numpy as np
from numba import njit, types

from tidemill.processors.kernels.indicator import SIGNATURE, Kernel, Values
from tidemill.processors.kernels.moving_averages import NAN, larger, push, smaller
from tidemill.processors.kernels.oscillators import extreme
from tidemill.processors.kernels.screen_bars import AGAIN, Modes
from tidemill.processors.kernels.screen_state import Ints

NOTHING = -1
Block = np.ndarray[Any, np.dtype[np.float64]]
Statuses = np.ndarray[Any, np.dtype[np.int8]]
_F8, _I8 = types.float64, types.int64


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_prev(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """The value of `length` bars ago."""
    length = int(parameters[0])
    seen, at, ring = state[0], int(state[1]), state[2:]
    for k in range(inputs.shape[1]):
        outputs[0, k] = ring[at] if seen >= length else NAN
        ring[at] = inputs[0, k]
        at = at + 1 if at + 1 < length else 0
        seen = smaller(seen + 1.0, length)
    state[0], state[1] = seen, at


@njit(cache=True, error_model="numpy")
def top(state: Values, length: int, value: float) -> float:
    """Take a value into a window; return the highest of it, NaN until it is full."""
    if np.isnan(value):
        state[0], state[1] = 0.0, 0.0
        return NAN
    block = state[3 : 3 + length]
    at = int(state[1])
    state[0] = smaller(state[0] + 1.0, length)
    state[2], found = extreme(block, at, state[2], value)
    at += 1
    if at == length:
        at = 0
        for k in range(length - 2, -1, -1):
            block[k] = larger(block[k], block[k + 1])
    state[1] = at
    return found if state[0] >= length else NAN


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_highest(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """The highest of the last `length` values."""
    for k in range(inputs.shape[1]):
        outputs[0, k] = top(state, int(parameters[0]), inputs[0, k])


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_lowest(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """The lowest of the last `length` values."""
    for k in range(inputs.shape[1]):
        outputs[0, k] = -top(state, int(parameters[0]), -inputs[0, k])


@njit(SIGNATURE, cache=True, error_model="numpy")
def run_average(state: Values, parameters: Values, inputs: Values, outputs: Values) -> None:
    """The mean of the last `length` values."""
    length = int(parameters[0])
    seen, at, total, ring = state[0], int(state[1]), state[2], state[3:]
    for k in range(inputs.shape[1]):
        outputs[0, k] = NAN
        if np.isnan(inputs[0, k]):
            seen, at, total = 0.0, 0, 0.0
            ring[:] = 0.0
            continue
        at, total = push(ring, at, total, inputs[0, k])
        seen = smaller(seen + 1.0, length)
        if seen >= length:
            outputs[0, k] = total / length
    state[0], state[1], state[2] = seen, at, total


@njit(
    types.void(
        types.FunctionType(SIGNATURE), _F8[:, ::1], _I8[::1], types.uint8[::1],
        _I8, _I8, _I8, _F8[::1], _F8[:, :, ::1], _F8[:, :, ::1],
    ),
    cache=True,
)  # fmt: skip
def take(
    kernel: Kernel,
    rows: Block,
    slots: Ints,
    modes: Modes,
    now: int,
    before: int,
    words: int,
    parameters: Values,
    inputs: Block,
    outputs: Block,
) -> None:  # pragma: no cover
    """Run a kernel over bars (N,), each on the words of its own row: `inputs` (N, C, 1) into
    `outputs` (N, K, 1). `now` and `before` are where its words begin in `rows` (S, W)."""
    for j in range(len(slots)):
        row = rows[slots[j]]
        mine, saved = row[now : now + words], row[before : before + words]
        if modes[j] == AGAIN:
            mine[:] = saved
        else:
            saved[:] = mine
        kernel(mine, parameters, inputs[j], outputs[j])


@njit(
    types.void(
        _F8[:, ::1], _I8[::1], types.uint8[::1], _I8, _I8, _F8[::1], types.int8[::1]
    ),
    cache=True,
)  # fmt: skip
def rise(
    rows: Block,
    slots: Ints,
    modes: Modes,
    now: int,
    before: int,
    levels: Values,
    out: Statuses,
) -> None:  # pragma: no cover
    """Say of bars (N,) to which level each rises above that of the bar before, and where a revision
    takes that back (0). A level is a condition, 1 for true, or a severity; NaN counts as 0. Two
    words: the level at the newest bar, and what was said there."""
    for j in range(len(slots)):
        row = rows[slots[j]]
        told = modes[j] == AGAIN and row[now + 1] > 0.0
        for k in range(2):
            if modes[j] == AGAIN:
                row[now + k] = row[before + k]
            else:
                row[before + k] = row[now + k]
        level = levels[j] if levels[j] > 0.0 else 0.0
        rises = level > row[now]
        row[now] = level
        row[now + 1] = level if rises else 0.0
        out[j] = level if rises else 0 if told else NOTHING
