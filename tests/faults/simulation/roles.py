"""The engine's processes as they run in the simulation: its own code, on a client's ports."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from tidemill.processors.bars import BARS
from tidemill.processors.price import PRICE
from tidemill.processors.stale import STALE
from tidemill.projections.clickhouse.bars import BARS as BARS_TABLE
from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.clickhouse.trades import TRADES
from tidemill.projections.limits import Limits as SinkLimits
from tidemill.projections.postgres.latest_bars import LATEST_BARS
from tidemill.projections.postgres.readings import Pool
from tidemill.projections.runtime import run as run_sinks
from tidemill.projections.sinks import sink_of
from tidemill.projections.sources import source
from tidemill.projections.table import Table
from tidemill.schemas.identifiers import ALL, partition
from tidemill.streams.lease import Lease
from tidemill.streams.runtime.graph import Graph
from tidemill.streams.runtime.shard import Limits, Shard
from tidemill.streams.time_writer import TimeWriter
from tidemill.tests.faults.simulation.clickhouse import SimulatedClickHouse
from tidemill.tests.faults.simulation.market import PAIRS, T0_NS, Market
from tidemill.tests.faults.simulation.postgres import SimulatedPool
from tidemill.tests.streams.runtime.graphs import BEAT, COUNT, FOLLOW

if TYPE_CHECKING:
    from tidemill.tests.faults.simulation.world import World

Role = Callable[[], Awaitable[None]]
TIME_S = 0.2
CODE = "simulated"
QUIET = 7
PARTITIONS = (*(partition(f"{base}/{quote}") for base, quote in PAIRS), QUIET, ALL)
"""Those with instruments, one without, and the one of whole feeds: 65 would only cost time."""


def owned(index: int, count: int) -> list[int]:
    """The partitions of shard `index` of `count`."""
    return [p for at, p in enumerate(PARTITIONS) if at % count == index]


def graphs_of(name: str) -> list[Graph]:
    """The graphs of a plan."""
    if name == "real":
        return [Graph("main", [BARS, PRICE, STALE])]
    if name == "fused":
        return [Graph("main", [COUNT, FOLLOW, BEAT])]
    return [
        Graph("one", [COUNT]),
        Graph("two", [FOLLOW], upstream=[COUNT]),
        Graph("three", [BEAT]),
    ]


def whole_of(name: str) -> Graph:
    """The same processors as one graph: what a clean run is made with."""
    return graphs_of("fused" if name == "split" else name)[0]


def feeds(world: "World", market: Market) -> Role:
    return lambda: market.feed(world.client(world.log), 0.25)


def time(world: "World", skew_s: float) -> Role:
    """A candidate for the time role; each has a clock of its own, and a fault may step it."""

    def now() -> int:
        return T0_NS + int((world.loop.time() + skew_s + world.clock_s) * 1e9)

    return lambda: TimeWriter(world.client(world.log), now, TIME_S, 2.5 * TIME_S).run()


def graph(world: "World", graph: Graph, index: int, count: int, leases: bool) -> Role:
    """An owner of a shard, as the role graph is one."""

    async def run() -> None:
        world.owners += 1
        owner = f"owner-{world.owners}"
        shard = Shard(
            world.client(world.log),
            world.client(world.out),
            graph,
            owned(index, count),
            world.folder,
            Limits(
                batch_messages_max=world.plan.batch_messages_max,
                commit_bytes_max=world.plan.commit_bytes_max,
                snapshot_ns=int(world.plan.snapshot_s * 1e9),
                retry_s_max=0.5,
            ),
            CODE,
            owner,
        )
        if not leases:
            return await shard.run()
        name = f"graph.{graph.name}.{index}of{count}"
        lease = Lease(world.client(world.leases), name, owner, 1.0)
        await lease.wait()
        keeping, stepping = asyncio.create_task(lease.keep()), asyncio.create_task(shard.run())
        try:
            await asyncio.wait({keeping, stepping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            keeping.cancel()
            stepping.cancel()
            ends = await asyncio.gather(keeping, stepping, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    return run


SINK_LIMITS = SinkLimits(roots_max=20, rows_max=25, period_s=0.2, backoff_max_s=0.5)


def tables_of(graphs: str) -> tuple[Table, ...]:
    """One table of facts, one of what is derived of them, and one of the newest of that."""
    if graphs == "real":
        return (TRADES, BARS_TABLE, LATEST_BARS)
    derived = (replace(table, emitted_by=COUNT.name) for table in (BARS_TABLE, LATEST_BARS))
    return (TRADES, *derived)


def sinks(world: "World") -> Role:
    """The role projections."""

    async def run() -> None:
        log, out = world.client(world.log), world.client(world.out)
        pool = cast(Pool, SimulatedPool(world.database))
        clickhouse = cast(ClickHouse, SimulatedClickHouse(world.parts))
        log_uuid = (await log.identity()).uuid
        made = [
            sink_of(t, source(t, log, out, log_uuid), log, clickhouse, pool, SINK_LIMITS)
            for t in world.tables
        ]
        await run_sinks(made)

    return run
