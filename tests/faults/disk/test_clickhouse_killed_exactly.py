"""ClickHouse killed between its deduplication record and the rename that makes a part exist.

Then its log remembers a token whose rows were never there: the same insert under the same token is
answered with success and inserts nothing. Random kills do not find that moment; these are exact.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.clickhouse.sink import ClickHouseSink
from tidemill.projections.limits import Limits
from tidemill.projections.migrations import migrate
from tidemill.projections.postgres.readings import wait_for
from tidemill.projections.registry import TABLES
from tidemill.projections.runtime import verify
from tidemill.projections.sources import source
from tidemill.streams.memory import MemoryLog
from tidemill.tests.faults.disk import means
from tidemill.tests.faults.disk.injection import KILL, Injection, injected
from tidemill.tests.projections import facts
from tidemill.tests.projections.stores import Stores
from tidemill.tests.servers import clickhouse_server, postgres_server

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
TRADES = TABLES["trades"]
LIMITS = Limits(roots_max=60, rows_max=1_500, period_s=0.02, backoff_max_s=0.2)
DAYS = range(20, 36)
"""Facts of both sides of a midnight: one insert of them makes a part in each of two partitions."""
with_strace = pytest.mark.skipif(bool(means.no_strace()), reason=means.no_strace())


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    """A ClickHouse and a Postgres of this test's own, with one table."""
    async with (
        clickhouse_server(tmp_path) as server,
        postgres_server(tmp_path) as postgres,
        asyncpg.create_pool(postgres.dsn, min_size=1, max_size=4) as pool,
    ):
        clickhouse = ClickHouse(server.url, timeout_s=20)
        await migrate(pool, clickhouse, [TRADES])
        yield Stores(clickhouse, pool, server, postgres)
        await clickhouse.close()


@contextlib.asynccontextmanager
async def filling(stores: Stores, log: MemoryLog) -> AsyncIterator[ClickHouseSink]:
    """A sink of trades, as long as the block lasts; raises what ended it before."""
    rows = source(TRADES, log, log, log.uuid)
    one = ClickHouseSink(TRADES, log, rows, stores.clickhouse, stores.pool, LIMITS)
    task = asyncio.create_task(one.run())
    try:
        yield one
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})


async def complete(stores: Stores, log: MemoryLog) -> None:
    await wait_for(stores.pool, ["trades"], (await log.identity()).last, 60)


async def assert_exact(stores: Stores, log: MemoryLog, rows: int) -> None:
    verdict = await verify(TRADES, log, stores.clickhouse, stores.pool, (await log.identity()).last)
    assert verdict.reason == "" and verdict.recomputed.rows == verdict.live_rows == rows


async def directory(stores: Stores) -> Path:
    """Where the table of trades keeps its parts."""
    sql = "SELECT data_paths[1] FROM system.tables WHERE name = 'trades__v1'"
    return Path((await stores.clickhouse.query(sql))[0][0])


def phantoms(table: Path) -> list[str]:
    """Parts of which the newest deduplication log tells, and which are not there.

    A part that was merged is not there either: the tests stop merges.
    """
    told = (table / "deduplication_logs" / "deduplication_log_1.txt").read_text().splitlines()
    return [part for part in (line.split("\t")[1] for line in told) if not (table / part).exists()]


async def two_days(log: MemoryLog) -> None:
    """Append trades of two days in one batch: one insert, two parts."""
    await log.append([*(facts.trades(k) for k in DAYS), facts.time(DAYS.stop)], None)


async def begin(stores: Stores, log: MemoryLog) -> Path:
    """Fill a first part, stop merges, and return the table's directory."""
    await log.append([*(facts.trades(k) for k in range(8)), facts.time(8)], None)
    await complete(stores, log)
    await stores.clickhouse.command("SYSTEM STOP MERGES trades__v1")
    return await directory(stores)


@with_strace
@pytest.mark.parametrize(
    ("call", "nth", "phantom"),
    [("write", 1, 0), ("rename", 1, 1), ("write", 2, 0), ("rename", 2, 1)],
)
async def test_a_part_that_is_on_record_and_was_never_made_is_not_missed(
    stores: Stores, call: str, nth: int, phantom: int
) -> None:
    log, _ = facts.logs()
    async with filling(stores, log):
        table = await begin(stores, log)
        record = table / "deduplication_logs" / "deduplication_log_1.txt"
        injection = Injection(call, KILL, nth, (record,) if call == "write" else ())
        pid = stores.clickhouse_server.pid
        async with injected(injection, [pid], table.parents[2] / "told") as attached:
            await two_days(log)
            assert "deduplication_log_1" in (hit := await attached.hit(30)) or "tmp_insert" in hit
        stores.clickhouse_server.kill()
        assert len(phantoms(table)) == phantom
        await stores.clickhouse_server.start()
        await complete(stores, log)
    await assert_exact(stores, log, 7 * (8 + len(DAYS)))


async def test_a_part_that_was_acknowledged_and_is_lost_is_put_back_at_the_next_start(
    stores: Stores,
) -> None:
    """Without strace: what the moment leaves is made by hand, and the sink had heard of success."""
    log, _ = facts.logs()
    async with filling(stores, log):
        table = await begin(stores, log)
        before = {part.name for part in table.glob("2*_*_*_0")}
        await two_days(log)
        await complete(stores, log)
        lost = sorted({part.name for part in table.glob("2*_*_*_0")} - before)
    assert len(lost) == 2
    stores.clickhouse_server.kill()
    (table / lost[1]).rename(table / f"tmp_insert_{lost[1]}")
    assert phantoms(table) == [lost[1]]
    await stores.clickhouse_server.start()
    await log.append([facts.trades(40), facts.time(41)], None)
    async with filling(stores, log):
        await complete(stores, log)
    await assert_exact(stores, log, 7 * (8 + len(DAYS) + 1))
