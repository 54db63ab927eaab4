"""What a feed appends next: batches of records of one instrument, and events."""

from typing import NamedTuple

from tidemill.schemas.events.event import Event
from tidemill.schemas.frame import Kind
from tidemill.schemas.kinds.status import STATUS
from tidemill.streams.feeds.feed import Batch, Decoded, Instrument, Instruments, Records


class Fact(NamedTuple):
    """One event for one subject, at a receive time (ns)."""

    subject: str
    event: Event
    ts: int


Item = Batch | Fact
"""What is appended next."""


def batch_of(instrument: Instrument, kind: Kind, records: Records) -> Batch:
    """Return a batch of an instrument's records."""
    price, quantity = instrument.exponents
    return Batch(instrument.subject(kind.name), kind, records, price, quantity)


def status_of(subject: str, venue_time: int, now: int, hold: bool) -> Batch:
    """Return a status (of a feed, or a hold) received at `now` (ns)."""
    record = STATUS.empty(1)
    record["venue_time"], record["ts_recv"], record["hold"] = venue_time, now, hold
    return Batch(subject, STATUS, record)


def split(decoded: Decoded, instruments: Instruments) -> list[tuple[Instrument, Records]]:
    """Return the records of each instrument, in the order received, by instrument."""
    owners, records = decoded
    known = instruments.by_index
    order = owners.argsort(kind="stable")
    owners = owners[order]
    ends = ((owners[1:] != owners[:-1]).nonzero()[0] + 1).tolist()
    if not ends:
        return [(known[owners.item(0)], records)]
    records = records[order]
    starts = [0, *ends]
    ends.append(len(owners))
    return [
        (known[index], records[start:end])
        for index, start, end in zip(owners[starts].tolist(), starts, ends, strict=True)
    ]
