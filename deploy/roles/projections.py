"""The role projections: sinks of the named tables, or of all: of each version that serves."""

import asyncio
from collections.abc import Sequence

import asyncpg

from tidemill.deploy.roles.connections import streams
from tidemill.deploy.settings import Missing, Settings
from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.metrics import tell_lag
from tidemill.projections.registry import TABLES, VERSIONS
from tidemill.projections.versions_kept import CONNECTIONS_PER_NAME, Kept
from tidemill.streams.log import Log
from tidemill.streams.moments import Recent
from tidemill.streams.proof import prove

TELL_S = 1.0
COMMAND_S = 15.0
"""A connection that answers nothing for so long is given up: it may be half open."""
IDLE_IN_TRANSACTION_MS = 10_000
"""And Postgres gives up a transaction of which it hears no more: a successor waits for its row."""


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
        asyncpg.create_pool(
            settings.postgres,
            min_size=1,
            max_size=connections,
            command_timeout=COMMAND_S,
            server_settings={"idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_MS)},
        ) as pool,
    ):
        await prove(opened.log, opened.out)
        clickhouse = ClickHouse(settings.clickhouse)
        telling = asyncio.create_task(_tell_lag(opened.log))
        try:
            await Kept(tables, opened.log, opened.out, clickhouse, pool).run()
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)


async def _tell_lag(log: Log) -> None:
    recent = Recent(log)
    async with asyncio.TaskGroup() as group:
        group.create_task(recent.run())
        while True:
            tell_lag(recent.newest, recent.behind_s)
            await asyncio.sleep(TELL_S)
