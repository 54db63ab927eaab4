"""One trade into the activity bars of its instrument, and many until one of them closes.

The trade that closes a bar belongs to it whole, as in de Prado's bars; NautilusTrader splits its
quantity, which makes up trades that nobody made. The next trade opens the next bar.

Helpers are given single records, which are pointers: arrays among their arguments would be
reference-counted at every call.
"""

from typing import Any

import numpy as np
from numba import njit

from tidemill.processors.kernels.activity_state import (
    BARS,
    BRICK_PARTS,
    BRICKS_MAX,
    GAP,
    KEPT,
    LAPSED,
    MEASURED,
    NEVER,
    NOTIONAL_HIGH_MAX,
    PARTIAL,
    PLAIN,
    PRICE_MAX,
    QUANTITY_MAX,
    RANGE,
    RENKO,
    TICKS,
    TS_AHEAD_NS_MAX,
    UP,
)
from tidemill.processors.kernels.activity_thresholds import (
    aim,
    exponent_of,
    learn,
    reached,
    rounded,
)
from tidemill.processors.kernels.bar_values import copy_with_ids
from tidemill.schemas.enums import BarAggregation
from tidemill.schemas.exact import (
    Hi,
    Lo,
    fits_decimal,
    multiply,
    rescale,
    subtract,
)
from tidemill.schemas.kinds.activity_bar import STEP_EXPONENT

NUMBERS = np.array([int(one) for one in BarAggregation], np.uint8)
HIGHEST_HI = np.int64((10**38 - 1) >> 64)
HIGHEST_LO = np.uint64((10**38 - 1) & (1 << 64) - 1)
_0 = np.uint64(0)
_1 = np.uint64(1)

Row = Any
"""One record of STATE."""
Bar = Any
"""One record of OPEN."""
Stage = Any
"""One record of STAGE."""


@njit(cache=True)
def _told(hi: Hi, lo: Lo, exponent: int) -> tuple[Hi, Lo]:
    """Return a mantissa at STEP_EXPONENT; what has over 38 digits there is the highest of them."""
    left = exponent - STEP_EXPONENT
    overflow = False
    while left > 0 and not overflow:
        step = min(left, 18)
        hi, lo, overflow = rescale(hi, lo, step)
        left -= step
    if overflow or not fits_decimal(hi, lo):
        return HIGHEST_HI, HIGHEST_LO
    return hi, lo


# --- opening ----------------------------------------------------------------------------------


