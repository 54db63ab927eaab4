"""The machine loses its power: whatever was acknowledged is there, before anybody repairs anything.

On a file system of its own that forgets what was not synced, cut off under a running engine. The
tables' settings, which make this hold, are looked at on every machine.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import pytest

from tidemill.deploy.embedded.servers import EmbeddedServers
from tidemill.deploy.prepared import prepare
from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.migrations import migrate
from tidemill.projections.registry import TABLES, VERSIONS
from tidemill.tests.faults.disk import means
from tidemill.tests.faults.disk.file_systems import LoopFileSystem, loop_file_system
from tidemill.tests.faults.disk.report import Report
from tidemill.tests.faults.disk.small_engine import (
    QUOTES,
    TRADES,
    Servers,
    SmallEngine,
    servers,
    small_engine,
)

FULL = os.environ.get("TIDEMILL_FAULTS") == "full"
REPORTS = Path(__file__).parent.parent / "reports"
LOSSES = 25 if FULL else 1
SERVERS = ("nats", "postgres", "clickhouse")
DURABLE = {
    "fsync_after_insert = 1",
    "fsync_part_directory = 1",
    "min_rows_to_fsync_after_merge = 1",
    "min_compressed_bytes_to_fsync_after_merge = 1",
}
CARELESS = ", ".join(sorted(DURABLE)).replace("= 1", "= 0")

pytestmark = [pytest.mark.integration, pytest.mark.timeout(3_600 if FULL else 180)]
with_power_loss = pytest.mark.skipif(bool(means.no_power_loss()), reason=means.no_power_loss())


async def test_every_table_of_clickhouse_syncs_its_inserts_and_its_merges(
    clickhouse_url: str, postgres_dsn: str
) -> None:
    clickhouse = ClickHouse(clickhouse_url)
    async with asyncpg.create_pool(postgres_dsn, min_size=1, max_size=4) as pool:
        await migrate(pool, clickhouse, VERSIONS)
    sql = (
        "SELECT name, engine_full FROM system.tables"
        " WHERE database = 'default' AND engine LIKE '%MergeTree'"
    )
    found = dict(await clickhouse.query(sql))
    await clickhouse.close()
    tables = {table.physical for table in TABLES.values() if table.database == "clickhouse"}
    assert tables | {"fence"} <= set(found)
    for name in tables | {"fence"}:
        assert {one for one in DURABLE if one not in found[name]} == set(), name


@asynccontextmanager
async def on_disks(directory: Path) -> AsyncIterator[tuple[Servers, dict[str, LoopFileSystem]]]:
    """The servers, each on a disk of its own: none is rescued by what another one syncs."""
    with (
        loop_file_system(directory, 384, "nats") as nats,
        loop_file_system(directory, 384, "postgres") as postgres,
        loop_file_system(directory, 384, "clickhouse") as clickhouse,
    ):
        disks = dict(zip(SERVERS, (nats, postgres, clickhouse), strict=True))
        async with servers(*(disk.path for disk in disks.values())) as on:
            yield on, disks


async def lose_power(on: Servers, disks: dict[str, LoopFileSystem]) -> None:
    """All disks at once, as near as can be, then everything that ran."""
    for disk in disks.values():
        disk.cut()
    for server in on.each.values():
        server.kill()
    for disk in disks.values():
        disk.lose_power()


async def start(on: Servers) -> None:
    await asyncio.gather(*(server.start() for server in on.each.values()))


async def lost_rows(engine: SmallEngine) -> list[str]:
    """Tables that are less complete than Postgres says, before any sink has looked."""
    lost = []
    messages = await engine.messages()
    for name, rows in (("trades", TRADES), ("quotes", QUOTES)):
        told = "SELECT position FROM sink WHERE t = $1"
        position = await engine.pool.fetchval(told, TABLES[name].physical)
        kind = f"md.{name.removesuffix('s')}."
        expected = rows * sum(m.subject.startswith(kind) for m in messages if m[0] <= position)
        sql = f"SELECT count() FROM {TABLES[name].physical} WHERE _r <= {position}"
        ((found,),) = await engine.clickhouse.query(sql)
        if found < expected:
            lost.append(f"{name}: {found} of {expected} rows up to {position}")
    return lost


async def lost_messages(engine: SmallEngine) -> list[int]:
    """Confirmed messages that LOG does not hold where it said."""
    held = {message.sequence: message[1:] for message in await engine.messages()}
    return [r for r, message in engine.confirmed.items() if held.get(r) != message]


@with_power_loss
async def test_what_was_acknowledged_outlives_the_power_of_all_servers(tmp_path: Path) -> None:
    chance = random.Random(7)
    report = Report()
    async with on_disks(tmp_path) as (on, disks), small_engine(on) as engine:
        await lose_power(on, disks)  # straight after everything was made: nothing is synced by us
        await start(on)
        for _ in range(LOSSES):
            await engine.start()
            await engine.flowing()
            for _ in range(chance.randint(1, 4)):  # so that parts are merged, and their sources go
                await engine.clickhouse.command("OPTIMIZE TABLE trades__v1 FINAL")
                await asyncio.sleep(chance.random() * 0.3)
            await lose_power(on, disks)
            engine.check()
            await engine.break_off()
            await start(on)
            await engine.own()
            assert await lost_messages(engine) == []
            assert await lost_rows(engine) == []
            await engine.start()
            report.add("power lost", "all servers", True, await engine.flowing())
            report.found = await engine.found()
            assert report.found.holds, report.found
    print(f"\n{report.table()}")
    if FULL:
        report.write(REPORTS / "power_loss", "Power loss of every server's disk")


@with_power_loss
async def test_the_method_finds_a_table_that_does_not_sync(tmp_path: Path) -> None:
    """Else the test before would hold of everything."""
    async with on_disks(tmp_path) as (on, disks), small_engine(on) as engine:
        do = engine.clickhouse.command
        make = "(x UInt64) ENGINE = MergeTree ORDER BY x SETTINGS"
        await do(f"CREATE TABLE careless {make} {CARELESS}")
        await do(f"CREATE TABLE careful {make} {', '.join(DURABLE)}")
        os.sync()
        for table in ("careful", "careless"):
            await do(f"INSERT INTO {table} SELECT number FROM numbers(100)")
        await lose_power(on, disks)
        await on.clickhouse.start()
        found = [await engine.clickhouse.query(f"SELECT count() FROM {t}")
                 for t in ("careful", "careless")]  # fmt: skip
        assert found == [[(100,)], [(0,)]]


@with_power_loss
async def test_a_data_directory_that_was_just_made_starts_again(tmp_path: Path) -> None:
    """Ports, passwords and databases belong together: some of them without the rest are nothing."""
    with loop_file_system(tmp_path, 512, "data") as disk:
        with suppress(OSError):  # its supervisor cannot say on the disk that it has ended
            async with EmbeddedServers(disk.path) as servers_first:
                names = servers_first.urls.nats_name
                disk.cut()
        disk.lose_power()
        async with EmbeddedServers(disk.path) as servers_again:
            await prepare(servers_again.urls)
            assert servers_again.urls.nats_name == names
