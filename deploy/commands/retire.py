"""`tidemill retire`: physical tables that answer nothing any more are dropped, after asking."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

import typer

from tidemill.deploy.commands.output import Exit, answer, say
from tidemill.deploy.commands.versions import physical
from tidemill.deploy.embedded.servers import servers_on
from tidemill.deploy.prepared import databases
from tidemill.deploy.settings import Missing
from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.postgres.readings import Pool
from tidemill.projections.registry import TABLES, VERSIONS
from tidemill.projections.versions import Version, present
from tidemill.projections.versions import retire as retire_all
from tidemill.projections.versions_made import drop

LEFT_S = 15.0
"""How long ago a table must have ceased to answer: longer than any answer takes."""


async def retire(names: tuple[str, ...], yes: bool, data_dir: Path, json: bool) -> Exit:
    """Drop physical tables, or all of a name's that do not answer; never one that does.

    Did not hold where it was not confirmed. Raises Missing for what there is not, or answers.
    """
    async with servers_on(data_dir) as urls, databases(urls) as (pool, clickhouse):
        there = await present(pool, VERSIONS)
        chosen = [version for name in names for version in meant(name, there)]
        listed = ", ".join(version.table.physical for version in chosen)
        if chosen and not (yes or _confirmed(listed)):
            say("nothing was dropped")
            return Exit.DID_NOT_HOLD
        await drop_all(chosen, pool, clickhouse)
    answer({"retired": [version.table.physical for version in chosen]}, json)
    return Exit.HELD


def meant(name: str, there: list[Version]) -> list[Version]:
    """Return the tables that a name means: itself, or all of that name that do not answer."""
    if name in TABLES:
        return [v for v in there if v.table.name == name and not v.active]
    table = physical(name, there)
    (version,) = [v for v in there if v.table.physical == table.physical]
    if version.active:
        raise Missing(f"{name} answers queries: swap another in its place first")
    return [version]


async def drop_all(
    chosen: list[Version], pool: Pool, clickhouse: ClickHouse, left_s: float = LEFT_S
) -> None:
    """Drop tables, once no answer can still be reading them."""
    left = [v.left_at for v in chosen if v.left_at is not None]
    if left:
        wait_s = left_s - (datetime.now(UTC) - max(left)).total_seconds()
        if wait_s > 0:
            say(f"waiting {wait_s:.0f} s for answers that still read them ...")
            await asyncio.sleep(wait_s)
    await retire_all(pool, [version.table for version in chosen])
    for version in chosen:
        async with pool.acquire() as connection:
            await drop(connection, clickhouse, version.table)


def _confirmed(listed: str) -> bool:
    if not sys.stdin.isatty():
        raise Missing(f"retiring {listed} drops them: say so with --yes")
    return typer.confirm(f"drop {listed}? There is no way back but to rebuild.", err=True)
