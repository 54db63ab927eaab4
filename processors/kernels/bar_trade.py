"""One trade into its bars, whatever it is, and many at once where that gives the same.

Trades that follow the last one by id inside the newest second, the usual case, are summed first and
folded into all intervals at once (`fold`); the sums are exact, so the order of adding does not
matter. Every other trade goes through `take`.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from tidemill.processors.kernels.bar_ring import (
    INTERVALS,
    LENGTHS,
    NEW,
    RING,
    Bar,
    Row,
    Stage,
    close,
    emit,
    insert,
    locate,
    mark,
    place_of,
    touches,
    watermark,
)
from tidemill.processors.kernels.bar_state import (
    GAP,
    LAPSED,
    LATE,
    MALFORMED,
    OVERFLOW,
    PARTIAL,
    TAKEN,
    TOO_OLD,
    TS_AHEAD_NS_MAX,
    UP,
)
from tidemill.schemas.enums import AggressorSide, RecordFlag
from tidemill.schemas.exact import add, add_64, add_product, multiply

ALL_INTERVALS = (1 << INTERVALS) - 1
BUYER, AGGREGATE = int(AggressorSide.BUYER), int(RecordFlag.AGGREGATE)
_0 = np.uint64(0)
_1 = np.uint64(1)


@njit(cache=True)
def _follow(row: Row, trade_id: Any, flags: Any) -> bool:
    """Take note of an id; return whether ids now prove that nothing up to here is missing.

    A trade of several fills may stand for all ids since the last one: only its feed knows, which
    says so where one is missing.
    Of several holes at once only their hull is known: it counts as filled when it is declared lost,
    or when all its ids come in ascending order; until then bars close by time.
    """
    if row.seen == 0:
        row.seen = 1
        row.next_id = trade_id + _1
        return True
    if trade_id == row.next_id or (trade_id > row.next_id and flags & AGGREGATE):
        row.next_id = trade_id + _1
        return bool(row.hole == 0)
    if trade_id > row.next_id:
        if row.hole == 0:
            row.hole = 1
            row.hole_next = row.next_id
        row.hole_end = trade_id
        row.next_id = trade_id + _1
    elif row.hole and trade_id == row.hole_next:
        row.hole_next += _1
        if row.hole_next == row.hole_end:
            row.hole = 0
            return True
    return False


@njit(cache=True)
def _would_overflow(bar: Bar, hi: Any, lo: Any, quantity: int) -> bool:
    """Return whether a trade's notional or quantity does not fit one of the bar's sums."""
    quote = add(bar.quote_volume_hi, bar.quote_volume_lo, hi, lo)
    volume = add_64(bar.volume_hi, bar.volume_lo, quantity)
    return quote[2] or volume[2]  # what takers bought is at most the volume


@njit(cache=True)
def _judge(row: Row, trade: Any, stage: Stage) -> tuple[int, int]:
    """Find the bars of a trade, changing nothing but `stage.places`, which `locate` fills.

    Return (reason, intervals): whether and which intervals refuse it.
    """
    ts, quantity = trade.ts_event, trade.quantity
    if quantity < 0 or ts < 0 or ts - TS_AHEAD_NS_MAX > trade.ts_recv:
        return MALFORMED, ALL_INTERVALS
    hi, lo = multiply(trade.price, quantity)
    reason, refusing = TAKEN, 0
    for k in range(INTERVALS):
        place = locate(row, k, ts // LENGTHS[k] * LENGTHS[k])
        stage.places[k] = place
        if place == NEW + RING[k]:
            reason = TOO_OLD
            refusing |= 1 << k
        elif place < NEW and _would_overflow(row.bars[place_of(row, k, place)], hi, lo, quantity):
            return OVERFLOW, ALL_INTERVALS
    return reason, refusing


@njit(cache=True)
def _open(row: Row, bar: Bar, k: int, trade: Any) -> None:
    """Begin a bar for its first trade, which `_add` then adds."""
    bar.ts_open = trade.ts_event // LENGTHS[k] * LENGTHS[k]
    bar.revision = 0
    bar.open = trade.price
    bar.high = trade.price
    bar.low = trade.price
    bar.close = trade.price
    bar.volume_lo = bar.quote_volume_lo = bar.taker_buy_volume_lo = _0
    bar.volume_hi = bar.quote_volume_hi = bar.taker_buy_volume_hi = 0
    bar.trade_count = _0
    bar.first_trade_id = trade.trade_id
    bar.last_trade_id = trade.trade_id
    bar.flags = PARTIAL if row.began >= bar.ts_open else 0
    if row.gap_to > 0 and touches(bar.ts_open, k, row.gap_from, row.gap_to):
        bar.flags |= GAP


@njit(cache=True)
def _add(bar: Bar, trade: Any) -> None:
    """Add one trade, known not to overflow. Open and close go by id, then by logical order."""
    price, quantity = trade.price, trade.quantity
    if trade.trade_id < bar.first_trade_id:
        bar.first_trade_id = trade.trade_id
        bar.open = price
    if trade.trade_id >= bar.last_trade_id:
        bar.last_trade_id = trade.trade_id
        bar.close = price
    bar.high = max(bar.high, price)
    bar.low = min(bar.low, price)
    hi, lo, _ = add_64(bar.volume_hi, bar.volume_lo, quantity)
    bar.volume_hi, bar.volume_lo = hi, lo
    hi, lo, _ = add_product(bar.quote_volume_hi, bar.quote_volume_lo, price, quantity)
    bar.quote_volume_hi, bar.quote_volume_lo = hi, lo
    if trade.aggressor_side == BUYER:
        hi, lo, _ = add_64(bar.taker_buy_volume_hi, bar.taker_buy_volume_lo, quantity)
        bar.taker_buy_volume_hi, bar.taker_buy_volume_lo = hi, lo
    bar.trade_count += _1


@njit(cache=True)
def _place(row: Row, k: int, trade: Any, stage: Stage) -> None:
    """Put a trade into its bar of interval `k`; a closed bar is revised, whole."""
    age = stage.places[k]
    if age >= NEW:
        age -= NEW
        insert(row, k, age, stage)
        _open(row, row.bars[place_of(row, k, age)], k, trade)
    bar = row.bars[place_of(row, k, age)]
    _add(bar, trade)
    if bar.ts_open < row.tracks[k].closed_to:
        bar.revision += 1
        bar.flags |= LATE
        emit(stage, k, bar)


@njit(cache=True)
def take(row: Row, trade: Any, stage: Stage) -> tuple[int, int]:
    """Step one trade, whatever it is. Return (reason, intervals that refuse it)."""
    reason, refusing = _judge(row, trade, stage)
    ts = trade.ts_event
    taken = reason in (TAKEN, TOO_OLD)
    whole = _follow(row, trade.trade_id, trade.flags)
    from_ts, to_ts, flag = ts, ts, GAP if reason == OVERFLOW else 0
    if taken and row.link & LAPSED:
        row.link &= UP
        if not whole and row.hold == 0:
            from_ts, to_ts, flag = min(row.max_ts, ts), max(row.max_ts, ts), PARTIAL
            row.began = ts
    if taken:
        row.began = row.began if row.began else ts
        row.max_ts = max(row.max_ts, ts)
    if whole:
        row.proven_ts = row.max_ts
    closed_by = watermark(row)
    for k in range(INTERVALS):
        if flag:
            mark(row, k, from_ts, to_ts, flag, stage)
        if taken and not refusing >> k & 1:
            _place(row, k, trade, stage)
        close(row, k, closed_by, 0, stage)
    return reason, refusing


# --- a stretch of trades ----------------------------------------------------------------------


class Sums(NamedTuple):
    """What a stretch of trades makes of a bar: its new extremes, and what its sums grow by."""

    high: Any
    low: Any
    volume_hi: Any
    volume_lo: Any
    quote_hi: Any
    quote_lo: Any
    buy_hi: Any
    buy_lo: Any


@njit(cache=True)
def _stretch(row: Row, trades: Any, start: int, end: int) -> tuple[int, int, Sums]:
    """Sum the trades from `start` that follow by id and lie in the newest second.

    Return (stop, latest event time, sums); `stop` is the first trade not summed.
    """
    newest = row.bars[place_of(row, 0, 0)]
    ts_open = newest.ts_open
    ts_end = ts_open + LENGTHS[0]
    next_id, max_ts = row.next_id, row.max_ts
    high, low = newest.high, newest.low
    volume_hi, quote_hi, buy_hi = np.int64(0), np.int64(0), np.int64(0)
    volume_lo, quote_lo, buy_lo = _0, _0, _0
    stop = start
    while stop < end:
        trade = trades[stop]
        ts, price, quantity = trade.ts_event, trade.price, trade.quantity
        if trade.trade_id != next_id or ts < ts_open or ts >= ts_end or (price | quantity) < 0:
            break
        hi, lo, overflow = add_product(quote_hi, quote_lo, price, quantity)
        if overflow or ts - TS_AHEAD_NS_MAX > trade.ts_recv:
            break
        quote_hi, quote_lo = hi, lo
        volume_hi, volume_lo, _ = add_64(volume_hi, volume_lo, quantity)
        bought = quantity if trade.aggressor_side == BUYER else 0
        buy_hi, buy_lo, _ = add_64(buy_hi, buy_lo, bought)
        high, low, max_ts = max(high, price), min(low, price), max(max_ts, ts)
        next_id += _1
        stop += 1
    sums = Sums(high, low, volume_hi, volume_lo, quote_hi, quote_lo, buy_hi, buy_lo)
    return stop, max_ts, sums


@njit(cache=True)
def _grow(bar: Bar, sums: Sums) -> None:
    """Add the sums of a stretch, known not to overflow."""
    bar.high = max(bar.high, sums.high)
    bar.low = min(bar.low, sums.low)
    hi, lo, _ = add(bar.volume_hi, bar.volume_lo, sums.volume_hi, sums.volume_lo)
    bar.volume_hi, bar.volume_lo = hi, lo
    hi, lo, _ = add(bar.quote_volume_hi, bar.quote_volume_lo, sums.quote_hi, sums.quote_lo)
    bar.quote_volume_hi, bar.quote_volume_lo = hi, lo
    hi, lo, _ = add(bar.taker_buy_volume_hi, bar.taker_buy_volume_lo, sums.buy_hi, sums.buy_lo)
    bar.taker_buy_volume_hi, bar.taker_buy_volume_lo = hi, lo


@njit(cache=True)
def fold(row: Row, trades: Any, start: int, end: int) -> int:
    """Take as many trades as `_stretch` can sum; return the first not taken."""
    if row.hole or row.link & LAPSED or row.proven_ts != row.max_ts or row.tracks[0].kept == 0:
        return start
    if row.bars[place_of(row, 0, 0)].ts_open < row.tracks[0].closed_to:
        return start
    stop, max_ts, sums = _stretch(row, trades, start, end)
    if stop == start:
        return start
    for k in range(INTERVALS):
        bar = row.bars[place_of(row, k, 0)]
        quote = add(bar.quote_volume_hi, bar.quote_volume_lo, sums.quote_hi, sums.quote_lo)
        volume = add(bar.volume_hi, bar.volume_lo, sums.volume_hi, sums.volume_lo)
        if quote[2] or volume[2]:
            return start  # one by one they will show which does not fit
    last = trades[stop - 1]
    for k in range(INTERVALS):
        bar = row.bars[place_of(row, k, 0)]
        _grow(bar, sums)
        bar.close = last.price
        bar.last_trade_id = last.trade_id
        bar.trade_count += np.uint64(stop - start)
    row.next_id = last.trade_id + _1
    row.max_ts = max_ts
    row.proven_ts = max_ts
    return stop
