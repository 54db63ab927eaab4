"""Real databases for tests of projections: one Postgres and one ClickHouse, emptied for each."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import asyncpg

from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.migrations import migrate
from tidemill.projections.postgres.readings import Pool
from tidemill.projections.registry import TABLES
from tidemill.tests.projections.pristine import Pristine
from tidemill.tests.servers import RunningClickHouse, RunningPostgres

_OURS = "SELECT name FROM system.tables WHERE database = 'default'"
_PRISTINE: WeakKeyDictionary[RunningClickHouse, Pristine] = WeakKeyDictionary()


@dataclass
class Stores:
    """Both databases, migrated."""

    clickhouse: ClickHouse
    pool: Pool
    clickhouse_server: RunningClickHouse
    postgres_server: RunningPostgres

    async def positions(self, table: str) -> list[tuple[int, int, int]]:
        """(_r, _i, _n) of every row of a ClickHouse table, in order."""
        return await self.clickhouse.query(f"SELECT _r, _i, _n FROM {table} ORDER BY _r, _i, _n")

    async def count(self, table: str) -> int:
        """Rows of a ClickHouse table."""
        return int((await self.clickhouse.query(f"SELECT count() FROM {table}"))[0][0])


@asynccontextmanager
async def stores_on(
    clickhouse_server: RunningClickHouse, postgres_server: RunningPostgres
) -> AsyncIterator[Stores]:
    """Connect to both, and make them what migrations make, whatever an earlier test left."""
    clickhouse = ClickHouse(clickhouse_server.url, timeout_s=20)
    async with asyncpg.create_pool(postgres_server.dsn, min_size=1, max_size=16) as pool:
        pristine = _PRISTINE.get(clickhouse_server)
        if pristine is None or not await pristine.restored(clickhouse, pool):
            await _migrated_from_nothing(clickhouse, pool)
            _PRISTINE[clickhouse_server] = await Pristine.of(clickhouse, pool)
        try:
            yield Stores(clickhouse, pool, clickhouse_server, postgres_server)
        finally:
            await clickhouse.close()


async def _migrated_from_nothing(clickhouse: ClickHouse, pool: Pool) -> None:
    await pool.execute("DROP SCHEMA public CASCADE")
    await pool.execute("CREATE SCHEMA public")
    for (name,) in await clickhouse.query(_OURS):
        await clickhouse.command(f"DROP TABLE IF EXISTS `{name}` SYNC")
    assert await clickhouse.query(_OURS) == []
    applied = await migrate(pool, clickhouse, list(TABLES.values()))
    assert {"trades__v1", "latest_trades__v1"} <= set(applied)
