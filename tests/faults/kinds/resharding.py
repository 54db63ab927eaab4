"""Shards moved every second under load, each time to another number of them.

The supervised graph stands still meanwhile. New processes take partitions over by the checkpoints'
fences alone, without leases, while those that had them are killed; one that is refused, because the
old owner still wrote, is started again. In the end the graph goes on: it must be refused, and
whoever the supervisor starts in its place has everything back.
"""

import asyncio
import os
import time
from multiprocessing.context import ForkServerProcess
from random import Random
from signal import SIGCONT

from tidemill.tests.faults.kinds.zombies import REFUSED
from tidemill.tests.faults.stage import Stage, Struck, stand_still
from tidemill.tests.flow.processes import AWAY, FENCED, ShardJob, started

FOR_EVER = 1 << 40
EVERY_S = 1.0
MOVES = (3, 5)
SHARDS = (1, 2, 3, 5)


class Fleet:
    """Processes of one layout; one that is refused, or has no server, is started again."""

    def __init__(self, stage: Stage, random: Random, count: int) -> None:
        url, snapshots = stage.observer.urls.nats_engine, stage.engine.data_dir / "snapshots"
        self.restarts = 0
        self._random = random
        self._running: dict[ShardJob, ForkServerProcess] = {}
        self._jobs = [
            ShardJob(url, "fused", "main", index, count, FOR_EVER, snapshots, 0.0)
            for index in range(count)
        ]

    async def start(self) -> None:
        """Start all; on a thread, since the first one loads what all are forked from."""
        for job in self._jobs:
            self._running[job] = await asyncio.to_thread(started, job, self._random.getrandbits(32))

    async def tend(self, seconds: float) -> None:
        """Start again who ended, for a while."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for job, process in list(self._running.items()):
                if process.exitcode is not None:
                    assert process.exitcode in (FENCED, AWAY), (job, process.exitcode)
                    self.restarts += 1
                    seed = self._random.getrandbits(32)
                    self._running[job] = await asyncio.to_thread(started, job, seed)
            await asyncio.sleep(0.02)

    def kill(self) -> None:
        """kill -9 of all."""
        for process in self._running.values():
            process.kill()
        for process in self._running.values():
            process.join()
        self._running.clear()


async def moved(stage: Stage, random: Random) -> Struck:
    """Move shards several times, a second apart; then let the supervised graph have them."""
    graph = await stage.engine.pid_of("graph")
    refusals = stage.logged("graph").count(REFUSED)
    fleets: list[Fleet] = []
    counts = [random.choice(SHARDS) for _ in range(random.randint(*MOVES))]
    await stand_still(graph)
    try:
        for count in counts:
            fleets.append(Fleet(stage, random, count))
            await fleets[-1].start()
            await fleets[-1].tend(random.uniform(0, EVERY_S / 2))
            if len(fleets) > 1:
                fleets[-2].kill()
            await fleets[-1].tend(EVERY_S / 2)
        flowing = asyncio.create_task(stage.flows())  # the last layout has everything
        while not flowing.done():
            await fleets[-1].tend(0.1)
        await flowing
        os.kill(graph, SIGCONT)
        await stage.replaced("graph", graph)
    finally:
        ts = time.time_ns()
        for fleet in fleets:
            fleet.kill()
        if stage.engine.pids().get("graph") == graph:
            os.kill(graph, SIGCONT)
    assert stage.logged("graph").count(REFUSED) > refusals
    restarts = sum(fleet.restarts for fleet in fleets)
    what = f"{len(counts)} layouts of {', '.join(map(str, counts))} shards, {EVERY_S:g} s apart"
    proof = f"all flowed through the last; graph {graph} was refused, shards {restarts} times"
    return Struck(what, proof, ts)
