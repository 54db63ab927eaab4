"""Both databases brought up to date: their own migrations, then the tables that there must be.

One runner at a time, by an advisory lock in Postgres. A name that nothing answers yet gets the
newest version that is declared (or, where Postgres was lost, what ClickHouse still has); a new
version of one that is answered is made by `rebuild`, not here.
"""

from collections.abc import Sequence

from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.migration_files import (
    apply_to_clickhouse,
    apply_to_postgres,
    due,
    own,
    recorded_in_clickhouse,
    recorded_in_postgres,
)
from tidemill.projections.postgres.errors import unavailable
from tidemill.projections.postgres.positions import Connection
from tidemill.projections.postgres.readings import Pool
from tidemill.projections.table import Table
from tidemill.projections.versions_made import adopt, make_all

_LOCK = 7_101_000_001  # advisory lock of Tidemill's migrations


async def migrate(pool: Pool, clickhouse: ClickHouse, versions: Sequence[Table]) -> list[str]:
    """Bring both databases up to date; return what was applied. Running it again does nothing.

    `versions` are all that are declared, of each name the newest last. Raises ValueError when a
    file that was applied has changed, Unavailable.
    """
    with unavailable():
        async with pool.acquire() as connection:
            await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
            try:
                return await _migrate(connection, clickhouse, versions)
            finally:
                await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


async def _migrate(
    connection: Connection, clickhouse: ClickHouse, versions: Sequence[Table]
) -> list[str]:
    applied = []
    for migration in due(own("postgres"), await recorded_in_postgres(connection)):
        await apply_to_postgres(connection, migration)
        applied.append(migration.version)
    for migration in due(own("clickhouse"), await recorded_in_clickhouse(clickhouse)):
        await apply_to_clickhouse(clickhouse, migration)
        applied.append(migration.version)
    await adopt(connection, clickhouse, versions)
    return applied + await make_all(connection, clickhouse, versions)
