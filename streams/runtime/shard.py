"""A shard: one process that owns partitions of a graph and runs every fact to completion.

It pulls facts of LOG in order, steps the engine, and commits outputs and checkpoints to OUT as
atomic batches, one in flight. Whatever dies, the next owner begins where the checkpoints say: it
restores the newest snapshots, re-reads, and makes no output twice.
"""

import asyncio
import logging
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from crc32c import crc32c

from tidemill.schemas import events
from tidemill.schemas.errors import Fenced, Regressed, Unavailable
from tidemill.schemas.events.control import DeadLetterSkipped
from tidemill.schemas.identifiers import ALL, PARTITIONS, partition_token
from tidemill.streams import crash_points, subjects
from tidemill.streams import log as port
from tidemill.streams.log import Log, Message
from tidemill.streams.runtime.checkpoint import Checkpoint
from tidemill.streams.runtime.code_hash import code_hash
from tidemill.streams.runtime.engine import Engine, Section
from tidemill.streams.runtime.graph import Graph
from tidemill.streams.runtime.outputs import Output
from tidemill.streams.runtime.snapshot import Saved, Snapshots
from tidemill.streams.runtime.upstream import Upstream

logger = logging.getLogger(__name__)

EVERY = frozenset(range(PARTITIONS + 1))
"""All partitions, ALL among them."""


def shard_of(index: int, count: int) -> frozenset[int]:
    """Return the partitions of shard `index` of `count` (ALL belongs to the first)."""
    if not 0 <= index < count <= PARTITIONS:
        raise ValueError(f"there is no shard {index} of {count}")
    return frozenset(p for p in EVERY if p % count == index and p != ALL) | (
        {ALL} if index == 0 else frozenset()
    )


@dataclass(frozen=True)
class Limits:
    """Bounds of one shard's work."""

    batch_messages_max: int = 2_000
    batch_bytes_max: int = 8 << 20
    commit_bytes_max: int = 4 << 20
    snapshot_ns: int = 30_000_000_000
    snapshot_bytes: int = 2 << 30
    retry_s_max: float = 5.0


def filters(partitions: Iterable[int]) -> list[str]:
    """Return the subjects of LOG that the owner of `partitions` reads."""
    owned = set(partitions) - {ALL}
    if len(owned) == PARTITIONS:
        return ["md.>", "ctl.>", "time"]
    tokens = [partition_token(p) for p in sorted(owned)]
    return [f"md.*.*.*.{token}" for token in [*tokens, "all"]] + ["ctl.>", "time"]


@dataclass
class Committed:
    """What OUT holds of one partition: `done`, and the sequence of its checkpoint (0: none)."""

    done: int = 0
    sequence: int = 0
    out_from: int = 1


