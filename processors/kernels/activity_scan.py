"""Trades summed until one of them closes a bar: the inner loop of activity bars."""

from typing import Any

import numpy as np
from numba import njit

from tidemill.processors.kernels.activity_state import (
    RANGE,
    RENKO,
    TOTAL_HIGH_MAX,
)
from tidemill.processors.kernels.activity_trade import Row, cannot_be, least_due
from tidemill.schemas.enums import AggressorSide
from tidemill.schemas.exact import Hi, Lo, add, add_64, multiply, subtract

BUYER, SELLER = int(AggressorSide.BUYER), int(AggressorSide.SELLER)
NOTHING, DUE, FULL = 0, 1, 2
"""What `scan` stopped for: no more trades that it can take; a bar is due; sums near 128 bits."""
_1 = np.uint64(1)


@njit(cache=True)
def _ge(hi: Hi, lo: Lo, than_hi: Hi, than_lo: Lo) -> bool:
    return bool(hi > than_hi or (hi == than_hi and lo >= than_lo))


@njit(cache=True)
def _any_reached(row: Row, first: int, hi: Hi, lo: Lo, up_hi: Hi, up_lo: Lo) -> bool:
    """Return whether one of the three bars of a measure, `first` and the next two, is due."""
    bar = row.bars[first]
    if _ge(hi, lo, bar.above_hi, bar.above_lo):
        return True
    down_hi, down_lo, _ = subtract(hi, lo, up_hi, up_lo)
    bar = row.bars[first + 2]
    if _ge(up_hi, up_lo, bar.above_hi, bar.above_lo):
        return True
    if _ge(down_hi, down_lo, bar.below_hi, bar.below_lo):
        return True
    bar = row.bars[first + 1]
    sum_hi, sum_lo, _ = subtract(up_hi, up_lo, down_hi, down_lo)
    if _ge(sum_hi, sum_lo, bar.above_hi, bar.above_lo):
        return True
    return _ge(bar.below_hi, bar.below_lo, sum_hi, sum_lo)


@njit(cache=True)
def _any_of_trades(row: Row, count: Any, ups: Any) -> bool:
    """As `_any_reached`, of the imbalance and runs of trades, whose targets fit 64 bits."""
    bar, swing = row.bars[1], 2 * ups - count
    if bar.trades_due == 0 and (swing >= np.int64(bar.above_lo) or swing <= np.int64(bar.below_lo)):
        return True
    bar = row.bars[2]
    downs = count - ups
    return bool(
        bar.trades_due == 0 and (ups >= np.int64(bar.above_lo) or downs >= np.int64(bar.below_lo))
    )


@njit(cache=True)
def _bought(side: int, price: int, last_price: int, up: Any) -> Any:
    """Return 1 if a trade counts as bought: by its aggressor, else by the rule of ticks."""
    if side == BUYER:
        return 1
    if side == SELLER:
        return 0
    if price == last_price:
        return up
    return 1 if price > last_price else 0


@njit(cache=True)
def scan(row: Row, trades: Any, index: int, end: int, inverse: bool) -> tuple[int, int]:
    """Add trades from `index` on, all bars being open, up to the first that makes a bar due.

    Return (the first trade not added, NOTHING, DUE or FULL). A trade that cannot be is not added.
    """
    total = row.total
    count, ups, up = np.int64(total.trades), np.int64(total.trades_up), np.int64(row.up)
    volume_hi, volume_lo = total.volume_hi, total.volume_lo
    volume_up_hi, volume_up_lo = total.volume_up_hi, total.volume_up_lo
    quote_hi, quote_lo = total.quote_volume_hi, total.quote_volume_lo
    quote_up_hi, quote_up_lo = total.quote_volume_up_hi, total.quote_volume_up_lo
    taker_hi, taker_lo = total.taker_buy_volume_hi, total.taker_buy_volume_lo
    high, low, last_price = row.high, row.low, row.last_price
    next_id, max_ts, due = row.next_id, row.max_ts, least_due(row)
    brick, span = row.bars[RENKO], row.bars[RANGE]
    brick_above = brick.high + np.int64(brick.step_lo)
    brick_below = brick.low - np.int64(brick.step_lo)
    span_high, span_low, span_step = span.high, span.low, np.int64(span.step_lo)
    stopped = NOTHING
    while index < end and stopped == NOTHING:
        trade = trades[index]
        if cannot_be(trade):
            break
        price, quantity = trade.price, trade.quantity
        up = _bought(trade.aggressor_side, price, last_price, up)
        hi, lo = multiply(price, quantity)
        count += 1
        volume_hi, volume_lo, _ = add_64(volume_hi, volume_lo, quantity)
        quote_hi, quote_lo, _ = add(quote_hi, quote_lo, hi, lo)
        if up:
            ups += 1
            volume_up_hi, volume_up_lo, _ = add_64(volume_up_hi, volume_up_lo, quantity)
            quote_up_hi, quote_up_lo, _ = add(quote_up_hi, quote_up_lo, hi, lo)
        if trade.aggressor_side == BUYER:
            taker_hi, taker_lo, _ = add_64(taker_hi, taker_lo, quantity)
        high, low, last_price = max(high, price), min(low, price), price
        next_id, max_ts = max(next_id, trade.trade_id + _1), max(max_ts, trade.ts_event)
        index += 1
        if (
            count >= due
            or price >= brick_above
            or price <= brick_below
            or max(span_high, high) - min(span_low, low) >= span_step
            or _any_of_trades(row, count, ups)
            or _any_reached(row, 3, volume_hi, volume_lo, volume_up_hi, volume_up_lo)
        ):
            stopped = DUE
        elif inverse:
            if _any_reached(row, 6, volume_hi, volume_lo, volume_up_hi, volume_up_lo):
                stopped = DUE
        elif _any_reached(row, 6, quote_hi, quote_lo, quote_up_hi, quote_up_lo):
            stopped = DUE
        if max(abs(quote_hi), abs(quote_up_hi)) >= TOTAL_HIGH_MAX:
            stopped = FULL
    total.trades, total.trades_up, row.up = count, ups, up
    total.volume_hi, total.volume_lo = volume_hi, volume_lo
    total.volume_up_hi, total.volume_up_lo = volume_up_hi, volume_up_lo
    total.quote_volume_hi, total.quote_volume_lo = quote_hi, quote_lo
    total.quote_volume_up_hi, total.quote_volume_up_lo = quote_up_hi, quote_up_lo
    total.taker_buy_volume_hi, total.taker_buy_volume_lo = taker_hi, taker_lo
    row.high, row.low, row.last_price, row.next_id, row.max_ts = (
        high,
        low,
        last_price,
        next_id,
        max_ts,
    )
    return index, stopped
