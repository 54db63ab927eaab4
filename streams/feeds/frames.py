"""Items to messages: batches cut on the 5 ms, 64 KB grid of their receive times, and events.

Pure: the same items give the same bytes. Per instrument the order of items is kept on the grid;
between instruments the order is by grid cell, then by symbol, what concerns the whole feed last.
A live flush has no grid: one kind follows the other there, so that readers step long runs of each.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tidemill.schemas import frame
from tidemill.schemas.events import event
from tidemill.schemas.identifiers import ALL
from tidemill.schemas.kinds.quote import QUOTE
from tidemill.schemas.kinds.status import STATUS
from tidemill.schemas.run import join_records
from tidemill.streams.feeds.feed import Batch
from tidemill.streams.feeds.items import Fact, Item
from tidemill.streams.subjects import parse

CELL_NS = 5_000_000
"""Records received within one cell of this width share a frame."""
FRAME_BYTES = 64 * 1024
"""Largest frame that is written."""

Messages = list[tuple[str, bytes]]


KIND_ORDER = ("trade", "liquidation", "book", "quote", "derivative", "venue_bar")
"""Of records that are flushed together: what happened comes before what it led to."""


class _Piece(NamedTuple):
    """A part of an item, placed: by cell, then symbol, then order of arrival."""

    cell: int
    symbol: str
    order: int
    item: Item
    start: int
    end: int


def cut(items: Sequence[Item], sequence: int) -> Messages:
    """Return (subject, payload) of `items` on the grid; source sequences count from `sequence`."""
    pieces: list[_Piece] = []
    cells: dict[str, int] = {}
    for item in _joined(items) if len(items) > 1 else items:
        symbol = _symbol(item)
        cell = cells.get(symbol, 0)
        if isinstance(item, Fact):
            cell = cell if symbol != _FEED else item.ts // CELL_NS
            pieces.append(_Piece(cell, symbol, len(pieces), item, 0, 1))
        elif item.kind is QUOTE:
            # No event tells of quotes: their cells are their own.
            _place(item, symbol, 0, pieces)
        else:
            cells[symbol] = _place(item, symbol, cell, pieces)
    pieces.sort(key=_position)
    return [
        _message(piece.item, piece.start, piece.end, sequence + i) for i, piece in enumerate(pieces)
    ]


def cut_flush(items: Sequence[Item], sequence: int) -> Messages:
    """Return the messages of a live flush: as few frames as order allows, whatever the flush spans.

    What concerns the whole feed, or an instrument (events, statuses), stays between the records
    that came before it and after it. The slower the log answers, the larger the frames: a grid
    would make more of them instead.
    """
    messages: Messages = []
    groups: _Groups = {}
    told: dict[str, int] = {}
    for item in items:
        symbol = _symbol(item)
        rank = 0 if isinstance(item, Fact) else _RANKS.get(item.kind.name, 0)
        if symbol == _FEED:
            _append(groups, sequence, messages)
            _append({(0, 0, symbol): [item]}, sequence, messages)
            groups, told = {}, {}
            continue
        if not rank:
            told[symbol] = told.get(symbol, 0) + 1
        groups.setdefault((told.get(symbol, 0), rank, symbol), []).append(item)
    _append(groups, sequence, messages)
    return messages


_Groups = dict[tuple[int, int, str], list[Item]]
"""Items by what was told of their instrument before them, the rank of their kind, its symbol."""
_RANKS = {name: rank for rank, name in enumerate(KIND_ORDER, 1)}
"""Of kinds; what tells something (events, statuses) has none."""


def _append(groups: _Groups, sequence: int, messages: Messages) -> None:
    """Append the messages of `groups` in their order."""
    for key in sorted(groups):
        items = groups[key]
        for item in _joined(items) if len(items) > 1 else items:
            last = 1 if isinstance(item, Fact) else len(item.records)
            step = 1 if isinstance(item, Fact) else _limit(item)
            for at in range(0, last, step):
                end = min(at + step, last)
                messages.append(_message(item, at, end, sequence + len(messages)))


_FEED = "~"
"""Stands for the symbol of what concerns the whole feed; it sorts behind every symbol."""


def _symbol(item: Item) -> str:
    subject = parse(item.subject)
    return _FEED if subject.partition == ALL else subject.symbol


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
            joined[at] = batches[0]._replace(
                records=join_records([batch.records for batch in batches])
            )
    return joined


def _message(item: Item, start: int, end: int, sequence: int) -> tuple[str, bytes]:
    if isinstance(item, Fact):
        numbered = item.event.model_copy(update={"sequence": sequence})
        return item.subject, event.encode(numbered)
    subject, kind, records, *exponents = item
    return subject, frame.encode(kind, records[start:end], sequence, *exponents)


def _position(piece: _Piece) -> tuple[int, str, int]:
    return piece[:3]


def _limit(batch: Batch) -> int:
    """Return how many records a frame takes."""
    return (FRAME_BYTES - frame.PREFIX_BYTES) // batch.kind.dtype.itemsize


def _place(batch: Batch, symbol: str, cell: int, pieces: list[_Piece]) -> int:
    """Cut `batch` at the edges of cells and at 64 KB; return the last cell."""
    limit = _limit(batch)
    times = batch.records["ts_recv"]
    edges = [0, len(times)]
    if len(times) == 1:
        last = first = max(int(times[0]) // CELL_NS, cell)
        cells = None
    else:
        # Trades that waited behind a hole come after later received ones that filled it.
        cells = np.maximum(np.maximum.accumulate(times // CELL_NS), cell)
        first, last = int(cells[0]), int(cells[-1])
        if first != last:
            edges[1:1] = (np.flatnonzero(cells[1:] != cells[:-1]) + 1).tolist()
    for start, end in pairwise(edges):
        place = first if cells is None else int(cells[start])
        for at in range(start, end, limit):
            pieces.append(_Piece(place, symbol, len(pieces), batch, at, min(at + limit, end)))
    return last
