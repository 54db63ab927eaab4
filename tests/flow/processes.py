"""Processes that a test kills: shards of a graph and replays, forked from one that is loaded."""

import asyncio
import logging
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from random import Random
from typing import Any

from tidemill.deploy.graphs import graphs
from tidemill.deploy.replaying import fill
from tidemill.deploy.roles.connections import streams
from tidemill.deploy.settings import GraphLayout
from tidemill.schemas.errors import Fenced, Unavailable
from tidemill.streams.runtime.shard import Limits, Shard, shard_of
from tidemill.tests.flow.delays import DelayedLog
from tidemill.tests.forked import forked, load

AWAY, FENCED = 3, 4
"""Exit statuses after which a supervisor starts a process again."""
SNAPSHOT_NS = 8_000_000_000
"""Log time between snapshots: some are always being written."""

load(__name__, "tidemill.tests.flow.loaded")


@dataclass(frozen=True)
class ShardJob:
    """One shard of one graph of a layout, up to LOG sequence `until`."""

    url: str
    layout: GraphLayout
    graph: str
    index: int
    count: int
    until: int
    snapshots: Path
    delay_s: float = 0.002

    async def run(self, seed: int) -> None:
        """Run it in small batches at an uneven pace. Raises as Shard.run."""
        random = Random(seed)
        async with streams(self.url, f"{self.graph}-{self.index}") as opened:
            await Shard(
                DelayedLog(opened.log, random, self.delay_s),
                DelayedLog(opened.out, random, self.delay_s),
                graphs(self.layout)[self.graph],
                shard_of(self.index, self.count),
                self.snapshots,
                Limits(
                    batch_messages_max=max(20, self.until // random.choice([50, 100, 250])),
                    snapshot_ns=SNAPSHOT_NS,
                    retry_s_max=0.2,
                ),
            ).run(until=self.until)


@dataclass(frozen=True)
class FillJob:
    """A replay into LOG."""

    url: str
    files: tuple[Path, ...]
    venue: str
    delay_s: float

    async def run(self, seed: int) -> None:
        """Append at an uneven pace. Raises as replaying.fill."""
        async with streams(self.url, "replay") as opened:
            log = DelayedLog(opened.log, Random(seed), self.delay_s)
            await fill(log, self.files, self.venue, "SPOT")


def started(job: ShardJob | FillJob, seed: int) -> ForkServerProcess:
    """Start a job in a process of its own."""
    return forked(_main, job, seed)


def _main(job: ShardJob | FillJob, seed: int) -> None:
    logging.disable(logging.WARNING)  # what a killed server leaves to say
    asyncio.run(_to_the_end(job.run(seed)))


async def _to_the_end(running: Coroutine[Any, Any, None]) -> None:
    """End with the status of what a user would see; anything else is a bug, and its trace."""
    try:
        await running
    except Unavailable:
        sys.exit(AWAY)
    except Fenced:
        sys.exit(FENCED)
