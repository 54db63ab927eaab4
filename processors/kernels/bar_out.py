"""What a kernel of bars emits: bars of any kind, with whose they are, grown as they come."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import from_dtype, njit, types
from numpy.typing import NDArray

_NamedTuple: Callable[..., types.Type] = types.NamedTuple


class Out(NamedTuple):
    """Emitted bars (capacity,), and of each its slot and its place among the processor's specs."""

    bars: NDArray[np.void]
    slots: NDArray[np.int32]
    specs: NDArray[np.uint8]


def out_of(dtype: np.dtype[np.void]) -> types.Type:
    """Return the type of an Out of bars of this dtype."""
    places = (types.Array(types.int32, 1, "C"), types.Array(types.uint8, 1, "C"))
    return _NamedTuple((types.Array(from_dtype(dtype), 1, "C"), *places), Out)


@njit(cache=True)
def unstage(stage: Any, out: Out, count: int) -> tuple[Out, int]:
    """Move what is staged to `out`, grown where it is full; return it and the new count."""
    if count + stage.count > len(out.slots):
        size = 2 * len(out.slots) + len(stage.bars)
        bars = np.empty(size, out.bars.dtype)
        grown = Out(bars, np.empty(size, np.int32), np.empty(size, np.uint8))
        grown.bars[:count] = out.bars[:count]
        grown.slots[:count] = out.slots[:count]
        grown.specs[:count] = out.specs[:count]
        out = grown
    for index in range(stage.count):
        out.bars[count + index] = stage.bars[index]
        out.slots[count + index] = stage.slot
        out.specs[count + index] = stage.specs[index]
    count += stage.count
    stage.count = 0
    return out, count
