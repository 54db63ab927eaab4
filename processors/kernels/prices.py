"""Trades and quotes of venues into the price of their pair: exact sums over a day of minutes.

Helpers are given single records, which are pointers: arrays among their arguments would be
reference-counted at every call.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import from_dtype, njit, types
from numpy.typing import NDArray

from tidemill.processors.kernels.signatures import strided
from tidemill.schemas.enums import BarFlag
from tidemill.schemas.exact import add, add_64, multiply, subtract
from tidemill.schemas.kinds.price import PRICE
from tidemill.schemas.kinds.quote import QUOTE
from tidemill.schemas.kinds.time import TIME
from tidemill.schemas.kinds.trade import TRADE
from tidemill.schemas.run import FRAMES

PRICE_EXPONENT, QUANTITY_EXPONENT = -10, -8
"""Exponents of prices over venues: sums of several venues need one scale."""
BUCKETS = 1_440
"""Minutes in the window: the current one and the 1,439 before it."""
MINUTE_NS = 60_000_000_000
SECOND_NS = 1_000_000_000
FRESH_NS = 30_000_000_000
"""A venue whose last trade or quote was received longer before `time` is not fresh, in ns."""
TS_AHEAD_NS_MAX = 3_600_000_000_000
"""A trade whose event time is further ahead of its receive time is not counted, in ns."""

GAP, PARTIAL, STALE = int(BarFlag.GAP), int(BarFlag.PARTIAL), int(BarFlag.STALE)

BUCKET = np.dtype(
    [
        ("volume_lo", "<u8"),
        ("volume_hi", "<i8"),
        ("quote_volume_lo", "<u8"),
        ("quote_volume_hi", "<i8"),
    ]
)
"""What was traded in one minute of event time, or in all minutes of the window."""

STATE = np.dtype(
    [
        ("second", "<i8"),  # newest second of `time` for which the pair had its turn
        ("newest", "<i8"),  # newest minute of the window, 0 before anything
        ("first", "<i8"),  # minute of the first trade
        ("gap", "<i8"),  # newest minute in which something is known to be missing, 0 none
        ("trade_recv", "<i8"),  # newest receive time of a trade, 0 none, ns
        ("quote_recv", "<i8"),  # receive time of the quote, 0 none, ns
        ("last_ts", "<i8"),  # event time of the last price, ns
        ("last_price", "<i8"),
        ("bid_price", "<i8"),
        ("bid_quantity", "<i8"),
        ("ask_price", "<i8"),
        ("ask_quantity", "<i8"),
        ("total", BUCKET),  # sum of the buckets
        ("buckets", BUCKET, (BUCKETS,)),  # minute m is in place m % BUCKETS
    ]
)
"""One row of the processor's state: one instrument, in the exponents above."""

NOBODY = -1
MOST = np.int64(2**63 - 1)
_POWERS = np.array([10**k for k in range(19)], np.int64)
_0 = np.uint64(0)

Row = Any
"""One record of STATE."""


@njit(cache=True)
def _scaled(value: int, exponent: int, wanted: int) -> tuple[int, bool]:
    """Return a mantissa that is not negative at another exponent, and whether that is exact."""
    k = np.int64(exponent) - wanted
    if value < 0:
        return 0, False
    if k < 0:
        power = _POWERS[-k]
        return value // power, value % power == 0
    if k > 18:
        return 0, value == 0
    power = _POWERS[k]
    return value * power, value <= MOST // power


@njit(cache=True)
def _advance(row: Row, minute: int) -> None:
    """Move the window up to a minute; what falls out of it leaves the total."""
    if minute <= row.newest:
        return
    out = 0 if row.newest == 0 else min(minute - row.newest, BUCKETS)
    total = row.total
    for index in range(out):
        bucket = row.buckets[(row.newest + 1 + index) % BUCKETS]
        hi, lo, _ = subtract(total.volume_hi, total.volume_lo, bucket.volume_hi, bucket.volume_lo)
        total.volume_hi, total.volume_lo = hi, lo
        hi, lo, _ = subtract(
            total.quote_volume_hi,
            total.quote_volume_lo,
            bucket.quote_volume_hi,
            bucket.quote_volume_lo,
        )
        total.quote_volume_hi, total.quote_volume_lo = hi, lo
        bucket.volume_lo = bucket.quote_volume_lo = _0
        bucket.volume_hi = bucket.quote_volume_hi = 0
    row.newest = minute


