"""The rings of an instrument's bars: finding, making place, flagging, closing, staging for output.

Helpers are given single records, which are pointers: arrays among their arguments would be
reference-counted at every call, which costs more than the work (measured: half of the time).
"""

from typing import Any

import numpy as np
from numba import njit

from tidemill.processors.kernels.bar_state import FIRST, GAP, GRACE_NS, KEPT, LENGTHS_NS
from tidemill.processors.kernels.bar_values import copy_with_ids

INTERVALS = len(KEPT)
# Arrays, because a tuple with a varying index is a chain of branches in numba.
LENGTHS, RING, FIRST_OF = np.array(LENGTHS_NS), np.array(KEPT), np.array(FIRST)
NEW = np.int64(1) << 32
"""Added by `locate` to the age that a bar would have which is not there yet."""

Row = Any
"""One record of STATE."""
Bar = Any
"""One record of KEPT_BAR."""
Stage = Any
"""One record of STAGE."""


@njit(cache=True)
def emit(stage: Stage, k: int, bar: Bar) -> None:
    """Stage one bar of interval `k` as it stands."""
    record = stage.bars[stage.count]
    record.at_r = stage.at_r
    record.at_i = stage.at_i
    record.n = 0
    record.ts_open = bar.ts_open
    record.interval_s = LENGTHS[k] // 1_000_000_000
    record.revision = bar.revision
    copy_with_ids(record, bar)
    record.flags = bar.flags
    stage.specs[stage.count] = k
    stage.count += 1


# --- the ring of one interval: the bar of age 0 is the newest, of age kept - 1 the oldest -----


@njit(cache=True)
def place_of(row: Row, k: int, age: int) -> Any:
    """Return the place among the row's bars of the bar of interval `k` with this age."""
    place = np.int64(row.tracks[k].head) - age
    if place < 0:
        place += RING[k]
    return FIRST_OF[k] + place


@njit(cache=True)
def locate(row: Row, k: int, ts_open: int) -> Any:
    """Return the age of the bar that begins at `ts_open`, or NEW + the age it would have."""
    kept = np.int64(row.tracks[k].kept)
    age = 0
    while age < kept:
        there = row.bars[place_of(row, k, age)].ts_open
        if there == ts_open:
            return age
        if there < ts_open:
            break
        age += 1
    return NEW + age


@njit(cache=True)
def insert(row: Row, k: int, age: int, stage: Stage) -> None:
    """Make place for a bar of this age. The oldest goes when the ring is full; were it still open,
    behind a hold that does not end, it closes here, with GAP."""
    track = row.tracks[k]
    if track.kept == RING[k]:
        oldest = row.bars[place_of(row, k, RING[k] - 1)]
        if oldest.ts_open >= track.closed_to:
            oldest.flags |= GAP
            track.closed_to = oldest.ts_open + LENGTHS[k]
            emit(stage, k, oldest)
    else:
        track.kept += 1
    track.head = (np.int64(track.head) + 1) % RING[k]
    for newer in range(age):
        row.bars[place_of(row, k, newer)] = row.bars[place_of(row, k, newer + 1)]


# --- marking and closing ------------------------------------------------------------------------


@njit(cache=True)
def touches(ts_open: int, k: int, ts_from: int, ts_to: int) -> bool:
    return ts_open <= ts_to and ts_from < ts_open + LENGTHS[k]


@njit(cache=True)
def mark(row: Row, k: int, ts_from: int, ts_to: int, flag: int, stage: Stage) -> None:
    """Flag the kept bars of interval `k` that [ts_from, ts_to] touches; revise the closed ones."""
    for age in range(np.int64(row.tracks[k].kept) - 1, -1, -1):
        bar = row.bars[place_of(row, k, age)]
        if bar.flags & flag or not touches(bar.ts_open, k, ts_from, ts_to):
            continue
        bar.flags |= flag
        if bar.ts_open < row.tracks[k].closed_to:
            bar.revision += 1
            emit(stage, k, bar)


@njit(cache=True)
def watermark(row: Row) -> Any:
    """Return up to when bars are closed, by ids or by time (ns)."""
    by_ids = np.int64(row.proven_ts)
    return by_ids if row.hold else max(by_ids, np.int64(row.venue_time) - GRACE_NS)


@njit(cache=True)
def close(row: Row, k: int, watermark: int, flag: int, stage: Stage) -> None:
    """Close the bars of interval `k` that end by the watermark, oldest first."""
    track = row.tracks[k]
    if watermark < track.closed_to + LENGTHS[k]:
        return
    closed_to = watermark // LENGTHS[k] * LENGTHS[k]
    age = 0
    while age < track.kept and row.bars[place_of(row, k, age)].ts_open >= track.closed_to:
        age += 1
    while age > 0:
        age -= 1
        bar = row.bars[place_of(row, k, age)]
        if bar.ts_open >= closed_to:
            break
        bar.flags |= flag
        emit(stage, k, bar)
    track.closed_to = closed_to
