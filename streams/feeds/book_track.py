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

import numpy as np
from numpy.typing import NDArray

from tidemill.schemas.book import Book
from tidemill.schemas.enums import BookState, RecordFlag
from tidemill.schemas.kinds.book import BOOK
from tidemill.schemas.kinds.quote import TS_NONE
from tidemill.streams.feeds.book_buffer import ANEW_NS, Buffer, Message
from tidemill.streams.feeds.book_steps import Gap, Mismatch, Resynced, Step, records_of, run
from tidemill.streams.feeds.feed import NO_CHECKSUM, UNCHAINED, Overlap, Records

AHEAD_MESSAGES_MAX = 1_000
PATIENCE_NS = 200_000_000
"""How long a change that is ahead waits for those before it, while two connections merge."""
SYNCHRONIZING, VALID, INVALID = BookState.SYNCHRONIZING, BookState.VALID, BookState.INVALID
SNAPSHOT = int(RecordFlag.SNAPSHOT)
NO_ID = -1


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
        self._buffer = Buffer()
        self._ahead: dict[int, Message] = {}  # by previous id
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
                message = Message(head, levels[start : start + int(head["count"])])
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
        room = sum(messages["count"][index[at:]].tolist())
        records = BOOK.empty(room)
        sides = self.book.room(room)
        end, written, last, crossed = run(
            messages, index, at, levels, self.last_id, *sides, records
        )
        self.last_id = int(last)
        if end > at:
            self._time = messages["ts_event"].item(index.item(end - 1))
        if written:
            steps.append(records[:written])
        if crossed:
            received = messages["last_id"].item(index.item(end))
            self._fail(Gap(self.last_id, NO_ID, received, "CROSSED"), now, steps)
            return int(end) + 1
        return int(end)

    def become(self, exponents: tuple[int, int], now: int) -> list[Step]:
        """Its numbers have other exponents from now on: it begins anew."""
        steps = self.lapse(now)
        self.exponents = exponents
        return steps

    def lapse(self, now: int, known: bool = False) -> list[Step]:
        """Nothing is heard of it any more. `known`: a log may still hold it as valid."""
        steps: list[Step] = []
        if self.state is VALID or known:
            self._fail(Gap(self.last_id, NO_ID, NO_ID, "DISCONNECTED"), now, steps)
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

    def _take_one(self, message: Message, merging: bool, now: int, steps: list[Step]) -> None:
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
            self._ahead[message.previous] = message.kept()
        else:
            self._fail(Gap(self.last_id, self.last_id, message.previous, "GAP"), now, steps)
            self._wait(message)

    def _next(self, message: Message) -> bool:
        if message.previous == UNCHAINED:
            return message.last > self.last_id
        return message.previous == self.last_id

    def _joins(self, message: Message) -> bool:
        """Whether a change is the first that meets the REST snapshot."""
        return not self._seen(message) and message.meets(self.last_id, self._overlap)

    def _seen(self, message: Message) -> bool:
        if self._joining:
            return message.covered(self.last_id, self._overlap)
        return message.last <= self.last_id

    def _anew(self, message: Message, merging: bool) -> bool:
        """Whether an old id has a new time: ids fell (OKX's do after maintenance), unheard."""
        return not self._joining and message.later(self._time, ANEW_NS if merging else 0)

    def _wait(self, message: Message) -> None:
        """Keep a change for the REST snapshot."""
        if self._by_rest and not self._buffer.put(message):
            self.duplicates += 1

    def _snapshot(self, message: Message, merging: bool, now: int, steps: list[Step]) -> None:
        last = message.last
        rest = bool(message.head["rest"])
        if self.state is VALID and last <= self.last_id and (rest or (merging and last > 1)):
            self.duplicates += 1  # older than the book, or another connection's
            return
        self._attempts += 1
        kept: list[Message] = []
        if rest:
            kept = self._buffer.beyond(last, self._overlap)
            if kept and not kept[0].meets(last, self._overlap):
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

    def _applied(self, message: Message, now: int) -> list[Step]:
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
        self._buffer.clear()
        self._ahead.clear()
