"""What a depth channel says of a book: the changes since its last message.

`Window` collects every change of the whole book (Binance's diffs); `View` compares the best levels
now with the best levels then (channels of a fixed depth, as Bybit's and OKX's). Quantities are lots
by price in ticks, 0 for a level that is gone.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tidemill.processors.kernels.order_book import BUY, SELL

Levels = dict[int, int]
Rows = list[tuple[int, int]]


@dataclass(frozen=True)
class Changes:
    """What changed from update `first_id` to `last_id` of the market's book; the message before
    ended with `previous_id`."""

    first_id: int
    last_id: int
    previous_id: int
    bids: Levels
    asks: Levels

    def bid_rows(self) -> Rows:
        """(price, lots), best first."""
        return sorted(self.bids.items(), reverse=True)

    def ask_rows(self) -> Rows:
        """(price, lots), best first."""
        return sorted(self.asks.items())


class Window:
    """The changes of a whole book since the last message of one channel."""

    def __init__(self, update_id: int) -> None:
        self._last_id = update_id
        self._changes: list[NDArray[np.void]] = []

    def add(self, changes: NDArray[np.void]) -> None:
        """Take changes (matching.CHANGE_DTYPE) as they happened."""
        if changes.size:
            self._changes.append(changes)

    def take(self) -> Changes | None:
        """What changed, None if nothing did. Of several changes to a price the last counts."""
        if not self._changes:
            return None
        changes = np.concatenate(self._changes)
        self._changes.clear()
        previous, self._last_id = self._last_id, int(changes["update_id"][-1])
        first = int(changes["update_id"][0])
        return Changes(first, self._last_id, previous, *_sides(changes))


class View:
    """The best `levels` of each side, and how they changed since the last message."""

    def __init__(self, levels: int) -> None:
        self.levels = levels
        self._last_id = -1
        self._bids: Levels = {}
        self._asks: Levels = {}

    def reset(self, update_id: int, bids: Rows, asks: Rows) -> None:
        """A snapshot was sent: changes are told from here on."""
        self._last_id = update_id
        self._bids, self._asks = dict(bids), dict(asks)

    def take(self, update_id: int, bids: Rows, asks: Rows) -> Changes | None:
        """What changed in what is seen, now that the book is at `update_id` with these best levels;
        None if nothing did."""
        now_bids, now_asks = dict(bids), dict(asks)
        changed = _difference(self._bids, now_bids), _difference(self._asks, now_asks)
        self._bids, self._asks = now_bids, now_asks
        if not any(changed):
            return None
        previous, self._last_id = self._last_id, update_id
        return Changes(previous + 1, update_id, previous, *changed)


def _sides(changes: NDArray[np.void]) -> tuple[Levels, Levels]:
    sides = []
    for side in (BUY, SELL):
        mine = changes[changes["side"] == side]
        sides.append(dict(zip(mine["price"].tolist(), mine["qty"].tolist(), strict=True)))
    return sides[0], sides[1]


def _difference(before: Levels, now: Levels) -> Levels:
    changed = {price: qty for price, qty in now.items() if before.get(price) != qty}
    return changed | {price: 0 for price in before if price not in now}
