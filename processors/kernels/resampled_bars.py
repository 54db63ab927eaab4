"""Bars, statuses and gaps into bars of longer intervals: the kernels that the processor calls.

A bar closes with its last part. Intervals without trades have no part: what closes then is the
venue's time, by the statuses that close parts. What a status closes of parts comes after it, so it
closes bars here with the next record of the instrument: then every part of it is known.

A record of numba keeps no array alive: `stages` (1,), the scratch space, is the caller's to hold.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import from_dtype, njit, types
from numpy.typing import NDArray

from tidemill.processors.kernels.bar_out import Out, out_of, unstage
from tidemill.processors.kernels.bar_state import (
    GAP,
    GRACE_NS,
    HOLD_FEED,
    HOLD_INSTRUMENT,
    SILENCE_NS_MAX,
    STALE,
    UP,
)
from tidemill.processors.kernels.resampled_parts import (
    SOURCES_COUNT,
    Row,
    Stage,
    begin_of,
    close,
    emit,
    source_of,
    take,
)
from tidemill.processors.kernels.resampled_state import (
    BARS,
    FIRST_BAR,
    PART_NS,
    REFUSED,
    SOURCE_OF,
    STAGE,
    STAGED_MAX,
    STATE,
    TAKEN,
)
from tidemill.processors.kernels.signatures import strided
from tidemill.schemas.kinds.bar import BAR
from tidemill.schemas.kinds.resampled_bar import RESAMPLED_BAR
from tidemill.schemas.kinds.status import STATUS
from tidemill.schemas.run import FRAMES, INSTRUMENTS

OUT_DTYPE = RESAMPLED_BAR.dtype
_TARGETS = len(BARS)
_LENGTHS, _BARS, _FIRST, _SOURCE = (
    np.array(PART_NS),
    np.array(BARS),
    np.array(FIRST_BAR),
    np.array(SOURCE_OF),
)
_Tuple: Callable[..., types.Type] = types.Tuple
_NamedTuple: Callable[..., types.Type] = types.NamedTuple


_Rows, _Stages = strided(STATE, readonly=False), strided(STAGE, readonly=False)
_Frames, _Keys = strided(FRAMES), strided(INSTRUMENTS)
_Bars, _Statuses = strided(BAR.dtype), strided(STATUS.dtype)
_Refused = types.Array(from_dtype(REFUSED), 1, "C")
_Out = out_of(OUT_DTYPE)


@njit(cache=True)
def _nothing(size: int) -> Out:
    return Out(np.empty(size, OUT_DTYPE), np.empty(size, np.int32), np.empty(size, np.uint8))


@njit(cache=True)
def _settle(row: Row, stage: Stage) -> None:
    """Close what an earlier status made due; the record at hand is a later one."""
    if row.due_to == 0 or (row.due_r == stage.at_r and row.due_i == stage.at_i):
        return
    for k in range(SOURCES_COUNT):
        closed_to = row.due_to // _LENGTHS[k] * _LENGTHS[k]
        if closed_to > row.sources[k].closed_to:
            row.sources[k].closed_to = closed_to
            close(row, k, row.due_flag, stage)
    row.due_to = 0


@njit(cache=True)
def _begin(row: Row, bar: Any) -> None:
    """Note the first part: trades were known to be complete by its end at the latest."""
    row.seen = 1
    row.began = min(row.began, bar.ts_open + np.int64(bar.interval_s) * 1_000_000_000 - 1)


@njit(
    _Tuple((_Out, types.int64, _Refused, types.int64))(_Rows, _Stages, _Frames, _Bars),
    cache=True,
)
def fold_bars(
    rows: NDArray[np.void],
    stages: NDArray[np.void],
    frames: NDArray[np.void],
    bars: NDArray[np.void],
) -> tuple[Out, int, NDArray[np.void], int]:
    """Step the bars (N,) that `frames` (F,) name, those that are parts; others change nothing.

    Changes `rows` (S,) STATE in place. Return (out, count, refused, refusals): the first `count`
    and `refusals` of them are valid.
    """
    out, count = _nothing(0), 0
    refused, refusals = np.empty(0, REFUSED), 0
    stage = stages[0]
    for f in range(len(frames)):
        frame = frames[f]
        for index in range(frame.start, frame.start + frame.count):
            bar = bars[index]
            k = source_of(bar.interval_s)
            if k < 0:
                continue
            row = rows[frame.slot]
            stage.at_r = bar.at_r
            stage.at_i = bar.at_i
            stage.slot = frame.slot
            _settle(row, stage)
            if row.seen == 0:
                _begin(row, bar)
            reason, targets = take(row, k, bar, stage)
            if reason != TAKEN:
                if refusals == len(refused):
                    grown = np.empty(2 * refusals + 16, REFUSED)
                    grown[:refusals] = refused
                    refused = grown
                record = refused[refusals]
                record.at_r = stage.at_r
                record.at_i = stage.at_i
                record.slot = stage.slot
                record.ts_open = bar.ts_open
                record.source = k
                record.reason = reason
                record.targets = targets
                refusals += 1
            if stage.count:
                out, count = unstage(stage, out, count)
    return out, count, refused, refusals


@njit(cache=True)
def _hear(row: Row, status: Any, of_feed: bool, stage: Stage) -> None:
    """Take a status of an instrument or of its feed as `bars` does; what it closes is due."""
    _settle(row, stage)
    bit = HOLD_FEED if of_feed else HOLD_INSTRUMENT
    row.hold = row.hold | bit if status.hold else row.hold & ~bit
    row.venue_time = max(row.venue_time, status.venue_time)
    row.due_flag = 0
    if of_feed:
        if row.status_recv > 0 and status.ts_recv - row.status_recv > SILENCE_NS_MAX:
            row.due_flag = STALE
        row.status_recv = max(row.status_recv, status.ts_recv)
        if row.link & UP and row.began == 0 and row.seen == 0:
            row.began = row.venue_time
    if row.hold == 0:
        row.due_r = stage.at_r
        row.due_i = stage.at_i
        row.due_to = max(0, row.venue_time - GRACE_NS)


@njit(_Tuple((_Out, types.int64))(_Rows, _Stages, _Frames, _Statuses, _Keys), cache=True)
def fold_status(
    rows: NDArray[np.void],
    stages: NDArray[np.void],
    frames: NDArray[np.void],
    statuses: NDArray[np.void],
    instruments: NDArray[np.void],
) -> tuple[Out, int]:
    """Step statuses (N,): of the frame's slot, or, where that is -1, of every slot of its feed.

    Changes `rows` (S,) STATE in place. Return (out, count): the first `count` are valid.
    """
    out, count = _nothing(0), 0
    stage = stages[0]
    for f in range(len(frames)):
        frame = frames[f]
        stage.at_r = frame.r
        first, end = 0, len(instruments)
        if frame.slot >= 0:
            first, end = frame.slot, frame.slot + 1
        for index in range(frame.start, frame.start + frame.count):
            stage.at_i = np.int64(frame.i) + index - frame.start
            for slot in range(first, end):
                if frame.slot >= 0 or instruments[slot].feed == frame.feed:
                    stage.slot = slot
                    _hear(rows[slot], statuses[index], frame.slot < 0, stage)
                    if stage.count:
                        out, count = unstage(stage, out, count)
    return out, count


@njit(
    _Tuple((_Out, types.int64, types.int64))(
        *(_Rows, _Stages, types.int64, types.uint64, types.uint32, types.int64, types.int64)
    ),
    cache=True,
)
def declare_gap(
    rows: NDArray[np.void],
    stages: NDArray[np.void],
    slot: int,
    at_r: Any,
    at_i: Any,
    ts_from: int,
    ts_to: int,
) -> tuple[Out, int, int]:
    """Flag the bars of one instrument that a gap (event times, ns) touches; closed ones are
    revised, and those that open later are flagged when they do.

    Return (out, count, targets): bit t of the last says that touched bars of spec t may be older
    than those kept.
    """
    row, stage = rows[slot], stages[0]
    stage.at_r = at_r
    stage.at_i = at_i
    stage.slot = slot
    _settle(row, stage)
    lost = 0
    for t in range(_TARGETS):
        track = row.tracks[t]
        open_from = begin_of(t, row.sources[_SOURCE[t]].closed_to)
        unresolved = track.gap_to > 0 and track.gap_to >= open_from
        track.gap_from = min(track.gap_from, ts_from) if unresolved else ts_from
        track.gap_to = max(track.gap_to, ts_to) if unresolved else ts_to
        if track.kept == _BARS[t] and ts_from < row.bars[_FIRST[t]].ts_open:
            lost |= 1 << t
        for place in range(_FIRST[t], _FIRST[t] + track.kept):
            bar = row.bars[place]
            if bar.flags & GAP or bar.ts_open > ts_to or bar.ts_close <= ts_from:
                continue
            bar.marks |= GAP
            bar.flags |= GAP
            if bar.closed:
                bar.revision += 1
                emit(stage, t, bar)
    out, count = unstage(stage, _nothing(STAGED_MAX), 0)
    return out, count, lost


@njit(types.void(_Rows, types.int64, types.boolean), cache=True)
def mark_lapse(rows: NDArray[np.void], slot: int, up: bool) -> None:
    """Note that an instrument's feed connected or disconnected."""
    row = rows[slot]
    row.link = UP if up else 0
    if row.seen == 0:
        row.began = 0
