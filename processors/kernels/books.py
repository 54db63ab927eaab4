"""Books over many instruments: take records, hear feeds, tell what changed as time goes on."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import from_dtype, njit, types
from numpy.typing import NDArray

from tidemill.processors.kernels.book_apply import (
    flags_of,
    invalidate,
    same_exponents,
    state_of,
    take,
)
from tidemill.processors.kernels.book_measure import measure
from tidemill.processors.kernels.book_state import (
    BUY,
    CHANGES_MIN,
    INVALID,
    MASK,
    SELL,
    SILENCE_NS_MAX,
    STATE,
    TOP,
    VALID,
)
from tidemill.processors.kernels.signatures import strided
from tidemill.schemas.kinds.book import BOOK
from tidemill.schemas.kinds.book_level import BOOK_LEVEL
from tidemill.schemas.kinds.book_metrics import BOOK_METRICS
from tidemill.schemas.kinds.status import STATUS
from tidemill.schemas.kinds.time import TIME
from tidemill.schemas.run import FRAMES, INSTRUMENTS

SECOND_NS = 1_000_000_000
METRICS, LEVEL = BOOK_METRICS.dtype, BOOK_LEVEL.dtype

Row = Any
"""One record of STATE."""
Side = Any
"""One record of SIDE."""


class Out(NamedTuple):
    """Records (capacity,) of one kind and the slots (capacity,) that they are of."""

    records: NDArray[np.void]
    slots: NDArray[np.int32]


_Tuple: Callable[..., types.Type] = types.Tuple
_NamedTuple: Callable[..., types.Type] = types.NamedTuple
_Rows, _Frames, _Keys = strided(STATE, readonly=False), strided(FRAMES), strided(INSTRUMENTS)
_Records, _Statuses, _Times = strided(BOOK.dtype), strided(STATUS.dtype), strided(TIME.dtype)
_Slots = types.Array(types.int32, 1, "C")
_Metrics = _NamedTuple((types.Array(from_dtype(METRICS), 1, "C"), _Slots), Out)
_Levels = _NamedTuple((types.Array(from_dtype(LEVEL), 1, "C"), _Slots), Out)
_Told = _Tuple((_Metrics, types.int64, _Levels, types.int64))


@njit(cache=True)
def _more_metrics(out: Out, count: int) -> Out:
    """Return `out`, or a larger one with what it holds, so that one more record fits."""
    if count < len(out.slots):
        return out
    size = 2 * count + 16
    grown = Out(np.zeros(size, METRICS), np.zeros(size, np.int32))
    grown.records[:count] = out.records[:count]
    grown.slots[:count] = out.slots[:count]
    return grown


@njit(cache=True)
def _more_levels(out: Out, count: int, wanted: int) -> Out:
    """As `_more_metrics`, for `wanted` more."""
    if count + wanted <= len(out.slots):
        return out
    size = 2 * count + wanted
    grown = Out(np.zeros(size, LEVEL), np.zeros(size, np.int32))
    grown.records[:count] = out.records[:count]
    grown.slots[:count] = out.slots[:count]
    return grown


@njit(cache=True)
def _tell(row: Row, record: Any, at_r: Any, at_i: int, ts: int) -> None:
    """Fill one record of metrics, and note what was told."""
    record.at_r, record.at_i, record.n = at_r, at_i, 0
    record.ts, record.ts_event, record.ts_recv = ts, row.ts_event, row.ts_recv
    record.last_update_id = row.last_update_id
    state = state_of(row)
    record.state, record.flags = state, flags_of(row)
    if state == VALID:
        measure(row, record)
    row.told = state + 1


@njit(cache=True)
def _put_side(side: Side, kind: int, most: int, out: Out, count: int, slot: int, like: Any) -> int:
    """Append the best `most` levels of a side; return how many records there are then."""
    for k in range(min(side.ends[1], most)):
        at = (side.ends[0] + k) & MASK
        record = out.records[count]
        record.at_r, record.at_i, record.n = like.at_r, like.at_i, 0
        record.ts, record.last_update_id = like.ts, like.last_update_id
        record.price, record.quantity = side.prices[at], side.quantities[at]
        record.level, record.side, record.flags = k, kind, like.flags
        out.slots[count] = slot
        count += 1
    return count


@njit(cache=True)
def _put_book(row: Row, most: int, out: Out, count: int, slot: int, like: Any) -> int:
    """Append the best `most` levels of both sides, or one record without a side for none."""
    end = _put_side(row.bids, BUY, most, out, count, slot, like)
    end = _put_side(row.asks, SELL, most, out, end, slot, like)
    if end > count:
        return end
    record = out.records[count]
    record.at_r, record.at_i, record.n = like.at_r, like.at_i, 0
    record.ts, record.last_update_id = like.ts, like.last_update_id
    record.price = record.quantity = 0
    record.level, record.side, record.flags = 0, 0, like.flags
    out.slots[count] = slot
    return count + 1


@njit(_Told(_Rows, _Frames, _Records, _Keys), cache=True)
def take_books(
    rows: NDArray[np.void],
    frames: NDArray[np.void],
    records: NDArray[np.void],
    keys: NDArray[np.void],
) -> tuple[Out, int, Out, int]:
    """Take the book records (N,) that `frames` (F,) name into `rows` (S,) STATE, in place.

    `keys` (S,) INSTRUMENTS. Return (metrics, count, levels, count): of books whose state changed,
    and all levels of those that have changed as often as they have levels.
    """
    metrics, told = Out(np.zeros(4, METRICS), np.zeros(4, np.int32)), 0
    levels, listed = Out(np.zeros(0, LEVEL), np.zeros(0, np.int32)), 0
    like = np.zeros(1, METRICS)
    for f in range(len(frames)):
        frame = frames[f]
        row = rows[frame.slot]
        defined = same_exponents(frame, keys[frame.slot])
        for index in range(frame.start, frame.start + frame.count):
            source = records[index]
            if not take(row, source, frame, defined):
                continue
            at_i = np.int64(frame.i) + index - frame.start
            state = state_of(row)
            if row.told != state + 1:
                metrics = _more_metrics(metrics, told)
                _tell(row, metrics.records[told], frame.r, at_i, source.ts_recv)
                metrics.slots[told] = frame.slot
                told += 1
            held = row.bids.ends[1] + row.asks.ends[1]
            if state == VALID and row.changes > max(held, CHANGES_MIN):
                like[0].at_r, like[0].at_i, like[0].ts = frame.r, at_i, source.ts_recv
                like[0].last_update_id, like[0].flags = row.last_update_id, flags_of(row)
                levels = _more_levels(levels, listed, held + 1)
                listed = _put_book(row, held, levels, listed, frame.slot, like[0])
                row.changes = 0
    return metrics, told, levels, listed


@njit(types.void(_Rows, _Frames, _Statuses, _Keys), cache=True)
def hear_feeds(
    rows: NDArray[np.void],
    frames: NDArray[np.void],
    statuses: NDArray[np.void],
    keys: NDArray[np.void],
) -> None:
    """Note in `rows` (S,) when each feed was last heard; `keys` (S,) INSTRUMENTS."""
    for f in range(len(frames)):
        frame = frames[f]
        if frame.slot >= 0 or frame.feed < 0:
            continue
        for slot in range(len(rows)):
            if keys[slot].feed == frame.feed:
                for index in range(frame.start, frame.start + frame.count):
                    rows[slot].heard = max(rows[slot].heard, statuses[index].ts_recv)


@njit(cache=True)
def _due(row: Row, ts: int) -> bool:
    """Return whether a book is to be told at a time: it changed, or its feed fell silent."""
    silent = row.heard > 0 and ts - row.heard > SILENCE_NS_MAX
    if silent and not row.stale and row.told > 0:
        row.stale = 1
        row.dirty = 1
        return True
    return bool(row.dirty and not row.open and row.second < ts // SECOND_NS)


@njit(_Told(_Rows, _Frames, _Times, _Keys), cache=True)
def tell_books(
    rows: NDArray[np.void],
    frames: NDArray[np.void],
    times: NDArray[np.void],
    keys: NDArray[np.void],
) -> tuple[Out, int, Out, int]:
    """Step the time: metrics and best levels of each book that changed, once a second.

    A book whose instrument has other exponents now is none. `keys` (S,) INSTRUMENTS. Changes
    `rows` (S,) STATE in place. Return (metrics, count, levels, count).
    """
    metrics, told = Out(np.zeros(16, METRICS), np.zeros(16, np.int32)), 0
    levels, listed = Out(np.zeros(0, LEVEL), np.zeros(0, np.int32)), 0
    for f in range(len(frames)):
        frame = frames[f]
        for index in range(frame.start, frame.start + frame.count):
            ts = times[index].ts
            for slot in range(len(rows)):
                row = rows[slot]
                if row.state == VALID and not same_exponents(row, keys[slot]):
                    invalidate(row)
                if not _due(row, ts):
                    continue
                row.dirty = 0
                row.second = ts // SECOND_NS
                metrics = _more_metrics(metrics, told)
                record = metrics.records[told]
                _tell(row, record, frame.r, np.int64(frame.i) + index - frame.start, ts)
                metrics.slots[told] = slot
                told += 1
                if record.state == VALID:
                    levels = _more_levels(levels, listed, 2 * TOP)
                    listed = _put_book(row, TOP, levels, listed, slot, record)
    return metrics, told, levels, listed


@njit(
    types.boolean(_Rows, types.int64, _Metrics, types.uint64, types.int64, types.int64), cache=True
)
def doubt(rows: NDArray[np.void], slot: int, out: Out, at_r: Any, at_i: int, ts: int) -> bool:
    """Make one instrument's book INVALID; return whether `out` (1,) says so, as news."""
    row = rows[slot]
    invalidate(row)
    if row.told == INVALID + 1:
        return False
    _tell(row, out.records[0], at_r, at_i, ts)
    out.slots[0] = slot
    return True
