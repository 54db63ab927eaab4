"""Records of other graphs, merged by rule 3: a root is stepped when its checkpoints say done."""

import logging
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from tidemill.schemas import events, kinds
from tidemill.schemas.errors import Unavailable, Unreadable
from tidemill.schemas.events import Derived
from tidemill.schemas.identifiers import ALL, PARTITIONS
from tidemill.schemas.kinds import KINDS
from tidemill.schemas.run import FRAMES, Records
from tidemill.streams import subjects
from tidemill.streams.log import Log, Message, Reader
from tidemill.streams.runtime.checkpoint import Checkpoint
from tidemill.streams.runtime.engine import Engine
from tidemill.streams.runtime.graph import Graph, Processor
from tidemill.streams.runtime.intake import NO_RECORDS, Column
from tidemill.streams.subjects import DERIVED, Subject

logger = logging.getLogger(__name__)

PULL_MESSAGES, PULL_BYTES = 2_000, 8 << 20
ROOTS = {kind: root for root, kind in DERIVED.items()}


class Gate:
    """How far processors have committed each partition, by the checkpoints read from OUT in order.

    `needs` are (processor, partition) that must all be done.
    """

    def __init__(self, needs: Iterable[tuple[str, int]]) -> None:
        self._done = dict.fromkeys(needs, 0)

    def observe(self, message: Message) -> None:
        """Take note of a checkpoint message. Raises Unreadable."""
        checkpoint = Checkpoint.read(message.payload)
        for processor in checkpoint.processors:
            key = (processor, checkpoint.partition)
            if key in self._done:
                self._done[key] = max(self._done[key], checkpoint.done)

    @property
    def done(self) -> int:
        """Every root up to here is whole in what was read from OUT."""
        return min(self._done.values())


def needs(processors: Iterable[Processor], partitions: Iterable[int]) -> list[tuple[str, int]]:
    """Return (processor, partition) whose checkpoints gate a reader of `partitions`."""
    pairs = [p for p in partitions if p < PARTITIONS]
    found = []
    for processor in processors:
        found += [(processor.name, p) for p in ([ALL] if processor.scope == "global" else pairs)]
    return found


class Piece(NamedTuple):
    """One message of derived records that are not all stepped yet."""

    sequence: int
    subject: Subject
    price_exponent: int
    quantity_exponent: int
    records: Records
    event: Derived | None


class Upstream:
    """Reads the outputs that a graph needs from OUT and hands them over root by root."""

    def __init__(self, out: Log, graph: Graph, partitions: Iterable[int]) -> None:
        self._out = out
        self._graph = graph
        emitters = {graph.emitter[k].name: graph.emitter[k] for k in graph.reads & ROOTS.keys()}
        others = [emitters[name] for name in sorted(graph.upstream)]
        self._partitions = frozenset(partitions)
        self._gate = Gate(needs(others, self._partitions))
        self._kinds = sorted({k for p in others for k in p.emits if k in graph.reads})
        self._pieces: list[Piece] = []
        self._reader: Reader | None = None
        self._next = 0

    async def open(self, out_from: int) -> None:
        """Begin to read at sequence `out_from` of OUT."""
        for message in await self._out.lasts("ckpt.>"):
            if message.sequence < out_from:
                self._gate.observe(message)
        filters = [f"{ROOTS[kind]}.>" for kind in self._kinds]
        self._reader = await self._out.read(out_from, [*filters, "ckpt.>"])
        self._next = out_from

    async def advance(self, r: int) -> None:
        """Read until every root up to `r` is whole; wait, however long, while OUT is away."""
        assert self._reader is not None
        while self._gate.done < r:
            try:
                messages = await self._reader.pull(PULL_MESSAGES, PULL_BYTES, 1.0)
            except Unavailable as error:
                logger.warning("graph %s waits for OUT: %s", self._graph.name, error)
                continue
            for message in messages:
                self._next = message.sequence + 1
                self._read(message)

    def _read(self, message: Message) -> None:
        if message.subject.startswith("ckpt."):
            self._gate.observe(message)
            return
        subject = subjects.parse(message.subject)
        if subject.partition not in self._partitions and subject.partition != ALL:
            return
        if subject.kind in KINDS:
            frame = kinds.decode(message.payload)
            piece = Piece(
                message.sequence,
                subject,
                frame.price_exponent,
                frame.quantity_exponent,
                frame.records,
                None,
            )
        else:
            event = events.decode(message.payload)
            if not isinstance(event, Derived):
                raise Unreadable(f"{event.tag()} on {message.subject} is no derived event")
            piece = Piece(message.sequence, subject, 0, 0, NO_RECORDS, event)
        self._pieces.append(piece)

    @property
    def out_from(self) -> int:
        """Sequence of OUT from which everything that is not stepped yet can be read again."""
        return min((piece.sequence for piece in self._pieces), default=self._next)

    def take(self, r: int, engine: Engine) -> dict[str, Column]:
        """Return, by kind, and forget, the records whose root is at most `r`."""
        taken: dict[str, list[Piece]] = {}
        kept: list[Piece] = []
        for piece in self._pieces:
            roots = _roots(piece)
            now = roots <= r
            if now.any() and piece.subject.partition in engine.partitions | {ALL}:
                whole = piece if piece.event else piece._replace(records=piece.records[now])
                taken.setdefault(piece.subject.kind, []).append(whole)
            if not now.all():
                rest = piece if piece.event else piece._replace(records=piece.records[~now])
                kept.append(rest)
        self._pieces = kept
        return {kind: self._column(kind, pieces, engine) for kind, pieces in taken.items()}

    def _column(self, kind: str, pieces: list[Piece], engine: Engine) -> Column:
        rows = []
        for piece in pieces:
            frames = np.zeros(len(_roots(piece)), FRAMES)
            frames["count"] = 1
            frames["slot"], frames["feed"] = _place(piece.subject, engine)
            frames["price_exponent"] = piece.price_exponent
            frames["quantity_exponent"] = piece.quantity_exponent
            frames["r"], frames["i"] = _roots(piece), _indices(piece)
            rows.append(frames)
        made = [piece.event for piece in pieces if piece.event]
        frames = np.concatenate(rows)
        if made:
            n = np.array([event.n for event in made], np.uint32)
            records = NO_RECORDS
        else:
            records = np.concatenate([piece.records for piece in pieces])
            n = records["n"].astype(np.uint32)
            frames["start"] = np.arange(len(frames))
        order = np.lexsort((n, frames["i"], frames["r"]))
        emitter = self._graph.emitter[kind].name
        return Column(
            records,
            frames[order],
            tuple(made[index] for index in order) if made else (),
            n[order],
            self._graph.depth[emitter],
            emitter,
        )

    async def close(self) -> None:
        """Stop reading."""
        if self._reader is not None:
            await self._reader.close()


def _roots(piece: Piece) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    if piece.event is not None:
        return np.array([piece.event.at_r], np.uint64)
    roots: np.ndarray[tuple[int], np.dtype[np.uint64]] = piece.records["at_r"]
    return roots


def _indices(piece: Piece) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    if piece.event is not None:
        return np.array([piece.event.at_i], np.uint32)
    indices: np.ndarray[tuple[int], np.dtype[np.uint32]] = piece.records["at_i"]
    return indices


def _place(subject: Subject, engine: Engine) -> tuple[int, int]:
    if subject.partition == ALL:
        return -1, engine.keys.feed(subject.venue, subject.symbol)
    if subject.venue == "ALL":
        return engine.keys.pair(subject.symbol), -1
    return engine.keys.slot(subject.venue, subject.symbol), -1
