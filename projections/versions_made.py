"""Physical tables in both databases: made, found again after a loss, and dropped."""

from collections.abc import Sequence

from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.clickhouse.fenced import newest_root
from tidemill.projections.migration_files import (
    apply_to_clickhouse,
    apply_to_postgres,
    due,
    of_table,
    recorded_in_clickhouse,
    recorded_in_postgres,
    statements,
)
from tidemill.projections.postgres.positions import Connection
from tidemill.projections.postgres.sql import statement
from tidemill.projections.table import Table, named
from tidemill.projections.versions import instance_of, present
from tidemill.streams import crash_points


async def adopt(connection: Connection, clickhouse: ClickHouse, versions: Sequence[Table]) -> None:
    """Choose what answers, of each name that has nothing yet, and note it.

    That is the newest declared version; where Postgres was lost, of the tables that ClickHouse
    still has, the one that is furthest.
    """
    answered = {row["name"] for row in await connection.fetch("SELECT name FROM active")}
    newest = {table.name: table for table in versions}
    there = await _in_clickhouse(clickhouse, versions)
    for name, table in newest.items():
        if name in answered:
            continue
        found = [one for one in there if one.name == name and one.database == table.database]
        far = [(await newest_root(clickhouse, one.physical), one) for one in found]
        first = (
            max(far, key=lambda pair: (pair[0], pair[1].version, pair[1].instance))[1]
            if (far)
            else table
        )
        async with connection.transaction():
            for one in found or [first]:
                await note(connection, one)
            await connection.execute(
                statement("activate_first"), name, first.version, first.physical
            )


async def note(connection: Connection, table: Table) -> None:
    """Note a physical table whose sink is to run."""
    await connection.execute(
        statement("add_physical"),
        *(table.physical, table.name, table.version, table.instance, "serving"),
    )


async def make_all(
    connection: Connection, clickhouse: ClickHouse, versions: Sequence[Table]
) -> list[str]:
    """Make every noted table that is missing; return their names.

    One that a database lost is complete up to no root from here on. Raises ValueError where the
    file that made one has changed.
    """
    made = []
    for version in await present(connection, versions):
        if version.state != "retiring" and await make(connection, clickhouse, version.table):
            made.append(version.table.physical)
    return made


async def make(connection: Connection, clickhouse: ClickHouse, table: Table) -> bool:
    """Make one physical table unless it is there; return whether it was not."""
    migration = of_table(table)
    if table.database == "postgres":
        missing = due([migration], await recorded_in_postgres(connection))
        if missing:
            await apply_to_postgres(connection, migration)
        return bool(missing)
    recorded = await recorded_in_clickhouse(clickhouse)
    due([migration], recorded)  # raises where it has changed
    if migration.version in recorded and await _exists(clickhouse, table):
        return False
    crash_points.reach("version.make.forgetting")
    await connection.execute(statement("forget"), table.physical)
    crash_points.reach("version.make.forgotten")
    await apply_to_clickhouse(clickhouse, migration)
    crash_points.reach("version.make.made")
    return True


async def drop(connection: Connection, clickhouse: ClickHouse, table: Table) -> None:
    """Drop a physical table that is retiring; its number is never used again."""
    migration = of_table(table)
    if table.database == "clickhouse":
        for sql in statements(migration.down):
            await clickhouse.command(sql)
    crash_points.reach("version.drop.dropped")
    async with connection.transaction():
        if table.database == "postgres":
            await connection.execute(migration.down)
            await connection.execute(
                "DELETE FROM schema_migrations WHERE version = $1", table.physical
            )
        await connection.execute("DELETE FROM sink WHERE t = $1", table.physical)
        await connection.execute(
            "UPDATE physical SET state = 'retired' WHERE t = $1", table.physical
        )
    crash_points.reach("version.drop.retired")


async def _exists(clickhouse: ClickHouse, table: Table) -> bool:
    rows = await clickhouse.query(
        "SELECT 1 FROM system.tables WHERE database = currentDatabase() AND name = {t:String}",
        {"t": table.physical},
    )
    return bool(rows)


async def _in_clickhouse(clickhouse: ClickHouse, versions: Sequence[Table]) -> list[Table]:
    """Return the physical tables of declared versions that ClickHouse has."""
    rows = await clickhouse.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() ORDER BY name"
    )
    found = []
    for (name,) in rows:
        key = named(name)
        table = instance_of(versions, *key) if key is not None else None
        if table is not None:
            found.append(table)
    return found
