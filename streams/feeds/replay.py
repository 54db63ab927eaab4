"""Replay: captures played through the same decoders, with time taken from receive times only.

The same files give the same (subject, payload) sequence, to the byte, wherever it is appended:
lines are taken in runs of one 100 ms of receive time, frames are cut on its 5 ms grid, a `time`
record stands at every 100 ms and a `status` at every 500 ms; the clock is never read. Files follow
one another as one capture, so ids are proven across the cut.

Nothing is invented beyond the last line: time ends at the last grid point before it, so the last
bars stay open, and holes that are still open there are declared at the last line's time.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tidemill.schemas import frame
from tidemill.schemas.kinds.time import TIME
from tidemill.streams.feeds.capture import CaptureFile
from tidemill.streams.feeds.feed import Instruments, Venue
from tidemill.streams.feeds.frames import Messages, cut
from tidemill.streams.feeds.intake import Intake
from tidemill.streams.feeds.items import Item
from tidemill.streams.feeds.registry import venue_of

TIME_NS = 100_000_000
"""A `time` record stands at every multiple of this."""
STATUS_NS = 500_000_000
"""A `status` stands at every multiple of this while the feed is heard."""
HEARD_NS = 10_000_000_000
"""Without a line for so long the feed is silent: no more status, so that it goes stale."""
JUMP_NS = 3_600_000_000_000
"""A silence longer than this (files far apart) is passed in one step, not in 100 ms steps."""
LINES_MAX = 65_536
"""Most lines in one run; coarse receive times may put many into one 100 ms."""
BATCH_MESSAGES_MAX, BATCH_BYTES_MAX = 1_000, 4 << 20
"""Limits of one yielded batch: those of one append."""

Sink = Callable[[Messages], Awaitable[object]]


@dataclass(frozen=True)
class Counts:
    """What a replay read and said. `events` counts them by name, `books` are the last ones."""

    messages: int = 0
    trades: int = 0
    quotes: int = 0
    book_updates: int = 0
    duplicates: int = 0
    malformed: int = 0
    ignored: int = 0
    truncated_files: int = 0
    derivatives: int = 0
    liquidations: int = 0
    venue_bars: int = 0
    events: dict[str, int] = field(default_factory=dict)
    books: dict[str, dict[str, str | int | None]] = field(default_factory=dict)


class Replay:
    """One replay of `files` in the order given, of `venue`'s messages.

    `sequence` and `time_sequence` are the source sequences of the last messages that the log holds
    of this feed and of the time writer, 0 for a fresh log.
    """

    def __init__(
        self, files: Sequence[Path], venue: Venue, sequence: int = 0, time_sequence: int = 0
    ) -> None:
        self._files = [CaptureFile(path) for path in files]
        self._intake = Intake(venue, Instruments(infer=venue.infer))
        self._sequence = sequence
        self._time_sequence = time_sequence
        self._edge = 0  # the grid point up to which time has come
        self._heard = 0

    @property
    def counts(self) -> Counts:
        """What was read so far."""
        count = self._intake.counts
        sequences = self._intake.sequences.values()
        return Counts(
            messages=count["messages"],
            trades=count["trades"],
            quotes=count["quotes"],
            book_updates=count["book_updates"],
            duplicates=count["duplicates"] + sum(s.duplicates for s in sequences),
            malformed=count["malformed"],
            ignored=count["ignored"],
            truncated_files=sum(file.truncated for file in self._files),
            derivatives=count["derivatives"],
            liquidations=count["liquidations"],
            venue_bars=count["venue_bars"],
            events=dict(sorted(self._intake.events.items())),
            books=self._intake.books.state(),
        )

    def batches(self) -> Iterator[Messages]:
        """Yield the messages in order, in lists of at most 1,000 and about 4 MB."""
        batch: Messages = []
        size = 0
        for message in self._messages():
            if len(batch) == BATCH_MESSAGES_MAX or size + len(message[1]) > BATCH_BYTES_MAX:
                yield batch
                batch, size = [], 0
            batch.append(message)
            size += len(message[1])
        if batch:
            yield batch

    def _messages(self) -> Iterator[tuple[str, bytes]]:
        received: list[int] = []
        raws: list[bytes] = []
        now = 0
        end = 0
        for file in self._files:
            for time, raw in file:
                now = max(now, time)
                if now >= end or len(raws) == LINES_MAX:
                    yield from self._run(received, raws)
                    yield from self._time_to(now)
                    end = self._edge + TIME_NS
                    received, raws = [], []
                received.append(now)
                raws.append(raw)
        yield from self._run(received, raws)
        yield from self._cut(self._intake.finish(now, "the capture ended"))

    def _run(self, received: list[int], raws: list[bytes]) -> Messages:
        if not raws:
            return []
        self._heard = received[-1]
        return self._cut(self._intake.take(received, raws))

    def _time_to(self, now: int) -> Iterator[tuple[str, bytes]]:
        """Pass every grid point up to `now`: holes fall due, then status, then time."""
        target = now // TIME_NS * TIME_NS
        if target - self._edge > JUMP_NS:
            self._edge = target - TIME_NS
        while self._edge < target:
            self._edge += TIME_NS
            if self._intake.holes:
                yield from self._cut(self._intake.tick(self._edge))
            if self._edge % STATUS_NS == 0 and self._edge - self._heard <= HEARD_NS:
                yield from self._cut(self._intake.status(self._edge))
            yield "time", self._time(self._edge)

    def _cut(self, items: list[Item]) -> Messages:
        if not items:
            return []
        messages = cut(items, self._sequence + 1)
        self._sequence += len(messages)
        return messages

    def _time(self, now: int) -> bytes:
        self._time_sequence += 1
        record = TIME.empty(1)
        record["ts"] = now
        return frame.encode(TIME, record, self._time_sequence)


async def replay(files: Sequence[Path], venue: str, product: str, sink: Sink) -> Counts:
    """Play captures into `sink`, which is awaited with each batch, and return what was counted.

    Raises OSError for a file that cannot be opened, ValueError for a venue that is not known.
    """
    playing = Replay(files, venue_of(venue, product))
    for batch in playing.batches():
        await sink(batch)
    return playing.counts
