"""One side of a book: finding, setting and removing a level."""

from typing import Any

import numpy as np
from numba import njit

from tidemill.processors.kernels.book_state import LEVELS_MAX

MASK = LEVELS_MAX - 1

Side = Any
"""One record of SIDE."""


@njit(cache=True)
def place(side: Side, k: int) -> Any:
    """Return where in the ring the k-th best level is."""
    return (side.head + k) & MASK


@njit(cache=True)
def find(side: Side, sign: int, price: int) -> Any:
    """Return the number of levels better than a price; `sign` is 1 for bids, -1 for asks."""
    low, high = np.int64(0), side.count
    while low < high:
        middle = (low + high) >> 1
        if sign * side.prices[(side.head + middle) & MASK] > sign * price:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True)
def clear(side: Side) -> None:
    side.head = 0
    side.count = 0


@njit(cache=True)
def set_level(side: Side, sign: int, price: int, quantity: int) -> bool:
    """Set the quantity of a price, 0 removes it; return whether a level had to be dropped."""
    k = find(side, sign, price)
    there = k < side.count and side.prices[(side.head + k) & MASK] == price
    if quantity == 0:
        if there:
            _remove(side, k)
        return False
    if there:
        side.quantities[(side.head + k) & MASK] = quantity
        return False
    dropped = side.count == LEVELS_MAX
    if dropped:
        if k == LEVELS_MAX:
            return True
        side.count -= 1
    _insert(side, k)
    at = (side.head + k) & MASK
    side.prices[at] = price
    side.quantities[at] = quantity
    return bool(dropped)


@njit(cache=True)
def _move(side: Side, to: int, start: int) -> None:
    side.prices[to & MASK] = side.prices[start & MASK]
    side.quantities[to & MASK] = side.quantities[start & MASK]


@njit(cache=True)
def _insert(side: Side, k: int) -> None:
    """Make place for a level that will be the k-th."""
    if 2 * k <= side.count:
        side.head = (side.head - 1) & MASK
        for better in range(k):
            _move(side, side.head + better, side.head + better + 1)
    else:
        for worse in range(side.count, k, -1):
            _move(side, side.head + worse, side.head + worse - 1)
    side.count += 1


@njit(cache=True)
def _remove(side: Side, k: int) -> None:
    if 2 * k <= side.count:
        for better in range(k, 0, -1):
            _move(side, side.head + better, side.head + better - 1)
        side.head = (side.head + 1) & MASK
    else:
        for worse in range(k, side.count - 1):
            _move(side, side.head + worse, side.head + worse + 1)
    side.count -= 1
