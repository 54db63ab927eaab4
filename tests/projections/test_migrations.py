"""Migrations: once, in any number of runners, and never changed afterwards."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tidemill.projections.migration_files import of, parse, statements
from tidemill.projections.migrations import migrate
from tidemill.projections.registry import TABLES
from tidemill.projections.table import Table
from tidemill.tests.projections.stores import Stores

ALL = list(TABLES.values())
UP = "-- migrate:up\nSELECT 1;\n-- migrate:down\nSELECT 2;\n"


def test_a_file_has_an_up_and_a_down_section() -> None:
    assert parse("x", UP).statements == ["SELECT 1"]
    assert statements("SELECT ';a';\nSELECT 2;") == ["SELECT ';a'", "SELECT 2"]
    with pytest.raises(ValueError, match="sections"):
        parse("x", "SELECT 1;")


def test_every_table_has_a_migration_that_makes_its_physical_table() -> None:
    for table in ALL:
        found = {m.version: m for m in of(table.database, ALL)}[table.physical]
        assert f" {table.physical} (" in found.up and f" {table.physical}" in found.down


@pytest.mark.integration
async def test_the_columns_of_clickhouse_are_those_that_are_declared(stores: Stores) -> None:
    for table in ALL:
        if table.database == "clickhouse":
            rows = await stores.clickhouse.query(
                "SELECT name, type FROM system.columns WHERE table = {t:String} ORDER BY position",
                {"t": table.physical},
            )
            assert rows == [(column.name, column.clickhouse) for column in table.columns]


@pytest.mark.integration
async def test_migrating_again_does_nothing(stores: Stores) -> None:
    assert await migrate(stores.pool, stores.clickhouse, ALL) == []


@pytest.mark.integration
async def test_several_runners_at_once_apply_each_file_once(stores: Stores) -> None:
    await stores.pool.execute("DROP SCHEMA public CASCADE")
    await stores.pool.execute("CREATE SCHEMA public")
    done = await asyncio.gather(*(migrate(stores.pool, stores.clickhouse, ALL) for _ in range(4)))
    applied = [version for one in done for version in one]
    assert sorted(applied) == sorted(m.version for m in of("postgres", ALL))


@pytest.mark.integration
async def test_a_file_that_changed_after_it_was_applied_is_refused(
    stores: Stores, tmp_path: Path
) -> None:
    for name in ("trades", "instruments"):
        changed = tmp_path / f"{name}.sql"
        changed.write_text(TABLES[name].sql.read_text().replace("\n    ", "\n     ", 1))
        tables: list[Table] = [replace(TABLES[name], sql=changed)]
        with pytest.raises(ValueError, match=f"{TABLES[name].declared} was applied and has"):
            await migrate(stores.pool, stores.clickhouse, tables)
