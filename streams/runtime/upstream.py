"""Records of other graphs, merged by rule 3: a root is stepped when its checkpoints say done."""

import asyncio
import logging
from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple

import numpy as np

from tidemill.schemas import events, kinds
from tidemill.schemas.errors import Unavailable, Unreadable
from tidemill.schemas.events import Derived
from tidemill.schemas.identifiers import ALL
from tidemill.schemas.kinds import KINDS
from tidemill.schemas.run import FRAMES, Records
from tidemill.streams import subjects
from tidemill.streams.log import Log, Message, Reader
from tidemill.streams.runtime.engine import Engine
from tidemill.streams.runtime.gate import CHECKPOINTS, Gate, needs
from tidemill.streams.runtime.graph import Graph
from tidemill.streams.runtime.intake import NO_RECORDS, Column
from tidemill.streams.subjects import DERIVED, Subject

logger = logging.getLogger(__name__)

PULL_MESSAGES, PULL_BYTES, PULL_S = 2_000, 8 << 20, 1.0
AWAY_S = 0.2
"""Pause after OUT could not be read."""
ROOTS = {kind: root for root, kind in DERIVED.items()}


class Piece(NamedTuple):
    """One message of derived records that are not all stepped yet."""

    sequence: int
    subject: Subject
    price_exponent: int
    quantity_exponent: int
    records: Records
    event: Derived | None


class Upstream:
    """Reads the outputs that a graph needs from OUT and hands them over root by root, each once."""

    def __init__(
        self, out: Log, graph: Graph, partitions: Iterable[int], log_uuid: str, out_from: int
    ) -> None:
        self._out = out
        self._graph = graph
        emitters = {graph.emitter[k].name: graph.emitter[k] for k in graph.reads & ROOTS.keys()}
        others = [emitters[name] for name in sorted(graph.upstream)]
        self._partitions = frozenset(partitions)
        pairs = [needs(p.name, p.scope, self._partitions) for p in others]
        self._gate = Gate(chain.from_iterable(pairs), log_uuid)
        self._kinds = sorted({k for p in others for k in p.emits if k in graph.reads})
        self._pieces: list[Piece] = []
        self._adopted: dict[int, int] = {}
        self._reader: Reader | None = None
        self._next = out_from

    async def open(self) -> None:
        """Begin to read at `out_from` of OUT. Raises Unavailable, Regressed."""
        for message in await self._out.lasts(CHECKPOINTS):
            if message.sequence < self._next:
                self._gate.tell(message.subject, message.payload)
        filters = [f"{ROOTS[kind]}.>" for kind in self._kinds]
        self._reader = await self._out.read(self._next, [*filters, CHECKPOINTS])

    def adopt(self, partitions: Iterable[int], r: int) -> None:
        """Never hand over what a state has that comes in at `r`: its records with root <= `r`.

        OUT holds them still, or again, from `out_from` on, among later ones.
        """
        self._adopted.update(dict.fromkeys([*partitions, ALL], r))

    async def advance(self, r: int) -> None:
        """Read until every root up to `r` is whole; wait, however long, while OUT is away."""
        assert self._reader is not None
        while self._gate.root < r:
            try:
                messages = await self._reader.pull(PULL_MESSAGES, PULL_BYTES, PULL_S)
            except Unavailable as error:
                logger.warning("graph %s waits for OUT: %s", self._graph.name, error)
                await asyncio.sleep(AWAY_S)
                continue
            for message in messages:
                self._next = message.sequence + 1
                self._read(message)

    def _read(self, message: Message) -> None:
        if message.subject.startswith("ckpt."):
            self._gate.tell(message.subject, message.payload)
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
        owned = engine.partitions | {ALL}
        for piece in self._pieces:
            roots, partition = _roots(piece), piece.subject.partition
            now = roots <= r
            new = now & (roots > self._adopted.get(partition, 0))
            if partition in owned and new.any():
                whole = piece if piece.event else piece._replace(records=piece.records[new])
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
