"""Every table at once, from the memory log and from JetStream, stopped and started again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tidemill.projections.limits import Limits
from tidemill.projections.postgres.readings import wait_for
from tidemill.projections.registry import TABLES
from tidemill.projections.runtime import digest, run, sinks, verify
from tidemill.projections.sinks import Sink
from tidemill.projections.verify import Step
from tidemill.streams.declarations import streams
from tidemill.streams.jetstream import JetStreamLog
from tidemill.streams.jetstream_connection import connect
from tidemill.streams.log import Log
from tidemill.streams.migrator import migrate
from tidemill.tests.projections import facts
from tidemill.tests.projections.stores import Stores
from tidemill.tests.servers import RunningNats

pytestmark = pytest.mark.integration
LIMITS = Limits(roots_max=64, rows_max=150, period_s=0.01, backoff_max_s=0.2)
END = 420


@asynccontextmanager
async def jetstream(nats: RunningNats) -> AsyncIterator[tuple[Log, Log]]:
    """LOG and OUT as the migrator makes them."""
    connection = await connect(nats.url)
    await migrate(connection, streams(), apply=True)
    yield await JetStreamLog.open(connection, "LOG"), await JetStreamLog.open(connection, "OUT")
    await connection.close()


@asynccontextmanager
async def all_running(
    stores: Stores, log: Log, out: Log
) -> AsyncIterator[tuple[list[Sink], asyncio.Task[None]]]:
    made = await sinks(list(TABLES.values()), log, out, stores.clickhouse, stores.pool, LIMITS)
    task = asyncio.create_task(run(made))
    try:
        yield made, task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def complete(stores: Stores, task: asyncio.Task[None], r: int) -> None:
    waiting = asyncio.create_task(wait_for(stores.pool, list(TABLES), r, 120))
    await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        waiting.cancel()
        task.result()
    await waiting


def derived(first: int, last: int) -> list[Step]:
    """What two shards derive of the roots first to last, ten roots a step."""
    return [
        (
            min(r + 9, last),
            [
                message
                for root in range(r, min(r + 10, last + 1))
                for message in (
                    facts.bar(root, instrument=root % 3),
                    facts.bar(root, n=1, instrument=root % 3, interval_s=1),
                    *([facts.price(root)] if root % 5 == 0 else []),
                    *([facts.feed_state(root)] if root % 7 == 0 else []),
                    *(facts.derived(*one, root) for one in facts.DERIVED if root % 11 == 0),
                )
            ],
        )
        for r in range(first, last + 1, 10)
    ]


async def steps() -> AsyncIterator[Step]:
    for step in derived(1, END):
        yield step


async def flow(stores: Stores, log: Log, out: Log) -> None:
    uuid = (await log.identity()).uuid
    write = facts.Shards(out, uuid)
    halves = ((1, END // 2), (END // 2 + 1, END))
    for first, last in halves:
        async with all_running(stores, log, out) as (_, task):
            await facts.append(log, facts.everything(last - first + 1, start=first - 1))
            for done, outputs in derived(first, last):
                await write.commit(list(outputs), done)
            await complete(stores, task, last)
    for name, table in TABLES.items():
        source = steps() if table.emitted_by else None
        verdict = await verify(table, log, stores.clickhouse, stores.pool, END, source)
        assert verdict.reason == "", name
        assert verdict.recomputed.rows > 0, name


async def test_every_table_from_the_memory_log(stores: Stores) -> None:
    log, out = facts.logs()
    await flow(stores, log, out)


async def test_every_table_from_jetstream_with_the_same_digests(
    stores: Stores, nats: RunningNats
) -> None:
    async with jetstream(nats) as (log, out):
        await flow(stores, log, out)
        live = [await digest(t, stores.clickhouse, stores.pool, END) for t in TABLES.values()]
    memory, derived_in_memory = facts.logs()
    await stores.pool.execute("DELETE FROM sink")
    for table in TABLES.values():
        where = stores.pool.execute if table.database == "postgres" else stores.clickhouse.command
        await where(f"TRUNCATE TABLE {table.physical}")
    await flow(stores, memory, derived_in_memory)
    again = [await digest(t, stores.clickhouse, stores.pool, END) for t in TABLES.values()]
    assert live == again
