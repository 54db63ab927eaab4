"""One part into its longer bars: where these begin and end, keeping parts, making a bar of them."""

from typing import Any

import numpy as np
from numba import njit

from tidemill.processors.kernels.bar_state import GAP, PARTIAL
from tidemill.processors.kernels.bar_values import copy_with_ids, make_room, same
from tidemill.processors.kernels.resampled_state import (
    BARS,
    DAY_NS,
    FIRST_BAR,
    FIRST_PART,
    LENGTH_NS,
    ORIGIN_NS,
    OVERFLOW,
    PART_NS,
    PART_S,
    PARTS,
    SECOND_NS,
    SOURCE_OF,
    TAKEN,
    TOO_OLD,
)
from tidemill.schemas.exact import add

SOURCES_COUNT, TARGETS_COUNT = len(PARTS), len(BARS)
# Arrays, because a tuple with a varying index is a chain of branches in numba.
_LENGTH, _ORIGIN, _SOURCE = np.array(LENGTH_NS), np.array(ORIGIN_NS), np.array(SOURCE_OF)
_PARTS, _FIRST_PART = np.array(PARTS), np.array(FIRST_PART)
_BARS, _FIRST_BAR = np.array(BARS), np.array(FIRST_BAR)
_PART_NS, _PART_S = np.array(PART_NS), np.array(PART_S)
_ALL_OF = np.array(
    [sum(1 << t for t in range(TARGETS_COUNT) if SOURCE_OF[t] == k) for k in range(SOURCES_COUNT)]
)

Row = Any
"""One record of STATE."""
Bar = Any
"""One record of BAR."""
Part = Any
"""One record of PART, or of kind `bar`."""
Stage = Any
"""One record of STAGE."""


@njit(cache=True)
def source_of(interval_s: int) -> int:
    """Return which source bars of this length are, -1 for none."""
    for k in range(SOURCES_COUNT):
        if _PART_S[k] == interval_s:
            return k
    return -1


@njit(cache=True)
def _month_of(ts: int) -> Any:
    """Return the beginning of the month of a time (ns, UTC), by Hinnant's `civil_from_days`
    (howardhinnant.github.io/date_algorithms.html): years that begin in March, in eras of 400."""
    days = ts // DAY_NS
    of_era = (days + 719_468) % 146_097
    years = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * years + years // 4 - years // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5
    return (days - day) * DAY_NS


@njit("i8(i8, i8)", cache=True)
def begin_of(t: int, ts: int) -> Any:
    """Return where the interval of spec `t` begins in which a time is, ns."""
    if _LENGTH[t] == 0:
        return _month_of(ts)
    return (ts - _ORIGIN[t]) // _LENGTH[t] * _LENGTH[t] + _ORIGIN[t]


@njit("i8(i8, i8)", cache=True)
def end_of(t: int, ts_open: int) -> Any:
    """Return where the interval of spec `t` ends that begins at `ts_open`, ns."""
    if _LENGTH[t] == 0:
        return _month_of(ts_open + 31 * DAY_NS)
    return ts_open + _LENGTH[t]


@njit(cache=True)
def emit(stage: Stage, t: int, bar: Bar) -> None:
    """Stage one bar of spec `t` as it stands."""
    record = stage.bars[stage.count]
    record.at_r = stage.at_r
    record.at_i = stage.at_i
    record.n = 0
    record.ts_open = bar.ts_open
    record.ts_close = bar.ts_close
    record.interval_s = _LENGTH[t] // SECOND_NS
    record.revision = bar.revision
    copy_with_ids(record, bar)
    record.flags = bar.flags
    stage.specs[stage.count] = t
    stage.count += 1


@njit(cache=True)
def _same(one: Any, other: Any) -> bool:
    ids = one.first_trade_id == other.first_trade_id and one.last_trade_id == other.last_trade_id
    return bool(ids and same(one, other))


# --- what is kept: by time, the oldest first ----------------------------------------------------


@njit(cache=True)
def _keep(row: Row, k: int, part: Part) -> bool:
    """Put a part among those kept, in the place of its earlier revision; the oldest one goes where
    they are full. Return False for one that is older than all of them then."""
    source = row.sources[k]
    place, new = make_room(row.parts, _FIRST_PART[k], source.kept, _PARTS[k], part.ts_open)
    if place < 0:
        return False
    if new:
        source.kept = min(source.kept + 1, _PARTS[k])
    there = row.parts[place]
    there.ts_open = part.ts_open
    there.revision = part.revision
    copy_with_ids(there, part)
    there.flags = part.flags
    return True


