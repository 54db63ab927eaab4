"""Trades, statuses and gaps into activity bars: the kernels that the processor calls.

A record of numba keeps no array alive: `stages` (1,), the scratch space, is the caller's to hold.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import from_dtype, njit, types
from numpy.typing import NDArray

from tidemill.processors.kernels.activity_scan import DUE, FULL, NOTHING, scan
from tidemill.processors.kernels.activity_state import (
    BARS,
    GAP,
    HOLD_FEED,
    HOLD_INSTRUMENT,
    KEPT,
    LAPSED,
    MALFORMED,
    REFUSED,
    STAGE,
    STATE,
    UP,
)
from tidemill.processors.kernels.activity_trade import (
    Row,
    Stage,
    cannot_be,
    close_all,
    close_due,
    notice,
    open_bars,
)
from tidemill.processors.kernels.bar_out import Out, out_of, unstage
from tidemill.processors.kernels.bar_values import copy_with_ids
from tidemill.processors.kernels.signatures import strided
from tidemill.schemas.exact import INT128
from tidemill.schemas.kinds.activity_bar import ACTIVITY_BAR
from tidemill.schemas.kinds.status import STATUS
from tidemill.schemas.kinds.trade import TRADE
from tidemill.schemas.run import FRAMES, INSTRUMENTS

BAR_DTYPE = ACTIVITY_BAR.dtype
_Tuple: Callable[..., types.Type] = types.Tuple
_NamedTuple: Callable[..., types.Type] = types.NamedTuple


_Rows, _Stages = strided(STATE, readonly=False), strided(STAGE, readonly=False)
_Frames, _Keys = strided(FRAMES), strided(INSTRUMENTS)
_Trades, _Statuses = strided(TRADE.dtype), strided(STATUS.dtype)
_Refused = types.Array(from_dtype(REFUSED), 1, "C")
_Steps = types.Array(from_dtype(INT128), 2, "C")
_Out = out_of(BAR_DTYPE)


@njit(cache=True)
def _nothing() -> Out:
    return Out(np.empty(0, BAR_DTYPE), np.empty(0, np.int32), np.empty(0, np.uint8))


@njit(cache=True)
def _refuse(refused: Any, count: int, stage: Stage, trade_id: Any) -> Any:
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
    record.reason = MALFORMED
    return refused


@njit(
    _Tuple((_Out, types.int64, _Refused, types.int64))(
        _Rows, _Stages, _Frames, _Trades, _Keys, _Steps
    ),
    cache=True,
)
def fold_trades(
    rows: NDArray[np.void],
    stages: NDArray[np.void],
    frames: NDArray[np.void],
    trades: NDArray[np.void],
    instruments: NDArray[np.void],
    steps: NDArray[np.void],
) -> tuple[Out, int, NDArray[np.void], int]:
    """Step the trades (N,) that `frames` (F,) name. Changes `rows` (S,) STATE in place.

    `steps` (S, BARS) INT128 are those that LOG gives, 0 for none: mantissas of the aggregation's
    measure or of prices, of imbalance and runs a number of trades. One that changes counts from the
    next bar on.

    Return (out, count, refused, refusals): the first `count` and `refusals` of them are valid.
    """
    out, count = _nothing(), 0
    refused, refusals = np.empty(0, REFUSED), 0
    stage = stages[0]
    for f in range(len(frames)):
        frame = frames[f]
        row = rows[frame.slot]
        if row.on == 0:
            continue
        index, end = frame.start, frame.start + frame.count
        stage.at_r = frame.r
        stage.slot = frame.slot
        stage.price_exponent = frame.price_exponent
        stage.quantity_exponent = frame.quantity_exponent
        stage.inverse = instruments[frame.slot].inverse
        while index < end:
            trade = trades[index]
            if cannot_be(trade):
                stage.at_i = np.int64(frame.i) + index - frame.start
                refused = _refuse(refused, refusals, stage, trade.trade_id)
                refusals += 1
                index += 1
                continue
            notice(row, trade)
            if row.unopened != 0 or row.seen == 0:
                open_bars(row, trade, stage, steps)
            index, stopped = scan(row, trades, index, end, stage.inverse != 0)
            if stopped == NOTHING:
                continue
            last = trades[index - 1]
            stage.at_i = np.int64(frame.i) + index - 1 - frame.start
            if stopped == DUE:
                close_due(row, last, stage)
            elif stopped == FULL:
                close_all(row, last, stage)
            out, count = unstage(stage, out, count)
    return out, count, refused, refusals


@njit(types.void(_Rows, _Frames, _Statuses, _Keys), cache=True)
def hear_statuses(
    rows: NDArray[np.void],
    frames: NDArray[np.void],
    statuses: NDArray[np.void],
    instruments: NDArray[np.void],
) -> None:
    """Note who holds: the frame's slot, or, where that is -1, every slot of its feed; of those
    that have bars."""
    for f in range(len(frames)):
        frame = frames[f]
        hold = statuses[frame.start + frame.count - 1].hold
        first, end, bit = 0, len(instruments), HOLD_FEED
        if frame.slot >= 0:
            first, end, bit = frame.slot, frame.slot + 1, HOLD_INSTRUMENT
        for slot in range(first, end):
            if frame.slot >= 0 or instruments[slot].feed == frame.feed:
                row = rows[slot]
                if row.on == 0:
                    continue
                row.hold = row.hold | bit if hold else row.hold & ~bit


@njit(types.void(_Rows, types.int64, types.boolean), cache=True)
def mark_lapse(rows: NDArray[np.void], slot: int, up: bool) -> None:
    """Note that an instrument's feed connected or disconnected; its next trade tells by its id."""
    rows[slot].link = (UP if up else 0) | LAPSED