@njit(cache=True)
def _count(sums: Any, quantity: int, hi: Any, lo: Any) -> bool:
    """Add a trade's quantity and notional; return whether both sums took it, else change none."""
    volume_hi, volume_lo, volume_over = add_64(sums.volume_hi, sums.volume_lo, quantity)
    quote_hi, quote_lo, quote_over = add(sums.quote_volume_hi, sums.quote_volume_lo, hi, lo)
    if volume_over or quote_over:
        return False
    sums.volume_hi, sums.volume_lo = volume_hi, volume_lo
    sums.quote_volume_hi, sums.quote_volume_lo = quote_hi, quote_lo
    return True


@njit(cache=True)
def _take(row: Row, trade: Any, price_exponent: int, quantity_exponent: int) -> None:
    """Count one trade. What cannot be counted exactly is a gap of its minute."""
    ts = trade.ts_event
    row.trade_recv = max(row.trade_recv, trade.ts_recv)
    price, price_exact = _scaled(trade.price, price_exponent, PRICE_EXPONENT)
    quantity, quantity_exact = _scaled(trade.quantity, quantity_exponent, QUANTITY_EXPONENT)
    if ts < 0 or ts - TS_AHEAD_NS_MAX > trade.ts_recv:
        row.gap = max(row.gap, row.newest)
        return
    minute = ts // MINUTE_NS
    if not (price_exact and quantity_exact):
        row.gap = max(row.gap, minute)
        return
    _advance(row, minute)
    if row.last_ts == 0:
        row.first = minute
    if ts >= row.last_ts:
        row.last_ts = ts
        row.last_price = price
    if minute > row.newest - BUCKETS:
        hi, lo = multiply(price, quantity)
        # The total holds every bucket, and nothing is negative: what fits it fits the bucket.
        if _count(row.total, quantity, hi, lo):
            _count(row.buckets[minute % BUCKETS], quantity, hi, lo)
        else:
            row.gap = max(row.gap, minute)


