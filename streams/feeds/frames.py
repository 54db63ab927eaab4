"""Items to messages: batches cut on the 5 ms, 64 KB grid of their receive times, and events.

Pure: the same items give the same bytes. Per instrument the order of items is kept; between
instruments the order is by grid cell, then by symbol, what concerns the whole feed last.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tidemill.schemas import frame
from tidemill.schemas.events import event
from tidemill.schemas.kinds.quote import QUOTE
from tidemill.schemas.kinds.status import STATUS
from tidemill.streams.feeds.feed import Batch, Records
from tidemill.streams.feeds.intake import Fact, Item

CELL_NS = 5_000_000
"""Records received within one cell of this width share a frame."""
WHOLE_NS = 1 << 62
"""A cell that holds every receive time."""
FRAME_BYTES = 64 * 1024
"""Largest frame that is written."""

Messages = list[tuple[str, bytes]]


class _Piece(NamedTuple):
    """A part of an item, placed: by cell, then symbol, then order of arrival."""

    cell: int
    symbol: str
    order: int
    item: Item
    start: int
    end: int


def cut(items: Sequence[Item], sequence: int, cell_ns: int = CELL_NS) -> Messages:
    """Return (subject, payload) of `items`; source sequences count up from `sequence`.

    `cell_ns` is the grid's width: records of one instrument and cell share a frame.
    """
    pieces: list[_Piece] = []
    cells: dict[str, int] = {}
    for item in _joined(items) if len(items) > 1 else items:
        symbol = _symbol(item)
        cell = cells.get(symbol, 0)
        if isinstance(item, Fact):
            cell = cell if symbol != _FEED else item.ts // cell_ns
            pieces.append(_Piece(cell, symbol, len(pieces), item, 0, 1))
        elif item.kind is QUOTE:
            # No event tells of quotes: their cells are their own.
            _place(item, symbol, 0, cell_ns, pieces)
        else:
            cells[symbol] = _place(item, symbol, cell, cell_ns, pieces)
    pieces.sort(key=_position)
    return [_message(piece, sequence + i) for i, piece in enumerate(pieces)]


def cut_flush(items: Sequence[Item], sequence: int) -> Messages:
    """Return the messages of a live flush: as few frames as order allows, whatever the flush spans.

    What concerns the whole feed stays between the records that came before it and after it. The
    slower the log answers, the larger the frames: a grid would make more of them instead.
    """
    messages: Messages = []
    start = 0
    for at, item in enumerate(items, 1):
        if at == len(items) or _symbol(item) == _FEED:
            messages += cut(items[start:at], sequence + len(messages), WHOLE_NS)
            start = at
    return messages


_FEED = "~"
"""Stands for the symbol of what concerns the whole feed; it sorts behind every symbol."""


def _symbol(item: Item) -> str:
    tokens = item.subject.split(".", 4)
    return _FEED if tokens[4] == "all" else tokens[3]


def _joined(items: Sequence[Item]) -> list[Item]:
    """Join batches of one subject, as far as no event or status of its instrument is between."""
    joined: list[Item] = []
    parts: dict[int, list[Batch]] = {}
    open_: dict[str, dict[str, int]] = {}
    for item in items:
        symbol = _symbol(item)
        if isinstance(item, Fact) or item.kind is STATUS:
            open_.pop(symbol, None)
            joined.append(item)
            continue
        mine = open_.setdefault(symbol, {})
        at = mine.get(item.subject)
        if at is not None and parts[at][0][3:] == item[3:]:
            parts[at].append(item)
        else:
            mine[item.subject] = len(joined)
            parts[len(joined)] = [item]
            joined.append(item)
    for at, batches in parts.items():
        if len(batches) > 1:
            joined[at] = batches[0]._replace(records=_concatenated(batches))
    return joined


def _concatenated(batches: Sequence[Batch]) -> Records:
    """Concatenate records of one kind as plain bytes: field by field is six times slower."""
    dtype = batches[0].kind.dtype
    whole = np.dtype(f"V{dtype.itemsize}")
    return np.concatenate([batch.records.view(whole) for batch in batches]).view(dtype)


def _message(piece: _Piece, sequence: int) -> tuple[str, bytes]:
    item = piece.item
    if isinstance(item, Fact):
        numbered = item.event.model_copy(update={"sequence": sequence})
        return item.subject, event.encode(numbered)
    records = item.records[piece.start : piece.end]
    exponents = item.price_exponent, item.quantity_exponent
    return item.subject, frame.encode(item.kind, records, sequence, *exponents)


def _position(piece: _Piece) -> tuple[int, str, int]:
    return piece[:3]


def _place(batch: Batch, symbol: str, cell: int, cell_ns: int, pieces: list[_Piece]) -> int:
    """Cut `batch` at the edges of cells and at 64 KB; return the last cell."""
    limit = (FRAME_BYTES - frame.PREFIX_BYTES) // batch.kind.dtype.itemsize
    times = batch.records["ts_recv"]
    edges = [0, len(times)]
    if len(times) == 1:
        last = first = max(int(times[0]) // cell_ns, cell)
        cells = None
    else:
        # Trades that waited behind a hole come after later received ones that filled it.
        cells = np.maximum(np.maximum.accumulate(times // cell_ns), cell)
        first, last = int(cells[0]), int(cells[-1])
        if first != last:
            edges[1:1] = (np.flatnonzero(cells[1:] != cells[:-1]) + 1).tolist()
    for start, end in pairwise(edges):
        place = first if cells is None else int(cells[start])
        for at in range(start, end, limit):
            pieces.append(_Piece(place, symbol, len(pieces), batch, at, min(at + limit, end)))
    return last
