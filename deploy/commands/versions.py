"""`tidemill versions` and `tidemill swap`: which tables there are, and which of them answer."""

from collections.abc import Sequence
from pathlib import Path

from tidemill.deploy.commands.output import Exit, answer, say
from tidemill.deploy.embedded.servers import servers_on
from tidemill.deploy.prepared import databases
from tidemill.deploy.settings import Missing
from tidemill.deploy.swapping import put_in_place, standing_still
from tidemill.projections.registry import TABLES, VERSIONS
from tidemill.projections.table import Table
from tidemill.projections.versions import Version, present, previous, swap


def physical(name: str, there: Sequence[Version]) -> Table:
    """Return the table of a physical name. Raises Missing, naming those that there are."""
    for version in there:
        if version.table.physical == name:
            return version.table
    known = ", ".join(version.table.physical for version in there)
    raise Missing(f"there is no physical table {name}; there are {known}")


async def versions(data_dir: Path, json: bool) -> Exit:
    """List every physical table: whether it answers, its state, position and rows."""
    found = {}
    async with servers_on(data_dir) as urls, databases(urls) as (pool, clickhouse):
        for version in await present(pool, VERSIONS):
            table = version.table
            sql = f"SELECT count(*) FROM {table.physical}"
            if table.database == "postgres":
                rows = int(await pool.fetchval(sql))
            else:
                rows = int((await clickhouse.query(sql))[0][0])
            found[table.physical] = {
                "active": version.active,
                "state": version.state,
                "position": version.position,
                "rows": rows,
                "since": version.since.isoformat() if version.since else None,
            }
    answer({"tables": found}, json)
    return Exit.HELD


async def swap_tables(
    names: tuple[str, ...], back: bool, differs: bool, data_dir: Path, json: bool
) -> Exit:
    """Let physical tables answer queries, all at once; `back`: what answered before, of names."""
    async with servers_on(data_dir) as urls, databases(urls) as (pool, clickhouse):
        if back:
            for name in names:
                if name not in TABLES:
                    raise Missing(f"there is no table {name}; there are {', '.join(TABLES)}")
            tables, differing = await previous(pool, VERSIONS, names), list[str]()
            await swap(pool, tables)
        else:
            there = await present(pool, VERSIONS)
            tables = [physical(name, there) for name in names]
            differing = await put_in_place(tables, clickhouse, pool, differs)
            if not differing:
                differing = await standing_still(pool, tables)
        for line in differing:
            say(line)
        answers = {
            v.table.name: v.table.physical for v in await present(pool, VERSIONS) if v.active
        }
    answer({"ok": not differing, "active": answers}, json)
    return Exit.DID_NOT_HOLD if differing else Exit.HELD
