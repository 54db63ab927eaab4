"""Kills of processes and of the server at random moments, counted only where they really hit."""

import asyncio
import signal
from collections import Counter
from collections.abc import Sequence
from multiprocessing.context import ForkServerProcess
from random import Random
from typing import NamedTuple

from tidemill.deploy.roles.connections import Streams
from tidemill.schemas.errors import Unavailable
from tidemill.streams.runtime.checkpoint import Checkpoint, progress
from tidemill.tests.flow.processes import AWAY, FENCED, FillJob, ShardJob, started
from tidemill.tests.servers import RunningNats

WAIT_S = 240.0
"""Longest that progress is waited for."""
SERVER = "server"

Job = ShardJob | FillJob


class Moment(NamedTuple):
    """Kill `what` when its work has come to a share of the whole; None: soon after its start."""

    what: str
    share: float | None


def moments(random: Random, **kills: int) -> list[Moment]:
    """Draw moments over the first three quarters of the work; of those of processes, a fifth soon
    after a start, while it recovers."""
    drawn = [
        Moment(what, random.uniform(0.01, 0.75))
        for what, count in kills.items()
        for _ in range(count)
    ]
    drawn.sort(key=lambda moment: moment.share or 0)
    for at in range(1, len(drawn), 5):
        if drawn[at].what != SERVER:
            drawn[at] = drawn[at]._replace(share=None)
    return drawn


class Fleet:
    """Processes of jobs; one that ends because the server is away is started again."""

    def __init__(
        self, nats: RunningNats, streams: Streams, total: int, random: Random, **jobs: Sequence[Job]
    ) -> None:
        self.kills: Counter[str] = Counter()
        """Of processes that ran and had not finished, and of the server while some ran."""
        self.restarts: Counter[int] = Counter()
        """By exit status."""
        self._nats, self._streams, self._total, self._random = nats, streams, total, random
        self._jobs = jobs
        self._running: dict[Job, ForkServerProcess] = {}

    async def run(self, plan: Sequence[Moment]) -> None:
        """Start all jobs, kill by the plan, and return when every job has finished."""
        try:
            for jobs in self._jobs.values():
                for job in jobs:
                    self._start(job)
            async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
                for what in {moment.what: None for moment in plan}:
                    group.create_task(self._follow([m for m in plan if m.what == what]))
            async with asyncio.timeout(WAIT_S):
                while self._running:
                    self._tend()
                    await asyncio.sleep(0.01)
        finally:
            for process in self._running.values():
                process.kill()
                process.join()

    async def _follow(self, moments: Sequence[Moment]) -> None:
        for moment in moments:
            await (self._kill_server if moment.what == SERVER else self._kill)(moment)

    def _start(self, job: Job) -> None:
        self._running[job] = started(job, self._random.randrange(1 << 32))

    def _tend(self) -> None:
        """Take note of what ended; anything but success, absence and fencing is a failure."""
        for job, process in list(self._running.items()):
            if process.exitcode is None:
                continue
            del self._running[job]
            assert process.exitcode in (0, AWAY, FENCED), (job, process.exitcode)
            if process.exitcode:
                self.restarts[process.exitcode] += 1
                self._start(job)

    def _left(self, what: str) -> list[Job]:
        self._tend()
        left = [job for job in self._jobs[what] if job in self._running]
        assert left, f"every {what} finished before it was killed: {self.kills}"
        return left

    async def _kill(self, moment: Moment) -> None:
        job = self._random.choice(self._left(moment.what))
        if moment.share is not None:
            while await self._position(job) < moment.share * self._total:
                await asyncio.sleep(0.003)
                if job not in (left := self._left(moment.what)):
                    job = self._random.choice(left)
        await asyncio.sleep(self._random.uniform(0, 0.03 if moment.share is not None else 0.2))
        process = self._running.get(job)
        if process is not None:
            process.kill()
            process.join()
        if process is None or process.exitcode != -signal.SIGKILL:
            # It ended by itself a moment before: `_tend` judges how, and starts it again.
            return await self._kill(moment)
        del self._running[job]
        finished = await self._position(job) >= self._total
        self._start(job)
        if finished:  # it was only about to end
            return await self._kill(moment)
        self.kills[moment.what] += 1

    async def _kill_server(self, moment: Moment) -> None:
        assert moment.share is not None
        jobs = [job for some in self._jobs.values() for job in some if isinstance(job, ShardJob)]
        positions = [0]
        while max(positions) < moment.share * self._total:
            await asyncio.sleep(0.003)
            self._tend()
            done = await self._done()
            positions = [done.get((job.graph, job.index), 0) for job in jobs]
        assert min(positions) < self._total, "there was nobody to notice"
        self._nats.kill()
        await asyncio.sleep(self._random.uniform(0, 0.3))
        await self._nats.start()
        self.kills[SERVER] += 1

    async def _position(self, job: Job) -> int:
        """How far a job's work is, by what the log says."""
        if isinstance(job, ShardJob):
            return (await self._done()).get((job.graph, job.index), 0)
        while True:
            try:
                return (await self._streams.log.identity()).last
            except Unavailable:
                await asyncio.sleep(0.01)

    async def _done(self) -> dict[tuple[str, int], int]:
        """How far graphs' partitions are: asked once for all, for many graphs have many."""
        while True:
            try:
                said = await self._streams.out.lasts("ckpt.*.*")
                return progress(Checkpoint.read(one.payload) for one in said)
            except Unavailable:
                await asyncio.sleep(0.01)
