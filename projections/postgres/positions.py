"""Who may write a table, and how far it has come: the rows of `sink`, for its writers."""

from typing import NamedTuple, TypeAlias

import asyncpg

from tidemill.projections.limits import Limits
from tidemill.projections.postgres.errors import unavailable
from tidemill.projections.postgres.readings import Pool
from tidemill.projections.postgres.sql import statement
from tidemill.projections.sources import Mark
from tidemill.schemas.errors import Fenced, Regressed

Connection: TypeAlias = (
    "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
)


class Claim(NamedTuple):
    """A sink that is ours under `epoch`, and what is known of its table."""

    epoch: int
    position: int
    floor: int
    mark: Mark
    roots_max: int
    rows_max: int


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
