"""How far each table has come, who may write it, and which version answers queries."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import asyncpg

from tidemill.projections.limits import Limits
from tidemill.projections.postgres.errors import unavailable
from tidemill.projections.postgres.sql import statement
from tidemill.projections.sources import Mark
from tidemill.projections.table import Table
from tidemill.schemas.errors import Fenced, Regressed, Unavailable

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = (
    "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
)

WAIT_MIN_S, WAIT_MAX_S = 0.005, 0.05
"""Pauses between looks of `wait_for`."""


class Claim(NamedTuple):
    """A sink that is ours under `epoch`, and what is known of its table."""

    epoch: int
    position: int
    floor: int
    mark: Mark
    roots_max: int
    rows_max: int


class Reading(NamedTuple):
    """What answers a query: the physical table, its version, and the root it is complete up to."""

    table: str
    version: int
    as_of: int
    log_uuid: str


async def claim(
    pool: Pool,
    table: str,
    log_uuid: str,
    limits: Limits,
    mine: int | None,
    epoch_known: int = 0,
) -> Claim:
    """Take a sink over; nobody with an older epoch can write from here on.

    `mine` is our epoch when it was ours before; ours will be above `epoch_known`. Raises Fenced
    when it is not ours any more, Regressed when the table was made of another log, Unavailable.
    """
    spans = (limits.roots_max, limits.rows_max)
    with unavailable():
        row = await pool.fetchrow(statement("claim"), table, log_uuid, *spans, mine, epoch_known)
        if row is None:
            made_of = await pool.fetchval("SELECT log_uuid FROM sink WHERE t = $1", table)
            if made_of != log_uuid:
                raise Regressed(f"{table} was made of log {made_of}, not of {log_uuid}: rebuild it")
            raise Fenced(f"another sink writes {table} now")
    return Claim(
        row["epoch"],
        row["position"],
        row["floor"],
        Mark(row["mark_root"], row["mark_sequence"]),
        row["roots_max"],
        row["rows_max"],
    )


async def advance(
    pool: Pool, table: str, epoch: int, position: int, floor: int, mark: Mark
) -> None:
    """Say how far a table is complete. Raises Fenced when it is not ours, Unavailable."""
    with unavailable():
        moved = await pool.fetchval(
            statement("advance"), table, epoch, position, floor, mark.root, mark.sequence
        )
    if moved is None:
        raise Fenced(f"another sink writes {table} now")


async def read(pool: Pool, names: Sequence[str]) -> dict[str, Reading]:
    """Return what answers queries of these tables, by name; one that never ran is missing.

    Queries add ``_r <= {as_of}``: rows beyond it may be half there.
    """
    with unavailable():
        rows = await pool.fetch(statement("position"), list(names))
    return {
        row["name"]: Reading(row["t"], row["version"], row["position"], row["log_uuid"])
        for row in rows
    }


async def wait_for(
    pool: Pool, names: Sequence[str], min_seq: int, timeout_s: float
) -> dict[str, Reading]:
    """Return as `read` once every table is complete up to `min_seq`. Raises Unavailable."""
    deadline, pause_s = time.monotonic() + timeout_s, WAIT_MIN_S
    while True:
        readings = await read(pool, names)
        if len(readings) == len(names) and all(r.as_of >= min_seq for r in readings.values()):
            return readings
        if time.monotonic() + pause_s > deadline:
            raise Unavailable(f"{', '.join(names)} did not reach {min_seq} within {timeout_s} s")
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, WAIT_MAX_S)


async def activate(pool: Pool, versions: Mapping[str, int]) -> None:
    """Make these versions answer queries, of all tables of both databases in one step."""
    with unavailable():
        await pool.execute(statement("activate"), list(versions), list(versions.values()))


async def activate_first(pool: Pool, tables: Sequence[Table]) -> None:
    """Make tables that have no active version yet answer queries."""
    names, versions = [t.name for t in tables], [t.version for t in tables]
    with unavailable():
        await pool.execute(statement("activate_first"), names, versions)
