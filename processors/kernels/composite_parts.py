"""Members' bars into one bar of a composite: keeping them, bringing them to one scale, adding."""

from typing import Any

import numpy as np
from numba import njit

from tidemill.processors.kernels import bar_values
from tidemill.processors.kernels.bar_state import GAP, LATE, STALE
from tidemill.processors.kernels.composite_state import FIRST, KEPT, LENGTHS_NS
from tidemill.schemas.exact import add, rescale

LENGTHS = np.array(LENGTHS_NS)
_FIRST, _KEPT = np.array(FIRST), np.array(KEPT)
_SECONDS = LENGTHS // 1_000_000_000
_POWERS = np.array([10**k for k in range(19)], np.int64)
_MOST = np.int64(2**63 - 1)

Row = Any
"""One record of STATE."""
Bar = Any
"""One record of BAR, or of kind `bar`."""
Plan = Any
"""Composites."""


@njit(cache=True)
def spec_of(interval_s: int) -> int:
    """Return which interval bars of this length are, -1 for none."""
    for t in range(len(_SECONDS)):
        if _SECONDS[t] == interval_s:
            return t
    return -1


@njit(cache=True)
def copy(to: Bar, one: Bar) -> None:
    """Copy all that a bar says of its trades."""
    bar_values.copy(to, one)
    to.flags = one.flags


@njit(cache=True)
def same(one: Bar, other: Bar) -> bool:
    """Return whether two bars of a composite say the same."""
    equal = one.flags == other.flags and one.inside == other.inside
    return bool(equal and bar_values.same(one, other))


@njit(cache=True)
def find(row: Row, t: int, ts_open: int) -> Any:
    """Return the place of the bar that begins at `ts_open`, -1 where there is none."""
    first = _FIRST[t]
    for place in range(first + row.tracks[t].kept - 1, first - 1, -1):
        if row.bars[place].ts_open <= ts_open:
            return place if row.bars[place].ts_open == ts_open else -1
    return -1


@njit(cache=True)
def keep(row: Row, t: int, ts_open: int, most: int) -> Any:
    """Return the place of the bar that begins at `ts_open`, made where there was none; of `most`
    the oldest one goes. -1 for one that is older than all of them."""
    track = row.tracks[t]
    place, new = bar_values.make_room(row.bars, _FIRST[t], track.kept, most, ts_open)
    if not new:
        return place
    track.kept = min(track.kept + 1, most)
    bar = row.bars[place]
    bar.ts_open = ts_open
    bar.revision = 0
    bar.inside = bar.missing = bar.late = bar.left = 0
    return place


@njit(cache=True)
def take(row: Row, t: int, part: Bar) -> bool:
    """Keep a member's bar, in the place of its earlier revision; return False for one that is older
    than all that are kept."""
    place = keep(row, t, part.ts_open, _KEPT[t])
    if place < 0:
        return False
    there = row.bars[place]
    there.revision = part.revision
    copy(there, part)
    return True


@njit(cache=True)
def known_to(row: Row, t: int) -> Any:
    """Return up to when a member's bars are known, ns: the end of its newest one, or what its
    venue's time says."""
    kept = row.tracks[t].kept
    if kept == 0:
        return row.heard_to
    return max(row.heard_to, row.bars[_FIRST[t] + kept - 1].ts_open + LENGTHS[t])


@njit(cache=True)
def waiting(row: Row, t: int, ahead: int) -> Any:
    """Return where bars of a member must close because no more than `ahead` may wait, 0 nowhere."""
    kept = row.tracks[t].kept
    if kept <= ahead:
        return 0
    return row.bars[_FIRST[t] + kept - 1 - ahead].ts_open + LENGTHS[t]


@njit(cache=True)
def next_open(row: Row, t: int, closed_to: int, to: int) -> Any:
    """Return where a member's first bar begins that ends after one time and by another; -1."""
    found = -1
    first = _FIRST[t]
    for place in range(first + row.tracks[t].kept - 1, first - 1, -1):
        ts_open = row.bars[place].ts_open
        if ts_open + LENGTHS[t] <= closed_to:
            break
        if ts_open + LENGTHS[t] <= to:
            found = ts_open
    return found


@njit(cache=True)
def _scaled(value: int, up: int) -> tuple[int, bool]:
    """Return a mantissa times 10^up, and whether that is exact."""
    power = _POWERS[up]
    return value * power, -(_MOST // power) <= value <= _MOST // power


@njit(cache=True)
def _add(built: Bar, part: Bar, price_up: int, quantity_up: int) -> bool:
    """Add a member's bar to those before it; return False, and change nothing, where it cannot."""
    both = price_up + quantity_up
    if price_up < 0 or quantity_up < 0 or price_up > 18 or quantity_up > 18 or both > 18:
        return False
    high, exact = _scaled(part.high, price_up)
    low, also = _scaled(part.low, price_up)  # open and close are between them
    v_hi, v_lo, over = rescale(part.volume_hi, part.volume_lo, quantity_up)
    q_hi, q_lo, over_q = rescale(part.quote_volume_hi, part.quote_volume_lo, both)
    if not exact or not also or over or over_q:
        return False
    b_hi, b_lo, _ = rescale(  # at most the volume
        part.taker_buy_volume_hi, part.taker_buy_volume_lo, quantity_up
    )
    if built.inside == 0:
        built.open = part.open * _POWERS[price_up]
        built.close = part.close * _POWERS[price_up]
        built.high, built.low = high, low
    else:
        v_hi, v_lo, over = add(built.volume_hi, built.volume_lo, v_hi, v_lo)
        q_hi, q_lo, over_q = add(built.quote_volume_hi, built.quote_volume_lo, q_hi, q_lo)
        if over or over_q:
            return False
        b_hi, b_lo, _ = add(built.taker_buy_volume_hi, built.taker_buy_volume_lo, b_hi, b_lo)
        built.high, built.low = max(built.high, high), min(built.low, low)
    built.volume_hi, built.volume_lo = v_hi, v_lo
    built.quote_volume_hi, built.quote_volume_lo = q_hi, q_lo
    built.taker_buy_volume_hi, built.taker_buy_volume_lo = b_hi, b_lo
    built.trade_count += part.trade_count
    built.flags |= part.flags
    return True


@njit(cache=True)
def build(rows: Any, of: Plan, c: int, t: int, told: Bar, built: Bar) -> None:
    """Make a composite's bar anew of its members' bars of the interval of `told`."""
    ts_open = told.ts_open
    built.open = built.high = built.low = built.close = 0
    built.volume_lo = built.quote_volume_lo = built.taker_buy_volume_lo = np.uint64(0)
    built.volume_hi = built.quote_volume_hi = built.taker_buy_volume_hi = 0
    built.trade_count = np.uint64(0)
    built.flags = 0
    built.inside = built.missing = built.left = 0
    built.late = told.late
    for m in range(of.counts[c]):
        slot = of.members[c, m]
        place = find(rows[slot], t, ts_open) if slot >= 0 else -1
        if place >= 0:
            part = rows[slot].bars[place]
            if _add(built, part, of.price_up[c, m], of.quantity_up[c, m]):
                built.inside |= 1 << m
            else:
                built.left |= 1 << m
                built.flags |= GAP
        elif slot < 0 or known_to(rows[slot], t) < ts_open + LENGTHS[t]:
            built.missing |= 1 << m
            built.flags |= STALE
    if built.late:
        built.flags |= LATE
