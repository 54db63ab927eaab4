"""Runs in logical order: (r, i, depth, processor, n), whatever the arrival."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tidemill.schemas.events import Event
from tidemill.schemas.run import Records, Run
from tidemill.streams.runtime.intake import Column

Index = np.ndarray[Any, np.dtype[np.int64]]


def runs(columns: dict[str, Column], instruments: Records) -> Iterator[Run]:
    """Yield the records of `columns` as the longest runs of one kind, in logical order."""
    if len(columns) == 1:
        ((kind, column),) = columns.items()
        if column.n is None:
            yield _run(kind, column, slice(None), instruments)
            return
    derived = [column for column in columns.values() if column.n is not None]
    if derived:
        columns = {k: _split(c, derived) if c.n is None else c for k, c in columns.items()}
    names = list(columns)
    order, kind_of, index_of = _merge([columns[name] for name in names])
    starts = np.flatnonzero(np.diff(kind_of[order])) + 1
    for part in np.split(order, starts):
        kind = names[int(kind_of[part[0]])]
        index = index_of[part]
        if index[-1] - index[0] + 1 == len(index) and np.all(np.diff(index) == 1):
            yield _run(kind, columns[kind], slice(int(index[0]), int(index[-1]) + 1), instruments)
        else:  # a derived column stands in order of emission of two depths or names
            yield _run(kind, columns[kind], index, instruments)


def _run(kind: str, column: Column, chosen: slice | Index, instruments: Records) -> Run:
    if not column.events:
        return Run(kind, column.records, column.frames[chosen], instruments)
    indices = np.arange(len(column.events))[chosen]
    picked = tuple(column.events[int(index)] for index in indices)
    return Run(kind, column.records, column.frames[chosen], instruments, picked)


def _merge(columns: list[Column]) -> tuple[Index, Index, Index]:
    """Return the order of all frames of `columns`, and each one's column and index there."""
    ranks = {name: rank for rank, name in enumerate(sorted({c.processor for c in columns}))}
    kind_of = np.concatenate([np.full(len(c.frames), k) for k, c in enumerate(columns)])
    index_of = np.concatenate([np.arange(len(c.frames)) for c in columns])
    r = np.concatenate([c.frames["r"] for c in columns])
    last = np.concatenate([c.frames["i"] + c.frames["count"] - 1 for c in columns])
    depth = np.concatenate([np.full(len(c.frames), c.depth) for c in columns])
    rank = np.concatenate([np.full(len(c.frames), ranks[c.processor]) for c in columns])
    n = np.concatenate([np.zeros(len(c.frames), "u4") if c.n is None else c.n for c in columns])
    return np.lexsort((n, rank, depth, last, r)), kind_of, index_of


def _split(column: Column, derived: list[Column]) -> Column:
    """Cut frames of facts after every record that has a derived record, so that both interleave."""
    at = np.unique(np.concatenate([c.frames[["r", "i"]] for c in derived]))
    rows: list[Any] = []
    events: list[Event] = []
    for index, frame in enumerate(column.frames):
        low, high = np.searchsorted(at["r"], [frame["r"], frame["r"] + 1])
        first, end = int(frame["i"]), int(frame["i"]) + int(frame["count"])
        cuts = [int(i) + 1 for i in at["i"][low:high] if first <= i < end - 1]
        for begin, stop in zip([first, *cuts], [*cuts, end], strict=True):
            piece = frame.copy()
            piece["start"] += begin - first
            piece["i"] = begin
            piece["count"] = stop - begin
            rows.append(piece)
            events += column.events[index : index + 1]
    return column._replace(frames=np.array(rows, column.frames.dtype), events=tuple(events))
