"""One log, one outcome: however it is batched, sharded, split, delayed, killed and resumed."""

import asyncio
from pathlib import Path
from random import Random

import pytest

from tidemill.schemas import events
from tidemill.schemas.errors import Fenced, Unavailable
from tidemill.streams.memory import Fault, MemoryLog
from tidemill.streams.runtime.graph import Graph
from tidemill.streams.runtime.shard import EVERY, Limits, Shard, shard_of
from tidemill.streams.subjects import LOG_SUBJECTS
from tidemill.tests.streams.runtime.graphs import random_log
from tidemill.tests.streams.runtime.playing import (
    FUSED,
    SPLIT,
    digest,
    empty,
    filled,
    outcome,
    run_all,
)


@pytest.mark.parametrize("seed", range(6))
async def test_batches_shards_and_split_graphs_give_one_outcome(seed: int) -> None:
    log = await filled(seed)
    expected = None
    for graphs in (FUSED, SPLIT):
        for count in (1, 2, 5):
            out = empty()
            await run_all(log, out, graphs, count, Random(seed + count))
            rows = await outcome(out)
            assert len(rows) > 200
            assert {row[0].split(".")[0] for row in rows} >= {"bars", "prices", "feeds"}
            assert len({row[:4] for row in rows}) == len(rows)
            expected = expected or digest(rows)
            assert digest(rows) == expected, (graphs[0].name, count)


async def test_dead_letters_are_outputs_of_their_processor_and_park_the_key() -> None:
    letters = []
    for seed in range(8):
        out = empty()
        await run_all(await filled(seed), out, FUSED, 1, Random(seed))
        letters += [row for row in await outcome(out) if row[0].startswith("dlq.")]
    told = [events.decode(row[-1]) for row in letters]
    reasons = {getattr(letter, "reason", "")[:20] for letter in told}
    assert any("parked" in reason for reason in reasons) and len(reasons) > 2


async def crashing(
    log: MemoryLog, out: MemoryLog, graphs: list[Graph], count: int, random: Random, folder: Path
) -> int:
    """Run the shards, killing them at random moments, until all are done; return the kills."""
    last = (await log.identity()).last
    jobs = [(g, i, 1 if g.name == "three" else count) for g in graphs for i in range(count)]
    jobs = [(g, i, of) for g, i, of in jobs if i < of]
    kills = 0

    async def one(graph: Graph, index: int, of: int) -> None:
        nonlocal kills
        while True:
            limits = Limits(
                batch_messages_max=random.choice([3, 17, 60]),
                snapshot_ns=2 * 10**9,
                retry_s_max=0.01,
            )
            shard = Shard(log, out, graph, shard_of(index, of), folder, limits)
            task = asyncio.create_task(shard.run(until=last))
            if random.random() < 0.5:
                out.faults += random.choices([None, Fault.LANDED, Fault.LOST], k=2)
            for _ in range(random.randrange(400) if kills < 60 else 10**9):
                if task.done():
                    break
                await asyncio.sleep(0)
            if task.done():
                try:
                    return await task
                except (Fenced, Unavailable):
                    continue
            task.cancel()
            kills += 1
            await asyncio.gather(task, return_exceptions=True)

    await asyncio.wait_for(asyncio.gather(*(one(*job) for job in jobs)), 120)
    return kills


@pytest.mark.parametrize("seed", range(6))
async def test_kills_lost_acknowledgements_and_resharding_change_nothing(
    seed: int, tmp_path: Path
) -> None:
    log = await filled(seed)
    calm = empty()
    await run_all(log, calm, FUSED, 1, Random(seed))
    expected = digest(await outcome(calm))
    for graphs, count in ((FUSED, 1), (FUSED, 3), (SPLIT, 2)):
        out = empty()
        folder = tmp_path / f"{graphs[0].name}-{count}"
        kills = await crashing(log, out, graphs, count, Random(seed), folder)
        assert kills >= 20
        assert digest(await outcome(out)) == expected


async def test_another_shard_count_continues_from_the_old_ones_snapshots(tmp_path: Path) -> None:
    facts = random_log(7, 900)
    whole, log = MemoryLog("LOG", LOG_SUBJECTS), MemoryLog("LOG", LOG_SUBJECTS)
    for fact in facts:
        await whole.append([fact], None)
    calm, out = empty(), empty()
    await run_all(whole, calm, FUSED, 1, Random(1))
    done = 0
    for stop, count in ((200, 5), (430, 2), (610, 1), (len(facts), 3)):
        for fact in facts[done:stop]:
            await log.append([fact], None)
        done = stop
        for index in range(count):  # one after the other: their positions differ on the way
            limits = Limits(batch_messages_max=20, snapshot_ns=10**9 * (index + 1))
            shard = Shard(log, out, FUSED[0], shard_of(index, count), tmp_path, limits)
            await shard.run(until=stop)
    assert digest(await outcome(out)) == digest(await outcome(calm))


async def test_two_owners_of_a_partition_one_is_fenced_and_nothing_is_doubled() -> None:
    log = await filled(3)
    calm, out = empty(), empty()
    await run_all(log, calm, FUSED, 1, Random(1))
    last = (await log.identity()).last
    rivals = [
        Shard(log, out, FUSED[0], EVERY, limits=Limits(batch_messages_max=size))
        for size in (11, 23)
    ]
    ends = await asyncio.gather(*(r.run(until=last) for r in rivals), return_exceptions=True)
    assert any(isinstance(end, Fenced) for end in ends)
    await run_all(log, out, FUSED, 1, Random(1))
    assert digest(await outcome(out)) == digest(await outcome(calm))
