"""What must hold at the end of a run, whatever befell it: the invariants I1 to I6."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from tidemill.schemas import events, kinds
from tidemill.schemas.kinds import KINDS
from tidemill.streams import subjects
from tidemill.streams.runtime.checkpoint import Checkpoint
from tidemill.streams.runtime.engine import Engine
from tidemill.streams.runtime.graph import Graph
from tidemill.tests.faults.simulation.logs import Entry, Store
from tidemill.tests.faults.simulation.loop import Actor
from tidemill.tests.faults.simulation.market import Market, sequence_of
from tidemill.tests.faults.simulation.roles import PARTITIONS, whole_of
from tidemill.tests.faults.simulation.tables import check_tables
from tidemill.tests.faults.simulation.world import World

Row = tuple[str, int, int, int, bytes]
"""Subject, (r, i, n) and the bytes of one derived record."""


def check(world: World) -> list[str]:
    """Return how a world broke a promise: nothing, if it broke none."""
    found = list(world.failures) + world.loop.errors
    for market in world.markets:
        found += _feed(world, market)
    found += _time(world)
    made = reference(world)
    found += _derived(world, made)
    for graph in world.graphs:
        found += _checkpoints(world, graph, made)
    if world.plan.sinks:
        found += check_tables(world)
    return found


def _feed(world: World, market: Market) -> Iterator[str]:
    """I1: what was confirmed stands once, in order. I2: source sequences have no hole."""
    prefix, name = "md.", f".{market.venue}."
    stored = [
        e.message
        for e in world.log.journal
        if e.message.subject.startswith(prefix) and name in e.message.subject
    ]
    sequences = [sequence_of(message.payload) for message in stored]
    if sequences != list(range(1, len(sequences) + 1)):
        yield f"I2: source sequences of {market.venue} are {sequences}"
    ledger = market.ledger
    items = [ledger.sent.get(message.payload) for message in stored]
    numbers = [item.number for item in items if item is not None and item.number]
    if None in items:
        yield f"I1: {market.venue} has a record that its feed never wrote"
    if len(set(numbers)) < len(numbers):
        yield f"I1: {market.venue} has a record twice"
    if numbers != sorted(numbers):
        yield f"I1: records of {market.venue} are out of order"
    confirmed = {item.number for item in ledger.confirmed if item.number}
    if lost := confirmed - set(numbers):
        yield f"I1: {market.venue} lost confirmed records {sorted(lost)[:5]}"
    if kept := {item.number for item in ledger.given_up} & set(numbers):
        yield f"I1: {market.venue} has records that were given up: {sorted(kept)[:5]}"


def _time(world: World) -> Iterator[str]:
    """Time has no hole in its sequence and never falls."""
    frames = [
        kinds.decode(e.message.payload) for e in world.log.journal if e.message.subject == "time"
    ]
    sequences = [frame.sequence for frame in frames]
    if sequences != list(range(1, len(frames) + 1)):
        yield f"I2: sequences of time are {sequences}"
    at = [int(frame.records["ts"][-1]) for frame in frames]
    if at != sorted(at):
        yield "time fell"


def rows_of(subject: str, payload: bytes) -> list[Row]:
    """The records of one message of OUT."""
    if subjects.parse(subject).kind in KINDS:
        records = kinds.decode(payload).records
        places = zip(
            records["at_r"].tolist(), records["at_i"].tolist(), records["n"].tolist(), strict=True
        )
        return [
            (subject, *at, record.tobytes()) for at, record in zip(places, records, strict=True)
        ]
    event = events.decode(payload)
    assert isinstance(event, events.Derived)
    return [(subject, event.at_r, event.at_i, event.n, payload)]


def reference(world: World) -> list[Row]:
    """What one process derives of LOG that nothing befalls, in logical order by subject."""
    engine = Engine(whole_of(world.plan.graphs), PARTITIONS)
    messages = [e.message for e in world.log.journal if e.message.sequence <= world.end]
    made = engine.step(messages)
    return sorted(row for output in made for row in rows_of(output.subject, output.payload))


def _derived(world: World, made: list[Row]) -> Iterator[str]:
    """I3 and I4: OUT holds exactly the reference, each record once."""
    outputs = [e.message for e in world.out.journal if not e.message.subject.startswith("ckpt.")]
    found = sorted(row for m in outputs for row in rows_of(m.subject, m.payload))
    if found == made:
        return
    have, want = set(found), set(made)
    twice = len(found) - len(have)
    where = sorted(row[:4] for row in have ^ want)[:3]
    yield (
        f"I3/I4: of {len(made)} records {len(want - have)} are missing, {len(have - want)} are"
        f" wrong, {twice} stand twice: {where}"
    )


class Watched:
    """What one graph has put into OUT, request by request."""

    def __init__(self, out: Store, graph: Graph, made: list[Row]) -> None:
        self._out, self._graph = out, graph
        self._newest: dict[str, bytes] = {}
        self._mine = {f"dlq.{processor.name}" for processor in graph.processors}
        for root, kind in subjects.DERIVED.items():
            if graph.emitter.get(kind) in graph.processors:
                self._mine.add(root)
        due: dict[int, list[int]] = defaultdict(list)
        for subject, root, *_ in made:
            if _of(subject, self._mine):
                due[subjects.parse(subject).partition].append(root)
        self._wanted = {partition: np.sort(np.array(roots)) for partition, roots in due.items()}
        self._stored: dict[int, list[int]] = defaultdict(list)
        self._reached: dict[int, int] = {}
        self._owners: dict[int, list[Actor | None]] = defaultdict(list)

    def take(self, request: list[Entry]) -> Iterator[str]:
        """Yield how one request breaks I4, I5 or I6."""
        told: dict[int, tuple[int, int]] = {}
        for message, author, _ in request:
            if _of(message.subject, self._mine):
                roots = [row[1] for row in rows_of(message.subject, message.payload)]
                self._stored[subjects.parse(message.subject).partition] += roots
            elif message.subject.startswith(f"ckpt.{self._graph.name}."):
                said = Checkpoint.read(message.payload)
                beyond = said.within.r if said.within else said.done
                told[said.partition] = (said.done, beyond)
                told |= {partition: (said.done, said.done) for partition in said.quiet}
                yield from self._rises(said, author, message.subject)
                self._newest[message.subject] = message.payload
        for partition, (done, beyond) in told.items():
            yield from self._whole(partition, done, beyond)

    def _rises(self, said: Checkpoint, author: Actor | None, subject: str) -> Iterator[str]:
        """I4 and I6. Two owners that sent the same bytes are one: whichever of them was stored, the
        other finds what it sent, with the same outputs before it, and may go on from there.
        """
        owners, where = self._owners[said.partition], f"{said.graph}.{said.partition}"
        if owners[-1:] != [author]:
            same = (author, subject, self._newest.get(subject, b"")) in self._out.sent
            if author in owners and not same:
                yield f"I6: {author} wrote {where} after {owners[-1]} did"
            owners.append(author)
        if said.done < self._reached.get(said.partition, 0):
            yield f"I4: {where} fell to {said.done}"
        self._reached[said.partition] = said.done

    def _whole(self, partition: int, done: int, beyond: int) -> Iterator[str]:
        where, roots = f"{self._graph.name}.{partition}", np.array(self._stored[partition])
        have = int((roots <= done).sum())
        want = int((self._wanted.get(partition, roots[:0]) <= done).sum())
        if have != want:
            yield f"I5: {where} says {done} with {have} records of {want}"
        if len(roots) and roots.max() > beyond:
            yield f"I4: {where} has {roots.max()} and says {beyond}"


def _checkpoints(world: World, graph: Graph, made: list[Row]) -> Iterator[str]:
    """I4 and I5: checkpoints rise, all that one covers stands before it, and nothing beyond it.

    I6: once another owner has committed for a partition, the one before never does again.
    """
    watched = Watched(world.out, graph, made)
    for request in _requests(world.out.journal):
        if broken := list(watched.take(request)):
            yield broken[0]
            return


def _of(subject: str, mine: set[str]) -> bool:
    first, _, rest = subject.partition(".")
    return first in mine or f"{first}.{rest.partition('.')[0]}" in mine


def _requests(journal: list[Entry]) -> Iterator[list[Entry]]:
    """Yield what was stored together."""
    together: list[Entry] = []
    for entry in journal:
        if together and entry.request != together[0].request:
            yield together
            together = []
        together.append(entry)
    if together:
        yield together