@njit(cache=True)
def _begin(bar: Bar, k: int, price: int) -> None:
    """Begin anew with the step that is given, or, where none is, with one of our own."""
    if bar.begun == 0:
        bar.flags |= PARTIAL
    bar.begun = 1
    bar.step_hi, bar.step_lo = bar.given_hi, bar.given_lo
    if bar.step_hi == 0 and bar.step_lo == _0:
        if k >= MEASURED:
            bar.step_hi, bar.step_lo = rounded(np.int64(0), np.uint64(abs(price) // BRICK_PARTS))
        elif k == 0 or k % 3 != PLAIN:
            bar.step_lo = np.uint64(TICKS)
    if k >= MEASURED or k % 3 == PLAIN:
        bar.threshold_hi, bar.threshold_lo = bar.step_hi, bar.step_lo
    else:
        bar.threshold_hi, bar.threshold_lo = 0, _0
    bar.expected.size_up = bar.expected.size_down = 0.0
    if k == RENKO:
        step = np.int64(bar.step_lo)
        bar.high = bar.low = price // step * step


@njit(cache=True)
def _open(row: Row, k: int, trade: Any, stage: Stage, given: Any) -> None:
    """Open a bar with the trade that is about to be added; `given` is its step, 0 for none."""
    bar, total = row.bars[k], row.total
    bar.open = 1
    bar.ts_open = trade.ts_event
    bar.first_trade_id = trade.trade_id
    bar.first_price = trade.price
    if bar.begun == 0 or given.lo != bar.given_lo or given.hi != bar.given_hi:
        bar.given_hi, bar.given_lo = given.hi, given.lo
        _begin(bar, k, trade.price)
    if trade.ts_event <= row.gap_to:
        bar.flags |= GAP
    if k != RENKO:
        bar.high = bar.low = trade.price
    since = bar.since
    since.trades, since.trades_up = total.trades, total.trades_up
    since.volume_hi, since.volume_lo = total.volume_hi, total.volume_lo
    since.volume_up_hi, since.volume_up_lo = total.volume_up_hi, total.volume_up_lo
    since.quote_volume_hi, since.quote_volume_lo = total.quote_volume_hi, total.quote_volume_lo
    since.quote_volume_up_hi = total.quote_volume_up_hi
    since.quote_volume_up_lo = total.quote_volume_up_lo
    since.taker_buy_volume_hi = total.taker_buy_volume_hi
    since.taker_buy_volume_lo = total.taker_buy_volume_lo
    aim(bar, k, total, stage.inverse != 0)


@njit(cache=True)
def open_bars(row: Row, trade: Any, stage: Stage, steps: Any) -> None:
    """Open every bar that is on and not open, for a trade; `steps` (S, BARS) are those of LOG."""
    if row.seen == 0:
        row.seen, row.up, row.last_price = 1, 1, trade.price
    for k in range(BARS):
        if row.bars[k].open == 0 and row.on >> k & 1:
            _open(row, k, trade, stage, steps[stage.slot, k])
    row.high = row.low = trade.price
    row.unopened = 0


# --- closing ----------------------------------------------------------------------------------


@njit(cache=True)
def _keep(row: Row, k: int, stage: Stage) -> None:
    """Keep the bar that was staged last, in place of the oldest one."""
    ring = row.rings[k]
    ring.head = (np.int64(ring.head) + 1) % KEPT
    ring.kept = min(np.int64(ring.kept) + 1, KEPT)
    kept, record = ring.bars[ring.head], stage.bars[stage.count - 1]
    kept.ts_open, kept.ts_close = record.ts_open, record.ts_close
    kept.sequence, kept.revision = record.sequence, record.revision
    kept.aggregation, kept.flags = record.aggregation, record.flags
    kept.step_lo, kept.step_hi = record.step_lo, record.step_hi
    kept.threshold_lo, kept.threshold_hi = record.threshold_lo, record.threshold_hi
    copy_with_ids(kept, record)


@njit(cache=True)
def _stage(row: Row, k: int, trade: Any, stage: Stage) -> Any:
    """Stage the bar as it stands after a trade, without its prices; return the record."""
    bar, total, since = row.bars[k], row.total, row.bars[k].since
    inverse = stage.inverse != 0
    record = stage.bars[stage.count]
    stage.specs[stage.count] = k
    stage.count += 1
    record.at_r, record.at_i, record.n = stage.at_r, stage.at_i, 0
    record.ts_open, record.ts_close = bar.ts_open, trade.ts_event
    record.sequence, record.revision = bar.sequence, 0
    record.aggregation, record.flags = NUMBERS[k], bar.flags
    exponent = exponent_of(k, stage.price_exponent, stage.quantity_exponent, inverse)
    counted = k < MEASURED and k % 3 != PLAIN  # its step is in trades
    step = _told(bar.step_hi, bar.step_lo, 0 if counted else exponent)
    record.step_hi, record.step_lo = step
    threshold = _told(bar.threshold_hi, bar.threshold_lo, exponent)
    record.threshold_hi, record.threshold_lo = threshold
    hi, lo, _ = subtract(total.volume_hi, total.volume_lo, since.volume_hi, since.volume_lo)
    record.volume_hi, record.volume_lo = hi, lo
    hi, lo, _ = subtract(
        total.quote_volume_hi, total.quote_volume_lo, since.quote_volume_hi, since.quote_volume_lo
    )
    record.quote_volume_hi, record.quote_volume_lo = hi, lo
    hi, lo, _ = subtract(
        total.taker_buy_volume_hi,
        total.taker_buy_volume_lo,
        since.taker_buy_volume_hi,
        since.taker_buy_volume_lo,
    )
    record.taker_buy_volume_hi, record.taker_buy_volume_lo = hi, lo
    record.trade_count = np.uint64(total.trades - since.trades)
    record.first_trade_id, record.last_trade_id = bar.first_trade_id, trade.trade_id
    return record


@njit(cache=True)
def _close(row: Row, k: int, trade: Any, stage: Stage, more_flags: int) -> None:
    """Close a bar other than a brick with a trade that was added."""
    bar = row.bars[k]
    bar.flags |= more_flags
    record = _stage(row, k, trade, stage)
    record.open, record.close = bar.first_price, trade.price
    record.high, record.low = max(bar.high, row.high), min(bar.low, row.low)
    _keep(row, k, stage)
    if k < MEASURED:
        learn(bar, k, row.total, stage.inverse != 0)
    bar.open, bar.flags = 0, 0
    bar.sequence += _1


@njit(cache=True)
def _close_bricks(row: Row, trade: Any, stage: Stage) -> None:
    """Close the bricks that a trade completes; the first has the trades, the others none.

    A brick continues the last one by one step up from its upper end or down from its lower end, so
    that a turn takes two (StockCharts' Renko; S. Nison, Beyond Candlesticks, 1994). NautilusTrader
    turns after one.
    """
    bar = row.bars[RENKO]
    step, price = np.int64(bar.step_lo), trade.price
    rising = price >= bar.high + step
    left = (price - bar.high) // step if rising else (bar.low - price) // step
    flags, end, made = bar.flags, bar.high if rising else bar.low, 0
    while left > 0:
        made += 1
        height = step * (left if made == BRICKS_MAX else 1)
        left = 0 if made == BRICKS_MAX else left - 1
        bar.flags = flags
        record = _stage(row, RENKO, trade, stage)
        if made > 1:
            record.ts_open, record.first_trade_id = trade.ts_event, trade.trade_id
            record.trade_count = _0
            record.volume_hi = record.quote_volume_hi = record.taker_buy_volume_hi = 0
            record.volume_lo = record.quote_volume_lo = record.taker_buy_volume_lo = _0
        record.open = end
        end = end + height if rising else end - height
        record.close = end
        record.high, record.low = max(record.open, end), min(record.open, end)
        _keep(row, RENKO, stage)
        bar.sequence += _1
    bar.high, bar.low = (end, end - step) if rising else (end + step, end)
    bar.open, bar.flags = 0, 0


@njit(cache=True)
def _settle(row: Row) -> None:
    """Give the bars that stay open the extremes of the trades so far."""
    for k in range(BARS):
        bar = row.bars[k]
        if bar.open != 0 and k != RENKO:
            bar.high, bar.low = max(bar.high, row.high), min(bar.low, row.low)
    row.unopened = 1


@njit(cache=True)
def close_due(row: Row, trade: Any, stage: Stage) -> None:
    """Close what is due after a trade was added, in order of aggregation."""
    inverse = stage.inverse != 0
    for k in range(MEASURED):
        if reached(row.bars[k], k, row.total, inverse):
            _close(row, k, trade, stage, 0)
    bar = row.bars[RENKO]
    step = np.int64(bar.step_lo)
    if trade.price >= bar.high + step or trade.price <= bar.low - step:
        _close_bricks(row, trade, stage)
    bar = row.bars[RANGE]
    if max(bar.high, row.high) - min(bar.low, row.low) >= np.int64(bar.step_lo):
        _close(row, RANGE, trade, stage, 0)
    _settle(row)


@njit(cache=True)
def close_all(row: Row, trade: Any, stage: Stage) -> None:
    """Close every bar as it stands, with GAP, and begin the sums anew: they near 128 bits.

    What Renko has no brick of stays in none.
    """
    for k in range(BARS):
        if k == RENKO and row.bars[k].open != 0:
            row.bars[k].open = 0
            row.bars[k].flags |= GAP
        elif row.bars[k].open != 0:
            _close(row, k, trade, stage, GAP)
    row.unopened = 1
    total = row.total
    total.trades, total.trades_up = 0, 0
    total.volume_hi = total.volume_up_hi = total.taker_buy_volume_hi = 0
    total.volume_lo = total.volume_up_lo = total.taker_buy_volume_lo = _0
    total.quote_volume_hi = total.quote_volume_up_hi = 0
    total.quote_volume_lo = total.quote_volume_up_lo = _0


# --- adding -----------------------------------------------------------------------------------


@njit(cache=True)
def cannot_be(trade: Any) -> bool:
    """Return whether a trade's price, quantity, notional or event time is impossible."""
    ts, price, quantity = trade.ts_event, trade.price, trade.quantity
    if quantity < 0 or quantity >= QUANTITY_MAX or price >= PRICE_MAX or price <= -PRICE_MAX:
        return True
    hi, _ = multiply(price, quantity)
    too_much = hi >= NOTIONAL_HIGH_MAX or hi < -NOTIONAL_HIGH_MAX
    return bool(too_much or ts < 0 or ts - TS_AHEAD_NS_MAX > trade.ts_recv)


@njit(cache=True)
def notice(row: Row, trade: Any) -> None:
    """Let the first trade after a feed was away say by its id whether any is missing."""
    if row.link & LAPSED:
        row.link &= UP
        if row.seen and trade.trade_id != row.next_id and row.hold == 0:
            for k in range(BARS):
                row.bars[k].flags |= PARTIAL


@njit(cache=True)
def least_due(row: Row) -> Any:
    """Return the total of trades at which the first of the bars that count them closes."""
    least = NEVER
    for k in range(MEASURED):
        due = row.bars[k].trades_due
        if due > 0:
            least = min(least, due)
    return least
