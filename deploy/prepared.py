"""Servers that are ready: started on a data directory if none run there, and migrated."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg

from tidemill.deploy.embedded.servers import ServerUrls, servers_on
from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.migrations import migrate
from tidemill.projections.postgres.readings import Pool
from tidemill.projections.registry import VERSIONS
from tidemill.streams.declarations import streams
from tidemill.streams.jetstream_connection import connect
from tidemill.streams.migrator import Difference
from tidemill.streams.migrator import migrate as migrate_streams

POOL_CONNECTIONS_MAX = 12


@asynccontextmanager
async def prepared(data_dir: Path) -> AsyncIterator[ServerUrls]:
    """The servers of `data_dir`, their streams and tables as this version declares them."""
    async with servers_on(data_dir) as urls:
        await prepare(urls)
        yield urls


async def prepare(urls: ServerUrls) -> None:
    """Create what is missing on fresh servers. Changing what is there is `tidemill migrate`'s."""
    await migrate_log(urls, apply=True)
    async with databases(urls) as (pool, clickhouse):
        await migrate(pool, clickhouse, VERSIONS)


async def migrate_log(urls: ServerUrls, apply: bool) -> list[Difference]:
    """Return how the streams differ; create and change them first when told."""
    connection = await connect(urls.nats_admin, name="migrator")
    try:
        return await migrate_streams(connection, streams(), apply=apply)
    finally:
        await connection.close()


@asynccontextmanager
async def databases(urls: ServerUrls) -> AsyncIterator[tuple[Pool, ClickHouse]]:
    """Connect to both databases as their owner."""
    async with AsyncExitStack() as stack:
        pool = await asyncpg.create_pool(urls.postgres, min_size=1, max_size=POOL_CONNECTIONS_MAX)
        stack.push_async_callback(pool.close)
        yield pool, ClickHouse(urls.clickhouse)
