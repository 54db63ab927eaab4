"""Swapping tables in that hold what those hold that answer now; it derives nothing."""

import asyncio
import time
from collections.abc import Sequence

from tidemill.deploy.commands.output import say
from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.postgres.errors import unavailable
from tidemill.projections.postgres.readings import Pool
from tidemill.projections.registry import VERSIONS
from tidemill.projections.table import Table
from tidemill.projections.versions import active, swap
from tidemill.projections.versions_compared import compare
from tidemill.streams import crash_points

FOLLOWED_S = 15.0
"""How long a sink may take to begin with a table: its process may have to start anew."""
AT_REST_S = 2.5
"""A log that nothing follows for so long is at rest: sinks say at least each second how far."""


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


async def standing_still(
    pool: Pool,
    tables: Sequence[Table],
    followed_s: float = FOLLOWED_S,
    at_rest_s: float = AT_REST_S,
) -> list[str]:
    """Return those of `tables` that no sink fills though others are filled, and what to do."""
    began, before = time.monotonic(), await _sinks(pool)
    while True:
        await asyncio.sleep(0.1)
        now, waited = await _sinks(pool), time.monotonic() - began
        still = [t.physical for t in tables if now.get(t.physical) == before.get(t.physical)]
        at_rest = all(now.get(name) == sink for name, sink in before.items())
        if not still or (at_rest and waited > at_rest_s):
            return []
        if waited > followed_s:
            what = "stands still, as no sink fills it: start `tidemill run projections` (or what"
            return [f"{name} {what} runs it) anew, with this code" for name in still]


async def _sinks(pool: Pool) -> dict[str, tuple[int, int]]:
    """Return epoch and position of every sink."""
    with unavailable():
        rows = await pool.fetch("SELECT t, epoch, position FROM sink")
    return {row["t"]: (row["epoch"], row["position"]) for row in rows}
