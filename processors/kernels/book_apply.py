"""One record of a book into its state, and whether the book is true after it."""

from typing import Any

from numba import njit

from tidemill.processors.kernels.book_state import (
    BUY,
    CROSSED,
    FORCED,
    INVALID,
    LAST,
    SELL,
    SNAPSHOT,
    STALE,
    SYNCHRONIZING,
    TRUNCATED,
    VALID,
)
from tidemill.schemas.book import set_level

Row = Any
"""One record of STATE."""
Record = Any
"""One record of kind book."""
Frame = Any
"""One record of FRAMES."""


@njit(cache=True)
def same_exponents(one: Any, other: Any) -> bool:
    """Compare the exponents of two records that have them: a row, a frame, an instrument."""
    return bool(
        one.price_exponent == other.price_exponent
        and one.quantity_exponent == other.quantity_exponent
    )


@njit(cache=True)
def crossed(row: Row) -> bool:
    bids, asks = row.bids, row.asks
    if bids.ends[1] == 0 or asks.ends[1] == 0:
        return False
    return bool(bids.prices[bids.ends[0]] >= asks.prices[asks.ends[0]])


@njit(cache=True)
def state_of(row: Row) -> Any:
    """Return the state that may be told: VALID only where nothing speaks against it."""
    if row.state == VALID and (row.stale or crossed(row)):
        return INVALID
    return row.state


@njit(cache=True)
def flags_of(row: Row) -> Any:
    flags = 0
    if row.state == VALID and crossed(row):
        flags |= CROSSED
    if row.truncated:
        flags |= TRUNCATED
    if row.stale:
        flags |= STALE
    return flags


@njit(cache=True)
def invalidate(row: Row) -> None:
    """Nothing of the book is known to be true until the next snapshot."""
    row.state = INVALID
    row.loading = 0
    row.open = 0
    row.dirty = 1


@njit(cache=True)
def _begin(row: Row, record: Record, frame: Frame) -> None:
    row.bids.ends[:] = 0
    row.asks.ends[:] = 0
    row.loading = 1
    row.loading_id = record.last_update_id
    row.state = SYNCHRONIZING
    row.truncated = 0
    row.price_exponent = frame.price_exponent
    row.quantity_exponent = frame.quantity_exponent


@njit(cache=True)
def _set(side: Any, sign: int, price: int, quantity: int) -> Any:
    """Set a level; return whether one had to be dropped."""
    return set_level(side.ends, side.prices, side.quantities, sign, price, quantity)


@njit(cache=True)
def _put(row: Row, record: Record) -> bool:
    """Set one level; return whether the record can be."""
    quantity = record.quantity
    if quantity < 0:
        return False
    if record.side == BUY:
        row.truncated |= _set(row.bids, 1, record.price, quantity)
    elif record.side == SELL:
        row.truncated |= _set(row.asks, -1, record.price, quantity)
    else:
        return bool(record.flags & SNAPSHOT and quantity == 0)  # an empty snapshot
    return True


@njit(cache=True)
def take(row: Row, record: Record, frame: Frame, defined: bool) -> bool:
    """Take one record; return whether the book's state is to be looked at: a message ended.

    `defined` says that the frame's exponents are the instrument's. A change is taken only by a book
    that is VALID. The snapshot that a change interrupts was not whole; other exponents than the
    levels have, or a record that cannot be, end the book.
    """
    if record.flags & SNAPSHOT:
        if not row.loading or row.loading_id != record.last_update_id:
            _begin(row, record, frame)
    else:
        row.loading = 0
        if row.state != VALID:
            return False
    if not (defined and same_exponents(row, frame) and _put(row, record)):
        invalidate(row)
        return True
    row.changes += 1
    row.dirty = 1
    row.ts_event = record.ts_event
    row.ts_recv = record.ts_recv
    row.last_update_id = record.last_update_id
    row.open = not record.flags & LAST
    if row.open:
        return False
    if row.loading:
        row.loading = 0
        row.state = VALID
        row.changes = FORCED
    row.stale = 0
    return True
