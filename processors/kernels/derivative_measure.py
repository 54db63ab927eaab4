"""What a derivative's numbers say: averages, changes, classes and their thresholds.

Thresholds: funding 0.01 and 0.1 %, open interest 10 %, price 3 %. All of it is exact; ratios and
means are rounded to zero.
"""

from typing import Any

import numpy as np
from numba import njit

from tidemill.processors.kernels.derivative_state import (
    BUCKET_NS,
    BUCKETS_23H,
    BUCKETS_24H,
    BUCKETS_25H,
    HOUR_NS,
    HOURS_7D,
    HOURS_24H,
    SAMPLES,
)
from tidemill.processors.kernels.ratios import divide, ratio_64
from tidemill.schemas.enums import DerivativeFlag, FundingSignal, InterestSignal
from tidemill.schemas.exact import compare, multiply, subtract

YEAR_S = np.int64(365 * 86_400)
FUNDING_EXTREME, FUNDING_STRONG = 1_000_000_000, 100_000_000
"""Funding rates of 0.1 % and 0.01 %, in 1e-12."""
INTEREST_MOVES, PRICE_MOVES, INTEREST_ALERT = 100_000_000, 30_000_000, 150_000_000
"""Changes of 10, 3 and 15 %, in 1e-9."""
TURNOVER_ALERT = 3
"""A volume over so many times the open interest is an alert."""
BOTH_PRICES = 0b11
PARTIAL_24H, PARTIAL_7D, ALERT, GAP = (
    int(flag)
    for flag in (
        DerivativeFlag.PARTIAL_24H,
        DerivativeFlag.PARTIAL_7D,
        DerivativeFlag.ALERT,
        DerivativeFlag.GAP,
    )
)
BULLISH, BEARISH, LONGS, SHORTS = (
    int(signal)
    for signal in (
        FundingSignal.BULLISH,
        FundingSignal.BEARISH,
        FundingSignal.EXTREME_LONGS,
        FundingSignal.EXTREME_SHORTS,
    )
)
BOTH_UP, AGAINST, SQUEEZE, LIQUIDATION = (
    int(signal)
    for signal in (
        InterestSignal.BULLISH,
        InterestSignal.BEARISH,
        InterestSignal.SHORT_SQUEEZE,
        InterestSignal.LONG_LIQUIDATION,
    )
)
MOST = np.int64(2**63 - 1)
_0 = np.uint64(0)

Row = Any
"""One record of STATE."""
Metrics = Any
"""One record of kind derivative_metrics."""


@njit(cache=True)
def _annualized(rate: Any, interval_s: Any) -> Any:
    """Return a rate of one interval over 365 days."""
    if interval_s == 0:
        return np.int64(0)
    hi, lo = multiply(abs(rate), YEAR_S)
    hi, lo = divide(hi, lo, np.uint64(interval_s))
    size = MOST if hi > 0 or np.int64(lo) < 0 else np.int64(lo)
    return -size if rate < 0 else size


