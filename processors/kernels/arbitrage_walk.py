"""Two books walked against each other: what can be bought in one and sold in the other at a profit.

Unit by unit from the best levels on, while what is sold brings more after its fee than what is
bought costs with its own; all exact.
"""

from typing import Any

import numpy as np
from numba import njit

from tidemill.processors.kernels.ratios import divide, ratio, ratio_64
from tidemill.schemas.enums import OpportunityFlag
from tidemill.schemas.exact import add, add_product, compare, multiply, subtract

MILLION = np.int64(1_000_000)
BOUNDED = int(OpportunityFlag.BOUNDED)
MOST = np.int64(2**63 - 1)
_MILLION, _LOW, _32 = np.uint64(1_000_000), np.uint64(0xFFFFFFFF), np.uint64(32)
_0, _1 = np.uint64(0), np.uint64(1)

Ladder = Any
"""One record of LADDER."""
Record = Any
"""One record of kind opportunity."""


@njit(cache=True)
def pays(ask: Any, buy_ppm: Any, bid: Any, sell_ppm: Any) -> bool:
    """Return whether a unit bought at `ask` and sold at `bid` earns more than its fees."""
    cost = multiply(ask, MILLION + buy_ppm)
    proceeds = multiply(bid, MILLION - sell_ppm)
    return bool(compare(proceeds[0], proceeds[1], cost[0], cost[1]) > 0)


@njit(cache=True)
def _times(hi: Any, lo: Any, factor: Any) -> Any:
    """Return a number below 2^107 that is not negative, times one below 2^20."""
    low = (lo & _LOW) * factor
    high = (lo >> _32) * factor + (low >> _32)
    top = np.uint64(hi) * factor + (high >> _32)
    return np.int64(top), (high & _LOW) << _32 | (low & _LOW)


@njit("Tuple((int64, uint64))(int64, uint64, int64)", cache=True)
def fee_of(hi: Any, lo: Any, ppm: Any) -> Any:
    """Return `ppm` millionths of a notional that is not negative, rounded up; rebates are below 0.

    `ppm` is at most 100,000 either way.
    """
    size = np.uint64(-ppm) if ppm < 0 else np.uint64(ppm)
    whole_hi, whole_lo = divide(hi, lo, _MILLION)
    rest = (lo - whole_lo * _MILLION) * size
    part = rest // _MILLION
    if ppm > 0 and rest % _MILLION != _0:
        part += _1
    fee_hi, fee_lo = _times(whole_hi, whole_lo, size)
    fee_hi, fee_lo, _ = add(fee_hi, fee_lo, 0, part)
    if ppm < 0:
        fee_hi, fee_lo, _ = subtract(0, _0, fee_hi, fee_lo)
    return fee_hi, fee_lo


@njit(cache=True)
def walk(asks: Ladder, buy_ppm: Any, bids: Ladder, sell_ppm: Any, record: Record) -> bool:
    """Fill what buying from `asks` and selling to `bids` brings; return whether it brings anything.

    A step whose sums do not fit ends the walk, as if the levels ended there: BOUNDED.
    """
    i, j = 0, 0
    ask_left, bid_left = asks.quantities[0], bids.quantities[0]
    quantity = np.int64(0)
    cost_hi, cost_lo, brings_hi, brings_lo = np.int64(0), _0, np.int64(0), _0
    bounded = False
    while pays(asks.prices[i], buy_ppm, bids.prices[j], sell_ppm):
        step = min(ask_left, bid_left)
        cost = add_product(cost_hi, cost_lo, asks.prices[i], step)
        brings = add_product(brings_hi, brings_lo, bids.prices[j], step)
        if cost[2] or brings[2] or quantity > MOST - step:
            bounded = True
            break
        cost_hi, cost_lo, brings_hi, brings_lo = cost[0], cost[1], brings[0], brings[1]
        quantity += step
        ask_left -= step
        bid_left -= step
        if ask_left == 0:
            i += 1
            if i < asks.count:
                ask_left = asks.quantities[i]
        if bid_left == 0:
            j += 1
            if j < bids.count:
                bid_left = bids.quantities[j]
        if i == asks.count or j == bids.count:
            bounded = True
            break
    record.quantity = quantity
    record.buy_price, record.sell_price = asks.prices[0], bids.prices[0]
    record.spread_ratio = ratio_64(bids.prices[0] - asks.prices[0], asks.prices[0])
    record.buy_notional_hi, record.buy_notional_lo = cost_hi, cost_lo
    record.sell_notional_hi, record.sell_notional_lo = brings_hi, brings_lo
    _settle(record, buy_ppm, sell_ppm)
    if bounded:
        record.flags |= BOUNDED
    return bool(quantity > 0 and (record.net_hi > 0 or (record.net_hi == 0 and record.net_lo > _0)))


@njit(cache=True)
def _settle(record: Record, buy_ppm: Any, sell_ppm: Any) -> None:
    """Fill fees, gross and net of a record from its notionals."""
    buy_hi, buy_lo = fee_of(record.buy_notional_hi, record.buy_notional_lo, buy_ppm)
    sell_hi, sell_lo = fee_of(record.sell_notional_hi, record.sell_notional_lo, sell_ppm)
    record.buy_fee_hi, record.buy_fee_lo = buy_hi, buy_lo
    record.sell_fee_hi, record.sell_fee_lo = sell_hi, sell_lo
    record.buy_fee_ppm, record.sell_fee_ppm = buy_ppm, sell_ppm
    hi, lo, _ = subtract(
        record.sell_notional_hi,
        record.sell_notional_lo,
        record.buy_notional_hi,
        record.buy_notional_lo,
    )
    record.gross_hi, record.gross_lo = hi, lo
    record.gross_ratio = ratio(hi, lo, record.buy_notional_hi, record.buy_notional_lo)
    hi, lo, _ = subtract(hi, lo, buy_hi, buy_lo)
    hi, lo, _ = subtract(hi, lo, sell_hi, sell_lo)
    record.net_hi, record.net_lo = hi, lo
    record.net_ratio = ratio(hi, lo, record.buy_notional_hi, record.buy_notional_lo)
