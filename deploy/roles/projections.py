"""The role projections: sinks of the named tables, or of all, each on its own."""

from collections.abc import Sequence

import asyncpg

from tidemill.deploy.roles.connections import streams
from tidemill.deploy.settings import Missing, Settings
from tidemill.projections import runtime
from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.registry import TABLES


async def run(settings: Settings, names: Sequence[str] = ()) -> None:
    """Fill tables until cancelled. Raises Missing for a table that there is not, Fenced."""
    settings.require("nats_engine", "postgres", "clickhouse")
    for name in names:
        if name not in TABLES:
            raise Missing(f"there is no table {name}; there are {', '.join(TABLES)}")
    tables = [TABLES[name] for name in names or TABLES]
    async with (
        streams(settings.nats_engine, "projections") as opened,
        asyncpg.create_pool(settings.postgres, min_size=1, max_size=len(tables) + 2) as pool,
    ):
        clickhouse = ClickHouse(settings.clickhouse)
        await runtime.run(await runtime.sinks(tables, opened.log, opened.out, clickhouse, pool))
