"""Where a table's rows come from: LOG itself, or OUT behind the gate of its checkpoints."""

import asyncio
import logging
from collections.abc import Iterable
from typing import NamedTuple, Protocol

import numpy as np

from tidemill.projections.rows import Piece, Rows, build, build_of_events, concatenate
from tidemill.projections.table import Table
from tidemill.schemas import events, kinds
from tidemill.schemas.errors import Unreadable
from tidemill.schemas.events import Event
from tidemill.streams.log import Log, Message, Reader
from tidemill.streams.runtime.gate import CHECKPOINTS, Gate, needs
from tidemill.streams.subjects import parse

logger = logging.getLogger(__name__)

PULL_MESSAGES_MAX = 1_000
PULL_BYTES_MAX = 4 * 1024 * 1024
"""Most that one pull brings: about 95,000 trades."""
BUFFER_BYTES_MAX = 32 * 1024 * 1024
"""Most rows that wait for the gate; beyond it the newest are dropped and read again later."""


class Batch(NamedTuple):
    """Rows in logical order, whole roots; no root <= `done` of this table comes later."""

    rows: Rows | None
    done: int


class Mark(NamedTuple):
    """Every root > `root` of a table can be read again from `sequence` of its stream."""

    root: int
    sequence: int


class Source(Protocol):
    """Rows of one table, root by root."""

    async def open(self, start: int, mark: Mark) -> None:
        """Begin again: the next batch starts with root `start`. `mark` is where OUT holds it."""
        ...

    async def gather(self, seconds: float) -> None:
        """Let what comes come together for so long, unless something is known to wait already."""
        ...

    async def next(self, timeout_s: float) -> Batch | None:
        """Return more rows or progress, or None when there was neither within `timeout_s`."""
        ...

    @property
    def mark(self) -> Mark:
        """Where the roots after the last batch can be read again."""
        ...

    @property
    def lag(self) -> int:
        """Messages that are known to wait behind the last one read."""
        ...

    async def close(self) -> None:
        """Stop reading."""
        ...


def pieces(messages: Iterable[Message | tuple[int, str, bytes]]) -> list[Piece]:
    """Decode frames. One that will never decode has no rows, in every recomputation alike."""
    decoded = []
    for sequence, subject, payload in messages:
        try:
            decoded.append(Piece(sequence, parse(subject), kinds.decode(payload)))
        except (Unreadable, ValueError) as error:
            logger.warning("no rows of %s at %d: %s", subject, sequence, error)
    return decoded


def events_of(
    kind: type[Event], messages: Iterable[Message | tuple[int, str, bytes]]
) -> list[tuple[int, Event]]:
    """Decode JSON events of one type, with their sequences; others have no rows."""
    decoded = []
    for sequence, subject, payload in messages:
        try:
            event = events.decode(payload)
        except Unreadable as error:
            logger.warning("no rows of %s at %d: %s", subject, sequence, error)
            continue
        if isinstance(event, kind):
            decoded.append((sequence, event))
    return decoded


def rows_of(table: Table, messages: Iterable[Message | tuple[int, str, bytes]]) -> Rows | None:
    """Return the rows of messages of what a table reads, in their order, or None without any."""
    if not isinstance(table.reads, str):
        found = events_of(table.reads, messages)
        return build_of_events(table, found) if found else None
    decoded = [p for p in pieces(messages) if p.frame.kind.name == table.reads]
    return build(table, decoded) if decoded else None


class LogSource:
    """A table of facts: roots are sequences of LOG, complete up to the newest message read.

    `time` is read beside the table's own subjects, so that a quiet table still advances.
    """

    def __init__(self, log: Log, table: Table) -> None:
        self._log, self._table = log, table
        self._of_time = "time" in table.filters
        self._reader: Reader | None = None
        self._done = 0

    async def open(self, start: int, mark: Mark) -> None:
        await self.close()
        self._done = start - 1
        self._reader = await self._log.read(start, (*self._table.filters, "time"))

    async def gather(self, seconds: float) -> None:
        if self.lag == 0:
            await asyncio.sleep(seconds)

    async def next(self, timeout_s: float) -> Batch | None:
        assert self._reader is not None, "the source is not open"
        messages = await self._reader.pull(PULL_MESSAGES_MAX, PULL_BYTES_MAX, timeout_s)
        if not messages:
            done, self._done = self._done, max(self._done, await self._reader.complete())
            return Batch(None, self._done) if self._done > done else None
        self._done = messages[-1].sequence
        rows = rows_of(self._table, [m for m in messages if m.subject != "time" or self._of_time])
        return Batch(rows, self._done)

    @property
    def mark(self) -> Mark:
        return Mark(self._done, self._done + 1)

    @property
    def lag(self) -> int:
        return self._reader.pending if self._reader is not None else 0

    async def close(self) -> None:
        if self._reader is not None:
            await self._reader.close()
            self._reader = None


