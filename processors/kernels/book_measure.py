"""What a valid book offers: spread, depth, imbalance, walls, liquidity and what they are for.

The liquidity score is depth against the book's own usual depth: a fixed sum of money says nothing
of most books. Sums are exact; only the usual depth, a statistic, is a float64.
"""

from typing import Any

import numpy as np
from numba import njit

from tidemill.processors.kernels.book_state import MASK, OVERFLOW, USUAL_MAX
from tidemill.processors.kernels.ratios import divide, ratio
from tidemill.schemas.enums import Signal, SpreadQuality
from tidemill.schemas.exact import add, add_64, add_product, multiply, subtract

EXCELLENT, GOOD, FAIR, POOR = (
    int(quality)
    for quality in (
        SpreadQuality.EXCELLENT,
        SpreadQuality.GOOD,
        SpreadQuality.FAIR,
        SpreadQuality.POOR,
    )
)
EXCELLENT_BELOW, GOOD_BELOW, FAIR_BELOW = 500_000, 1_000_000, 3_000_000
"""Spreads over mid, in 1e-9: 0.05, 0.1 and 0.3 %."""
WIDE_ABOVE, ILLIQUID_BELOW = 5_000_000, 30
"""A spread above 0.5 %, or a liquidity score below 30, allows no signal."""
SIGNAL_ABOVE = 300_000_000
"""An imbalance beyond 0.3 either way is a signal, in 1e-9."""
CONFIDENCE_NONE, CONFIDENCE_NEUTRAL, CONFIDENCE_MAX = 300_000_000, 500_000_000, 950_000_000
WALL_TIMES = 5
"""A wall is a level over so many times the mean quantity of the levels within 5 %."""
BUY_SIGNAL, SELL_SIGNAL = int(Signal.BUY), int(Signal.SELL)
MOST = np.int64(2**63 - 1)
_0 = np.uint64(0)
_200, _199 = np.uint64(200), np.int64(199)

Row = Any
"""One record of STATE."""
Side = Any
"""One record of SIDE."""
Metrics = Any
"""One record of kind book_metrics."""


@njit(cache=True)
def _limit(bid: int, ask: int, percent: int, up: bool) -> Any:
    """Return `percent` of the mid price, rounded; int64's largest where it is beyond."""
    hi, lo = multiply(bid, percent)
    hi, lo, _ = add_product(hi, lo, ask, percent)
    if up:
        hi, lo, _ = add_64(hi, lo, _199)
    hi, lo = divide(hi, lo, _200)
    if hi > 0 or np.int64(lo) < 0:
        return MOST
    return np.int64(lo)


@njit(cache=True)
def _within(side: Side, sign: int, limit: int) -> Any:
    """Return how many levels are at a limit or better."""
    low, high = np.int64(0), side.ends[1]
    while low < high:
        middle = (low + high) >> 1
        if sign * side.prices[(side.ends[0] + middle) & MASK] >= sign * limit:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True)
def _sum(side: Side, count: int) -> Any:
    """Return price x quantity and quantity of the best levels, and whether they overflow."""
    hi, lo, volume_hi, volume_lo, over = np.int64(0), _0, np.int64(0), _0, False
    for k in range(count):
        at = (side.ends[0] + k) & MASK
        hi, lo, beyond = add_product(hi, lo, side.prices[at], side.quantities[at])
        over |= beyond
        volume_hi, volume_lo, _ = add_64(volume_hi, volume_lo, side.quantities[at])
    return hi, lo, volume_hi, volume_lo, over


@njit(cache=True)
def _walls(side: Side, count: int, above: Any) -> Any:
    """Return how many of the best levels are walls, and price and quantity of the largest."""
    walls, price, quantity = 0, np.int64(0), np.int64(0)
    for k in range(count):
        at = (side.ends[0] + k) & MASK
        there = side.quantities[at]
        if there > above:
            walls += 1
            if there > quantity:
                price, quantity = side.prices[at], there
    return walls, price, quantity


@njit(cache=True)
def _measure_walls(row: Row, record: Metrics, bids: int, asks: int, hi: Any, lo: Any) -> None:
    """Find walls among the best `bids` and `asks`, whose quantities add up to (hi, lo)."""
    five_hi, five_lo = hi, lo
    for _ in range(WALL_TIMES - 1):
        five_hi, five_lo, _over = add(five_hi, five_lo, hi, lo)
    above_hi, above_lo = divide(five_hi, five_lo, np.uint64(bids + asks))
    if above_hi > 0 or np.int64(above_lo) < 0:
        return
    above = np.int64(above_lo)
    walls, price, quantity = _walls(row.bids, bids, above)
    record.bid_walls, record.bid_wall_price, record.bid_wall_quantity = walls, price, quantity
    walls, price, quantity = _walls(row.asks, asks, above)
    record.ask_walls, record.ask_wall_price, record.ask_wall_quantity = walls, price, quantity


