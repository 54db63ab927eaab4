"""Funding, open interest and volume of many derivatives: take records, tell what they say."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import from_dtype, njit, types
from numpy.typing import NDArray

from tidemill.processors.kernels.derivative_measure import measure
from tidemill.processors.kernels.derivative_state import (
    BUCKET_NS,
    BUCKETS_24H,
    HOUR_NS,
    HOURS_7D,
    MINUTE_NS,
    RATE_MAX,
    SAMPLES,
    STATE,
    TS_AHEAD_NS_MAX,
)
from tidemill.processors.kernels.signatures import strided
from tidemill.schemas.exact import add_64, subtract
from tidemill.schemas.kinds.derivative import DERIVATIVE
from tidemill.schemas.kinds.derivative_metrics import DERIVATIVE_METRICS
from tidemill.schemas.kinds.time import TIME
from tidemill.schemas.kinds.trade import TRADE
from tidemill.schemas.run import FRAMES, INSTRUMENT_KINDS, INSTRUMENTS

MARK, INDEX, RATE, NEXT, INTERVAL, INTEREST = (1 << bit for bit in range(6))
"""Bits of `fields`: which values a record gives."""
SPOT = INSTRUMENT_KINDS.index("SPOT")
METRICS = DERIVATIVE_METRICS.dtype
_0 = np.uint64(0)

Row = Any
"""One record of STATE."""


class Out(NamedTuple):
    """Metrics (capacity,) and the slots (capacity,) that they are of."""

    records: NDArray[np.void]
    slots: NDArray[np.int32]


_Tuple: Callable[..., types.Type] = types.Tuple
_NamedTuple: Callable[..., types.Type] = types.NamedTuple
_Rows, _Frames, _Keys = strided(STATE, readonly=False), strided(FRAMES), strided(INSTRUMENTS)
_Derivatives, _Trades = strided(DERIVATIVE.dtype), strided(TRADE.dtype)
_Out = _NamedTuple(
    (types.Array(from_dtype(METRICS), 1, "C"), types.Array(types.int32, 1, "C")), Out
)


@njit(cache=True)
def _begin(rows: Any, slot: int, frame: Any, empty: Any) -> Row:
    """Return the row of a frame; with other exponents than before only its gap is still known."""
    row = rows[slot]
    if (
        row.price_exponent != frame.price_exponent
        or row.quantity_exponent != frame.quantity_exponent
    ):
        gap = row.gap
        rows[slot] = empty
        rows[slot].gap = gap
        rows[slot].price_exponent = frame.price_exponent
        rows[slot].quantity_exponent = frame.quantity_exponent
    return rows[slot]


@njit(cache=True)
def _note_rate(row: Row, rate: int, ts: int) -> None:
    hour = ts // HOUR_NS
    place = row.rates[hour % HOURS_7D]
    if hour < place.hour or hour <= 0:
        return
    place.hour, place.rate = hour, rate
    if row.first_hour == 0:
        row.first_hour = hour


@njit(cache=True)
def _note_sample(row: Row, ts: int) -> None:
    """Remember open interest and price, once in five minutes, where both are known."""
    price = row.last_price if row.last_ts > 0 else row.mark_price
    bucket = ts // BUCKET_NS
    if not row.fields & INTEREST or price <= 0:
        return
    place = row.samples[bucket % SAMPLES]
    if bucket > place.bucket:
        place.bucket, place.open_interest, place.price = bucket, row.open_interest, price


@njit(cache=True)
def _take(row: Row, record: Any) -> None:
    """Take the values that a record gives."""
    fields = np.int64(record.fields)
    if record.funding_rate > RATE_MAX or record.funding_rate < -RATE_MAX:
        fields &= ~RATE
    changed = fields & ~np.int64(row.fields) != 0
    if fields & MARK:
        changed |= row.mark_price != record.mark_price
        row.mark_price = record.mark_price
    if fields & INDEX:
        changed |= row.index_price != record.index_price
        row.index_price = record.index_price
    if fields & RATE:
        changed |= row.funding_rate != record.funding_rate
        row.funding_rate = record.funding_rate
        _note_rate(row, record.funding_rate, record.ts_recv)
    if fields & NEXT:
        changed |= row.next_funding_time != record.next_funding_time
        row.next_funding_time = record.next_funding_time
    if fields & INTERVAL:
        changed |= row.funding_interval_s != record.funding_interval_s
        row.funding_interval_s = record.funding_interval_s
    if fields & INTEREST:
        changed |= row.open_interest != record.open_interest
        row.open_interest = record.open_interest
    row.fields = np.int64(row.fields) | fields
    row.ts_event, row.ts_recv = record.ts_event, record.ts_recv
    _note_sample(row, record.ts_recv)
    if changed:
        row.dirty = row.new = 1


@njit(cache=True)
def advance(row: Row, bucket: int) -> None:
    """Move the window of volumes up to a bucket; what falls out of it leaves the total."""
    if bucket <= row.newest:
        return
    out = 0 if row.newest == 0 else min(bucket - row.newest, BUCKETS_24H)
    for index in range(out):
        old = row.volumes[(row.newest + 1 + index) % BUCKETS_24H]
        hi, lo, _ = subtract(row.total.hi, row.total.lo, old.hi, old.lo)
        row.total.hi, row.total.lo = hi, lo
        old.hi, old.lo = 0, _0
    row.newest = bucket


@njit(cache=True)
def _count(row: Row, trade: Any) -> None:
    """Count one trade; one that cannot be is a gap."""
    ts = trade.ts_event
    if ts < 0 or ts - TS_AHEAD_NS_MAX > trade.ts_recv or trade.quantity < 0:
        row.gap = max(row.gap, row.newest, trade.ts_recv // BUCKET_NS)
        return
    bucket = ts // BUCKET_NS
    advance(row, bucket)
    if ts >= row.last_ts:
        row.last_ts, row.last_price = ts, trade.price
        row.dirty = row.new = 1
    if bucket > row.newest - BUCKETS_24H:
        place = row.volumes[bucket % BUCKETS_24H]
        hi, lo, _ = add_64(place.hi, place.lo, trade.quantity)
        place.hi, place.lo = hi, lo
        hi, lo, _ = add_64(row.total.hi, row.total.lo, trade.quantity)
        row.total.hi, row.total.lo = hi, lo


@njit(types.void(_Rows, _Frames, _Derivatives), cache=True)
def take_derivatives(
    rows: NDArray[np.void], frames: NDArray[np.void], records: NDArray[np.void]
) -> None:
    """Take the records (N,) that `frames` (F,) name into `rows` (S,) STATE, in place."""
    empty = np.zeros(1, STATE)
    for f in range(len(frames)):
        frame = frames[f]
        row = _begin(rows, frame.slot, frame, empty[0])
        for index in range(frame.start, frame.start + frame.count):
            _take(row, records[index])


@njit(types.void(_Rows, _Frames, _Trades, _Keys), cache=True)
def count_trades(
    rows: NDArray[np.void],
    frames: NDArray[np.void],
    trades: NDArray[np.void],
    keys: NDArray[np.void],
) -> None:
    """Count the trades (N,) of contracts; `keys` (S,) INSTRUMENTS. `rows` (S,) change in place."""
    empty = np.zeros(1, STATE)
    for f in range(len(frames)):
        frame = frames[f]
        if keys[frame.slot].kind == SPOT:
            continue
        row = _begin(rows, frame.slot, frame, empty[0])
        for index in range(frame.start, frame.start + frame.count):
            _count(row, trades[index])


@njit(cache=True)
def _due(row: Row, record: Any, minute: int) -> bool:
    """Return whether what is measured is to be told: by the hour, by the minute, or by signals."""
    hourly = minute // 60 > row.minute // 60
    signals = (
        record.funding_signal != row.funding_told or record.interest_signal != row.interest_told
    )
    return bool(hourly or signals or (row.dirty and minute > row.minute))


@njit(
    _Tuple((_Out, types.int64))(_Rows, _Frames, strided(TIME.dtype), _Keys),
    cache=True,
)
def tell_derivatives(
    rows: NDArray[np.void],
    frames: NDArray[np.void],
    times: NDArray[np.void],
    keys: NDArray[np.void],
) -> tuple[Out, int]:
    """Step the time: the metrics of each derivative that are due. Return (out, count)."""
    out, count = Out(np.zeros(8, METRICS), np.zeros(8, np.int32)), 0
    for f in range(len(frames)):
        frame = frames[f]
        for index in range(frame.start, frame.start + frame.count):
            ts = times[index].ts
            minute = ts // MINUTE_NS
            for slot in range(len(rows)):
                row = rows[slot]
                waits = row.dirty and minute > row.minute
                if row.fields == 0 or not (row.new or waits or minute // 60 > row.minute // 60):
                    continue
                row.new = 0
                if count == len(out.slots):
                    grown = Out(np.zeros(2 * count, METRICS), np.zeros(2 * count, np.int32))
                    grown.records[:count] = out.records
                    grown.slots[:count] = out.slots
                    out = grown
                record = out.records[count]
                advance(row, ts // BUCKET_NS)
                measure(row, record, keys[slot], ts)
                same = (
                    row.price_exponent == keys[slot].price_exponent
                    and row.quantity_exponent == keys[slot].quantity_exponent
                )
                if not same or not _due(row, record, minute):
                    continue
                record.at_r, record.n, record.ts = frame.r, 0, ts
                record.at_i = np.int64(frame.i) + index - frame.start
                out.slots[count] = slot
                count += 1
                row.dirty, row.minute = 0, minute
                row.funding_told = record.funding_signal
                row.interest_told = record.interest_signal
    return out, count


@njit(types.void(_Rows, types.int64, types.int64), cache=True)
def note_gap(rows: NDArray[np.void], slot: int, ts: int) -> None:
    """Note that trades of one instrument up to event time `ts` (ns) are missing."""
    rows[slot].gap = max(rows[slot].gap, ts // BUCKET_NS)
