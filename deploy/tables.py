"""Tables on servers: filled with all that a log holds, and digested."""

import asyncio
from typing import Any

from tidemill.deploy.embedded.servers import ServerUrls
from tidemill.deploy.prepared import databases
from tidemill.projections import runtime
from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.digest import Digest
from tidemill.projections.live import at_one_moment
from tidemill.projections.postgres import readings
from tidemill.projections.postgres.readings import Pool
from tidemill.projections.registry import TABLES, VERSIONS
from tidemill.projections.versions import active
from tidemill.streams.log import Log

CAUGHT_UP_S = 3_600.0
"""How long tables may take to catch up."""


async def materialise(urls: ServerUrls, log: Log, out: Log) -> None:
    """Fill every table with all that LOG holds now, and stop."""
    async with databases(urls) as (pool, clickhouse):
        await fill(pool, clickhouse, log, out)


async def fill(pool: Pool, clickhouse: ClickHouse, log: Log, out: Log) -> None:
    """Fill what answers queries with all that LOG holds now, and stop."""
    last = (await log.identity()).last
    tables = list((await active(pool, VERSIONS)).values())
    sinks = await runtime.sinks(tables, log, out, clickhouse, pool)
    running: asyncio.Task[Any] = asyncio.create_task(runtime.run(sinks))
    waiting: asyncio.Task[Any] = asyncio.create_task(
        readings.wait_for(pool, list(TABLES), last, CAUGHT_UP_S)
    )
    try:
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        await (running if running.done() else waiting)
    finally:
        running.cancel()
        waiting.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)


async def database_digests(urls: ServerUrls, as_of: int) -> dict[str, Digest]:
    """Return the digest of every table as the databases hold it, up to root `as_of`.

    What is latest has no past: where it has moved on, it is digested as of where it is.
    """
    digests = {}
    async with databases(urls) as (pool, clickhouse):
        tables = await active(pool, VERSIONS)
        moment = await at_one_moment(pool, clickhouse, list(tables.values()))
        for name, table in tables.items():
            position, now = moment.get(table.physical, (0, None))
            root = as_of
            if now is not None and table.kind == "latest" and await now.count(as_of + 1, position):
                root = position
            digests[name] = await runtime.digest(table, clickhouse, pool, root, now)
    return digests
