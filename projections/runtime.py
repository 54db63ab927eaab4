"""The role `projections`: one sink for each table, together in one process."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from tidemill.projections.clickhouse import scan as clickhouse_scan
from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.digest import Digest
from tidemill.projections.limits import Limits
from tidemill.projections.live import live
from tidemill.projections.postgres import scan as postgres_scan
from tidemill.projections.postgres.readings import Pool
from tidemill.projections.ranges import Live, Verdict
from tidemill.projections.ranges import only_newest as newest_of
from tidemill.projections.rows import Rows, concatenate
from tidemill.projections.sinks import Sink, sink_of
from tidemill.projections.sources import source
from tidemill.projections.table import Table
from tidemill.projections.verify import (
    Compared,
    Made,
    Step,
    digest_of,
    messages,
)
from tidemill.projections.verify import verify as verify_all
from tidemill.streams.log import Log


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
    return [
        sink_of(table, source(table, log, out, log_uuid), log, clickhouse, pool, limits)
        for table in tables
    ]


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


async def digest(
    table: Table, clickhouse: ClickHouse, pool: Pool, as_of: int, now: Live | None = None
) -> Digest:
    """Return the digest of what a table holds. Raises ValueError for a row that stands twice.

    `now` is what it held at the moment of `as_of` (live.at_one_moment): a latest table moves on,
    and has nothing of that root left a moment later.
    """
    if now is not None and table.kind == "latest":
        return await digest_of(table, _whole(now, as_of), as_of)
    return await digest_of(table, scan(table, clickhouse, pool, as_of), as_of)


async def _whole(held: Live, as_of: int) -> AsyncIterator[Rows]:
    rows = await held.rows(0, as_of, await held.count(0, as_of))
    if rows:
        yield concatenate(rows).ordered()


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
    if table.emitted_by is not None and steps is None:
        raise ValueError(f"{table.name} is derived by {table.emitted_by}: its steps are needed")
    source = facts(log, table, as_of) if steps is None else derived(steps)
    compared = Compared(table, live(table, clickhouse, pool), as_of)
    return (await verify_all({table.name: compared}, source))[table.name]


async def facts(log: Log, table: Table, as_of: int) -> AsyncIterator[Made]:
    """Yield what LOG holds of what a table reads, up to root `as_of`."""
    async for batch in messages(log, table.filters, as_of):
        if batch:
            yield Made(batch[-1].sequence, batch)


async def derived(steps: AsyncIterator[Step]) -> AsyncIterator[Made]:
    """Yield what an engine derived."""
    async for done, outputs in steps:
        yield Made(done, (), list(outputs))


async def only_newest(table: Table, made: AsyncIterator[Rows]) -> AsyncIterator[Rows]:
    """Yield what a latest table keeps of the rows it is made of: the newest of each key."""
    kept: list[Rows] = []
    async for rows in made:
        if rows.count:
            kept = [newest_of(table, concatenate([*kept, rows]))]
    for rows in kept:
        yield rows