@njit(cache=True)
def _find(row: Row, t: int, ts_open: int) -> Any:
    """Return the place of the bar that begins at `ts_open`, opened where there was none; -1 for one
    that is older than all that are kept."""
    track = row.tracks[t]
    place, new = make_room(row.bars, _FIRST_BAR[t], track.kept, _BARS[t], ts_open)
    if not new:
        return place
    track.kept = min(track.kept + 1, _BARS[t])
    bar = row.bars[place]
    bar.ts_open = ts_open
    bar.ts_close = end_of(t, ts_open)
    bar.revision = 0
    bar.trade_count = np.uint64(0)
    bar.closed = 0
    bar.marks = PARTIAL if row.began >= ts_open else 0
    if track.gap_to > 0 and ts_open <= track.gap_to and track.gap_from < bar.ts_close:
        bar.marks |= GAP
    bar.flags = bar.marks
    return place


# --- making and closing ---------------------------------------------------------------------------


@njit(cache=True)
def _add(built: Bar, part: Part) -> bool:
    """Add a part to those before it in time; return False where a sum leaves 128 bits.

    Open and close go by trade id; where ids are equal, by time.
    """
    if part.first_trade_id < built.first_trade_id:
        built.first_trade_id = part.first_trade_id
        built.open = part.open
    if part.last_trade_id >= built.last_trade_id:
        built.last_trade_id = part.last_trade_id
        built.close = part.close
    built.high = max(built.high, part.high)
    built.low = min(built.low, part.low)
    hi, lo, over = add(built.volume_hi, built.volume_lo, part.volume_hi, part.volume_lo)
    built.volume_hi, built.volume_lo = hi, lo
    hi, lo, too = add(
        built.quote_volume_hi, built.quote_volume_lo, part.quote_volume_hi, part.quote_volume_lo
    )
    built.quote_volume_hi, built.quote_volume_lo = hi, lo
    if over or too:
        return False
    hi, lo, _ = add(  # at most the volume
        built.taker_buy_volume_hi,
        built.taker_buy_volume_lo,
        part.taker_buy_volume_hi,
        part.taker_buy_volume_lo,
    )
    built.taker_buy_volume_hi, built.taker_buy_volume_lo = hi, lo
    built.trade_count += part.trade_count
    built.flags |= part.flags
    return True


@njit(cache=True)
def _build(row: Row, k: int, bar: Bar, built: Bar) -> bool:
    """Make a bar of its parts; return False where a sum leaves 128 bits."""
    found = False
    built.flags = bar.marks
    for place in range(_FIRST_PART[k], _FIRST_PART[k] + row.sources[k].kept):
        part = row.parts[place]
        if part.ts_open < bar.ts_open or part.ts_open >= bar.ts_close:
            continue
        if not found:
            copy_with_ids(built, part)
            built.flags |= part.flags
            found = True
        elif not _add(built, part):
            return False
    return True


@njit(cache=True)
def take(row: Row, k: int, part: Part, stage: Stage) -> tuple[int, int]:
    """Step one part of source `k`. Return (reason, specs that refuse it)."""
    if not _keep(row, k, part):
        return TOO_OLD, _ALL_OF[k]
    source = row.sources[k]
    reason, refusing = TAKEN, 0
    for t in range(TARGETS_COUNT):
        if _SOURCE[t] != k:
            continue
        place = _find(row, t, begin_of(t, part.ts_open))
        if place < 0:
            reason = TOO_OLD
            refusing |= 1 << t
            continue
        bar = row.bars[place]
        if not _build(row, k, bar, stage.built):
            reason = OVERFLOW
            refusing |= 1 << t
            bar.marks |= GAP
            copy_with_ids(stage.built, bar)
            stage.built.flags = bar.flags | GAP
        changed = bar.flags != stage.built.flags or not _same(bar, stage.built)
        copy_with_ids(bar, stage.built)
        bar.flags = stage.built.flags
        if bar.closed or bar.ts_close <= source.closed_to:
            bar.closed = 1
            if changed:
                bar.revision += 1
                emit(stage, t, bar)
    closed_to = part.ts_open + _PART_NS[k]
    if closed_to > source.closed_to:
        source.closed_to = closed_to
        close(row, k, 0, stage)
    return reason, refusing


@njit(cache=True)
def close(row: Row, k: int, flag: int, stage: Stage) -> None:
    """Close the bars of source `k` whose last part is closed, by spec, then oldest first."""
    for t in range(TARGETS_COUNT):
        if _SOURCE[t] != k:
            continue
        for place in range(_FIRST_BAR[t], _FIRST_BAR[t] + row.tracks[t].kept):
            bar = row.bars[place]
            if bar.closed == 0 and bar.ts_close <= row.sources[k].closed_to:
                bar.closed = 1
                bar.marks |= flag
                bar.flags |= flag
                emit(stage, t, bar)
