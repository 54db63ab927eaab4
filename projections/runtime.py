"""The role `projections`: one sink for each table, together in one process."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from tidemill.projections.clickhouse import scan as clickhouse_scan
from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.clickhouse.sink import ClickHouseSink
from tidemill.projections.digest import Digest
from tidemill.projections.limits import Limits
from tidemill.projections.postgres import scan as postgres_scan
from tidemill.projections.postgres.readings import Pool
from tidemill.projections.postgres.sink import PostgresSink
from tidemill.projections.rows import Rows, concatenate, newest
from tidemill.projections.sources import source
from tidemill.projections.table import Table
from tidemill.projections.verify import Step, Verdict, compare, derived_rows, digest_of, log_rows
from tidemill.streams import crash_points
from tidemill.streams.log import Log

Sink = ClickHouseSink | PostgresSink


async def sinks(
    tables: Sequence[Table],
    log: Log,
    out: Log,
    clickhouse: ClickHouse,
    pool: Pool,
    limits: Limits | None = None,
) -> list[Sink]:
    """Return the sinks of `tables`, to be run. Raises Unavailable when LOG is away.

    `pool` needs a connection for each Postgres table, and two more.
    """
    log_uuid = (await log.identity()).uuid
    made: list[Sink] = []
    for table in tables:
        rows = source(table, log, out, log_uuid)
        step = crash_points.of(f"sink.{table.name}")
        if table.database == "clickhouse":
            made.append(ClickHouseSink(table, log, rows, clickhouse, pool, limits, step))
        else:
            made.append(PostgresSink(table, log, rows, pool, limits, step))
    return made


async def run(running: Sequence[Sink]) -> None:
    """Run sinks until one is Fenced, finds the log Regressed, or crashes; then all end.

    Raises what ended the first.
    """
    try:
        async with asyncio.TaskGroup() as group:
            for sink in running:
                group.create_task(sink.run(), name=sink.table.physical)
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from several


def scan(table: Table, clickhouse: ClickHouse, pool: Pool, as_of: int) -> AsyncIterator[Rows]:
    """Return the rows of a table with _r <= `as_of`, in logical order."""
    if table.database == "clickhouse":
        return clickhouse_scan.scan(clickhouse, table, as_of)
    return postgres_scan.scan(pool, table, as_of)


async def digest(table: Table, clickhouse: ClickHouse, pool: Pool, as_of: int) -> Digest:
    """Return the digest of what a table holds. Raises ValueError for a row that stands twice."""
    return await digest_of(table, scan(table, clickhouse, pool, as_of), as_of)


async def verify(
    table: Table,
    log: Log,
    clickhouse: ClickHouse,
    pool: Pool,
    as_of: int,
    steps: AsyncIterator[Step] | None = None,
) -> Verdict:
    """Recompute a table from LOG up to root `as_of` and compare it with what the database holds.

    `steps` is what an engine in memory derives from LOG, for a table that is derived. A latest
    table holds only what is newest, so it is equal only where it has come exactly to `as_of`.
    """
    if table.emitted_by is None:
        made = log_rows(table, log, as_of)
    elif steps is None:
        raise ValueError(f"{table.name} is derived by {table.emitted_by}: its steps are needed")
    else:
        made = derived_rows(table, steps, as_of)
    if table.kind == "latest":
        made = only_newest(table, made)
    return await compare(table, scan(table, clickhouse, pool, as_of), made, as_of)


async def only_newest(table: Table, made: AsyncIterator[Rows]) -> AsyncIterator[Rows]:
    """Yield what a latest table keeps of the rows it is made of: the newest of each key."""
    kept: list[Rows] = []
    async for rows in made:
        if rows.count:
            kept = [newest(concatenate([*kept, rows]), table.key, table.newest)]
    for rows in kept:
        yield rows