class OutSource:
    """A derived table: OUT in any order of its shards, released by root behind the gate.

    Roots beyond the gate wait in memory. When they are too many, the newest half is dropped and
    read again from OUT once what is left has been released: progress without unbounded memory.
    """

    def __init__(
        self, out: Log, table: Table, log_uuid: str, buffer_bytes_max: int = BUFFER_BYTES_MAX
    ) -> None:
        assert table.emitted_by is not None, f"{table.name} is not derived"
        self._out, self._table, self._emitter = out, table, table.emitted_by
        self._log_uuid, self._buffer_bytes_max = log_uuid, buffer_bytes_max
        self._reader: Reader | None = None
        self._gate = Gate(needs(self._emitter, table.scope), log_uuid)
        self._held: list[tuple[int, Rows]] = []  # (first sequence of its pull, rows)
        self._start = 1  # roots before it are not wanted
        self._next_sequence = 1
        self._limit: Mark | None = None  # roots after it were dropped; they are at its sequence

    async def open(self, start: int, mark: Mark) -> None:
        await self.close()
        self._start, self._held, self._limit = start, [], None
        self._next_sequence = mark.sequence if mark.root < start else 1
        self._gate = Gate(needs(self._emitter, self._table.scope), self._log_uuid)
        # A checkpoint behind the place where reading begins would never be met. One ahead of it
        # must be met in its place: outputs that it covers are still unread.
        for message in await self._out.lasts(CHECKPOINTS):
            if message.sequence < self._next_sequence:
                self._gate.tell(message.subject, message.payload)
        filters = (*self._table.filters, CHECKPOINTS)
        self._reader = await self._out.read(self._next_sequence, filters)

    async def gather(self, seconds: float) -> None:
        if self.lag == 0:
            await asyncio.sleep(seconds)

    async def next(self, timeout_s: float) -> Batch | None:
        assert self._reader is not None, "the source is not open"
        messages = await self._reader.pull(PULL_MESSAGES_MAX, PULL_BYTES_MAX, timeout_s)
        if messages:
            self._take(messages)
            self._next_sequence = messages[-1].sequence + 1
        batch = self._release()
        if self._limit is not None and self._start > self._limit.root:
            await self.open(self._start, Mark(self._start - 1, self._limit.sequence))
        return batch

    def _take(self, messages: list[Message]) -> None:
        frames = []
        for message in messages:
            if message.subject.startswith("ckpt."):
                self._gate.tell(message.subject, message.payload)
            else:
                frames.append(message)
        rows = rows_of(self._table, frames)
        if rows is None:
            return
        self._keep(frames[0].sequence, rows)
        while sum(rows.bytes for _, rows in self._held) > self._buffer_bytes_max:
            if not self._drop_newest():
                break

    def _keep(self, sequence: int, rows: Rows) -> None:
        """Hold the rows that are wanted; remember where those beyond the limit are."""
        roots = rows.array("_r")
        wanted = roots >= self._start
        if self._limit is not None:
            beyond = roots > self._limit.root
            if beyond.any():
                self._limit = Mark(self._limit.root, min(self._limit.sequence, sequence))
            wanted &= ~beyond
        if wanted.any():
            self._held.append((sequence, rows if wanted.all() else rows.take(wanted)))

    def _drop_newest(self) -> bool:
        """Keep the lower half of the roots that wait; return whether there was more than one."""
        roots = np.sort(np.concatenate([rows.array("_r") for _, rows in self._held]))
        limit = max(int(roots[len(roots) // 2]) - 1, int(roots[0]))
        if limit >= int(roots[-1]):
            return False
        held, self._held = self._held, []
        self._limit = Mark(limit, self._limit.sequence if self._limit else self._next_sequence)
        for sequence, rows in held:
            self._keep(sequence, rows)
        return True

    def _release(self) -> Batch | None:
        gate = self._gate.root
        if self._limit is not None:
            gate = min(gate, self._limit.root)
        if gate < self._start:
            return None
        released, held = [], []
        for sequence, rows in self._held:
            ready = rows.array("_r") <= gate
            if ready.any():
                released.append(rows if ready.all() else rows.take(ready))
            if not ready.all():
                held.append((sequence, rows.take(~ready) if ready.any() else rows))
        self._held, self._start = held, gate + 1
        return Batch(concatenate(released).ordered() if released else None, gate)

    @property
    def mark(self) -> Mark:
        sequences = [sequence for sequence, _ in self._held]
        if self._limit is not None:
            sequences.append(self._limit.sequence)
        return Mark(self._start - 1, min(sequences, default=self._next_sequence))

    @property
    def lag(self) -> int:
        return self._reader.pending if self._reader is not None else 0

    async def close(self) -> None:
        if self._reader is not None:
            await self._reader.close()
            self._reader = None


def source(table: Table, log: Log, out: Log, log_uuid: str) -> Source:
    """Return where a table's rows come from."""
    if table.emitted_by is None:
        return LogSource(log, table)
    return OutSource(out, table, log_uuid)
