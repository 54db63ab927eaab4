"""Arbitrage over the instruments of pairs: take books and quotes, tell what opens and closes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import from_dtype, njit, types
from numpy.typing import NDArray

from tidemill.processors.kernels.arbitrage_state import (
    FRESH_NS,
    MEMBERS_MAX,
    PRICE_EXPONENT,
    QUANTITY_EXPONENT,
    STATE,
)
from tidemill.processors.kernels.arbitrage_walk import pays, walk
from tidemill.processors.kernels.book_state import BUY, SELL, TOP, VALID
from tidemill.processors.kernels.signatures import strided
from tidemill.schemas.enums import Legs, OpportunityFlag, OpportunityStatus
from tidemill.schemas.kinds.book_level import BOOK_LEVEL
from tidemill.schemas.kinds.book_metrics import BOOK_METRICS
from tidemill.schemas.kinds.opportunity import OPPORTUNITY
from tidemill.schemas.kinds.quote import QUOTE
from tidemill.schemas.kinds.time import TIME
from tidemill.schemas.run import FRAMES, INSTRUMENT_KINDS, INSTRUMENTS

SECOND_NS = 1_000_000_000
SPOT, PERPETUAL = INSTRUMENT_KINDS.index("SPOT"), INSTRUMENT_KINDS.index("PERPETUAL")
LEGS_SPOT, LEGS_PERPETUAL, LEGS_BASIS = int(Legs.SPOT), int(Legs.PERPETUAL), int(Legs.BASIS)
FEES_UNKNOWN, QUOTED = int(OpportunityFlag.FEES_UNKNOWN), int(OpportunityFlag.QUOTED)
CLOSED, OPENED, CHANGED = (
    int(OpportunityStatus.CLOSED),
    int(OpportunityStatus.OPENED),
    int(OpportunityStatus.CHANGED),
)
FOUND = OPPORTUNITY.dtype
MOST = np.int64(2**63 - 1)
_POWERS = np.array([10**k for k in range(19)], np.int64)

Row = Any
"""One record of STATE."""
Key = Any
"""One record of INSTRUMENTS."""


class Pairs(NamedTuple):
    """Instruments by pair: `members` (M,) int64 slots, pair after pair and each in its order;
    `starts` (P+1,) int64 where each pair begins."""

    members: NDArray[np.int64]
    starts: NDArray[np.int64]


class Out(NamedTuple):
    """Opportunities (capacity,), and (capacity, 2) the slots that are bought and sold."""

    records: NDArray[np.void]
    slots: NDArray[np.int32]


_Tuple: Callable[..., types.Type] = types.Tuple
_NamedTuple: Callable[..., types.Type] = types.NamedTuple
_NamedUniTuple: Callable[..., types.Type] = types.NamedUniTuple
_Rows, _Frames, _Keys = strided(STATE, readonly=False), strided(FRAMES), strided(INSTRUMENTS)
_Ints = types.Array(types.int64, 1, "C")
_Pairs = _NamedUniTuple(_Ints, 2, Pairs)
_Out = _NamedTuple((types.Array(from_dtype(FOUND), 1, "C"), types.Array(types.int32, 2, "C")), Out)


@njit(cache=True)
def _scaled(value: Any, k: Any) -> tuple[Any, bool]:
    """Return a mantissa that is not negative times 10^k, rounded down, and whether that is exact.

    One that does not fit int64 is int64's largest.
    """
    if value < 0:
        return np.int64(0), False
    if k < -18:
        return np.int64(0), value == 0
    if k < 0:
        power = _POWERS[-k]
        return value // power, value % power == 0
    if k > 18 or value > MOST // _POWERS[k]:
        return MOST if value > 0 else np.int64(0), value == 0
    return value * _POWERS[k], True


@njit(cache=True)
def _put(ladder: Any, price: Any, quantity: Any, frame: Any, key: Key) -> None:
    """Append a level in common units; one whose price has none makes the ladder useless.

    Base units are rounded down, and are at least what int64 holds where they are more.
    """
    if ladder.count < 0 or ladder.count == TOP:
        return
    price, exact = _scaled(price, np.int64(frame.price_exponent) - PRICE_EXPONENT)
    most = quantity > MOST // key.multiplier
    base = MOST if most else quantity * key.multiplier
    shift = np.int64(frame.quantity_exponent) + key.multiplier_exponent - QUANTITY_EXPONENT
    base, _ = _scaled(base, min(shift, 0) if most else shift)
    if not exact or price == 0:
        ladder.count = -1
        return
    if base > 0:
        ladder.prices[ladder.count] = price
        ladder.quantities[ladder.count] = base
        ladder.count += 1


@njit(types.void(_Rows, _Frames, strided(BOOK_METRICS.dtype)), cache=True)
def see_metrics(
    rows: NDArray[np.void], frames: NDArray[np.void], records: NDArray[np.void]
) -> None:
    """Note the state of the books that `frames` (F,) name in `rows` (S,), in place."""
    for f in range(len(frames)):
        frame = frames[f]
        row = rows[frame.slot]
        for index in range(frame.start, frame.start + frame.count):
            record = records[index]
            row.has_book = 1
            if record.state != VALID:
                row.valid = 0
                row.dirty = 1
            row.book_recv = record.ts_recv


@njit(types.void(_Rows, _Frames, strided(BOOK_LEVEL.dtype), _Keys), cache=True)
def see_levels(
    rows: NDArray[np.void],
    frames: NDArray[np.void],
    records: NDArray[np.void],
    keys: NDArray[np.void],
) -> None:
    """Hold the levels (N,) of the newest book of each slot; `keys` (S,) INSTRUMENTS."""
    for f in range(len(frames)):
        frame = frames[f]
        row = rows[frame.slot]
        for index in range(frame.start, frame.start + frame.count):
            record = records[index]
            if record.at_r != row.at_r or record.at_i != row.at_i or not row.valid:
                row.at_r, row.at_i = record.at_r, record.at_i
                row.bids.count = 0
                row.asks.count = 0
                row.valid = 1
            row.dirty = 1
            if record.side == BUY:
                _put(row.bids, record.price, record.quantity, frame, keys[frame.slot])
            elif record.side == SELL:
                _put(row.asks, record.price, record.quantity, frame, keys[frame.slot])


@njit(types.void(_Rows, _Frames, strided(QUOTE.dtype), _Keys), cache=True)
def see_quotes(
    rows: NDArray[np.void],
    frames: NDArray[np.void],
    quotes: NDArray[np.void],
    keys: NDArray[np.void],
) -> None:
    """Hold the newest of the quotes (N,) of each slot that has no book."""
    for f in range(len(frames)):
        frame = frames[f]
        row, key = rows[frame.slot], keys[frame.slot]
        if row.has_book or frame.count == 0:
            continue
        quote = quotes[frame.start + frame.count - 1]
        row.quote_recv = quote.ts_recv
        row.bid.count = 0
        row.ask.count = 0
        _put(row.bid, quote.bid_price, quote.bid_quantity, frame, key)
        _put(row.ask, quote.ask_price, quote.ask_quantity, frame, key)
        row.dirty = 1


@njit(cache=True)
def _takes_part(row: Row, key: Key, ts: int) -> bool:
    """Return whether an instrument can be traded at a time, as far as is known."""
    may = key.kind == SPOT or key.kind == PERPETUAL
    if not may or key.inverse or not key.trading:
        return False
    if row.has_book:
        return bool(row.valid and ts - row.book_recv <= FRESH_NS)
    return bool(row.quote_recv > 0 and ts - row.quote_recv <= FRESH_NS)


@njit(cache=True)
def _legs(buy: Key, sell: Key) -> int:
    if buy.kind != sell.kind:
        return LEGS_BASIS
    return LEGS_SPOT if buy.kind == SPOT else LEGS_PERPETUAL


@njit(cache=True)
def _weigh(buy: Row, buy_key: Key, sell: Row, sell_key: Key, record: Any) -> bool:
    """Fill a record of buying at one and selling at another; return whether it earns anything."""
    asks = buy.asks if buy.has_book else buy.ask
    bids = sell.bids if sell.has_book else sell.bid
    if asks.count <= 0 or bids.count <= 0:
        return False
    buy_ppm, sell_ppm = np.int64(buy_key.taker_ppm), np.int64(sell_key.taker_ppm)
    if not pays(asks.prices[0], buy_ppm, bids.prices[0], sell_ppm):
        return False
    record.flags = 0
    if not (buy_key.fees_known and sell_key.fees_known):
        record.flags |= FEES_UNKNOWN
    if not (buy.has_book and sell.has_book):
        record.flags |= QUOTED
    return bool(walk(asks, buy_ppm, bids, sell_ppm, record))


@njit(cache=True)
def _tell(open_: Any, record: Any, earns: bool, frame: Any, at_i: int, ts: int) -> bool:
    """Take note of what two instruments offer; return whether `record` is to be told."""
    if not earns:
        if open_.ts_opened == 0:
            return False
        record.status = CLOSED
    elif open_.ts_opened == 0:
        record.status = OPENED
        open_.ts_opened, open_.opened_r, open_.opened_i, open_.changes = ts, frame.r, at_i, 0
    else:
        same = (
            record.quantity == open_.quantity
            and record.buy_price == open_.buy_price
            and record.sell_price == open_.sell_price
            and record.net_lo == open_.net_lo
            and record.net_hi == open_.net_hi
        )
        if same or open_.second == ts // SECOND_NS:
            return False
        record.status = CHANGED
        open_.changes += 1
    open_.second = ts // SECOND_NS
    open_.quantity = record.quantity
    open_.buy_price, open_.sell_price = record.buy_price, record.sell_price
    open_.net_lo, open_.net_hi = record.net_lo, record.net_hi
    record.at_r, record.at_i, record.n, record.ts = frame.r, at_i, 0, ts
    record.ts_opened, record.changes = open_.ts_opened, open_.changes
    record.opened_r, record.opened_i = open_.opened_r, open_.opened_i
    if record.status == CLOSED:
        open_.ts_opened = 0
    return True


@njit(cache=True)
def _look(rows: Any, pairs: Pairs, p: int, ts: int) -> bool:
    """Return whether a pair is to be looked at: something changed, or a second has begun."""
    looks = False
    second = ts // SECOND_NS
    for m in range(pairs.starts[p], pairs.starts[p + 1]):
        row = rows[pairs.members[m]]
        looks |= row.dirty or row.second < second
    if looks:
        for m in range(pairs.starts[p], pairs.starts[p + 1]):
            row = rows[pairs.members[m]]
            row.dirty = 0
            row.second = second
    return bool(looks)


@njit(cache=True)
def _more(out: Out, count: int, wanted: int) -> Out:
    """Return `out`, or a larger one with what it holds, so that `wanted` more records fit."""
    if count + wanted <= len(out.records):
        return out
    size = 2 * count + wanted
    grown = Out(np.zeros(size, FOUND), np.zeros((size, 2), np.int32))
    grown.records[:count] = out.records[:count]
    grown.slots[:count] = out.slots[:count]
    return grown


@njit(cache=True)
def _fresh(rows: Any, keys: Any, pairs: Pairs, p: int, ts: int) -> int:
    """Return how many instruments of a pair can be traded at a time."""
    count = 0
    for m in range(pairs.starts[p], pairs.starts[p + 1]):
        slot = pairs.members[m]
        count += _takes_part(rows[slot], keys[slot], ts)
    return count


@njit(cache=True)
def _tell_pair(
    rows: Any, keys: Any, pairs: Pairs, p: int, frame: Any, at_i: int, ts: int, out: Out, count: int
) -> tuple[Out, int]:
    """Append what is to be told of one pair; return (out, count)."""
    first = pairs.starts[p]
    size = min(pairs.starts[p + 1] - first, MEMBERS_MAX)
    venues = _fresh(rows, keys, pairs, p, ts)
    nothing = np.zeros(1, FOUND)
    for b in range(size):
        buy = pairs.members[first + b]
        buys = _takes_part(rows[buy], keys[buy], ts)
        out = _more(out, count, size)
        for s in range(size):
            sell = pairs.members[first + s]
            opportunity = rows[buy].open[s]
            if s == b or not (buys or opportunity.ts_opened > 0):
                continue
            record = out.records[count]
            earns = buys and _takes_part(rows[sell], keys[sell], ts)
            earns = earns and _weigh(rows[buy], keys[buy], rows[sell], keys[sell], record)
            if not earns:
                out.records[count] = nothing[0]
            if _tell(opportunity, record, earns, frame, at_i, ts):
                record.venues = venues
                record.legs = _legs(keys[buy], keys[sell])
                out.slots[count, 0], out.slots[count, 1] = buy, sell
                count += 1
    return out, count


@njit(_Tuple((_Out, types.int64))(_Rows, _Frames, strided(TIME.dtype), _Keys, _Pairs), cache=True)
def tell_opportunities(
    rows: NDArray[np.void],
    frames: NDArray[np.void],
    times: NDArray[np.void],
    keys: NDArray[np.void],
    pairs: Pairs,
) -> tuple[Out, int]:
    """Step the time: what opened, changed or closed, each way between the instruments of a pair.

    `rows` (S,) STATE change in place; `keys` (S,) INSTRUMENTS. Return (out, count).
    """
    out, count = Out(np.zeros(0, FOUND), np.zeros((0, 2), np.int32)), 0
    for f in range(len(frames)):
        frame = frames[f]
        for index in range(frame.start, frame.start + frame.count):
            ts = times[index].ts
            at_i = np.int64(frame.i) + index - frame.start
            for p in range(len(pairs.starts) - 1):
                if pairs.starts[p + 1] - pairs.starts[p] > 1 and _look(rows, pairs, p, ts):
                    out, count = _tell_pair(rows, keys, pairs, p, frame, at_i, ts, out, count)
    return out, count