@njit(cache=True)
def _mean(row: Row, hour: int, hours: int) -> Any:
    """Return the mean of the rates of the last `hours` hours that have one, up to `hour`."""
    total, count = np.int64(0), np.int64(0)
    for back in range(hours):
        place = row.rates[(hour - back) % HOURS_7D]
        if place.hour == hour - back:
            total += place.rate
            count += 1
    if count == 0:
        return row.funding_rate
    return -(-total // count) if total < 0 else total // count


@njit(cache=True)
def _before(row: Row, bucket: int) -> Any:
    """Return the place of the sample of 24 hours ago, or nearest within 25 to 23, or -1."""
    for back in range(BUCKETS_24H, BUCKETS_25H + 1):
        if row.samples[(bucket - back) % SAMPLES].bucket == bucket - back:
            return (bucket - back) % SAMPLES
    for back in range(BUCKETS_24H - 1, BUCKETS_23H - 1, -1):
        if row.samples[(bucket - back) % SAMPLES].bucket == bucket - back:
            return (bucket - back) % SAMPLES
    return np.int64(-1)


@njit(cache=True)
def _judge_funding(rate: int) -> int:
    if rate > FUNDING_EXTREME:
        return LONGS
    if rate > FUNDING_STRONG:
        return BULLISH
    if rate < -FUNDING_EXTREME:
        return SHORTS
    return BEARISH if rate < -FUNDING_STRONG else 0


@njit(cache=True)
def _judge_interest(interest: int, price: int) -> int:
    """Classify the changes of open interest and price, both in 1e-9."""
    if interest > INTEREST_MOVES:
        if price > PRICE_MOVES:
            return BOTH_UP
        return AGAINST if price < -PRICE_MOVES else 0
    if interest < -INTEREST_MOVES:
        if price > PRICE_MOVES:
            return SQUEEZE
        return LIQUIDATION if price < -PRICE_MOVES else 0
    return 0


@njit(cache=True)
def _difference(value: Any, before: Any) -> Any:
    """Return value - before, or the int64 that is nearest."""
    hi, lo, _ = subtract(value >> 63, np.uint64(value), before >> 63, np.uint64(before))
    if hi > 0 or (hi == 0 and np.int64(lo) < 0):
        return MOST
    if hi < -1 or (hi == -1 and np.int64(lo) >= 0):
        return -MOST
    return np.int64(lo)


@njit(cache=True)
def _measure_changes(row: Row, record: Metrics, bucket: int) -> None:
    """Compare open interest and price with a day ago."""
    at = _before(row, bucket)
    if at < 0:
        record.flags |= PARTIAL_24H
    else:
        was = row.samples[at]
        record.open_interest_change = _difference(row.open_interest, was.open_interest)
        record.open_interest_change_ratio = ratio_64(record.open_interest_change, was.open_interest)
        record.price_change = _difference(record.last_price, was.price)
        record.price_change_ratio = ratio_64(record.price_change, was.price)
    change = record.open_interest_change_ratio
    record.interest_signal = _judge_interest(change, record.price_change_ratio)
    hi, lo = multiply(row.open_interest, TURNOVER_ALERT)
    turned = row.open_interest > 0 and compare(row.total.hi, row.total.lo, hi, lo) > 0
    if turned or abs(change) > INTEREST_ALERT:
        record.flags |= ALERT


@njit(cache=True)
def measure(row: Row, record: Metrics, key: Any, ts: int) -> None:
    """Fill a record of metrics as of `ts`, all but its position; `key` is of INSTRUMENTS."""
    record.ts_event, record.ts_recv = row.ts_event, row.ts_recv
    record.mark_price, record.index_price = row.mark_price, row.index_price
    record.basis = record.basis_ratio = 0
    if np.int64(row.fields) & BOTH_PRICES == BOTH_PRICES:
        record.basis = _difference(row.mark_price, row.index_price)
        record.basis_ratio = ratio_64(record.basis, row.index_price)
    record.funding_rate = row.funding_rate
    record.next_funding_time = row.next_funding_time
    interval = row.funding_interval_s if row.funding_interval_s > 0 else key.funding_interval_s
    record.funding_interval_s = interval
    record.funding_annualized = _annualized(row.funding_rate, interval)
    hour = ts // HOUR_NS
    record.funding_24h = _mean(row, hour, HOURS_24H)
    record.funding_7d = _mean(row, hour, HOURS_7D)
    record.funding_signal = _judge_funding(row.funding_rate)
    record.open_interest = row.open_interest
    record.last_price = row.last_price if row.last_ts > 0 else row.mark_price
    record.volume_hi, record.volume_lo = row.total.hi, row.total.lo
    record.fields, record.flags = row.fields, 0
    record.open_interest_change = record.open_interest_change_ratio = 0
    record.price_change = record.price_change_ratio = 0
    if row.first_hour == 0 or row.first_hour > hour - HOURS_7D:
        record.flags |= PARTIAL_7D
    if row.gap > 0 and row.gap > row.newest - BUCKETS_24H:
        record.flags |= GAP
    _measure_changes(row, record, ts // BUCKET_NS)
