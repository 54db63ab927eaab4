"""The exchange's own record of its books: what a test compares a feed's book with.

The changes of the last `changes_kept` updates are kept in blocks, each with the book before it, so
that the book at any update id since then is one block folded. Channels that number their messages
otherwise (Bybit's `u`) note which update a number of theirs stands for.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tidemill.deploy.exchange.depth import Rows
from tidemill.processors.kernels.matching import CHANGE_DTYPE
from tidemill.processors.kernels.order_book import BUY, SELL

BLOCK_CHANGES = 8_192
NAMES_KEPT = 50_000


@dataclass(frozen=True)
class Book:
    """A book after update `update_id`: (price in ticks, lots) of each side, best first."""

    update_id: int
    bids: Rows
    asks: Rows


class _Block:
    def __init__(self, update_id: int, levels: NDArray[np.void]) -> None:
        self.update_id = update_id  # the levels are those after it
        self.levels = levels
        self.changes: list[NDArray[np.void]] = []
        self.count = 0


class Record:
    """The books of one market, from the oldest update kept to now."""

    def __init__(self, update_id: int, bids: Rows, asks: Rows, changes_kept: int = 400_000) -> None:
        levels = np.zeros(len(bids) + len(asks), CHANGE_DTYPE)
        levels["price"] = [price for price, _ in (*bids, *asks)]
        levels["qty"] = [qty for _, qty in (*bids, *asks)]
        levels["side"] = [BUY] * len(bids) + [SELL] * len(asks)
        self.update_id = update_id
        self._blocks = deque([_Block(update_id, levels)], -(-changes_kept // BLOCK_CHANGES) + 1)
        self._names: dict[str, OrderedDict[int, int]] = {}

    @property
    def oldest_id(self) -> int:
        """The oldest update whose book is known."""
        return self._blocks[0].update_id

    def add(self, changes: NDArray[np.void]) -> None:
        """Take changes (matching.CHANGE_DTYPE, not changed afterwards) as they happened."""
        if not changes.size:
            return
        block = self._blocks[-1]
        block.changes.append(changes)
        block.count += changes.size
        self.update_id = int(changes["update_id"][-1])
        if block.count >= BLOCK_CHANGES:
            self._blocks.append(_Block(self.update_id, _folded(block, self.update_id)))

    def at(self, update_id: int) -> Book | None:
        """The book after update `update_id`; None if that is not known (any more)."""
        if not self.oldest_id <= update_id <= self.update_id:
            return None
        block = next(b for b in reversed(self._blocks) if b.update_id <= update_id)
        levels = _folded(block, update_id)
        levels = levels[np.argsort(levels["price"])]
        bids, asks = levels[levels["side"] == BUY][::-1], levels[levels["side"] == SELL]
        return Book(update_id, _rows(bids), _rows(asks))

    def name(self, channel: str, number: int, update_id: int) -> None:
        """Note that a channel's message number `number` showed the book after `update_id`."""
        names = self._names.setdefault(channel, OrderedDict())
        names[number] = update_id
        if len(names) > NAMES_KEPT:
            names.popitem(last=False)

    def named(self, channel: str, number: int) -> int | None:
        """The update that a channel's message number stands for; None if it is not known."""
        return self._names.get(channel, OrderedDict()).get(number)


def _rows(levels: NDArray[np.void]) -> Rows:
    return list(zip(levels["price"].tolist(), levels["qty"].tolist(), strict=True))


def _folded(block: _Block, update_id: int) -> NDArray[np.void]:
    """The levels after `update_id`: the last word on each price counts."""
    rows = np.concatenate([block.levels, *block.changes])
    known = len(block.levels) + np.searchsorted(
        rows["update_id"][len(block.levels) :], update_id, side="right"
    )
    rows = rows[:known][::-1]
    _, last = np.unique(rows["price"] * 4 + rows["side"], return_index=True)
    levels: NDArray[np.void] = rows[last]
    return levels[levels["qty"] > 0]