@njit(cache=True)
def _see(row: Row, quote: Any, price_exponent: int, quantity_exponent: int) -> None:
    """Keep the newest quote in logical order; one that cannot be exact is a gap, and none."""
    bid, bid_exact = _scaled(quote.bid_price, price_exponent, PRICE_EXPONENT)
    ask, ask_exact = _scaled(quote.ask_price, price_exponent, PRICE_EXPONENT)
    bids, bids_exact = _scaled(quote.bid_quantity, quantity_exponent, QUANTITY_EXPONENT)
    asks, asks_exact = _scaled(quote.ask_quantity, quantity_exponent, QUANTITY_EXPONENT)
    if not (bid_exact and ask_exact and bids_exact and asks_exact):
        row.gap = max(row.gap, quote.ts_recv // MINUTE_NS)
        bid, ask, bids, asks = 0, 0, 0, 0
    row.quote_recv = quote.ts_recv
    row.bid_price, row.bid_quantity = bid, bids
    row.ask_price, row.ask_quantity = ask, asks


@njit(cache=True)
def _fresh(received: int, ts: int) -> bool:
    return received > 0 and ts - received <= FRESH_NS


@njit(cache=True)
def _better(value: int, rank: int, best: int, best_rank: int) -> bool:
    """Return whether a venue is ahead of the best so far; of equals the first by name is."""
    return best_rank == NOBODY or value > best or (value == best and rank < best_rank)


@njit(cache=True)
def _add_venue(record: Any, row: Row, slot: int, who: Any, ranks: Any) -> bool:
    """Add a venue's last price and volumes to the pair's; return whether they fit."""
    total = row.total
    volume = add(record.volume_hi, record.volume_lo, total.volume_hi, total.volume_lo)
    quote = add(
        record.quote_volume_hi,
        record.quote_volume_lo,
        total.quote_volume_hi,
        total.quote_volume_lo,
    )
    if volume[2] or quote[2]:
        return False
    record.volume_hi, record.volume_lo = volume[0], volume[1]
    record.quote_volume_hi, record.quote_volume_lo = quote[0], quote[1]
    hi, lo, _ = add_64(record.last_price_sum_hi, record.last_price_sum_lo, row.last_price)
    record.last_price_sum_hi, record.last_price_sum_lo = hi, lo
    record.venues = min(np.int64(record.venues) + 1, 255)
    price, rank = row.last_price, ranks[slot]
    high, low = who[0], who[1]
    if _better(price, rank, record.high_price, NOBODY if high < 0 else ranks[high]):
        record.high_price = price
        who[0] = slot
    if _better(-price, rank, -record.low_price, NOBODY if low < 0 else ranks[low]):
        record.low_price = price
        who[1] = slot
    return True


@njit(cache=True)
def _add_quote(record: Any, row: Row, slot: int, who: Any, ranks: Any) -> None:
    """Put a venue's best bid and ask against the best of the others."""
    bid, ask, rank = who[2], who[3], ranks[slot]
    best = NOBODY if bid < 0 else ranks[bid]
    if row.bid_quantity > 0 and _better(row.bid_price, rank, record.best_bid, best):
        record.best_bid, record.best_bid_quantity = row.bid_price, row.bid_quantity
        who[2] = slot
    best = NOBODY if ask < 0 else ranks[ask]
    if row.ask_quantity > 0 and _better(-row.ask_price, rank, -record.best_ask, best):
        record.best_ask, record.best_ask_quantity = row.ask_price, row.ask_quantity
        who[3] = slot


@njit(cache=True)
def _venue(record: Any, row: Row, ts: int, slot: int, who: Any, ranks: Any) -> bool:
    """Let one instrument take part in its pair's price at `ts`; return whether it is fresh."""
    if row.trade_recv == 0 and row.quote_recv == 0:
        return False
    _advance(row, ts // MINUTE_NS)
    quoted = _fresh(row.quote_recv, ts)
    if row.gap > 0 and row.gap > row.newest - BUCKETS:
        record.flags |= GAP
    if not quoted and not _fresh(row.trade_recv, ts):
        record.flags |= STALE
        return False
    if quoted:
        _add_quote(record, row, slot, who, ranks)
    if row.last_ts > 0:
        if row.first > row.newest - BUCKETS:
            record.flags |= PARTIAL
        if not _add_venue(record, row, slot, who, ranks):
            record.flags |= GAP
    return True


class Pairs(NamedTuple):
    """The instruments that have part in the price of a pair.

    `members` (M,) int64 slots, pair after pair, pairs in the order of their first slot; `starts`
    (P+1,) int64 where each begins; `ranks` (S,) int64 orders slots by the name of their venue;
    `spot` (S,) bool.
    """

    members: NDArray[np.int64]
    starts: NDArray[np.int64]
    ranks: NDArray[np.int64]
    spot: NDArray[np.bool_]


class Out(NamedTuple):
    """Prices (capacity,), a slot of each pair, and (capacity, 4) the slots of the venues with the
    highest and lowest price, best bid and best ask, or -1."""

    prices: NDArray[np.void]
    slots: NDArray[np.int32]
    who: NDArray[np.int32]


_Tuple: Callable[..., types.Type] = types.Tuple
_NamedTuple: Callable[..., types.Type] = types.NamedTuple
PRICE_DTYPE = PRICE.dtype


_Rows, _Frames = strided(STATE, readonly=False), strided(FRAMES)
_Trades, _Quotes, _Times = strided(TRADE.dtype), strided(QUOTE.dtype), strided(TIME.dtype)
_Ints = types.Array(types.int64, 1, "C")
_Pairs = _NamedTuple((_Ints, _Ints, _Ints, types.Array(types.boolean, 1, "C")), Pairs)
_Out = _NamedTuple(
    (
        types.Array(from_dtype(PRICE_DTYPE), 1, "C"),
        types.Array(types.int32, 1, "C"),
        types.Array(types.int32, 2, "C"),
    ),
    Out,
)


@njit(types.void(_Rows, _Frames, _Trades, _Pairs), cache=True)
def count_trades(
    rows: NDArray[np.void], frames: NDArray[np.void], trades: NDArray[np.void], pairs: Pairs
) -> None:
    """Count the trades (N,) that `frames` (F,) name into `rows` (S,) STATE, in place."""
    for f in range(len(frames)):
        frame = frames[f]
        if pairs.spot[frame.slot]:
            row = rows[frame.slot]
            for index in range(frame.start, frame.start + frame.count):
                _take(row, trades[index], frame.price_exponent, frame.quantity_exponent)


@njit(types.void(_Rows, _Frames, _Quotes, _Pairs), cache=True)
def see_quotes(
    rows: NDArray[np.void], frames: NDArray[np.void], quotes: NDArray[np.void], pairs: Pairs
) -> None:
    """Keep the newest of the quotes (N,) of each slot in `rows` (S,) STATE, in place."""
    for f in range(len(frames)):
        frame = frames[f]
        if pairs.spot[frame.slot]:
            row = rows[frame.slot]
            for index in range(frame.start, frame.start + frame.count):
                _see(row, quotes[index], frame.price_exponent, frame.quantity_exponent)


@njit(cache=True)
def _turn(rows: Any, pairs: Pairs, p: int, second: int) -> bool:
    """Return whether this second is new to pair `p`, and note that it had it."""
    first, end = pairs.starts[p], pairs.starts[p + 1]
    for m in range(first, end):
        if rows[pairs.members[m]].second >= second:
            return False
    for m in range(first, end):
        rows[pairs.members[m]].second = second
    return True


@njit(_Tuple((_Out, types.int64))(_Rows, _Frames, _Times, _Pairs), cache=True)
def tell_prices(
    rows: NDArray[np.void], frames: NDArray[np.void], times: NDArray[np.void], pairs: Pairs
) -> tuple[Out, int]:
    """Step the time: each pair's price at the first record of each second, if fresh.

    Changes `rows` (S,) STATE in place. Return (out, count): the first `count` are valid.
    """
    size, count = len(pairs.starts), 0
    out = Out(np.zeros(size, PRICE_DTYPE), np.zeros(size, np.int32), np.zeros((size, 4), np.int32))
    for f in range(len(frames)):
        frame = frames[f]
        for index in range(frame.start, frame.start + frame.count):
            ts = times[index].ts
            if count + len(pairs.starts) > len(out.slots):
                size = 2 * len(out.slots) + len(pairs.starts)
                grown = Out(
                    np.zeros(size, PRICE_DTYPE),
                    np.zeros(size, np.int32),
                    np.zeros((size, 4), np.int32),
                )
                grown.prices[:count] = out.prices[:count]
                grown.slots[:count] = out.slots[:count]
                grown.who[:count] = out.who[:count]
                out = grown
            for p in range(len(pairs.starts) - 1):
                if not _turn(rows, pairs, p, ts // SECOND_NS):
                    continue
                record, who, told = out.prices[count], out.who[count], False
                who[:] = NOBODY
                for m in range(pairs.starts[p], pairs.starts[p + 1]):
                    slot = pairs.members[m]
                    told |= _venue(record, rows[slot], ts, slot, who, pairs.ranks)
                if told:
                    record.at_r = frame.r
                    record.at_i = np.int64(frame.i) + index - frame.start
                    record.ts = ts
                    out.slots[count] = pairs.members[pairs.starts[p]]
                    count += 1
                else:
                    record.flags = 0
    return out, count


@njit(types.void(_Rows, types.int64, types.int64), cache=True)
def note_gap(rows: NDArray[np.void], slot: int, ts: int) -> None:
    """Note that trades of one instrument up to event time `ts` (ns) are missing."""
    rows[slot].gap = max(rows[slot].gap, ts // MINUTE_NS)
