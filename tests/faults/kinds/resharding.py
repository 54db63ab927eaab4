"""Shards moved every second under load: layouts of one to five shards take over from each other.

Each new layout's processes take partitions by the checkpoints' fences alone, without leases; who
had them must be refused. The supervised graph is refused too, and in the end takes everything back.
"""

import asyncio
import time
from multiprocessing.context import ForkServerProcess
from random import Random

from tidemill.deploy.embedded.servers import ServerUrls
from tidemill.tests.faults.stage import FLOW_S, Stage, Struck
from tidemill.tests.flow.processes import AWAY, FENCED, ShardJob, started

FOR_EVER = 1 << 40
EVERY_S = 1.0
MOVES = (3, 5)
SHARDS = (1, 2, 3, 5)


async def moved(stage: Stage, random: Random) -> Struck:
    """Move shards several times, a second apart; then let the supervised graph have them."""
    supervised = await stage.engine.pid_of("graph")
    moves = random.randint(*MOVES)
    running: list[ForkServerProcess] = []
    counts: list[int] = []
    try:
        for _ in range(moves):
            counts.append(random.choice(SHARDS))
            jobs = _layout(stage.observer.urls, stage, counts[-1])
            for job in jobs:  # on a thread: the first one loads what all are forked from
                seed = random.randrange(1 << 32)
                running.append(await asyncio.to_thread(started, job, seed))
            await asyncio.sleep(EVERY_S)
        await stage.flows()
        ts = time.time_ns()
        if stage.engine.pids().get("graph") == supervised:
            await stage.replaced("graph", supervised)
        await _refused(running)
    finally:
        for process in running:
            process.kill()
            process.join()
    statuses = sorted(str(process.exitcode) for process in running)
    assert all(process.exitcode in (FENCED, AWAY) for process in running), statuses
    what = f"{moves} layouts of {', '.join(map(str, counts))} shards, {EVERY_S:g} s apart"
    return Struck(what, f"{len(running)} shards and graph {supervised} were refused", ts)


def _layout(urls: ServerUrls, stage: Stage, count: int) -> list[ShardJob]:
    snapshots = stage.engine.data_dir / "snapshots"
    return [
        ShardJob(urls.nats_engine, "fused", "main", index, count, FOR_EVER, snapshots, 0.0)
        for index in range(count)
    ]


async def _refused(running: list[ForkServerProcess]) -> None:
    """Wait until everyone who was started here has been refused by another."""
    async with asyncio.timeout(FLOW_S):
        while any(process.exitcode is None for process in running):
            await asyncio.sleep(0.05)
