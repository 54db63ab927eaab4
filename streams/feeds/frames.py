"""Items to messages: batches cut on the 5 ms, 64 KB grid of their receive times, and events.

Pure: the same items give the same bytes. Per instrument the order of items is kept; between
instruments the order is by grid cell, then by symbol.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tidemill.schemas import frame
from tidemill.schemas.events import event
from tidemill.streams.feeds.feed import Batch
from tidemill.streams.feeds.intake import Fact, Item

CELL_NS = 5_000_000
"""Records received within one cell of this width share a frame."""
FRAME_BYTES = 64 * 1024
"""Largest frame that is written."""


class _Piece(NamedTuple):
    """A part of an item, placed: by cell, then symbol, then order of arrival."""

    cell: int
    symbol: str
    order: int
    item: Item
    start: int
    end: int


class Cutter:
    """Cuts items into (subject, payload); `sequence` counts the messages written so far."""

    def __init__(self, sequence: int = 0) -> None:
        self.sequence = sequence

    def cut(self, items: Sequence[Item]) -> list[tuple[str, bytes]]:
        """Return the messages of `items`."""
        pieces: list[_Piece] = []
        cells: dict[str, int] = {}
        for item in items:
            symbol = item.subject.split(".", 4)[3]
            cell = cells.get(symbol, 0)
            if isinstance(item, Fact):
                pieces.append(_Piece(cell, symbol, len(pieces), item, 0, 1))
            else:
                cells[symbol] = _place(item, symbol, cell, pieces)
        pieces.sort(key=_position)
        return [self._message(piece) for piece in pieces]

    def _message(self, piece: _Piece) -> tuple[str, bytes]:
        self.sequence += 1
        item = piece.item
        if isinstance(item, Fact):
            numbered = item.event.model_copy(update={"sequence": self.sequence})
            return item.subject, event.encode(numbered)
        payload = frame.encode(
            item.kind,
            item.records[piece.start : piece.end],
            self.sequence,
            item.price_exponent,
            item.quantity_exponent,
        )
        return item.subject, payload


def _position(piece: _Piece) -> tuple[int, str, int]:
    return piece[:3]


def _place(batch: Batch, symbol: str, cell: int, pieces: list[_Piece]) -> int:
    """Cut `batch` at the edges of cells and at 64 KB; return the last cell."""
    limit = (FRAME_BYTES - frame.PREFIX_BYTES) // batch.kind.dtype.itemsize
    times = batch.records["ts_recv"]
    # Trades that waited behind a hole come after later received ones that filled it.
    cells = np.maximum(np.maximum.accumulate(times // CELL_NS), cell)
    if cells[0] == cells[-1]:
        edges = [0, len(times)]
    else:
        edges = [0, *(np.flatnonzero(cells[1:] != cells[:-1]) + 1).tolist(), len(times)]
    for start, end in pairwise(edges):
        for at in range(start, end, limit):
            placed = _Piece(int(cells[at]), symbol, len(pieces), batch, at, min(at + limit, end))
            pieces.append(placed)
    return int(cells[-1])