class Shard:
    """Runs `graph` for `partitions`. Raises Fenced, Regressed, Unreadable, Unavailable from `run`.

    `snapshots` is a folder, None for none (tests, backtests).
    """

    def __init__(
        self,
        log: Log,
        out: Log,
        graph: Graph,
        partitions: Iterable[int] = EVERY,
        snapshots: Path | None = None,
        limits: Limits | None = None,
        code: str = "",
    ) -> None:
        self.graph = graph
        self.partitions = frozenset(partitions)
        self.engine = Engine(graph, ())
        self.committed = {p: Committed() for p in sorted(self.partitions)}
        self.done = 0
        """Newest LOG sequence that was stepped."""
        self.lag = 0
        """Messages of LOG behind the last one pulled."""
        self.stepped = 0
        """Messages stepped since start."""
        self.retries = 0
        """Attempts that had to be made again since start."""
        self._log, self._out = log, out
        self._limits = limits or Limits()
        self._code = code or code_hash()
        self._folder = snapshots
        self._snapshots: Snapshots | None = None
        self._uuid = ""
        self._upstream = Upstream(out, graph, self.partitions) if graph.upstream else None
        self._commit: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[Path] | None = None
        self._snapshot_ts = 0
        self._snapshot_bytes = 0

    async def run(self, until: int | None = None, stop: asyncio.Event | None = None) -> None:
        """Recover, then step for ever, or until everything up to LOG sequence `until` is committed.

        `stop` set: finishes what it has pulled, commits it and returns.
        """
        reader = None
        try:
            await self.recover()
            reader = await self._log.read(self.done + 1, filters(self.partitions))
            while not (stop and stop.is_set()) and (until is None or self.done < until):
                messages = await self._pull(reader)
                self.lag = reader.pending
                if messages:
                    await self._advance(messages)
                elif until is not None and await self._complete(reader) >= until:
                    break
            await self._settle()
            if until is not None and not (stop and stop.is_set()):
                await self._conclude(until)
            if self._writing is not None:
                await self._writing
        finally:
            for task in (self._commit, self._writing):
                if task is not None:
                    task.cancel()
            if reader is not None:
                await reader.close()
            if self._upstream is not None:
                await self._upstream.close()

    async def _pull(self, reader: port.Reader) -> list[Message]:
        """Pull a batch; wait, however long, while LOG is away."""
        attempt = 0
        while True:
            try:
                return await reader.pull(
                    self._limits.batch_messages_max, self._limits.batch_bytes_max, 0.5
                )
            except Unavailable as error:
                attempt += 1
                logger.warning("graph %s waits for LOG: %s", self.graph.name, error)
            await self._back_off(attempt)

    async def _complete(self, reader: port.Reader) -> int:
        """Return up to where everything was pulled, as far as LOG can be asked."""
        try:
            return await reader.complete()
        except Unavailable:
            return 0

    async def _advance(self, messages: list[Message]) -> None:
        """Step a batch while the last commit is in flight, then commit it."""
        if self._upstream is not None:
            await self._upstream.advance(messages[-1].sequence)
        made = self.engine.step(messages, self._upstream)
        self.done = messages[-1].sequence
        self.stepped += len(messages)
        self._snapshot_bytes += sum(len(message.payload) for message in messages)
        if self.engine.deployed not in ("", self._code):
            raise Fenced(
                f"LOG deploys code {self.engine.deployed} for graph {self.graph.name}, this is"
                f" {self._code}: start the deployed version, or run `tidemill deploy`"
            )
        timed = any(message.subject == "time" for message in messages)
        touched = {output.partition for output in made}
        if timed:
            touched |= {p for p in self.engine.partitions if self.committed[p].done < self.done}
        await self._settle()
        if touched:
            self._commit = asyncio.create_task(
                self._commit_all(made, touched, messages[-1], self._out_from())
            )
        if timed and self.engine.partitions == self.partitions and self._snapshot_due():
            await self._settle()
            await self._snapshot()
        await asyncio.sleep(0)

    async def _conclude(self, until: int) -> None:
        """Say that everything up to `until` is done, though the last of it was not ours."""
        last = await self._log.get(until)
        if last is not None:
            self.done = until
        touched = {p for p, known in self.committed.items() if known.done < until}
        if last is not None and touched:
            await self._commit_all([], touched, last, self._out_from())

    def _out_from(self) -> int:
        return self._upstream.out_from if self._upstream is not None else 1

    async def _settle(self) -> None:
        """Wait for the commit in flight."""
        if self._commit is not None:
            commit, self._commit = self._commit, None
            await commit

    async def _commit_all(
        self, made: list[Output], touched: set[int], last: Message, out_from: int
    ) -> None:
        """Commit outputs by partition; partitions that fit go into one atomic batch together."""
        by_partition: dict[int, list[Output]] = {p: [] for p in sorted(touched)}
        for output in made:
            by_partition[output.partition].append(output)
        batch: list[int] = []
        count = size = 0
        for partition, outputs in by_partition.items():
            more = len(outputs) + 1
            weight = sum(len(output.payload) for output in outputs)
            full = count + more > port.BATCH_MESSAGES_MAX
            if batch and (full or size + weight > self._limits.commit_bytes_max):
                await self._transact(batch, by_partition, last, out_from)
                batch, count, size = [], 0, 0
            batch.append(partition)
            count, size = count + more, size + weight
        await self._transact(batch, by_partition, last, out_from)

    async def _transact(
        self,
        batch: Sequence[int],
        by_partition: dict[int, list[Output]],
        last: Message,
        out_from: int,
    ) -> None:
        """Commit one atomic batch, whatever happens to its acknowledgement. Raises Fenced."""
        outputs = [(o.subject, o.payload) for p in batch for o in by_partition[p]]
        checkpoints = []
        for partition in batch:
            body = self._checkpoint(partition, last, out_from).write()
            subject = subjects.checkpoint(self.graph.name, partition)
            checkpoints.append(port.Checkpoint(subject, body, self.committed[partition].sequence))
        crash_points.reach("graph.commit.storing")
        sequences = await self._store(outputs, checkpoints)
        crash_points.reach("graph.commit.stored")
        for partition, checkpoint in zip(batch, checkpoints, strict=True):
            self.committed[partition] = Committed(
                last.sequence, sequences[checkpoint.subject], out_from
            )

    async def _store(
        self, outputs: list[tuple[str, bytes]], checkpoints: list[port.Checkpoint]
    ) -> dict[str, int]:
        """Store one batch; find out what became of an attempt whose answer was lost."""
        attempt = 0
        while True:
            try:
                return await self._out.transact(outputs, checkpoints)
            except Unavailable as error:
                attempt += 1
                logger.warning("commit of graph %s is uncertain: %s", self.graph.name, error)
            except Fenced:
                if attempt == 0:
                    raise  # otherwise it may be an earlier attempt of ours that landed late
            await self._back_off(attempt)
            try:
                found = await self._landed(checkpoints)
            except Unavailable:
                continue
            if found is not None:
                return found

    async def _landed(self, checkpoints: list[port.Checkpoint]) -> dict[str, int] | None:
        """Return the sequences of a batch that landed, None if it did not (yet). Raises Fenced."""
        found = [await self._out.last(checkpoint.subject) for checkpoint in checkpoints]
        first, wanted = found[0], checkpoints[0]
        if first is not None and first.payload == wanted.payload:
            return {message.subject: message.sequence for message in found if message}
        if (first.sequence if first else 0) != wanted.last:
            raise Fenced(f"another owner committed {wanted.subject}")
        return None

    async def _back_off(self, attempt: int) -> None:
        self.retries += 1
        limit = min(self._limits.retry_s_max, 0.05 * 2**attempt)
        await asyncio.sleep(random.uniform(limit / 2, limit))

    def _checkpoint(self, partition: int, last: Message, out_from: int) -> Checkpoint:
        scoped = [
            p.name for p in self.graph.processors if (p.scope == "global") == (partition == ALL)
        ]
        return Checkpoint(
            graph=self.graph.name,
            partition=partition,
            done=last.sequence,
            processors=tuple(scoped),
            code_hash=self._code,
            log=self._uuid,
            tail=crc32c(last.payload),
            out_from=out_from,
        )

    def _snapshot_due(self) -> bool:
        old = self.engine.ts - self._snapshot_ts >= self._limits.snapshot_ns
        idle = self._writing is None or self._writing.done()
        return idle and (old or self._snapshot_bytes >= self._limits.snapshot_bytes)

    async def _snapshot(self) -> None:
        """Copy the state, which is exactly what is committed, and write it beside the loop."""
        if self._snapshots is None:
            return
        if self._writing is not None:
            await self._writing
        sections = [self.engine.section(p) for p in sorted(self.partitions)]
        self._snapshot_ts, self._snapshot_bytes = self.engine.ts, 0
        self._writing = asyncio.create_task(
            asyncio.to_thread(
                self._snapshots.write, self.done, self.engine.ts, self._out_from(), sections
            )
        )

    async def recover(self) -> None:
        """Restore what the checkpoints say; raises Regressed before any effect if LOG is not it."""
        identity = await self._log.identity()
        self._uuid = identity.uuid
        for message in await self._out.lasts(f"ckpt.{self.graph.name}.*"):
            checkpoint = Checkpoint.read(message.payload)
            if checkpoint.partition in self.partitions:
                await self._prove(checkpoint, identity)
                self.committed[checkpoint.partition] = Committed(
                    checkpoint.done, message.sequence, checkpoint.out_from
                )
        done = {partition: known.done for partition, known in self.committed.items()}
        saved: dict[int, Saved] = {}
        if self._folder is not None:
            self._snapshots = Snapshots(self._folder, self.graph, identity.uuid, self._code)
            saved = self._snapshots.newest(done)
        skips = await self._skips()
        self.engine = Engine(self.graph, (), skips)
        for partition, known in self.committed.items():
            self.engine.committed[partition] = known.done
        await self._restore(saved)
        self._snapshot_ts = self.engine.ts
        crash_points.reach("graph.recovery.restored")

    async def _prove(self, checkpoint: Checkpoint, identity: port.Identity) -> None:
        """Raise Regressed unless LOG is the one that a checkpoint speaks of."""
        how = "restore LOG or re-feed it (`tidemill repair`); nothing was written"
        if checkpoint.log != identity.uuid:
            raise Regressed(
                f"LOG REGRESSED: it is stream {identity.uuid}, not {checkpoint.log}: {how}"
            )
        if checkpoint.done > identity.last:
            raise Regressed(
                f"LOG REGRESSED: it ends at {identity.last}, {checkpoint.graph} has stepped"
                f" {checkpoint.done}: {how}"
            )
        message = await self._log.get(checkpoint.done) if checkpoint.done else None
        if message is None and checkpoint.done >= max(1, identity.first):
            raise Regressed(f"LOG REGRESSED: {checkpoint.done} is missing: {how}")
        if message is not None and crc32c(message.payload) != checkpoint.tail:
            raise Regressed(f"LOG REGRESSED: {checkpoint.done} is another message: {how}")

    async def _skips(self) -> set[tuple[str, int]]:
        """Read what operators told to skip, ahead of its place: a halted graph needs it earlier."""
        found = set()
        reader = await self._log.read(1, ["ctl.skip.>"])
        while messages := await reader.pull(1_000, 1 << 20, 0.05):
            for message in messages:
                event = events.decode(message.payload)
                if isinstance(event, DeadLetterSkipped):
                    found.add((event.processor, event.r))
        await reader.close()
        return found

    async def _restore(self, saved: dict[int, Saved]) -> None:
        """Bring all partitions to one position: the oldest catches up to the next, and joins it."""
        groups: dict[int, dict[int, Saved | None]] = {}
        for partition in sorted(self.partitions):
            found = saved.get(partition)
            groups.setdefault(found.r if found else 0, {})[partition] = found
        out_from = 1
        opened = False
        for r in sorted(groups):
            if opened and r > self.done:
                await self._catch_up(r)
            sections, out_from, ts = self._load(groups[r])
            for section in sections:
                self.engine.adopt(section)
            self.engine.ts = max(self.engine.ts, ts)
            self.done = r
            if self._upstream is not None and not opened:
                await self._upstream.open(out_from)
                self._upstream.take(r, self.engine)
            opened = True

    def _load(self, group: dict[int, Saved | None]) -> tuple[list[Section], int, int]:
        """Return the sections of a group, and the OUT sequence and time they stand at."""
        sections, out_from, ts = [], 1, 0
        files = {found for found in group.values() if found is not None}
        for found in sorted(files, key=lambda found: found.path.name):
            assert self._snapshots is not None
            wanted = frozenset(p for p, s in group.items() if s == found)
            ts, out_from, loaded = self._snapshots.load(found, wanted)
            sections += loaded
        sections += [Section(p, [], [], {}) for p, found in group.items() if found is None]
        return sections, out_from, ts

    async def _catch_up(self, r: int) -> None:
        """Step the partitions that are owned already up to `r`, and commit what was not."""
        reader = await self._log.read(self.done + 1, filters(self.engine.partitions))
        while self.done < r:
            messages = await self._pull(reader)
            due = [message for message in messages if message.sequence <= r]
            if due:
                await self._advance(due)
            if len(due) < len(messages) or await self._complete(reader) >= r:
                self.done = max(self.done, r)
        await reader.close()
        await self._settle()
