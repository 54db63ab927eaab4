"""What a database holds of one table, range by range, for what compares it with the log."""

from collections.abc import Sequence

import numpy as np

from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.differences import Difference, Differences
from tidemill.projections.postgres.errors import unavailable
from tidemill.projections.postgres.readings import Pool
from tidemill.projections.postgres.records import from_records
from tidemill.projections.postgres.write import OPEN
from tidemill.projections.ranges import Live
from tidemill.projections.rows import Rows
from tidemill.projections.table import Table


def live(table: Table, clickhouse: ClickHouse, pool: Pool) -> Live:
    """Return a table of either database."""
    if table.database == "clickhouse":
        return InClickHouse(clickhouse, table)
    return InPostgres(pool, table)


async def at_one_moment(
    pool: Pool, clickhouse: ClickHouse, tables: Sequence[Table]
) -> dict[str, tuple[int, Live]]:
    """Return, by physical name, how far each table is, and what it holds up to there.

    What is latest moves on, so it is read whole, at the moment of its position. A table that no
    sink has ever filled is missing.
    """
    found: dict[str, tuple[int, Live]] = {}
    with unavailable():
        async with (
            pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            names = [table.physical for table in tables]
            rows = await connection.fetch("SELECT t, position FROM sink WHERE t = ANY($1)", names)
            positions = {row["t"]: int(row["position"]) for row in rows}
            for table in tables:
                if table.physical not in positions:
                    continue
                what = live(table, clickhouse, pool)
                if table.kind == "latest":
                    columns = ", ".join(f'"{column.name}"' for column in table.columns)
                    now = await connection.fetch(f"SELECT {columns} FROM {table.physical}")
                    kept = from_records(table.columns, [dict(one) for one in now])
                    what = Held([kept] if kept.count else [])
                found[table.physical] = positions[table.physical], what
    return found


class InClickHouse:
    """A table of ClickHouse, which finds a range of roots by its minmax index."""

    def __init__(self, clickhouse: ClickHouse, table: Table) -> None:
        self._clickhouse, self._table = clickhouse, table
        names = ", ".join(f"`{column.name}`" for column in table.columns)
        self._where = f"FROM {table.physical} WHERE _r >= {{a:UInt64}} AND _r <= {{b:UInt64}}"
        self._sql = f"SELECT {names} {self._where} LIMIT {{most:UInt64}}"

    async def rows(self, first: int, last: int, rows_max: int) -> list[Rows]:
        """See Live.rows."""
        bounds = {"a": first, "b": last, "most": rows_max}
        return await self._clickhouse.columns(self._sql, self._table.columns, bounds)

    async def count(self, first: int, last: int) -> int:
        """See Live.count."""
        sql = f"SELECT count() {self._where}"
        return int((await self._clickhouse.query(sql, {"a": first, "b": last}))[0][0])

    async def beside(self, found: Differences, as_of: int) -> None:
        """See Live.beside: it has nothing besides."""


class InPostgres:
    """A table of Postgres; a ledger has the end of each row's validity besides."""

    def __init__(self, pool: Pool, table: Table) -> None:
        self._pool, self._table = pool, table
        names = ", ".join(f'"{column.name}"' for column in table.columns)
        self._where = f"FROM {table.physical} WHERE _r >= $1 AND _r <= $2"
        self._sql = f"SELECT {names} {self._where} LIMIT $3"
        key = ", ".join(f'"{name}"' for name in table.key)
        self._ends = (
            f"SELECT *, count(*) OVER () AS wrong FROM (SELECT _r, _i, _n, r_to,"
            f" lead(_r, 1, {OPEN}::bigint) OVER (PARTITION BY {key} ORDER BY _r, _i, _n) AS ends"
            f" FROM {table.physical}) AS every WHERE r_to <> ends AND _r <= $1"
            " ORDER BY _r, _i, _n LIMIT 10"
        )

    async def rows(self, first: int, last: int, rows_max: int) -> list[Rows]:
        """See Live.rows."""
        with unavailable():
            records = await self._pool.fetch(self._sql, first, last, rows_max)
        columns = self._table.columns
        return [from_records(columns, [dict(record) for record in records])] if records else []

    async def count(self, first: int, last: int) -> int:
        """See Live.count."""
        with unavailable():
            return int(await self._pool.fetchval(f"SELECT count(*) {self._where}", first, last))

    async def beside(self, found: Differences, as_of: int) -> None:
        """See Live.beside: a row of a ledger is valid until the next of its key."""
        if self._table.kind != "ledger":
            return
        with unavailable():
            records = await self._pool.fetch(self._ends, as_of)
        if records:
            named = [
                Difference(r, i, n, "changed", "r_to", str(is_), str(meant))
                for r, i, n, is_, meant, _ in records
            ]
            roots = np.array([one.r for one in named], np.uint64)
            found.add_rows("changed", roots, named, records[0]["wrong"])


class Held:
    """Rows of a table that were read at one moment: of a latest table, which moves on."""

    def __init__(self, rows: Sequence[Rows]) -> None:
        self._rows = list(rows)

    async def rows(self, first: int, last: int, rows_max: int) -> list[Rows]:
        """See Live.rows."""
        found = []
        for rows in self._rows:
            roots = rows.array("_r")
            found.append(rows.take((roots >= first) & (roots <= last)))
        return [rows for rows in found if rows.count]

    async def count(self, first: int, last: int) -> int:
        """See Live.count."""
        return sum(rows.count for rows in await self.rows(first, last, 0))

    async def beside(self, found: Differences, as_of: int) -> None:
        """See Live.beside: it has nothing besides."""
