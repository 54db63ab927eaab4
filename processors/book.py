"""Books of instruments: proven or not, what they offer once a second, and whole ones to begin from.

A book is VALID from the last record of a snapshot on, while changes follow it, until an event says
that something is missing (a gap, a wrong checksum), a record cannot be, or its feed is silent for
over 5 s: then until its next message. A book whose best bid is not below its best ask is INVALID
while that lasts. Of a book that is not VALID nothing but that is told.

`book_metrics` (1s): at the first `time` of each second for books that changed, never in the middle
of a venue's message; and at the very record at which the state changes. `book_level` (top): the 20
best levels a side, at the same `time`. `book_snapshot` (full): every level, at the last record of a
snapshot, and again after more changes than there are levels: at most as many records as were read.
Any past book is the newest one of these with the changes of LOG after it.
"""

from collections.abc import Iterator

import numpy as np

from tidemill.processors.kernels import books as kernel
from tidemill.processors.kernels.book_state import STATE
from tidemill.processors.processor import Emit, Processor, Records, Run
from tidemill.schemas.events.event import Event
from tidemill.schemas.events.feed import BookGapDetected, ChecksumMismatch

SPECS = ("1s", "top", "full")
_METRICS, _TOP, _FULL = range(3)


def step(state: Records, run: Run) -> list[Emit]:
    """Take one run of book records, statuses, events or times; `state` (S,) changes in place."""
    match run.kind:
        case "book":
            metrics, told, levels, listed = kernel.take_books(
                state, run.frames, run.records, run.instruments
            )
            return [
                *_emits("book_metrics", _METRICS, metrics, told),
                *_emits("book_snapshot", _FULL, levels, listed),
            ]
        case "status":
            kernel.hear_feeds(state, run.frames, run.records, run.instruments)
            return []
        case "event":
            return [emit for index in range(len(run.frames)) for emit in _event(state, run, index)]
        case "time":
            metrics, told, levels, listed = kernel.tell_books(
                state, run.frames, run.records, run.instruments
            )
            return [
                *_emits("book_metrics", _METRICS, metrics, told),
                *_emits("book_level", _TOP, levels, listed),
            ]
    raise ValueError(f"book does not read {run.kind}")


def _emits(kind: str, spec: int, out: kernel.Out, count: int) -> Iterator[Emit]:
    if count:
        specs = np.full(count, spec, np.uint8)
        yield Emit(kind, out.slots[:count], specs, out.records[:count])


def _event(state: Records, run: Run, index: int) -> Iterator[Emit]:
    """Doubt the books that an event concerns; one that was never heard of is none."""
    frame = run.frames[index]
    ts = _doubted_at(run.events[index])
    if ts is None:
        return
    for slot in _slots(state, run, index):
        out = kernel.Out(np.zeros(1, kernel.METRICS), np.zeros(1, np.int32))
        if kernel.doubt(state, slot, out, np.uint64(frame["r"]), int(frame["i"]), ts):
            yield from _emits("book_metrics", _METRICS, out, 1)


def _doubted_at(event: Event) -> int | None:
    """Return when an event says that a book is not proven (ns), None if it does not say so."""
    return event.ts_recv if isinstance(event, BookGapDetected | ChecksumMismatch) else None


def _slots(state: Records, run: Run, index: int) -> list[int]:
    slot = int(run.frames["slot"][index])
    if slot >= 0:
        return [slot]
    of_feed = run.instruments["feed"] == run.frames["feed"][index]
    known = (state["told"] > 0) | (state["loading"] > 0)
    return [int(slot) for slot in np.flatnonzero(of_feed & known)]


BOOK = Processor(
    name="book",
    version=1,
    scope="pair",
    reads=("book", "event", "status", "time"),
    emits=("book_metrics", "book_level", "book_snapshot"),
    state=STATE,
    step=step,
    specs=SPECS,
    poison="park",
)
