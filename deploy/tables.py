"""Tables filled by their sinks: for ever, or until they have all that the log holds."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from tidemill.deploy.embedded.servers import ServerUrls
from tidemill.deploy.prepared import databases
from tidemill.processors.catalog import PROCESSORS
from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.clickhouse.scan import scan as scan_clickhouse
from tidemill.projections.clickhouse.sink import ClickHouseSink
from tidemill.projections.digest import Digest
from tidemill.projections.postgres import positions
from tidemill.projections.postgres.positions import Pool
from tidemill.projections.postgres.scan import scan as scan_postgres
from tidemill.projections.postgres.sink import PostgresSink
from tidemill.projections.registry import TABLES
from tidemill.projections.rows import Rows
from tidemill.projections.sources import source
from tidemill.projections.table import Table
from tidemill.projections.verify import Step, derived_rows, digest_of, log_rows, messages
from tidemill.streams.log import Log
from tidemill.streams.runtime.engine import Engine
from tidemill.streams.runtime.graph import Graph
from tidemill.streams.runtime.shard import EVERY, filters

CAUGHT_UP_S = 3_600.0
"""How long tables may take to catch up."""

Sink = ClickHouseSink | PostgresSink


def sinks(
    tables: list[Table], log: Log, out: Log, uuid: str, pool: Pool, clickhouse: ClickHouse
) -> list[Sink]:
    """Return a sink for each table."""
    made: list[Sink] = []
    for table in tables:
        rows = source(table, log, out, uuid)
        if table.database == "clickhouse":
            made.append(ClickHouseSink(table, log, rows, clickhouse, pool))
        else:
            made.append(PostgresSink(table, log, rows, pool))
    return made


async def materialise(urls: ServerUrls, log: Log, out: Log) -> None:
    """Fill every table with all that LOG holds now, and stop."""
    identity = await log.identity()
    async with databases(urls) as (pool, clickhouse):
        running: list[asyncio.Task[Any]] = [
            asyncio.create_task(sink.run())
            for sink in sinks(list(TABLES.values()), log, out, identity.uuid, pool, clickhouse)
        ]
        waiting: asyncio.Task[Any] = asyncio.create_task(
            positions.wait_for(pool, list(TABLES), identity.last, CAUGHT_UP_S)
        )
        try:
            await asyncio.wait({*running, waiting}, return_when=asyncio.FIRST_COMPLETED)
            for task in running:
                if task.done():
                    task.result()
            await waiting
        finally:
            for task in (*running, waiting):
                task.cancel()
            await asyncio.gather(*running, waiting, return_exceptions=True)


async def database_digests(urls: ServerUrls, as_of: int) -> dict[str, Digest]:
    """Return the digest of every table as the databases hold it, up to root `as_of`."""
    async with databases(urls) as (pool, clickhouse):
        return {
            name: await digest_of(table, scan(table, pool, clickhouse, as_of), as_of)
            for name, table in TABLES.items()
        }


def scan(table: Table, pool: Pool, clickhouse: ClickHouse, as_of: int) -> AsyncIterator[Rows]:
    """Return the rows of a table with root <= `as_of`, in logical order."""
    if table.database == "clickhouse":
        return scan_clickhouse(clickhouse, table, as_of)
    return scan_postgres(pool, table, as_of)


async def recomputed(table: Table, log: Log, as_of: int) -> AsyncIterator[Rows]:
    """Yield what LOG alone makes of a table, up to root `as_of`, by a fresh engine in memory."""
    made = (
        log_rows(table, log, as_of)
        if table.emitted_by is None
        else derived_rows(table, _steps(table.emitted_by, log, as_of), as_of)
    )
    async for rows in made:
        yield rows


async def _steps(processor: str, log: Log, as_of: int) -> AsyncIterator[Step]:
    """Step the processor over LOG and yield what it derives."""
    graph = Graph("verify", [p for p in PROCESSORS if p.name == processor])
    engine = Engine(graph, EVERY)
    async for batch in messages(log, filters(EVERY), as_of):
        outputs = engine.step(batch)
        yield batch[-1].sequence, [(output.subject, output.payload) for output in outputs]
