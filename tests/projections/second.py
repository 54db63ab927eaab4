"""Second versions of tables for tests: another formula, in a registry of the test's own."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tidemill.projections.registry import TABLES
from tidemill.projections.table import Table
from tidemill.projections.versions import begin
from tidemill.projections.versions_made import make
from tidemill.tests.projections.stores import Stores


def second(name: str, folder: Path, fields: Mapping[str, str] | None = None) -> Table:
    """Version 2 of a table, whose columns named in `fields` are filled from other fields."""
    first, others = TABLES[name], fields or {}
    sql = folder / f"{name}_2.sql"
    sql.write_text(first.sql.read_text().replace(f"{name}__v1", f"{name}__v2"))
    columns = tuple(c._replace(field=others.get(c.name, c.field)) for c in first.columns)
    return replace(first, version=2, sql=sql, columns=columns)


async def noted(stores: Stores, table: Table) -> Table:
    """Make the next instance of a version, empty, to be built."""
    made = await begin(stores.pool, table)
    async with stores.pool.acquire() as connection:
        await make(connection, stores.clickhouse, made)
    return made
