"""`tidemill migrate`: how streams differ from the declarations, and, when told, no more."""

from pathlib import Path

from tidemill.deploy.commands.output import Exit, answer
from tidemill.deploy.embedded.servers import servers_on
from tidemill.deploy.prepared import databases, migrate_log
from tidemill.projections import migrations
from tidemill.projections.registry import VERSIONS


async def migrate(data_dir: Path, apply: bool, json: bool) -> Exit:
    """Show the differences; with `apply`, make streams and tables as declared.

    Held when nothing differs any more.
    """
    async with servers_on(data_dir) as urls:
        differences = await migrate_log(urls, apply)
        applied: list[str] = []
        if apply:
            async with databases(urls) as (pool, clickhouse):
                applied = await migrations.migrate(pool, clickhouse, VERSIONS)
    answer({"differences": [str(one) for one in differences], "migrations": applied}, json)
    return Exit.HELD if apply or not differences else Exit.DID_NOT_HOLD
