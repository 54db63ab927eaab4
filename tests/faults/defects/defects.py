"""Defects of the engine, each of which would break a promise: what the proof must notice."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tidemill.tests.faults.defects.mutation import Mutation
from tidemill.tests.faults.simulation.plan import Fault, Plan

Chosen = Callable[[Plan], bool]


@dataclass(frozen=True)
class Defect:
    """A defect: what it is called, which invariant it breaks, and how it is put in.

    `chosen` picks the seeds that can notice it (a defect of a sink needs sinks).
    """

    name: str
    breaks: str
    mutations: tuple[Mutation, ...]
    chosen: Chosen = lambda plan: True
    shape: Mapping[str, Any] = field(default_factory=dict)
    """What every plan is made to be, where it takes more than luck to notice."""


def _sinks(plan: Plan) -> bool:
    return plan.sinks


def _power(plan: Plan) -> bool:
    return any(fault.kind == "power" for fault in plan.faults)


def _split(plan: Plan) -> bool:
    return plan.graphs == "split"


def _writes_fail(plan: Plan) -> bool:
    return any(f.kind in ("unanswered", "late", "lost") for f in plan.faults)


def _one(name: str, breaks: str, place: str, old: str, new: str, chosen: Chosen) -> Defect:
    return Defect(name, breaks, (Mutation(place, old, new),), chosen)


def _any(plan: Plan) -> bool:
    return True


APPENDER = "streams.appender:Appender.append"
COMMITTER = "streams.runtime.committer:Committer"
SHARD = "streams.runtime.shard:Shard"
CLICKHOUSE = "projections.clickhouse.sink:ClickHouseSink"
LANDED = "landed = await self._landed(messages[-1], error)"

FEEDS = (
    _one(
        "an append without its fence",
        "I1, I2",
        APPENDER,
        "Fence(self.subject, self.last)",
        "None",
        _writes_fail,
    ),
    _one(
        "an append is confirmed before it is stored",
        "I1",
        "streams.writer:Writer._flush_next",
        "await self._appender.append(flush, self._expire)",
        "asyncio.create_task(self._appender.append(flush, self._expire))",
        _any,
    ),
    _one(
        "an append of unknown outcome is taken for stored",
        "I1",
        APPENDER,
        LANDED,
        "landed = True",
        _writes_fail,
    ),
    _one(
        "an append of unknown outcome is sent again behind what is newest",
        "I1, I2",
        APPENDER,
        LANDED,
        "landed = False; await self.own()",
        _writes_fail,
    ),
    _one(
        "a feed that is started again counts its records from one",
        "I2",
        "streams.writer:Writer.open",
        "sequence_of(newest.payload) if newest is not None else 0",
        "0",
        _any,
    ),
    _one(
        "time follows the writer's clock wherever it goes",
        "time never falls",
        "streams.time_writer:TimeWriter._record",
        "max(self._ts, self._now())",
        "self._now()",
        _any,
    ),
    Defect(
        "a standby writes time at once, and without the fence",
        "I2, time never falls",
        (
            Mutation(
                "streams.time_writer:TimeWriter._watch",
                "elif clock() - since >= self._silence_s:",
                "else:",
            ),
            Mutation(APPENDER, "Fence(self.subject, self.last)", "None"),
        ),
    ),
)

GRAPH = (
    _one(
        "a transaction without the expected sequence of its checkpoints",
        "I4, I6",
        "streams.memory:MemoryLog.transact",
        "[Fence(one.subject, one.last) for one in checkpoints]",
        "[]",
        lambda plan: plan.owners > 1,
    ),
    _one(
        "a checkpoint is stored before its outputs",
        "I5",
        f"{COMMITTER}._store",
        "return await self._out.transact(outputs, checkpoints)",
        "kept = await self._out.transact([], checkpoints)\n"
        "            if outputs:\n"
        "                await self._out.append(outputs, None)\n"
        "            return kept",
        _any,
    ),
    _one(
        "outputs are stored before their checkpoint",
        "I4",
        f"{COMMITTER}._store",
        "return await self._out.transact(outputs, checkpoints)",
        "if outputs:\n"
        "                await self._out.append(outputs, None)\n"
        "            return await self._out.transact([], checkpoints)",
        _any,
    ),
    _one(
        "a commit of unknown outcome is taken for stored",
        "I3",
        f"{COMMITTER}._store",
        "found = await self._landed(checkpoints)",
        "found = {c.subject: await self._out.last(c.subject) for c in checkpoints}\n"
        "            found = {s: m.sequence if m else 0 for s, m in found.items()}",
        _writes_fail,
    ),
    _one(
        "a commit of unknown outcome is taken for lost",
        "it comes right",
        f"{COMMITTER}._store",
        "found = await self._landed(checkpoints)",
        "found = None",
        lambda plan: any(f[1:3] == ("unanswered", "OUT") for f in plan.faults),
    ),
    _one(
        "outputs are not suppressed after recovery",
        "I4",
        f"{SHARD}.recover",
        "self.engine.committed[processor][partition] = done",
        "pass",
        _any,
    ),
    Defect(
        "a snapshot is taken before its commit, and one ahead of the checkpoint is restored",
        "I3",
        (
            Mutation(
                f"{SHARD}._advance",
                "    if snapshot:\n        await self._settle()\n",
                "    if snapshot:\n",
            ),
            Mutation(
                "streams.runtime.snapshot:Snapshots.newest",
                "if saved.r <= done[partition]:",
                "if True:",
            ),
        ),
        shape={
            "snapshot_s": 0.3,
            "graphs": "fused",
            "sinks": False,
            "batch_messages_max": 2_000,
            "faults": (
                Fault(0.3, "slow", "LOG", 4.0),
                *(Fault(at_s, "restart", "OUT", 0.3) for at_s in (0.8, 1.4, 2.0, 2.6, 3.2)),
                *(Fault(at_s, "shards", "graph", 1) for at_s in (1.05, 1.65, 2.25, 2.85, 3.45)),
            ),
        },
    ),
    _one(
        "reading goes on at the checkpoint, not at the snapshot",
        "I3",
        f"{SHARD}._restore",
        "self.done = next(iter(loaded))",
        "self.done = max(known.done for known in self._committer.committed.values())",
        _any,
    ),
    _one(
        "reading goes on one fact too late",
        "I3",
        f"{SHARD}._begin",
        "self._log.read(self.done + 1,",
        "self._log.read(self.done + 2,",
        _any,
    ),
    _one(
        "a partition with outputs is spoken for as if it had none",
        "I5",
        f"{COMMITTER}.commit",
        "if not (outputs or every)]",
        "if not every]",
        _any,
    ),
    Defect(
        "part of a root that was committed is committed again",
        "I4",
        (
            Mutation(
                f"{COMMITTER}._beyond",
                "output if within is None else cuts.beyond(output, within)",
                "output",
            ),
        ),
        shape={
            "graphs": "fused",
            "commit_bytes_max": 200,
            "faults": tuple(
                Fault(0.5 * k, "point", "graph.commit.stored", k % 3 + 1) for k in range(1, 8)
            ),
        },
    ),
    _one(
        "the gate of another graph opens with the fastest shard",
        "I3",
        "streams.runtime.gate:Gate.root",
        "min(self._done.values())",
        "max(self._done.values())",
        _split,
    ),
    _one(
        "a reader of another graph trusts checkpoints that lie ahead of it",
        "I3",
        "streams.runtime.upstream:Upstream.open",
        "if message.sequence < self._next:",
        "if True:",
        _split,
    ),
)

SINKS = (
    _one(
        "inserts of a former sink are not ended before the tail is compared",
        "I7",
        f"{CLICKHOUSE}._take_over",
        "await drain(self._clickhouse, name)",
        "pass",
        _sinks,
    ),
    _one(
        "an insert without the fence inside it",
        "I7",
        "projections.clickhouse.fenced:FencedInsert.__init__",
        "!= {epoch}, 'FENCED')",
        "!= 0, 'NOBODY')",
        _sinks,
    ),
    _one(
        "a takeover does not raise the fence",
        "it comes right",
        f"{CLICKHOUSE}._take_over",
        "await raise_fence(self._clickhouse, name, claimed.epoch)",
        "pass",
        _sinks,
    ),
    _one(
        "the tail is not repaired",
        "I7",
        f"{CLICKHOUSE}._take_over",
        "await self._repair(tail, insert)",
        "pass",
        _power,
    ),
    _one(
        "only the newest root of the tail is compared",
        "I7",
        f"{CLICKHOUSE}._take_over",
        "Tail(newest, claimed.roots_max, claimed.rows_max)",
        "Tail(newest, 1, 1)",
        _power,
    ),
    _one(
        "the position is told before the insert",
        "I7",
        f"{CLICKHOUSE}._insert",
        "await owned.insert.send(block.body, block.first, block.last)",
        "await advance(self._pool, self.table.physical, owned.epoch, block.done, block.last,"
        " owned.persisted)\n"
        "        await owned.insert.send(block.body, block.first, block.last)",
        _sinks,
    ),
    _one(
        "an insert of unknown outcome is sent again at once",
        "I7",
        f"{CLICKHOUSE}._insert",
        "await owned.insert.send(block.body, block.first, block.last)",
        "try:\n"
        "            await owned.insert.send(block.body, block.first, block.last)\n"
        "        except Unavailable:\n"
        "            await owned.insert.send(block.body, block.first, block.last, 1)",
        lambda plan: any(f[1:3] == ("unanswered", "CLICKHOUSE") for f in plan.faults),
    ),
    _one(
        "a takeover inserts again from what was told, in blocks cut by time",
        "I7",
        f"{CLICKHOUSE}._take_over",
        "newest = await newest_root(self._clickhouse, name)",
        "newest = claimed.floor",
        _sinks,
    ),
    _one(
        "a table that has lost rows is told to be where it was",
        "I7",
        f"{CLICKHOUSE}._take_over",
        "position = max(claimed.position, newest) if newest >= claimed.floor else newest",
        "position = max(claimed.position, newest)",
        _power,
    ),
    _one(
        "the gate of a derived table opens before its outputs are read",
        "I7",
        "projections.sources:OutSource.open",
        "if message.sequence < self._next_sequence:",
        "if True:",
        _sinks,
    ),
    _one(
        "a takeover gives rows again that its table has",
        "I7",
        "projections.sources:OutSource._keep",
        "wanted = roots >= self._start",
        "wanted = roots >= 0",
        _sinks,
    ),
    Defect(
        "rows of Postgres are written in a transaction after their position's",
        "I8",
        (
            Mutation(
                "projections.postgres.sink:PostgresSink._commit",
                "            if rows is not None:\n"
                "                await write(connection, self.table, rows)\n"
                '                self._step("written")\n',
                "        if rows is not None:\n"
                "            async with connection.transaction():\n"
                "                await write(connection, self.table, rows)\n"
                '                self._step("written")\n',
            ),
        ),
        _sinks,
        {
            "faults": tuple(
                Fault(0.6 * k, "point", "sink.latest_bars.written", k) for k in range(1, 6)
            )
        },
    ),
)


def _processor(name: str, wrong: str, graph: str) -> Defect:
    place = "__import__('tidemill.tests.faults.defects.processors', fromlist=['x'])"
    mutation = Mutation(
        "tests.faults.simulation.roles:graphs_of",
        'Graph("main", [COUNT, FOLLOW, BEAT])',
        f'Graph("main", [{graph.format(f"{place}.{wrong}")}])',
    )
    return Defect(name, "I3", (mutation,), lambda p: p.graphs == "fused" and p.venues == 2)


PROCESSORS = (
    _processor("a processor emits in the order of a set", "BY_A_SET", "COUNT, FOLLOW, {}"),
    _processor("a processor reads a clock", "BY_A_CLOCK", "COUNT, {}, BEAT"),
    _processor("a processor remembers beside its state", "BESIDE_ITS_STATE", "{}, FOLLOW, BEAT"),
)

DEFECTS = (*FEEDS, *GRAPH, *SINKS, *PROCESSORS)
BEGIN = {
    "an append is confirmed before it is stored": 2,
    "an append of unknown outcome is taken for stored": 2,
    "a commit of unknown outcome is taken for stored": 16,
    "a commit of unknown outcome is taken for lost": 2,
    "a snapshot is taken before its commit, and one ahead of the checkpoint is restored": 11,
    "the gate of another graph opens with the fastest shard": 96,
    "a reader of another graph trusts checkpoints that lie ahead of it": 30,
    "inserts of a former sink are not ended before the tail is compared": 3,
    "an insert without the fence inside it": 10,
    "only the newest root of the tail is compared": 73,
    "an insert of unknown outcome is sent again at once": 60,
    "rows of Postgres are written in a transaction after their position's": 5,
}
"""The seed that the test begins with, where the first ones do not notice: it only saves time."""

HARMLESS = (
    _one(
        "a lease is taken from whoever holds it",
        "none: the checkpoints' fences decide who writes",
        "streams.lease:Lease._free",
        'holder.owner in ("", self.owner) or now - self._seen_since >= holder.ttl_s',
        "True",
        lambda plan: plan.leases and plan.owners > 1,
    ),
    _one(
        "a sink of Postgres does not ask whether it moved its position",
        "none: what is newest stays",
        "projections.postgres.sink:PostgresSink._commit",
        "if moved is None:",
        "if False:",
        _sinks,
    ),
)
"""What only saves work, or is a second net: no promise rests on it."""
