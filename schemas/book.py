"""The order book as a value: price levels by side in arrays, exact, and what is asked of them.

A side is a ring of levels sorted from the best: `ends` (2,) int64 is the place of the best one and
their number, `prices` and `quantities` (K,) int64 mantissas, K a power of two. Inserting and
removing move the shorter end, so that work near the touch moves few bytes. The functions take one
side's arrays; `sign` is 1 for bids and -1 for asks, so that sign x price falls from the best on.
"""

import zlib
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tidemill.schemas.decimals import text_of
from tidemill.schemas.enums import OrderSide

BUY, SELL = int(OrderSide.BUY), int(OrderSide.SELL)
LEVEL = np.dtype([("price", "<i8"), ("quantity", "<i8"), ("side", "u1")])
"""One level of a change or snapshot: the new quantity at a price, 0 removes it."""
LEVELS_START = 256
CHECKSUM_LEVELS = 25

Levels = NDArray[np.void]
"""Levels (N,) of LEVEL."""


@njit(cache=True)
def find(ends: Any, prices: Any, sign: int, price: int) -> Any:
    """Return the number of levels better than a price."""
    mask = len(prices) - 1
    low, high = np.int64(0), ends[1]
    while low < high:
        middle = (low + high) >> 1
        if sign * prices[(ends[0] + middle) & mask] > sign * price:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True)
def set_level(ends: Any, prices: Any, quantities: Any, sign: int, price: int, quantity: int) -> Any:
    """Set the quantity of a price, 0 removes it; return whether a level had to be dropped.

    A full side drops its worst level, or the new one where that is worse.
    """
    mask = len(prices) - 1
    k = find(ends, prices, sign, price)
    at = (ends[0] + k) & mask
    there = k < ends[1] and prices[at] == price
    if quantity == 0:
        if there:
            _remove(ends, prices, quantities, k)
        return False
    if there:
        quantities[at] = quantity
        return False
    dropped = ends[1] == len(prices)
    if dropped:
        if k == len(prices):
            return True
        ends[1] -= 1
    _insert(ends, prices, quantities, k)
    at = (ends[0] + k) & mask
    prices[at] = price
    quantities[at] = quantity
    return dropped


@njit(cache=True)
def _move(prices: Any, quantities: Any, to: int, start: int) -> None:
    mask = len(prices) - 1
    prices[to & mask] = prices[start & mask]
    quantities[to & mask] = quantities[start & mask]


@njit(cache=True)
def _insert(ends: Any, prices: Any, quantities: Any, k: int) -> None:
    """Make place for a level that will be the k-th."""
    if 2 * k <= ends[1]:
        ends[0] = (ends[0] - 1) & (len(prices) - 1)
        for better in range(k):
            _move(prices, quantities, ends[0] + better, ends[0] + better + 1)
    else:
        for worse in range(ends[1], k, -1):
            _move(prices, quantities, ends[0] + worse, ends[0] + worse - 1)
    ends[1] += 1


@njit(cache=True)
def _remove(ends: Any, prices: Any, quantities: Any, k: int) -> None:
    if 2 * k <= ends[1]:
        for better in range(k, 0, -1):
            _move(prices, quantities, ends[0] + better, ends[0] + better - 1)
        ends[0] = (ends[0] + 1) & (len(prices) - 1)
    else:
        for worse in range(k, ends[1] - 1):
            _move(prices, quantities, ends[0] + worse, ends[0] + worse + 1)
    ends[1] -= 1


@njit(cache=True)
def apply(ends: Any, prices: Any, quantities: Any, levels: Any, begin: int, end: int) -> Any:
    """Apply levels ``begin`` to ``end`` of LEVEL to both sides; return whether it is not crossed.

    `ends` (2, 2), `prices` and `quantities` (2, K) are the sides' arrays, bids first.
    """
    for at in range(begin, end):
        level = levels[at]
        row = 0 if level.side == BUY else 1
        sign = 1 - 2 * row
        set_level(ends[row], prices[row], quantities[row], sign, level.price, level.quantity)
    if ends[0, 1] == 0 or ends[1, 1] == 0:
        return True
    return prices[0, ends[0, 0]] < prices[1, ends[1, 0]]


