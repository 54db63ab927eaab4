"""What a book's messages come to: records to append, and what is said of the book. Pure."""

from typing import Any, Literal, NamedTuple

import numpy as np
from numba import njit

from tidemill.schemas.book import apply
from tidemill.schemas.enums import RecordFlag
from tidemill.schemas.events.event import Event
from tidemill.schemas.events.feed import BookGapDetected, BookResynced, ChecksumMismatch
from tidemill.schemas.kinds.book import BOOK
from tidemill.schemas.kinds.quote import TS_NONE
from tidemill.streams.feeds.feed import BOOK_LEVEL, NO_CHECKSUM, Instrument, Records

LAST = int(RecordFlag.LAST)

Reason = Literal["GAP", "DISCONNECTED", "CHECKSUM", "CROSSED"]


class Gap(NamedTuple):
    """The book at `last` is not valid any more: `received` does not follow `expected`."""

    last: int
    expected: int
    received: int
    reason: Reason


class Resynced(NamedTuple):
    """The book is valid again at `last`, after `attempts` snapshots."""

    last: int
    invalid_ns: int
    attempts: int


class Mismatch(NamedTuple):
    """The venue's checksum of its book after `last`, and ours."""

    last: int
    expected: int
    computed: int


Step = Records | Gap | Resynced | Mismatch
"""One outcome, in order: records of kind book to append, or something to say."""


def records_of(head: np.void, levels: Records, flags: int) -> Records:
    """Return BOOK records of one message; a snapshot without levels is one without a side."""
    if not len(levels):
        levels = np.zeros(1, BOOK_LEVEL)
    records = BOOK.empty(len(levels))
    told = int(head["ts_event"])
    records["ts_event"] = head["ts_recv"] if told == TS_NONE else told
    records["ts_recv"] = head["ts_recv"]
    records["first_update_id"] = max(0, int(head["first_id"]))
    records["last_update_id"] = head["last_id"]
    for name in ("price", "quantity", "side"):
        records[name] = levels[name]
    records["flags"] = flags
    records["flags"][-1] |= np.uint16(LAST)
    return records


@njit(cache=True)
def run(
    messages: Any,
    index: Any,
    at: int,
    levels: Any,
    last_id: int,
    ends: Any,
    prices: Any,
    quantities: Any,
    records: Any,
) -> Any:
    """Apply and publish messages ``index[at:]`` as long as each follows `last_id`.

    Return where that ends, the number of records written, the new last id, and whether the message
    there crossed the book.
    """
    written = 0
    for k in range(at, len(index)):
        message = messages[index[k]]
        if (
            message.previous_id != last_id
            or message.snapshot
            or message.checksum != NO_CHECKSUM
            or message.last_id == last_id
        ):
            return k, written, last_id, False
        begin, end = message.start, message.start + message.count
        if not apply(ends, prices, quantities, levels, begin, end):
            return k, written, last_id, True
        for position in range(begin, end):
            level, record = levels[position], records[written]
            record.ts_event = message.ts_recv if message.ts_event == TS_NONE else message.ts_event
            record.ts_recv = message.ts_recv
            record.first_update_id = max(message.first_id, 0)
            record.last_update_id = message.last_id
            record.price, record.quantity, record.side = level.price, level.quantity, level.side
            record.flags = LAST if position == end - 1 else 0
            written += 1
        last_id = message.last_id
    return len(index), written, last_id, False


def event_of(step: Gap | Resynced | Mismatch, instrument: Instrument, now: int) -> Event:
    """Return the event that says `step` of an instrument, received at `now` (ns)."""
    venue, symbol = instrument.definition.venue, instrument.symbol
    if isinstance(step, Gap):
        return BookGapDetected(
            venue=venue,
            symbol=symbol,
            last_update_id=step.last,
            expected_id=step.expected,
            received_id=step.received,
            ts_recv=now,
            reason=step.reason,
        )
    if isinstance(step, Resynced):
        return BookResynced(
            venue=venue,
            symbol=symbol,
            last_update_id=step.last,
            invalid_ns=step.invalid_ns,
            attempts=step.attempts,
            ts_recv=now,
        )
    return ChecksumMismatch(
        venue=venue,
        symbol=symbol,
        last_update_id=step.last,
        expected=step.expected,
        computed=step.computed,
        ts_recv=now,
    )
