"""Deriving an event again: the engine over the facts of its partition, in memory, up to its cause.

The event is what the facts make of it now, not what a table or OUT says; so what is explained is
proven, and where OUT was lost there is still an answer.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tidemill.deploy.rebuilding import with_upstream
from tidemill.deploy.why.facts import Shown
from tidemill.deploy.why.following import messages
from tidemill.deploy.why.naming import DEAD_LETTER, Made, Position
from tidemill.schemas import events, kinds, rows
from tidemill.schemas.events import Derived
from tidemill.schemas.events.dead_letter import DeadLetter
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.frame import Frame
from tidemill.streams.log import Log
from tidemill.streams.runtime import control
from tidemill.streams.runtime.engine import Engine
from tidemill.streams.runtime.graph import Graph
from tidemill.streams.runtime.outputs import ROOTS, Output
from tidemill.streams.runtime.shard import filters
from tidemill.streams.subjects import Subject, parse

GRAPH = "why"
LETTERS_MAX = 10_000
"""Dead letters of one partition that are remembered; beyond them a log is in need of other help."""


class Record(NamedTuple):
    """One derived record: its position, the frame that it is in (None for an event) and itself."""

    at: Position
    subject: str
    frame: Frame | None
    event: Derived | None

    @property
    def shown(self) -> Shown:
        """Its fields: decimal text and names for frames, as written for events."""
        if self.frame is not None:
            return rows.readable(self.frame)[0]
        assert self.event is not None
        return {"event": self.event.tag(), **self.event.model_dump(mode="json")}

    @property
    def raw(self) -> Shown:
        """The fields of a frame's record as integers."""
        assert self.frame is not None
        return rows.to_rows(self.frame)[0]

    @property
    def name(self) -> Subject:
        """Its subject, parsed."""
        return parse(self.subject)


@dataclass
class Found:
    """What deriving a partition up to a cause showed.

    `latest` has, by subject, the newest message that upstream processors made of each; `defined` by
    (venue, symbol) the newest definition and its `r`; `letters` the dead letters of the processor.
    """

    made: Made
    depth: int
    record: Record
    latest: dict[str, list[Record]]
    defined: dict[tuple[str, str], tuple[int, InstrumentDefined]]
    letters: list[DeadLetter]


@dataclass
class _Search:
    made: Made
    record: Record | None = None
    letters: list[DeadLetter] = field(default_factory=list)
    latest: dict[str, bytes] = field(default_factory=dict)
    previous: dict[str, bytes] = field(default_factory=dict)
    defined: dict[str, int] = field(default_factory=dict)
    upstream: set[str] = field(default_factory=set)

    def take(self, output: Output) -> None:
        root = output.subject.split(".", 1)[0]
        if output.subject.startswith(f"dlq.{self.made.processor.name}."):
            self._letter(output)
        elif root == ROOTS[self.made.kind]:
            self.record = _find(output, self.made.at) or self.record
        if root in self.upstream:
            if output.subject in self.latest:
                self.previous[output.subject] = self.latest[output.subject]
            self.latest[output.subject] = output.payload

    def _letter(self, output: Output) -> None:
        event = events.decode(output.payload)
        assert isinstance(event, DeadLetter)
        if len(self.letters) < LETTERS_MAX:
            self.letters.append(event)
        if self.made.kind == DEAD_LETTER and _at(event) == self.made.at:
            self.record = Record(self.made.at, output.subject, None, event)


async def derive(log: Log, made: Made) -> Found | None:
    """Return the event, or None where the facts do not make it.

    Raises Unreadable where the graph halts before it, Unavailable, Regressed.
    """
    processors = with_upstream([made.processor.name])
    graph = Graph(GRAPH, processors)
    last = min(made.at.r, (await log.identity()).last)
    skips = (await control.read(log, GRAPH, last)).skips
    engine = Engine(graph, {made.partition}, skips)
    own = made.processor.name
    upstream = {ROOTS[k] for p in processors if p.name != own for k in p.emits if k in ROOTS}
    search = _Search(made, upstream=upstream - {"dlq"})
    async for batch in messages(log, filters({made.partition}), last):
        for message in batch:
            if message.subject.startswith("md.instrument."):
                search.defined[message.subject] = message.sequence
        for output in engine.step(batch):
            search.take(output)
    if search.record is None:
        return None
    names = {parse(subject)[2:4]: r for subject, r in search.defined.items()}
    defined = {(d.venue, d.symbol): (names[d.venue, d.symbol], d) for d in engine.keys.definitions}
    latest = _newest(search)
    return Found(made, graph.depth[own], search.record, latest, defined, search.letters)


def _newest(search: _Search) -> dict[str, list[Record]]:
    """Return the records of each upstream subject that stand at its newest position so far."""
    cause = search.made.at[:2]
    found: dict[str, list[Record]] = {}
    for subject in search.latest:
        for payload in (search.latest[subject], search.previous.get(subject)):
            groups: dict[tuple[int, int], list[Record]] = defaultdict(list)
            for record in records(subject, payload) if payload else ():
                if record.at[:2] <= cause:
                    groups[record.at[:2]].append(record)
            if groups:
                found[subject] = groups[max(groups)]
                break
    return found


def _find(output: Output, at: Position) -> Record | None:
    if output.payload.startswith(b"{"):
        found = [record for record in records(output.subject, output.payload) if record.at == at]
        return found[0] if found else None
    frame = kinds.decode(output.payload)
    rows_ = frame.records
    mask = (rows_["at_r"] == at.r) & (rows_["at_i"] == at.i) & (rows_["n"] == at.n)
    if not mask.any():
        return None
    return Record(at, output.subject, frame._replace(records=rows_[mask]), None)


def records(subject: str, payload: bytes) -> Iterator[Record]:
    """Yield the derived records of a message of OUT. Raises Unreadable."""
    if payload.startswith(b"{"):
        event = events.decode(payload)
        if isinstance(event, Derived):
            yield Record(_at(event), subject, None, event)
        return
    frame = kinds.decode(payload)
    for index, row in enumerate(frame.records):
        one = frame._replace(records=frame.records[index : index + 1])
        yield Record(_of(row), subject, one, None)


def _of(row: Any) -> Position:
    return Position(int(row["at_r"]), int(row["at_i"]), int(row["n"]))


def _at(event: Derived) -> Position:
    return Position(event.at_r, event.at_i, event.n)
