"""Logs of random facts, graphs over them, and the outcome that must be one."""

import asyncio
import hashlib
from random import Random

from tidemill.schemas import events, kinds
from tidemill.schemas.kinds import KINDS
from tidemill.streams import subjects
from tidemill.streams.memory import MemoryLog
from tidemill.streams.runtime.graph import Graph
from tidemill.streams.runtime.shard import Limits, Shard, shard_of
from tidemill.streams.subjects import LOG_SUBJECTS, OUT_SUBJECTS
from tidemill.tests.streams.runtime.graphs import BEAT, COUNT, FOLLOW, random_log

FUSED = [Graph("main", [COUNT, FOLLOW, BEAT])]
SPLIT = [
    Graph("one", [COUNT]),
    Graph("two", [FOLLOW], upstream=[COUNT]),
    Graph("three", [BEAT]),
]


async def filled(seed: int, length: int = 600) -> MemoryLog:
    """Return LOG with random facts."""
    log = MemoryLog("LOG", LOG_SUBJECTS)
    for fact in random_log(seed, length):
        await log.append([fact], None)
    return log


def empty() -> MemoryLog:
    return MemoryLog("OUT", OUT_SUBJECTS)


async def outcome(out: MemoryLog) -> list[tuple[str, int, int, int, bytes]]:
    """Return all derived records in their logical order; transport is left out."""
    rows = []
    reader = await out.read(1, [s for s in OUT_SUBJECTS if s != "ckpt.>"])
    while messages := await reader.pull(10_000, 1 << 30, 0.01):
        for message in messages:
            subject = subjects.parse(message.subject)
            if subject.kind in KINDS:
                for record in kinds.decode(message.payload).records:
                    at = (int(record["at_r"]), int(record["at_i"]), int(record["n"]))
                    rows.append((message.subject, *at, record.tobytes()))
            else:
                event = events.decode(message.payload)
                assert isinstance(event, events.Derived)
                at = (event.at_r, event.at_i, event.n)
                rows.append((message.subject, *at, message.payload))
    return sorted(rows)


def digest(rows: list[tuple[str, int, int, int, bytes]]) -> str:
    return hashlib.sha256(repr(rows).encode()).hexdigest()


async def run_all(
    log: MemoryLog, out: MemoryLog, graphs: list[Graph], count: int, random: Random, **given: object
) -> None:
    """Run every shard of every graph to the end of LOG, with batches of random size."""
    last = (await log.identity()).last
    shards = []
    for graph in graphs:
        of = 1 if graph.name == "three" else count
        for index in range(of):
            limits = Limits(
                batch_messages_max=random.choice([1, 2, 7, 50, 1000]),
                snapshot_ns=random.choice([10**9, 10**12]),
            )
            shards.append(
                Shard(log, out, graph, shard_of(index, of), limits=limits, **given)  # type: ignore[arg-type]
            )
    await asyncio.wait_for(asyncio.gather(*(shard.run(until=last) for shard in shards)), 60)
