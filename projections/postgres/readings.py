"""What answers queries: of each table its version, and the root it is complete up to.

For readers: it imports nothing of streams. A query adds ``_r <= {as_of}`` to its conditions.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import asyncpg

from tidemill.projections.postgres.errors import unavailable
from tidemill.projections.postgres.sql import statement
from tidemill.schemas.errors import Unavailable

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
WAIT_MIN_S, WAIT_MAX_S = 0.005, 0.05
"""Pauses between looks of `wait_for`."""


class Reading(NamedTuple):
    """What answers a query: the physical table, its version, and the root it is complete up to."""

    table: str
    version: int
    as_of: int
    log_uuid: str


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
