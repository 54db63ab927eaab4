"""Swapping tables in that hold what those hold that answer now; it derives nothing."""

from collections.abc import Sequence

from tidemill.deploy.commands.output import say
from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.postgres.readings import Pool
from tidemill.projections.registry import VERSIONS
from tidemill.projections.table import Table
from tidemill.projections.versions import active, swap
from tidemill.projections.versions_compared import compare
from tidemill.streams import crash_points


async def put_in_place(
    tables: Sequence[Table], clickhouse: ClickHouse, pool: Pool, differs: bool
) -> list[str]:
    """Let `tables` answer queries, all at once, where they hold what those hold that do now.

    Returns how they differ: then nothing has changed. `differs` asks for no comparison.
    """
    differing = []
    now = await active(pool, VERSIONS)
    for table in tables:
        old = now.get(table.name)
        if differs or old is None or old.physical == table.physical:
            continue
        found = await compare(old, table, clickhouse, pool)
        if found.equal is False:
            differing.append(f"{table.physical} up to {found.as_of}: {found.why}")
        elif found.equal is None:
            say(f"{table.physical} is not compared with {old.physical}: {found.why}")
    if not differing:
        crash_points.reach("rebuild.swapping")
        await swap(pool, tables, ("building", "serving"))
        crash_points.reach("rebuild.swapped")
    return differing
