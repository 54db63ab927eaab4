"""What a run's columns become, in one compiled call a kind: times, ids and numbers, all checked.

`ints` (C, N) int64 are a kind's columns of integers as its kernel names them, `text` its prices and
then its quantities, each ended by a comma, `exponents` (I, 2) int8 those of the prices and of the
quantities of every instrument. `numbers` (B, N) take the mantissas: the first half prices. An empty
`text` says that they are there already. Every kernel returns 0, or what is wrong.
"""

from typing import Any

import numpy as np
from numba import njit

from tidemill.schemas.enums import OrderSide
from tidemill.schemas.exact import parse_plain
from tidemill.schemas.kinds.quote import TS_NONE

NOT_PLAIN = 1
"""A number is to be read slowly: it has an exponent, more than 18 digits, or is none."""
NOT_A_TIME, NEGATIVE_ID, BELOW_ZERO, NOT_ABOVE_ZERO, NOT_A_LEVEL = 2, 3, 4, 5, 6
_MS_FROM, _US_FROM, _NS_FROM = 100_000_000_000, 100_000_000_000_000, 100_000_000_000_000_000
"""Times from here on are in ms (since 1973), us, ns; as the unit before they are past year 5100."""
_NS_MAX = 4_000_000_000_000_000_000
"""Latest time that is taken: the year 2096."""
_DECIMALS_MAX = 18
BUY, SELL = int(OrderSide.BUY), int(OrderSide.SELL)


@njit(cache=True)
def nanoseconds(time: Any) -> Any:
    """Return a time in ms, us or ns as ns; -1 for one outside 1973 to 2096."""
    unit = 1_000_000 if time < _US_FROM else 1_000 if time < _NS_FROM else 1
    if time < _MS_FROM or time > _NS_MAX // unit:
        return np.int64(-1)
    return np.int64(time * unit)


@njit(cache=True)
def _parse(text: Any, owners: Any, exponents: Any, numbers: Any) -> Any:
    """Fill `numbers` (B, N) of `owners` (N,); return whether all are plain."""
    blocks, count = numbers.shape
    decimals = np.empty(blocks * count, np.int8)
    for block in range(blocks):
        column = 2 * block // blocks
        for at in range(count):
            after = -exponents[owners[at], column]
            if after < 0 or after > _DECIMALS_MAX:
                return False
            decimals[block * count + at] = after
    return parse_plain(text, decimals, numbers.reshape(blocks * count)) == blocks * count


@njit(cache=True)
def trades(ints: Any, text: Any, exponents: Any, numbers: Any, records: Any) -> Any:
    """`ints`: index, received, id, time, side, flags; `numbers`: price, quantity."""
    if len(text) and not _parse(text, ints[0], exponents, numbers):
        return NOT_PLAIN
    for at in range(len(records)):
        record, time = records[at], nanoseconds(ints[3, at])
        if time < 0:
            return NOT_A_TIME
        if ints[2, at] < 0:
            return NEGATIVE_ID
        if numbers[0, at] <= 0 or numbers[1, at] <= 0:
            return NOT_ABOVE_ZERO
        record.ts_event, record.ts_recv, record.trade_id = time, ints[1, at], ints[2, at]
        record.price, record.quantity = numbers[0, at], numbers[1, at]
        record.aggressor_side, record.flags = ints[4, at], ints[5, at]
    return 0


@njit(cache=True)
def quotes(ints: Any, text: Any, exponents: Any, numbers: Any, records: Any) -> Any:
    """`ints`: index, received, update id, time; `numbers`: bid, ask, and the quantities of both."""
    if len(text) and not _parse(text, ints[0], exponents, numbers):
        return NOT_PLAIN
    for at in range(len(records)):
        record, time = records[at], ints[3, at]
        if time != TS_NONE:
            time = nanoseconds(time)
            if time < 0:
                return NOT_A_TIME
        if ints[2, at] < 0:
            return NEGATIVE_ID
        for block in range(4):
            if numbers[block, at] < 0:
                return BELOW_ZERO
        record.ts_event, record.ts_recv, record.update_id = time, ints[1, at], ints[2, at]
        record.bid_price, record.ask_price = numbers[0, at], numbers[1, at]
        record.bid_quantity, record.ask_quantity = numbers[2, at], numbers[3, at]
    return 0


@njit(cache=True)
def books(ints: Any, text: Any, exponents: Any, numbers: Any, messages: Any, levels: Any) -> Any:
    """`ints`: index, received, time, first, last and previous id, snapshot, rest, checksum, bids,
    asks (how many of either); `numbers`: prices, quantities of the levels, message by message, bids
    first; `messages` (M,) BOOK_MESSAGE, `levels` (L,) BOOK_LEVEL."""
    owners = np.empty(len(levels), np.int64)
    end = 0
    for at in range(len(messages)):
        message, time = messages[at], ints[2, at]
        if time != TS_NONE:
            time = nanoseconds(time)
            if time < 0:
                return NOT_A_TIME
        if ints[4, at] < 0:
            return NEGATIVE_ID
        bids, count = ints[9, at], ints[9, at] + ints[10, at]
        message.ts_event, message.ts_recv = time, ints[1, at]
        message.first_id, message.last_id = ints[3, at], ints[4, at]
        message.previous_id, message.checksum = ints[5, at], ints[8, at]
        message.snapshot, message.rest = ints[6, at], ints[7, at]
        message.start, message.count = end, count
        for k in range(count):
            owners[end + k] = ints[0, at]
            levels[end + k].side = BUY if k < bids else SELL
        end += count
    if len(text) and not _parse(text, owners, exponents, numbers):
        return NOT_PLAIN
    for at in range(len(levels)):
        if numbers[0, at] <= 0 or numbers[1, at] < 0:
            return NOT_A_LEVEL
        levels[at].price, levels[at].quantity = numbers[0, at], numbers[1, at]
    return 0


@njit(cache=True)
def lead(ints: Any) -> Any:
    """Return the greatest (time minus receipt) in ns of `ints` (2, N), and what is wrong."""
    most = np.int64(TS_NONE)
    for at in range(ints.shape[1]):
        time = nanoseconds(ints[0, at])
        if time < 0:
            return most, NOT_A_TIME
        most = max(most, time - ints[1, at])
    return most, 0
