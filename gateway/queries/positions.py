"""How far each table is: read once for an answer, and waited for where it is asked (min_seq)."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import asyncpg

from tidemill.gateway.queries.problems import Problem
from tidemill.projections.postgres.errors import unavailable
from tidemill.projections.postgres.sql import statement
from tidemill.projections.registry import TABLES
from tidemill.projections.table import named

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

FRESH_S = 0.02
"""How old a reading may be: questions of the same instant share one."""
WAIT_MIN_S, WAIT_MAX_S = 0.005, 0.05


class Reading(NamedTuple):
    """The physical table that answers, its version, and the root that it is complete up to."""

    table: str
    version: int
    root: int


Readings = Mapping[str, Reading]


def _reading(row: asyncpg.Record) -> Reading:
    """Raises ValueError for a physical name that is not of the table and version it stands for."""
    key = named(row["t"])
    if key is None or key[:2] != (row["name"], row["version"]):
        raise ValueError(f"{row['t']!r} is no {row['name']} of version {row['version']}")
    return Reading(row["t"], row["version"], row["position"])


class Positions:
    """The high-water marks of all tables that answer, read from Postgres."""

    def __init__(self, pool: Pool, timeout_s: float) -> None:
        self._pool, self._timeout_s = pool, timeout_s
        self._readings: Readings = {}
        self._read_at = float("-inf")
        self._flight: asyncio.Task[Readings] | None = None

    async def read(self, fresh_s: float = FRESH_S) -> Readings:
        """Return what answers, by table, at most `fresh_s` old. Raises Unavailable.

        All who come while Postgres is asked share that answer, or that failure.
        """
        if time.monotonic() - self._read_at <= fresh_s:
            return self._readings
        if self._flight is None or self._flight.done():
            self._flight = asyncio.create_task(self._fetch())
        return await asyncio.shield(self._flight)

    async def _fetch(self) -> Readings:
        """Ask once for all tables: what one statement sees was swapped together, or not at all."""
        began = time.monotonic()
        with unavailable():
            rows = await self._pool.fetch(statement("position"), list(TABLES))
        self._readings = {row["name"]: _reading(row) for row in rows}
        self._read_at = began
        return self._readings

    async def reached(self, names: Sequence[str], min_root: int) -> Readings:
        """Return what answers once all tables of `names` are complete up to `min_root`.

        Raises Problem (503, TIMEOUT) after the time allowed, and for a table that was never built.
        """
        deadline, pause_s = time.monotonic() + self._timeout_s, WAIT_MIN_S
        readings = await self.read()
        while True:
            missing = [name for name in names if name not in readings]
            behind = [n for n in names if n not in missing and readings[n].root < min_root]
            if not missing and not behind:
                return readings
            if missing and not min_root:
                raise Problem(503, "SERVICE_UNAVAILABLE", f"not built yet: {', '.join(missing)}")
            if time.monotonic() + pause_s > deadline:
                late = ", ".join([*missing, *behind])
                raise Problem(
                    503, "TIMEOUT", f"{late} not at {min_root} within {self._timeout_s} s"
                )
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, WAIT_MAX_S)
            readings = await self.read(0)
