"""kill -9 of the writer and of ClickHouse while rows flow: nothing lost, nothing doubled."""

import asyncio
import random
import resource
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tidemill.projections.clickhouse.sink import ClickHouseSink
from tidemill.projections.limits import Limits
from tidemill.projections.postgres.readings import wait_for
from tidemill.projections.registry import TABLES
from tidemill.projections.runtime import verify
from tidemill.projections.sources import source
from tidemill.schemas.errors import Unavailable
from tidemill.streams.memory import MemoryLog
from tidemill.tests.forked import CONTEXT, forked
from tidemill.tests.projections import facts, writer
from tidemill.tests.projections.stores import Stores, stores_on
from tidemill.tests.servers import RunningPostgres, clickhouse_server

pytestmark = pytest.mark.integration
TRADES = TABLES["trades"]


@pytest.fixture
async def own(tmp_path: Path, shared_postgres: RunningPostgres) -> AsyncIterator[Stores]:
    """A ClickHouse of this test's own, which it may kill."""
    async with (
        clickhouse_server(tmp_path) as server,
        stores_on(server, shared_postgres) as stores,
    ):
        yield stores


def sink(stores: Stores, log: MemoryLog, limits: Limits) -> ClickHouseSink:
    rows = source(TRADES, log, log, log.uuid)
    return ClickHouseSink(TRADES, log, rows, stores.clickhouse, stores.pool, limits)


async def assert_exact(stores: Stores, log: MemoryLog) -> None:
    end = (await log.identity()).last
    verdict = await verify(TRADES, log, stores.clickhouse, stores.pool, end)
    assert verdict.reason == "" and verdict.recomputed.rows > 10_000


def kill_writer_at(stores: Stores, step: str, times: int, wait_s: float) -> None:
    """Run a writer in a process, and kill it when it has passed a step so many times."""
    steps, passed = CONTEXT.Pipe(duplex=False)
    process = forked(writer.write, stores.clickhouse_server.url, stores.postgres_server.dsn, passed)
    passed.close()
    with steps:
        while times:  # EOFError when the writer ended before
            times -= steps.recv() == step
        time.sleep(wait_s)
        process.kill()
        process.join()


async def test_kill_9_of_the_writer_at_every_step(stores: Stores) -> None:
    log = await writer.whole_log()
    counts = []
    for step, times in (("inserting", 1), ("inserted", 2), ("inserting", 5), ("fenced", 1),
                        ("advanced", 3), ("inserting", 4), ("drained", 1)):  # fmt: skip
        await asyncio.to_thread(kill_writer_at, stores, step, times, random.random() * 0.02)
        counts.append(await stores.count("trades__v1"))
    last = sink(stores, log, writer.LIMITS)
    task = asyncio.create_task(last.run())
    await wait_for(stores.pool, ["trades"], writer.MESSAGES, 120)
    task.cancel()
    await asyncio.wait({task})
    assert len(set(counts)) >= 4
    await assert_exact(stores, log)


async def test_kill_9_of_clickhouse_during_inserts(own: Stores) -> None:
    log = await writer.whole_log()
    one = sink(own, log, Limits(60, 600, period_s=0.01, backoff_max_s=0.2))
    task = asyncio.create_task(one.run())
    kills = 0
    for _ in range(4):
        before = one.metrics.blocks
        while one.metrics.blocks < before + 3 and not task.done():
            await asyncio.sleep(0.001)
        assert not task.done(), task
        await asyncio.sleep(random.random() * 0.02)
        own.clickhouse_server.kill()
        kills += 1
        await asyncio.sleep(0.1)
        await own.clickhouse_server.start()
    await wait_for(own.pool, ["trades"], writer.MESSAGES, 120)
    task.cancel()
    await asyncio.wait({task})
    assert kills == 4 and one.metrics.absences >= 3
    await assert_exact(own, log)


async def test_memory_is_bounded_while_clickhouse_is_away(own: Stores) -> None:
    log, _ = facts.logs()
    await facts.append(log, [facts.trades(k, 1_300) for k in range(3_000)])
    await facts.append(log, [facts.time(3_001)])
    limits = Limits(backoff_max_s=0.2)
    one = sink(own, log, limits)
    task = asyncio.create_task(one.run())
    while one.metrics.blocks < 2:
        await asyncio.sleep(0.01)
    own.clickhouse_server.kill()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await asyncio.sleep(3)
    assert not task.done()
    # 3.9 M rows wait, 300 MB as columns: no more than a few blocks of them may be in memory.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 120 * 1024
    await own.clickhouse_server.start()
    await wait_for(own.pool, ["trades"], 3_001, 120)
    task.cancel()
    await asyncio.wait({task})
    await assert_exact(own, log)


async def test_clickhouse_away_at_the_start_is_waited_for(own: Stores) -> None:
    log = await writer.whole_log()
    await own.clickhouse.close()
    own.clickhouse_server.kill()
    with pytest.raises(Unavailable):
        await own.clickhouse.query("SELECT 1")
    task = asyncio.create_task(sink(own, log, writer.LIMITS).run())
    await asyncio.sleep(0.5)
    assert not task.done()
    await own.clickhouse_server.start()
    await wait_for(own.pool, ["trades"], writer.MESSAGES, 120)
    task.cancel()
    await asyncio.wait({task})
    await assert_exact(own, log)
