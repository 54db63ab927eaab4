"""The role projections: sinks of the named tables, or of all: of each version that serves."""

from collections.abc import Sequence

import asyncpg

from tidemill.deploy.roles.connections import streams
from tidemill.deploy.settings import Missing, Settings
from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.registry import TABLES, VERSIONS
from tidemill.projections.versions_kept import CONNECTIONS_PER_NAME, Kept


async def run(settings: Settings, names: Sequence[str] = ()) -> None:
    """Fill tables until cancelled. Raises Missing for a table that there is not, Fenced."""
    settings.require("nats_engine", "postgres", "clickhouse")
    for name in names:
        if name not in TABLES:
            raise Missing(f"there is no table {name}; there are {', '.join(TABLES)}")
    tables = [table for table in VERSIONS if not names or table.name in names]
    connections = CONNECTIONS_PER_NAME * len(tables) + 2
    async with (
        streams(settings.nats_engine, "projections", settings.archive) as opened,
        asyncpg.create_pool(settings.postgres, min_size=1, max_size=connections) as pool,
    ):
        clickhouse = ClickHouse(settings.clickhouse)
        await Kept(tables, opened.log, opened.out, clickhouse, pool).run()