class Book:
    """One instrument's book; it grows as needed. Prices and quantities are int64 mantissas."""

    def __init__(self) -> None:
        self._ends = np.zeros((2, 2), np.int64)
        self._prices = np.zeros((2, LEVELS_START), np.int64)
        self._quantities = np.zeros((2, LEVELS_START), np.int64)

    def clear(self) -> None:
        """Forget every level."""
        self._ends[:] = 0

    def load(self, levels: Levels) -> bool:
        """Become what a snapshot says; return False where it is crossed."""
        self.clear()
        # Sorted from the best, every level is appended: nothing moves.
        keys = np.where(levels["side"] == BUY, -levels["price"], levels["price"])
        return self.apply(levels[np.argsort(keys, kind="stable")])

    def apply(self, levels: Levels) -> bool:
        """Apply a message of levels; return False where the book is crossed after it."""
        return bool(apply(*self.room(len(levels)), levels, 0, len(levels)))

    def room(self, levels: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return the arrays of both sides, with room for so many levels more."""
        while int(self._ends[:, 1].max()) + levels > self._prices.shape[1]:
            self._grow()
        return self._ends, self._prices, self._quantities

    def _grow(self) -> None:
        prices = np.zeros((2, 2 * self._prices.shape[1]), np.int64)
        quantities = np.zeros_like(prices)
        for row in (0, 1):
            side = self.side(row + 1)
            prices[row, : side.shape[1]], quantities[row, : side.shape[1]] = side
        self._prices, self._quantities = prices, quantities
        self._ends[:, 0] = 0

    def __len__(self) -> int:
        return int(self._ends[:, 1].sum())

    def side(self, side: int, most: int | None = None) -> NDArray[np.int64]:
        """Return (2, N): prices and quantities of the best `most` levels, the best first."""
        head, count = self._ends[side - 1].tolist()
        at = (head + np.arange(count if most is None else min(count, most))) & (
            self._prices.shape[1] - 1
        )
        return np.stack([self._prices[side - 1][at], self._quantities[side - 1][at]])

    def best(self, side: int) -> tuple[int, int]:
        """Return price and quantity of the best level, (0, 0) where there is none."""
        head, count = self._ends[side - 1].tolist()
        if not count:
            return 0, 0
        return int(self._prices[side - 1, head]), int(self._quantities[side - 1, head])

    def depth(self, side: int, percent: int) -> int:
        """Return the exact sum of price x quantity within `percent` of the mid, 0 without a mid.

        The mid is (best bid + best ask) / 2; a level at the very edge counts.
        """
        (bid, some), (ask, others) = self.best(BUY), self.best(SELL)
        if not (some and others):
            return 0
        prices, quantities = (column.tolist() for column in self.side(side))
        twice = bid + ask
        return sum(
            price * quantity
            for price, quantity in zip(prices, quantities, strict=True)
            if 100 * abs(2 * price - twice) <= percent * twice
        )

    def walk(self, side: int, quantity: int) -> tuple[int, int, int]:
        """Take `quantity` from the best of a side on: (filled, price x quantity, worst price)."""
        filled = notional = worst = 0
        for price, there in self.side(side).T.tolist():
            if filled == quantity:
                break
            taken = min(there, quantity - filled)
            filled, notional, worst = filled + taken, notional + price * taken, price
        return filled, notional, worst

    def checksum(self, price_exponent: int, quantity_exponent: int) -> int:
        """Return the CRC-32 of the best 25 levels as OKX described it until 2026 (int32).

        Text is ``bid:quantity:ask:quantity:...`` level by level, numbers without zeros at their
        end; what one side lacks is left out (www.okx.com/docs-v5, "Checksum").
        """
        bids, asks = (
            _texts(self.side(side, CHECKSUM_LEVELS), price_exponent, quantity_exponent)
            for side in (BUY, SELL)
        )
        parts = [part for pair in zip_longest(bids, asks) for part in pair if part is not None]
        crc = zlib.crc32(":".join(parts).encode())
        return crc - (1 << 32) if crc >= 1 << 31 else crc


def _texts(side: NDArray[np.int64], *exponents: int) -> Iterator[str]:
    for level in side.T.tolist():
        texts = (text_of(n, exponent) for n, exponent in zip(level, exponents, strict=True))
        yield ":".join(t.rstrip("0").rstrip(".") if "." in t else t for t in texts)
