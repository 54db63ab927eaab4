"""Trades, statuses and gaps into bars of every interval: the kernels that the processor calls.

A bar is closed once its end is not after the watermark: the latest event time while ids prove that
no trade is missing, or the venue's clock less the grace while nothing holds. After each record
every bar up to the watermark is closed, so what is emitted depends on the records alone.

A record of numba keeps no array alive: `stages` (1,), the scratch space, is the caller's to hold.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import from_dtype, njit, types
from numpy.typing import NDArray

from tidemill.processors.kernels.bar_out import Out, out_of, unstage
from tidemill.processors.kernels.bar_ring import (
    INTERVALS,
    RING,
    Row,
    Stage,
    close,
    mark,
    place_of,
    watermark,
)
from tidemill.processors.kernels.bar_state import (
    GAP,
    HOLD_FEED,
    HOLD_INSTRUMENT,
    LAPSED,
    REFUSED,
    SILENCE_NS_MAX,
    STAGE,
    STAGED_MAX,
    STALE,
    STATE,
    TAKEN,
    UP,
)
from tidemill.processors.kernels.bar_trade import fold, take
from tidemill.processors.kernels.signatures import strided
from tidemill.schemas.kinds.bar import BAR
from tidemill.schemas.kinds.status import STATUS
from tidemill.schemas.kinds.trade import TRADE
from tidemill.schemas.run import FRAMES, INSTRUMENTS

BAR_DTYPE = BAR.dtype
_1 = np.uint64(1)
_Tuple: Callable[..., types.Type] = types.Tuple
_NamedTuple: Callable[..., types.Type] = types.NamedTuple


@njit(cache=True)
def _refuse(
    refused: Any, count: int, stage: Stage, trade_id: Any, reason: int, intervals: int
) -> Any:
    """Write one refusal; return `refused`, grown where it was full."""
    if count == len(refused):
        grown = np.empty(2 * count + 16, REFUSED)
        grown[:count] = refused
        refused = grown
    record = refused[count]
    record.at_r = stage.at_r
    record.at_i = stage.at_i
    record.slot = stage.slot
    record.trade_id = trade_id
    record.reason = reason
    record.intervals = intervals
    return refused


_Rows, _Stages = strided(STATE, readonly=False), strided(STAGE, readonly=False)
_Frames, _Keys = strided(FRAMES), strided(INSTRUMENTS)
_Trades, _Statuses = strided(TRADE.dtype), strided(STATUS.dtype)
_Refused = types.Array(from_dtype(REFUSED), 1, "C")
_Out = out_of(BAR_DTYPE)


@njit(cache=True)
def _nothing() -> Out:
    return Out(
        np.empty(STAGED_MAX, BAR_DTYPE),
        np.empty(STAGED_MAX, np.int32),
        np.empty(STAGED_MAX, np.uint8),
    )


@njit(
    _Tuple((_Out, types.int64, _Refused, types.int64))(_Rows, _Stages, _Frames, _Trades),
    cache=True,
)
def fold_trades(
    rows: NDArray[np.void],
    stages: NDArray[np.void],
    frames: NDArray[np.void],
    trades: NDArray[np.void],
) -> tuple[Out, int, NDArray[np.void], int]:
    """Step the trades (N,) that `frames` (F,) name. Changes `rows` (S,) STATE in place.

    Return (out, count, refused, refusals): the first `count` and `refusals` of them are valid.
    """
    out, count = _nothing(), 0
    refused, refusals = np.empty(0, REFUSED), 0
    stage = stages[0]
    for f in range(len(frames)):
        frame = frames[f]
        row = rows[frame.slot]
        index, end = frame.start, frame.start + frame.count
        stage.at_r = frame.r
        stage.slot = frame.slot
        while index < end:
            index = fold(row, trades, index, end)
            if index == end:
                break
            stage.at_i = np.int64(frame.i) + index - frame.start
            reason, intervals = take(row, trades[index], stage)
            if reason != TAKEN:
                trade_id = trades[index].trade_id
                refused = _refuse(refused, refusals, stage, trade_id, reason, intervals)
                refusals += 1
            if stage.count:
                out, count = unstage(stage, out, count)
            index += 1
    return out, count, refused, refusals


@njit(cache=True)
def _hear(row: Row, status: Any, of_feed: bool, stage: Stage) -> None:
    """Take a status of an instrument or of its feed, and close what is due."""
    bit = HOLD_FEED if of_feed else HOLD_INSTRUMENT
    row.hold = row.hold | bit if status.hold else row.hold & ~bit
    row.venue_time = max(row.venue_time, status.venue_time)
    flag = 0
    if of_feed:
        if row.status_recv > 0 and status.ts_recv - row.status_recv > SILENCE_NS_MAX:
            flag = STALE
        row.status_recv = max(row.status_recv, status.ts_recv)
        if row.link & UP and row.began == 0:
            row.began = row.venue_time
    closed_by = watermark(row)
    for k in range(INTERVALS):
        close(row, k, closed_by, flag, stage)


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
    out, count = _nothing(), 0
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


@njit(cache=True)
def _give_up(row: Row, first_id: Any, last_id: Any) -> None:
    """Count ids that are declared lost as seen; a hole that they fill is pending no more."""
    if row.hole == 0:
        if row.seen and first_id <= row.next_id and row.next_id <= last_id:
            row.next_id = last_id + _1
    elif first_id <= row.hole_next and row.hole_next <= last_id:
        row.hole_next = last_id + _1
        if row.hole_next >= row.hole_end:
            row.hole = 0
            row.next_id = max(row.next_id, row.hole_next)
            row.proven_ts = row.max_ts


class Gap(NamedTuple):
    """A hole that was declared, at LOG record (r, i); event times in ns. `first_id` is more than
    `last_id` where the ids are not known."""

    at_r: Any
    at_i: Any
    slot: Any
    ts_from: Any
    ts_to: Any
    first_id: Any
    last_id: Any


_Gap = _NamedTuple(
    (
        *(types.uint64, types.uint32, types.int32),
        *(types.int64, types.int64, types.uint64, types.uint64),
    ),
    Gap,
)


@njit(_Tuple((_Out, types.int64, types.int64))(_Rows, _Stages, _Gap), cache=True)
def declare_gap(rows: NDArray[np.void], stages: NDArray[np.void], gap: Gap) -> tuple[Out, int, int]:
    """Flag the bars of one instrument that a gap touches, and close what it held back.

    Bars that open later are flagged when they do. Return (out, count, intervals): bit k of the last
    says that touched bars of interval k may be older than those kept.
    """
    row = rows[gap.slot]
    stage = stages[0]
    stage.at_r = gap.at_r
    stage.at_i = gap.at_i
    stage.slot = gap.slot
    unresolved = row.gap_to > row.max_ts
    row.gap_from = min(row.gap_from, gap.ts_from) if unresolved else gap.ts_from
    row.gap_to = max(row.gap_to, gap.ts_to) if unresolved else gap.ts_to
    _give_up(row, gap.first_id, gap.last_id)
    closed_by = watermark(row)
    lost = 0
    for k in range(INTERVALS):
        full = row.tracks[k].kept == RING[k]
        if full and gap.ts_from < row.bars[place_of(row, k, RING[k] - 1)].ts_open:
            lost |= 1 << k
        mark(row, k, gap.ts_from, gap.ts_to, GAP, stage)
        close(row, k, closed_by, 0, stage)
    out, count = unstage(stage, _nothing(), 0)
    return out, count, lost


@njit(types.void(_Rows, types.int64, types.boolean), cache=True)
def mark_lapse(rows: NDArray[np.void], slot: int, up: bool) -> None:
    """Note that an instrument's feed connected or disconnected; its next trade tells by its id."""
    row = rows[slot]
    row.link = (UP if up else 0) | LAPSED
    if row.seen == 0:
        row.began = 0
