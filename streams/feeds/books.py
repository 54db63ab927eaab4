"""Books proven by their ids: a pure machine that publishes what follows, and nothing else.

One `BookTrack` an instrument. A change applies if it names the book's last update as the one before
it; one that ends at or before that was seen already and vanishes; any other one is a gap: the book
is INVALID until a snapshot, and the changes that follow it, prove it again.

    REST snapshots    changes wait in a bounded buffer; those that the snapshot covers vanish, the
                      first that is kept must overlap it, or the snapshot is too old
    socket snapshots  what comes before the snapshot is ignored; a second one replaces, never merges

While two connections carry the same changes, one that is ahead of the book waits a moment for what
the other connection brings.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tidemill.schemas.book import BUY, SELL, Book, apply
from tidemill.schemas.decimals import text_of
from tidemill.schemas.enums import BookState, RecordFlag
from tidemill.schemas.events.event import Event
from tidemill.schemas.events.feed import BookGapDetected, BookResynced, ChecksumMismatch
from tidemill.schemas.kinds.book import BOOK
from tidemill.schemas.kinds.quote import TS_NONE
from tidemill.streams.feeds.feed import (
    BOOK_LEVEL,
    NO_CHECKSUM,
    UNCHAINED,
    BookMessages,
    Instrument,
    Instruments,
    Overlap,
    Records,
    Venue,
)

BUFFER_MESSAGES_MAX, BUFFER_LEVELS_MAX = 20_000, 500_000
"""Most that waits for a snapshot; what is over it makes the buffer begin anew."""
AHEAD_MESSAGES_MAX = 1_000
PATIENCE_NS = 200_000_000
"""How long a change that is ahead waits for those before it, while two connections merge."""
SYNCHRONIZING, VALID, INVALID = BookState.SYNCHRONIZING, BookState.VALID, BookState.INVALID
LAST, SNAPSHOT = int(RecordFlag.LAST), int(RecordFlag.SNAPSHOT)
NO_ID = -1
ANEW_NS = 1_000_000_000
"""While two connections merge, an old id whose time is so much newer is of a new numbering."""

Reason = Literal["GAP", "DISCONNECTED", "CHECKSUM", "CROSSED", "OVERFLOW"]


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


class _Message(NamedTuple):
    """One message with its levels."""

    head: np.void
    levels: Records

    @property
    def first(self) -> int:
        return int(self.head["first_id"])

    @property
    def last(self) -> int:
        return int(self.head["last_id"])

    @property
    def previous(self) -> int:
        return int(self.head["previous_id"])

    @property
    def time(self) -> int:
        return int(self.head["ts_event"])


class BookTrack:
    """The book of one instrument: `state`, `last_id` and `book` as of now.

    `exponents` are those of its prices and quantities; `by_rest` says that snapshots are REST's.
    """

    def __init__(self, overlap: Overlap, by_rest: bool, exponents: tuple[int, int]) -> None:
        self.book = Book()
        self.state = SYNCHRONIZING
        self.last_id = NO_ID
        self.duplicates = 0
        self.exponents = exponents
        self._overlap, self._by_rest = overlap, by_rest
        self._joining = False  # no change has met the REST snapshot yet
        self._buffer: list[_Message] = []
        self._buffered_levels = 0
        self._ahead: dict[int, _Message] = {}  # by previous id
        self._due = 0
        self._invalid_since = 0
        self._attempts = 0
        self._time = TS_NONE  # the venue's, of what was applied last

    @property
    def due(self) -> int:
        """When changes that are ahead have waited long enough (ns), 0 for none."""
        return self._due if self._ahead else 0

    def take(
        self,
        messages: Records,
        levels: Records,
        merging: bool,
        now: int,
        index: NDArray[np.intp] | None = None,
    ) -> list[Step]:
        """Take messages (M,) in the order received at `now` (ns); return what follows from them.

        `index` names those that are this instrument's, if not all are.
        """
        mine = np.arange(len(messages)) if index is None else index
        steps: list[Step] = []
        at = 0
        while at < len(mine):
            if self.state is VALID and not self._joining and not self._ahead:
                at = self._run(messages, mine, at, levels, now, steps)
            if at < len(mine):
                head = messages[mine[at]]
                start = int(head["start"])
                message = _Message(head, levels[start : start + int(head["count"])])
                self._take_one(message, merging, now, steps)
                at += 1
        return steps

    def _run(
        self,
        messages: Records,
        index: NDArray[np.intp],
        at: int,
        levels: Records,
        now: int,
        steps: list[Step],
    ) -> int:
        """Apply and publish what follows, from `at` on; return where it ends."""
        room = int(messages["count"][index[at:]].sum())
        records = BOOK.empty(room)
        sides = self.book.room(room)
        end, written, last, crossed = run(
            messages, index, at, levels, self.last_id, *sides, records
        )
        self.last_id = int(last)
        if end > at:
            self._time = int(messages["ts_event"][index[end - 1]])
        if written:
            steps.append(records[:written])
        if crossed:
            received = int(messages["last_id"][index[end]])
            self._fail(Gap(self.last_id, NO_ID, received, "CROSSED"), now, steps)
            return int(end) + 1
        return int(end)

    def lapse(self, now: int, reason: Reason = "DISCONNECTED", known: bool = False) -> list[Step]:
        """Nothing is heard of it any more. `known`: a log may still hold it as valid."""
        steps: list[Step] = []
        if self.state is VALID or known:
            self._fail(Gap(self.last_id, NO_ID, NO_ID, reason), now, steps)
        self._forget()
        return steps

    def expire(self, now: int) -> list[Step]:
        """Call a gap where what is ahead has waited in vain."""
        steps: list[Step] = []
        if self._ahead and self._due <= now:
            waited = [self._ahead[previous] for previous in sorted(self._ahead)]
            self._ahead.clear()
            self._fail(Gap(self.last_id, self.last_id, waited[0].previous, "GAP"), now, steps)
            for message in waited:
                self._wait(message)
        return steps

    def _take_one(self, message: _Message, merging: bool, now: int, steps: list[Step]) -> None:
        if message.head["snapshot"]:
            self._snapshot(message, merging, now, steps)
        elif self.state is not VALID:
            self._wait(message)
        elif self._joins(message) if self._joining else self._next(message):
            self._joining = False
            steps += self._applied(message, now)
            while self._ahead and (waited := self._ahead.pop(self.last_id, None)) is not None:
                steps += self._applied(waited, now)
            self._ahead = {k: m for k, m in self._ahead.items() if m.last > self.last_id}
        elif self._seen(message) and not self._anew(message, merging):
            self.duplicates += 1
        elif merging and len(self._ahead) < AHEAD_MESSAGES_MAX:
            self._due = self._due if self._ahead else now + PATIENCE_NS
            self._ahead[message.previous] = message
        else:
            self._fail(Gap(self.last_id, self.last_id, message.previous, "GAP"), now, steps)
            self._wait(message)

    def _next(self, message: _Message) -> bool:
        if message.previous == UNCHAINED:
            return message.last > self.last_id
        return message.previous == self.last_id

    def _joins(self, message: _Message) -> bool:
        """Whether a change is the first that meets the REST snapshot."""
        return not self._seen(message) and message.first <= self.last_id + (
            self._overlap.first_at_most
        )

    def _seen(self, message: _Message) -> bool:
        if self._joining:
            return message.last < self.last_id + self._overlap.drop_below
        return message.last <= self.last_id

    def _anew(self, message: _Message, merging: bool) -> bool:
        """Whether an old id has a new time: ids fell (OKX's do after maintenance), unheard."""
        if self._joining or TS_NONE in (self._time, message.time):
            return False
        return message.time > self._time + (ANEW_NS if merging else 0)

    def _wait(self, message: _Message) -> None:
        """Keep a change for the REST snapshot; those kept follow one another."""
        if not self._by_rest:
            return
        newest = self._buffer[-1].last if self._buffer else message.previous
        if message.previous != newest:
            if message.last <= newest:
                self.duplicates += 1
                return
            self._empty()
        full = len(self._buffer) >= BUFFER_MESSAGES_MAX
        if full or self._buffered_levels + len(message.levels) > BUFFER_LEVELS_MAX:
            self._empty()
        self._buffer.append(message)
        self._buffered_levels += len(message.levels)

    def _snapshot(self, message: _Message, merging: bool, now: int, steps: list[Step]) -> None:
        last = message.last
        rest = bool(message.head["rest"])
        if self.state is VALID and last <= self.last_id and (rest or (merging and last > 1)):
            self.duplicates += 1  # older than the book, or another connection's
            return
        self._attempts += 1
        kept: list[_Message] = []
        if rest:
            kept = [m for m in self._buffer if m.last >= last + self._overlap.drop_below]
            if kept and kept[0].first > last + self._overlap.first_at_most:
                return  # too old: what follows it is not there
        if not self.book.load(message.levels):
            self._fail(Gap(last, NO_ID, NO_ID, "CROSSED"), now, steps)
            return
        was, self.last_id = self.state, last
        if not self._proven(message.head, now, steps):
            return
        self.state, self._joining = VALID, rest and not kept
        self._time = TS_NONE if rest else message.time
        self._forget()
        steps.append(records_of(message.head, message.levels, SNAPSHOT))
        if was is INVALID:
            steps.append(Resynced(last, max(0, now - self._invalid_since), self._attempts))
        self._attempts = 0
        for change in kept:
            if self.state is VALID:
                steps += self._applied(change, now)

    def _applied(self, message: _Message, now: int) -> list[Step]:
        """Apply a change; one that crosses the book, or its checksum, is not published."""
        steps: list[Step] = []
        good = self.book.apply(message.levels)
        if not good:
            self._fail(Gap(self.last_id, NO_ID, message.last, "CROSSED"), now, steps)
        elif self._proven(message.head, now, steps):
            self.last_id, self._time = message.last, message.time
            if len(message.levels):
                steps.append(records_of(message.head, message.levels, 0))
        return steps

    def _proven(self, head: np.void, now: int, steps: list[Step]) -> bool:
        """Compare the venue's checksum, where it gives one."""
        expected = int(head["checksum"])
        if expected == NO_CHECKSUM:
            return True
        computed = self.book.checksum(*self.exponents)
        if computed != expected:
            last = int(head["last_id"])
            steps.append(Mismatch(last, expected, computed))
            self._fail(Gap(last, NO_ID, NO_ID, "CHECKSUM"), now, steps)
        return computed == expected

    def _fail(self, gap: Gap, now: int, steps: list[Step]) -> None:
        """The book is not valid any more, said once."""
        if self.state is not INVALID:
            self._invalid_since = now
            steps.append(gap)
        self.state = INVALID
        self.book.clear()
        self._forget()

    def _forget(self) -> None:
        self._empty()
        self._ahead.clear()

    def _empty(self) -> None:
        self._buffer.clear()
        self._buffered_levels = 0


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


class Books:
    """The books of one feed, by symbol."""

    def __init__(self, venue: Venue, instruments: Instruments) -> None:
        self._venue, self._instruments = venue, instruments
        self.tracks: dict[str, BookTrack] = {}
        self.sockets = frozenset(
            socket.name
            for socket in venue.sockets
            if any(channel.kind == BOOK.name for channel in socket.channels)
        )

    def take(
        self, books: BookMessages, merging: bool, now: int
    ) -> Iterator[tuple[Instrument, list[Step]]]:
        """Take what a run says of books, by instrument."""
        for owner in _distinct(books.owners):
            instrument = self._instruments.by_index[owner]
            index = np.flatnonzero(books.owners == owner)
            track = self.track(instrument)
            yield instrument, track.take(books.messages, books.levels, merging, now, index)

    def track(self, instrument: Instrument) -> BookTrack:
        """Return the track of an instrument; one whose exponents changed begins anew."""
        track = self.tracks.get(instrument.symbol)
        if track is None or track.exponents != instrument.exponents:
            by_rest = self._venue.snapshot_path(instrument.symbol) is not None
            made = BookTrack(self._venue.overlap, by_rest, instrument.exponents)
            if track is not None and track.state is not SYNCHRONIZING:
                made.state = INVALID
            track = self.tracks[instrument.symbol] = made
        return track

    @property
    def waiting(self) -> bool:
        """Whether changes that are ahead wait anywhere."""
        return any(track.due for track in self.tracks.values())

    def wanting(self) -> list[str]:
        """Return the symbols whose book wants a snapshot."""
        if not self.sockets:
            return []
        return [
            symbol
            for symbol, instrument in self._instruments.by_symbol.items()
            if instrument.definition.status != "DELISTED"
            and (symbol not in self.tracks or self.tracks[symbol].state is not VALID)
        ]

    def expire(self, now: int) -> Iterator[tuple[Instrument, list[Step]]]:
        """Call gaps where what is ahead has waited in vain, by symbol."""
        for symbol in sorted(s for s, t in self.tracks.items() if t.due):
            yield self._instruments.by_symbol[symbol], self.tracks[symbol].expire(now)

    def state(self) -> dict[str, dict[str, str | int | None]]:
        """Return every book as of now: state, best levels as decimal text, last update id."""
        return {
            f"{symbol}.{self._venue.venue}": self._shown(self.tracks[symbol])
            for symbol in sorted(self.tracks)
        }

    def _shown(self, track: BookTrack) -> dict[str, str | int | None]:
        (bid, bid_quantity), (ask, ask_quantity) = track.book.best(BUY), track.book.best(SELL)
        price, quantity = track.exponents
        return {
            "state": track.state.name,
            "bid": text_of(bid, price) if bid_quantity else None,
            "bid_qty": text_of(bid_quantity, quantity) if bid_quantity else None,
            "ask": text_of(ask, price) if ask_quantity else None,
            "ask_qty": text_of(ask_quantity, quantity) if ask_quantity else None,
            "last_update_id": track.last_id,
        }


def _distinct(owners: NDArray[np.intp]) -> Sequence[int]:
    """Return the instruments of a run, in the order of their first message."""
    if (owners == owners[0]).all():
        return [int(owners[0])]
    return list(dict.fromkeys(owners.tolist()))
