"""A rebuild as a process of its own, for tests that kill -9 it: python -m ... URL DSN.

Its log is the memory log of `market`, the same in every process. It says what it rebuilt when it is
done: then those tables answer queries.
"""

import asyncio
import sys

import asyncpg

from tidemill.deploy.rebuilding import engine_of
from tidemill.deploy.swapping import put_in_place
from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.rebuild import Rebuild, planned
from tidemill.projections.registry import TABLES
from tidemill.tests.projections.rebuilding import MESSAGES_MAX, QUICK, facts_of_market

NAMES = ("trades", "bars", "latest_bars", "instruments")


async def main(url: str, dsn: str) -> None:
    """Rebuild and swap, or be killed."""
    log = await facts_of_market()
    async with asyncpg.create_pool(dsn, min_size=1, max_size=8) as pool:
        clickhouse = ClickHouse(url)
        tables = await planned(pool, [TABLES[name] for name in NAMES])
        work = Rebuild(
            tables, log, clickhouse, pool, await engine_of(tables, log), QUICK, MESSAGES_MAX
        )

        async def then() -> None:
            differing = await put_in_place(tables, clickhouse, pool, differs=False)
            assert not differing, differing

        await work.run(lambda _: None, then)
        print(*(table.physical for table in tables), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