@njit(cache=True)
def _measure_depths(row: Row, record: Metrics, bid: int, ask: int) -> bool:
    """Fill depths, volumes, imbalance and walls; return whether all sums fit."""
    bids_1 = _within(row.bids, 1, _limit(bid, ask, 99, True))
    asks_1 = _within(row.asks, -1, _limit(bid, ask, 101, False))
    bids_5 = _within(row.bids, 1, _limit(bid, ask, 95, True))
    asks_5 = _within(row.asks, -1, _limit(bid, ask, 105, False))
    bid_1, ask_1 = _sum(row.bids, bids_1), _sum(row.asks, asks_1)
    bid_5, ask_5 = _sum(row.bids, bids_5), _sum(row.asks, asks_5)
    depth = add(bid_1[0], bid_1[1], ask_1[0], ask_1[1])
    if bid_1[4] or ask_1[4] or bid_5[4] or ask_5[4] or depth[2]:
        return False
    record.bid_depth_1_hi, record.bid_depth_1_lo = bid_1[0], bid_1[1]
    record.ask_depth_1_hi, record.ask_depth_1_lo = ask_1[0], ask_1[1]
    record.bid_depth_5_hi, record.bid_depth_5_lo = bid_5[0], bid_5[1]
    record.ask_depth_5_hi, record.ask_depth_5_lo = ask_5[0], ask_5[1]
    record.bid_volume_1_hi, record.bid_volume_1_lo = bid_1[2], bid_1[3]
    record.ask_volume_1_hi, record.ask_volume_1_lo = ask_1[2], ask_1[3]
    more_hi, more_lo, _ = subtract(bid_1[2], bid_1[3], ask_1[2], ask_1[3])
    all_hi, all_lo, _ = add(bid_1[2], bid_1[3], ask_1[2], ask_1[3])
    record.imbalance = ratio(more_hi, more_lo, all_hi, all_lo)
    record.liquidity_score = _score(row, depth[0], depth[1])
    if bids_5 + asks_5 > 0:
        all_hi, all_lo, _ = add(bid_5[2], bid_5[3], ask_5[2], ask_5[3])
        _measure_walls(row, record, bids_5, asks_5, all_hi, all_lo)
    return True


@njit(cache=True)
def _score(row: Row, hi: Any, lo: Any) -> Any:
    """Return depth over the usual depth times 50, at most 100, and let it become usual."""
    depth = np.float64(hi) * 18446744073709551616.0 + np.float64(lo)
    if row.measured == 0:
        row.usual = depth
    score = 0.0
    if row.usual > 0.0:
        score = depth / row.usual * 50.0
    row.measured = min(row.measured + 1, USUAL_MAX)
    row.usual += (depth - row.usual) / np.float64(row.measured)
    return 100 if score >= 100.0 else np.int64(score)


@njit(cache=True)
def _judge(record: Metrics) -> None:
    """Fill spread quality, signal and confidence."""
    spread, imbalance = record.spread_ratio, record.imbalance
    if spread < EXCELLENT_BELOW:
        record.spread_quality = EXCELLENT
    elif spread < GOOD_BELOW:
        record.spread_quality = GOOD
    else:
        record.spread_quality = FAIR if spread < FAIR_BELOW else POOR
    if spread > WIDE_ABOVE or record.liquidity_score < ILLIQUID_BELOW:
        record.confidence = CONFIDENCE_NONE
    elif abs(imbalance) > SIGNAL_ABOVE:
        record.signal = BUY_SIGNAL if imbalance > 0 else SELL_SIGNAL
        record.confidence = min(abs(imbalance) * 3 // 2, CONFIDENCE_MAX)
    else:
        record.confidence = CONFIDENCE_NEUTRAL


@njit(cache=True)
def measure(row: Row, record: Metrics) -> None:
    """Fill everything of a valid book's record that depends on its levels."""
    bids, asks = row.bids, row.asks
    record.bid_levels, record.ask_levels = bids.ends[1], asks.ends[1]
    if bids.ends[1] > 0:
        record.bid_price = bids.prices[bids.ends[0]]
        record.bid_quantity = bids.quantities[bids.ends[0]]
    if asks.ends[1] > 0:
        record.ask_price = asks.prices[asks.ends[0]]
        record.ask_quantity = asks.quantities[asks.ends[0]]
    record.confidence = CONFIDENCE_NONE
    if bids.ends[1] == 0 or asks.ends[1] == 0 or record.bid_price <= 0:
        return
    bid, ask = record.bid_price, record.ask_price
    record.spread = ask - bid
    twice_hi, twice_lo = multiply(ask - bid, 2)
    sum_hi, sum_lo, _ = add(0, np.uint64(bid), 0, np.uint64(ask))
    record.spread_ratio = ratio(twice_hi, twice_lo, sum_hi, sum_lo)
    if not _measure_depths(row, record, bid, ask):
        record.flags |= OVERFLOW
    _judge(record)
