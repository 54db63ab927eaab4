"""Messages into columns: records of each kind joined, with the frames that they came in."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from tidemill.schemas import events, kinds
from tidemill.schemas.errors import Unreadable
from tidemill.schemas.events import Event
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.identifiers import ALL, partition
from tidemill.schemas.kinds import KINDS
from tidemill.schemas.run import FRAMES, Records, join_records
from tidemill.streams import subjects
from tidemill.streams.log import Message
from tidemill.streams.runtime.keys import Keys

NO_RECORDS = np.zeros(0, np.dtype([]))


class Column(NamedTuple):
    """All records of one kind in a segment: `records` (N,), `frames` (F,) of dtype FRAMES.

    Kinds of JSON events have `events` (F of them) and no records. Derived kinds have one frame a
    record, with `n` (F,) uint32, and the depth and name of their processor.
    """

    records: Records
    frames: Records
    events: tuple[Event, ...] = ()
    n: np.ndarray[tuple[int], np.dtype[np.uint32]] | None = None
    depth: int = 0
    processor: str = ""


class Poison(NamedTuple):
    """A record that could not be read, or that no key is known for."""

    r: int
    kind: str
    subject: str
    partition: int
    slot: int
    payload: bytes
    reason: str


class Segment(NamedTuple):
    """Facts between which no key is added: the runtime steps it as one."""

    columns: dict[str, Column]
    poison: list[Poison]
    control: list[tuple[str, Event]]
    """What holds from the beginning of this segment on, and its subject."""
    ts: int
    """Newest `time` in it (ns), 0 for none."""
    end: int
    """LOG sequence of its last fact."""


class Intake:
    """Turns messages of LOG, in order, into segments. `log_kinds` are the kinds the graph reads."""

    def __init__(self, keys: Keys, log_kinds: Iterable[str], partitions: Iterable[int]) -> None:
        self._keys = keys
        self._kinds = frozenset(log_kinds) | {"time"}
        self._partitions = frozenset(partitions)
        self._end = 0
        self._clear()

    def adopt(self, partitions: Iterable[int]) -> None:
        """Own these partitions too, from the next message on."""
        self._partitions |= frozenset(partitions)

    def _clear(self) -> None:
        self._rows: dict[str, list[tuple[int, ...]]] = {}
        self._parts: dict[str, list[Records]] = {}
        self._ends: dict[str, int] = {}
        self._events: dict[str, list[Event]] = {}
        self._poison: list[Poison] = []
        self._control: list[tuple[str, Event]] = []
        self._ts = 0
        self._from = self._end
        """End of the segment before."""

    def segments(self, messages: Iterable[Message]) -> Iterator[Segment]:
        """Yield the messages as segments; a new instrument or feed begins a new segment."""
        for message in messages:
            subject = _subject(message.subject)
            if subject is not None:
                yield from self._sort(message, subject)
            self._end = message.sequence
        yield from self._cut()

    def _sort(self, message: Message, subject: subjects.Subject) -> Iterator[Segment]:
        owned = subject.partition in self._partitions or subject.partition == ALL
        if subject.kind == "instrument":
            if owned:
                yield from self._define(message, subject)
        elif subject.kind == "ctl":
            yield from self._cut()
            self._take_control(message)
        elif owned and subject.kind in self._kinds:
            if subject.partition == ALL and subject.venue:
                yield from self._name_feed(subject.venue, subject.symbol)
            try:
                self._take(message, subject)
            except Unreadable as error:
                self._refuse(message, subject, str(error))

    def _take_control(self, message: Message) -> None:
        with suppress(Unreadable):  # a later version's command: it is for later versions to obey
            self._control.append((message.subject, events.decode(message.payload)))

    def _define(self, message: Message, subject: subjects.Subject) -> Iterator[Segment]:
        yield from self._cut()
        try:
            event = events.decode(message.payload)
            if not isinstance(event, InstrumentDefined):
                raise Unreadable(f"{event.tag()} is no InstrumentDefined")
            place = (event.venue, event.symbol, partition(event.pair))
            if place != (subject.venue, subject.symbol, subject.partition):
                raise Unreadable(
                    f"{event.instrument_id}, {event.pair}, is defined on another subject"
                )
            self._keys.define(event)
        except (Unreadable, ValueError) as error:
            self._refuse(message, subject, str(error))

    def _name_feed(self, venue: str, product: str) -> Iterator[Segment]:
        if self._keys.feed(venue, product) < 0:
            yield from self._cut()
            self._keys.add_feed(venue, product)

    def _refuse(self, message: Message, subject: subjects.Subject, reason: str) -> None:
        whole = subject.partition == ALL
        self._poison.append(
            Poison(
                message.sequence,
                subject.kind,
                message.subject,
                subject.partition,
                -1 if whole else self._keys.slot(subject.venue, subject.symbol),
                message.payload,
                reason,
            )
        )

    def _take(self, message: Message, subject: subjects.Subject) -> None:
        slot, feed = self._place(subject)
        if subject.kind not in KINDS:
            event = events.decode(message.payload)
            if event.channel != f"md.{subject.kind}":
                raise Unreadable(f"{event.tag()} on a subject of md.{subject.kind}")
            self._events.setdefault(subject.kind, []).append(event)
            row = (0, 1, message.sequence, 0, slot, feed, 0, 0)
            self._rows.setdefault(subject.kind, []).append(row)
            return
        frame = kinds.decode(message.payload)
        if frame.kind.name != subject.kind:
            raise Unreadable(f"a {frame.kind.name} frame on a subject of {subject.kind}")
        if subject.kind == "time":
            self._ts = int(frame.records["ts"][-1])
        start = self._ends.get(subject.kind, 0)
        count = len(frame.records)
        self._ends[subject.kind] = start + count
        self._parts.setdefault(subject.kind, []).append(frame.records)
        self._rows.setdefault(subject.kind, []).append(
            (
                start,
                count,
                message.sequence,
                0,
                slot,
                feed,
                frame.price_exponent,
                frame.quantity_exponent,
            )
        )

    def _place(self, subject: subjects.Subject) -> tuple[int, int]:
        """Return (slot, feed) that a record concerns."""
        if subject.partition == ALL:
            feed = self._keys.feed(subject.venue, subject.symbol) if subject.venue else -1
            return -1, feed
        slot = self._keys.slot(subject.venue, subject.symbol)
        if slot < 0:
            raise Unreadable(
                f"{subject.symbol}.{subject.venue} has no definition in LOG before this record"
            )
        return slot, int(self._keys.instruments["feed"][slot])

    def _cut(self) -> Iterator[Segment]:
        """End a segment, also one without records: other graphs' may belong to its facts."""
        if self._end > self._from or self._control:
            columns = {}
            for kind, rows in self._rows.items():
                columns[kind] = Column(
                    join_records(self._parts.get(kind, [NO_RECORDS])),
                    np.array(rows, FRAMES),
                    tuple(self._events.get(kind, ())),
                )
            yield Segment(columns, self._poison, self._control, self._ts, self._end)
        self._clear()


def _subject(text: str) -> subjects.Subject | None:
    """Parse a subject of LOG; None for what is no fact of Tidemill's, which concerns nobody."""
    try:
        subject = subjects.parse(text)
    except ValueError:
        return None
    is_md = bool(subject.venue)
    return None if is_md and subject.kind in ("time", "ctl") else subject
