"""A shard: one process that owns partitions of a graph and runs every fact to completion.

It pulls facts of LOG in order, steps the engine, and commits outputs and checkpoints to OUT as
atomic batches, one in flight. Whatever dies, the next owner begins where the checkpoints say: it
restores the newest snapshots, re-reads, and makes no output twice.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tidemill.schemas.errors import Fenced, Unavailable
from tidemill.schemas.identifiers import ALL, PARTITIONS, partition_token
from tidemill.streams import crash_points, proof
from tidemill.streams import log as port
from tidemill.streams.log import Log, Message
from tidemill.streams.runtime import control
from tidemill.streams.runtime.checkpoint import Checkpoint
from tidemill.streams.runtime.code_hash import code_hash
from tidemill.streams.runtime.committer import Committer
from tidemill.streams.runtime.engine import Engine, Section
from tidemill.streams.runtime.gate import CHECKPOINTS
from tidemill.streams.runtime.graph import Graph
from tidemill.streams.runtime.snapshot import Loaded, Saved, Snapshots
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


class Shard:
    """Runs `graph` for `partitions`. Raises Fenced, Regressed, Unreadable, Unavailable from `run`.

    `snapshots` is a folder, None for none (tests, backtests). `writer` signs its checkpoints.
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
        writer: str = "",
    ) -> None:
        self.graph = graph
        self.partitions = frozenset(partitions)
        self.engine = Engine(graph, ())
        self.done = 0
        """Newest LOG sequence that was stepped."""
        self.lag = 0
        """Messages of LOG behind the last one pulled."""
        self.stepped = 0
        """Messages stepped since start."""
        self._log, self._out = log, out
        self._limits = limits or Limits()
        self._code = code or code_hash()
        self._folder = snapshots
        self._snapshots: Snapshots | None = None
        self._committer = Committer(
            out,
            graph,
            self._code,
            writer,
            self._limits.commit_bytes_max,
            self._limits.retry_s_max,
        )
        self._deployed_at = 0
        self._upstream: Upstream | None = None
        self._commit: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[Path] | None = None
        self._snapshot_ts = 0
        self._snapshot_bytes = 0

    @property
    def retries(self) -> int:
        """Attempts that had to be made again since start."""
        return self._committer.retries

    async def run(self, until: int | None = None, stop: asyncio.Event | None = None) -> None:
        """Recover, then step for ever, or until everything up to LOG sequence `until` is committed.

        `stop` set: finishes what it has pulled, commits it and returns.
        """
        reader = None
        try:
            reader = await self._begin()
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
            await self._end(reader)

    async def _begin(self) -> port.Reader:
        """Recover and open LOG; wait, however long, while LOG or OUT is away."""
        attempt = 0
        while True:
            try:
                await self.recover()
                return await self._log.read(self.done + 1, filters(self.partitions))
            except Unavailable as error:
                attempt += 1
                logger.warning("graph %s waits to recover: %s", self.graph.name, error)
            await self._settle()
            await self._committer.back_off(attempt)

    async def _end(self, reader: port.Reader | None) -> None:
        """Stop what runs beside the loop, and do not leave before it has stopped."""
        tasks = [task for task in (self._commit, self._writing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
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
            await self._committer.back_off(attempt)

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
        if self.done > self._deployed_at and self.engine.deployed not in ("", self._code):
            raise self._replaced(self.engine.deployed)
        timed = any(message.subject == "time" for message in messages)
        touched = {output.partition for output in made}
        if timed:
            touched |= self._committer.behind(self.done) & self.engine.partitions
        await self._settle()
        whole = self.engine.partitions == self.partitions
        snapshot = timed and whole and self._snapshot_due()
        if touched:
            self._commit = asyncio.create_task(
                self._committer.commit(made, touched, messages, self._out_from(), snapshot)
            )
        if snapshot:
            await self._settle()
            await self._snapshot()
        await asyncio.sleep(0)

    async def _conclude(self, until: int) -> None:
        """Say that everything up to `until` is done, though the last of it was not ours."""
        last = await self._get(until)
        touched = self._committer.behind(until)
        if last is not None and touched:
            self.done = max(self.done, until)
            await self._committer.commit([], touched, [last], self._out_from())

    async def _get(self, sequence: int) -> Message | None:
        """Return a message of LOG; wait, however long, while LOG is away."""
        attempt = 0
        while True:
            try:
                return await self._log.get(sequence)
            except Unavailable as error:
                attempt += 1
                logger.warning("graph %s waits for LOG: %s", self.graph.name, error)
            await self._committer.back_off(attempt)

    def _replaced(self, deployed: str) -> Fenced:
        return Fenced(
            f"LOG deploys code {deployed} for graph {self.graph.name}, this is {self._code}:"
            " start the deployed version, or run `tidemill deploy`"
        )

    def _out_from(self) -> int:
        return self._upstream.out_from if self._upstream is not None else 1

    async def _settle(self) -> None:
        """Wait for the commit in flight."""
        if self._commit is not None:
            await self._commit
            self._commit = None

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
        """Restore what the checkpoints say.

        Raises Regressed before any effect if LOG is not theirs, Fenced if LOG deploys other code,
        Unavailable.
        """
        identity = await self._log.identity()
        checkpoints = await self._checkpoints(identity)
        known = await control.read(self._log, self.graph.name, identity.last)
        if known.deployed not in ("", self._code):
            raise self._replaced(known.deployed)
        self._deployed_at = known.deployed_at
        crash_points.reach("graph.recovery.proven")
        self.engine = Engine(self.graph, (), known.skips)
        covered = self._committer.recall(identity.uuid, self.partitions, checkpoints)
        for (processor, partition), done in covered.items():
            self.engine.committed[processor][partition] = done
        saved: dict[int, Saved] = {}
        if self._folder is not None:
            self._snapshots = Snapshots(self._folder, self.graph, identity.uuid, self._code)
            whole = {p: self._committer.committed[p].whole for p in self.partitions}
            saved = await asyncio.to_thread(self._snapshots.newest, whole)
        await self._restore(saved, identity.uuid)
        self._snapshot_ts = self.engine.ts
        crash_points.reach("graph.recovery.restored")

    async def _checkpoints(self, identity: port.Identity) -> list[tuple[Message, Checkpoint]]:
        """Return the checkpoints of all graphs. Raises Regressed unless LOG is theirs."""
        found = []
        proven: dict[tuple[str, int, int], None] = {}
        for message in await self._out.lasts(CHECKPOINTS):
            checkpoint = Checkpoint.read(message.payload)
            found.append((message, checkpoint))
            key = (checkpoint.log, checkpoint.done, checkpoint.tail)
            if key not in proven:
                await proof.prove_one(self._log, checkpoint, identity)
                proven[key] = None
        return found

    async def _restore(self, saved: dict[int, Saved], log_uuid: str) -> None:
        """Bring all partitions to one position: the oldest catches up to the next, and joins it."""
        groups: dict[int, dict[int, Saved | None]] = {}
        for partition in sorted(self.partitions):
            found = saved.get(partition)
            groups.setdefault(found.r if found else 0, {})[partition] = found
        loaded = {r: await asyncio.to_thread(self._load, groups[r]) for r in sorted(groups)}
        if self.graph.upstream:
            await self._open_upstream(log_uuid, min(state.out_from for state in loaded.values()))
        self.done = next(iter(loaded))
        for r, state in loaded.items():
            if r > self.done:
                crash_points.reach("graph.recovery.catching_up")
                await self._catch_up(r)
                crash_points.reach("graph.recovery.caught_up")
            for section in state.sections:
                self.engine.adopt(section)
            self.engine.ts = max(self.engine.ts, state.ts)
            if self._upstream is not None:
                self._upstream.adopt(groups[r], r)

    async def _open_upstream(self, log_uuid: str, out_from: int) -> None:
        if self._upstream is not None:
            await self._upstream.close()
        self._upstream = Upstream(self._out, self.graph, self.partitions, log_uuid, out_from)
        await self._upstream.open()

    def _load(self, group: dict[int, Saved | None]) -> Loaded:
        """Return the sections of a group, and the time and OUT sequence they stand at."""
        empty = [Section(p, [], [], {}) for p, found in group.items() if found is None]
        state = Loaded(0, 1, empty)
        files = {found for found in group.values() if found is not None}
        for index, found in enumerate(sorted(files, key=lambda found: found.path.name)):
            assert self._snapshots is not None
            wanted = frozenset(p for p, s in group.items() if s == found)
            one = self._snapshots.load(found, wanted)
            out_from = min(one.out_from, state.out_from) if index or empty else one.out_from
            state = Loaded(max(one.ts, state.ts), out_from, state.sections + one.sections)
        return state

    async def _catch_up(self, r: int) -> None:
        """Step the partitions that are owned already up to `r`, and commit what was not."""
        reader = await self._log.read(self.done + 1, filters(self.engine.partitions))
        try:
            while self.done < r:
                messages = await self._pull(reader)
                due = [message for message in messages if message.sequence <= r]
                if due:
                    await self._advance(due)
                if len(due) < len(messages) or await self._complete(reader) >= r:
                    self.done = max(self.done, r)
        finally:
            await reader.close()
        await self._settle()
