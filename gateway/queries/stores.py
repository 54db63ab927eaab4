"""What questions are answered from, and at which position: bound once for each answer."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from tidemill.gateway.queries.cache import Cache
from tidemill.gateway.queries.clickhouse import ClickHouseReader, Row
from tidemill.gateway.queries.metrics import Metrics
from tidemill.gateway.queries.parameters import Asked
from tidemill.gateway.queries.positions import Pool, Positions, Readings
from tidemill.gateway.queries.settings import QueriesSettings
from tidemill.gateway.queries.statements import statement
from tidemill.projections.postgres.errors import unavailable
from tidemill.schemas.errors import Unavailable

LOOK_BACK_ROOTS = (1 << 16, 1 << 22)
"""How far back the newest rows are looked for first; then everywhere."""
_CLOCKS, _TIMES = ("trades", "quotes"), "times"
_TIMES_MAX = 1_024


@dataclass(frozen=True)
class Bound:
    """What one answer is bound to: rows with ``_r <= root`` of these tables, and nothing else."""

    root: int
    tables: Mapping[str, str]
    version: int


class Stores:
    """Both databases as readers, the cache, and the positions of all tables."""

    def __init__(self, settings: QueriesSettings, metrics: Metrics) -> None:
        self._timeout_s = settings.query_timeout_s
        # Connects on first use: a database that is away must not keep this process from starting.
        self.pool: Pool = asyncpg.create_pool(
            settings.postgres_reader,
            min_size=0,
            max_size=settings.postgres_connections_max,
            timeout=2,
            command_timeout=settings.query_timeout_s,
        )
        self.clickhouse = ClickHouseReader(
            settings.clickhouse_reader,
            settings.clickhouse_connections_max,
            settings.queries_waiting_max,
            settings.query_timeout_s,
        )
        self.cache = Cache(settings.valkey, metrics)
        self._positions = Positions(self.pool, settings.min_seq_timeout_s)
        self._times: OrderedDict[int, int | None] = OrderedDict()

    async def open(self) -> None:
        """Begin; connects to nothing yet."""
        await self.pool

    async def close(self) -> None:
        """Close all connections."""
        await self.cache.close()
        await self.clickhouse.close()
        self.pool.terminate()

    async def bind(self, asked: Asked, *names: str) -> Bound:
        """Return what an answer from these tables is bound to; the first names its version.

        The position is the least of the tables' high-water marks, or the past that is asked for.
        Raises Problem where it is not reached in time, Unavailable.
        """
        wanted = asked.past
        root = wanted.root if wanted is not None else None
        least = max(asked.min_seq or 0, root or 0)
        everything = names if wanted is None or wanted.ns is None else {*names, _TIMES}
        readings = await self._positions.reached(tuple(everything), least)
        now = min(readings[name].root for name in names)
        if wanted is not None and wanted.ns is not None:
            root = await self._root_at(wanted.ns, readings)
        tables = {name: reading.table for name, reading in readings.items()}
        return Bound(now if root is None else min(root, now), tables, readings[names[0]].version)

    async def ask(
        self, name: str, bound: Bound, parameters: Mapping[str, Any] | None = None
    ) -> list[Row]:
        """Return the rows of ``<name>.sql`` in ClickHouse; ``{as_of}`` is bound too."""
        values = {"as_of": bound.root, **(parameters or {})}
        return await self.clickhouse.rows(statement(name, bound.tables), values)

    async def newest(
        self, name: str, bound: Bound, parameters: Mapping[str, Any], enough: int
    ) -> list[Row]:
        """Return the newest rows of ``<name>.sql``, which takes ``{floor}`` < ``_r``.

        By position, not by time, `enough` rows are the newest wherever they are found, so it looks
        near the end first.
        """
        for span in LOOK_BACK_ROOTS:
            if span < bound.root:
                floor = {"floor": bound.root - span}
                rows = await self.ask(name, bound, {**parameters, **floor})
                if len(rows) >= enough:
                    return rows
        return await self.ask(name, bound, {**parameters, "floor": 0})

    async def records(self, name: str, bound: Bound, *values: Any) -> Sequence[asyncpg.Record]:
        """Return the rows of ``<name>.sql`` in Postgres."""
        with unavailable():
            return await self.pool.fetch(statement(name, bound.tables), *values)

    async def time_of(self, bound: Bound) -> int | None:
        """Return when the newest trade or quote up to a position was received, ns UTC."""
        if bound.root not in self._times:
            if not all(name in bound.tables for name in _CLOCKS):
                return None
            rows = await self._latest_time(bound)
            self._times[bound.root] = rows[0]["ns"] or None
            while len(self._times) > _TIMES_MAX:
                self._times.popitem(last=False)
        return self._times[bound.root]

    async def _latest_time(self, bound: Bound) -> list[Row]:
        for span in (*LOOK_BACK_ROOTS, bound.root):
            floor = max(0, bound.root - span)
            rows = await self.ask("newest_time", bound, {"floor": floor})
            if rows[0]["ns"] or not floor:
                break
        return rows

    async def _root_at(self, ns: int, readings: Readings) -> int:
        tables = {_TIMES: readings[_TIMES].table}
        values = {"ns": ns, _TIMES: readings[_TIMES].root}
        rows = await self.clickhouse.rows(statement("newest_root", tables), values)
        return int(rows[0]["root"])

    async def probe(self) -> dict[str, bool]:
        """Ask every server whether it answers, all at once."""
        probes = {
            "clickhouse": self.clickhouse.probe(),
            "postgres": self._probe_postgres(),
            "redis": self.cache.probe(),
        }
        answers = await asyncio.gather(*(_answers(probe) for probe in probes.values()))
        return dict(zip(probes, answers, strict=True))

    async def _probe_postgres(self) -> None:
        with unavailable():
            await self.pool.fetchval("SELECT 1")


async def _answers(probe: Any) -> bool:
    try:
        async with asyncio.timeout(2):
            await probe
    except (Unavailable, TimeoutError):
        return False
    return True
