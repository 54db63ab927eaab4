"""What tests of rebuilding share: a market in LOG, its tables by ordinary sinks and by rebuild."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from tidemill.deploy.load import Load
from tidemill.deploy.rebuilding import engine_of
from tidemill.deploy.replaying import step
from tidemill.projections.digest import Digest
from tidemill.projections.postgres.readings import wait_for
from tidemill.projections.rebuild import LIMITS, Progress, Rebuild
from tidemill.projections.registry import TABLES, VERSIONS
from tidemill.projections.runtime import digest
from tidemill.projections.table import Table
from tidemill.projections.versions import enter
from tidemill.projections.versions_kept import Kept
from tidemill.streams import subjects
from tidemill.streams.log import Log
from tidemill.streams.memory import MemoryLog
from tidemill.tests.projections import facts
from tidemill.tests.projections.stores import Stores

QUICK = replace(LIMITS, roots_max=64, rows_max=900, period_s=0.05, backoff_max_s=0.2)
MESSAGES_MAX = 40
UUID = "the-log-of-rebuilds"


async def facts_of_market(trades: int = 24_000, quotes: bool = True) -> MemoryLog:
    """LOG with dense trades, quotes and time, the same in every process."""
    log = MemoryLog("LOG", subjects.LOG_SUBJECTS, uuid=UUID)
    load = Load(3, 400, per_frame=40)
    await facts.append(log, [*load.opening(), *(facts.instrument(k) for k in range(3))])
    for number, batch in enumerate(load.facts(trades)):
        await facts.append(log, batch)
        if quotes and number % 5 == 0:
            await facts.append(log, [facts.quotes(number)])
    await facts.append(log, [facts.instrument(0, "0.02"), load.status(), load.time()])
    return log


async def market(trades: int = 24_000, quotes: bool = True) -> tuple[MemoryLog, MemoryLog]:
    """LOG of a market, and OUT with what the whole graph derives of it."""
    log, (_, out) = await facts_of_market(trades, quotes), facts.logs()
    await step(log, out)
    return log, out


@asynccontextmanager
async def kept(stores: Stores, log: Log, out: Log) -> AsyncIterator[None]:
    """The ordinary sinks of all that serves."""
    keeping = Kept(VERSIONS, log, out, stores.clickhouse, stores.pool, QUICK, look_s=0.05)
    task = asyncio.create_task(keeping.run())
    try:
        yield
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})


async def ordinary(stores: Stores, log: Log, out: Log) -> dict[str, Digest]:
    """Fill all that answers by its ordinary sinks; return its digests."""
    end = (await log.identity()).last
    async with kept(stores, log, out):
        await wait_for(stores.pool, list(TABLES), end, 60)
    return await digests(stores, list(TABLES.values()), end)


async def digests(stores: Stores, tables: Sequence[Table], end: int) -> dict[str, Digest]:
    """The digests of tables, by name."""
    return {t.name: await digest(t, stores.clickhouse, stores.pool, end) for t in tables}


async def rebuilt(stores: Stores, log: Log, tables: Sequence[Table]) -> list[Progress]:
    """Rebuild, and let the tables serve; return what was told of the progress."""
    told: list[Progress] = []

    async def serve() -> None:
        await enter(stores.pool, tables, "serving")

    engine = await engine_of(tables, log)
    work = Rebuild(tables, log, stores.clickhouse, stores.pool, engine, QUICK, MESSAGES_MAX)
    await asyncio.wait_for(work.run(told.append, serve), 60)
    return told