class Gap(NamedTuple):
    """A hole that was declared, at LOG record (r, i); event times in ns."""

    at_r: Any
    at_i: Any
    slot: Any
    ts_from: Any
    ts_to: Any


_Gap = _NamedTuple((types.uint64, types.uint32, types.int32, types.int64, types.int64), Gap)


@njit(cache=True)
def _mark(row: Row, k: int, gap: Gap, stage: Stage) -> bool:
    """Flag the bars of an aggregation that a gap touches; the closed ones again, revised.

    Return whether touched ones may be older than those kept.
    """
    ring, lost = row.rings[k], False
    for age in range(np.int64(ring.kept) - 1, -1, -1):
        bar = ring.bars[(np.int64(ring.head) - age + KEPT) % KEPT]
        first, last = min(bar.ts_open, bar.ts_close), max(bar.ts_open, bar.ts_close)
        if age == KEPT - 1 and gap.ts_from < first and bar.sequence > np.uint64(0):
            lost = True
        if bar.flags & GAP or first > gap.ts_to or last < gap.ts_from:
            continue
        bar.flags |= GAP
        bar.revision += 1
        record = stage.bars[stage.count]
        stage.specs[stage.count] = k
        stage.count += 1
        record.at_r, record.at_i, record.n = stage.at_r, stage.at_i, 0
        record.ts_open, record.ts_close = bar.ts_open, bar.ts_close
        record.sequence, record.revision = bar.sequence, bar.revision
        record.aggregation, record.flags = bar.aggregation, bar.flags
        record.step_lo, record.step_hi = bar.step_lo, bar.step_hi
        record.threshold_lo, record.threshold_hi = bar.threshold_lo, bar.threshold_hi
        copy_with_ids(record, bar)
    return lost


@njit(_Tuple((_Out, types.int64, types.boolean))(_Rows, _Stages, _Gap), cache=True)
def declare_gap(
    rows: NDArray[np.void], stages: NDArray[np.void], gap: Gap
) -> tuple[Out, int, bool]:
    """Flag the bars of one instrument that a gap touches, those too that open within it.

    Return (out, count, lost): `lost` says that touched bars may be older than those kept.
    """
    row = rows[gap.slot]
    stage = stages[0]
    stage.at_r = gap.at_r
    stage.at_i = gap.at_i
    stage.slot = gap.slot
    row.gap_to = max(row.gap_to, gap.ts_to)
    lost = False
    for k in range(BARS):
        lost |= _mark(row, k, gap, stage)
        bar = row.bars[k]
        ring = row.rings[k]
        since = bar.ts_open if bar.open != 0 else ring.bars[ring.head].ts_close
        if row.seen != 0 and since <= gap.ts_to:
            bar.flags |= GAP
    out, count = unstage(stage, _nothing(), 0)
    return out, count, lost
