"""Databases as migrations have just made them, remembered, so that the next test needs none.

Only what a test has touched is made anew; what it changed beyond that (a column, a migration's
record) is told of, and then everything is migrated from nothing.
"""

import os
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.postgres.readings import Pool

TABLES = """
SELECT name, create_table_query, toString(uuid), data_paths, ifNull(total_rows, 0)
FROM system.tables WHERE database = 'default' ORDER BY engine = 'View', name"""
CATALOG = """
SELECT 'relation', c.oid, c.relname, c.relkind::text, c.relacl::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public'
UNION ALL
SELECT 'column', c.oid, a.attname, a.atttypid::regtype || ' ' || a.attnotnull || a.attnum,
    pg_get_expr(d.adbin, d.adrelid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a
    ON a.attrelid = c.oid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE n.nspname = 'public' AND a.attnum > 0
UNION ALL
SELECT 'constraint', o.oid, o.conname, pg_get_constraintdef(o.oid), o.convalidated::text
FROM pg_constraint o JOIN pg_namespace n ON n.oid = o.connamespace WHERE n.nspname = 'public'
UNION ALL
SELECT 'trigger', t.oid, t.tgname, pg_get_triggerdef(t.oid), t.tgenabled::text
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n
    ON n.oid = c.relnamespace WHERE n.nspname = 'public'
UNION ALL
SELECT 'function', p.oid, p.proname, p.prosrc, ''
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'public'
ORDER BY 1, 2, 3"""


class Made(NamedTuple):
    """One table or view of ClickHouse: what made it, and what lies on the disk."""

    sql: str
    uuid: str
    files: dict[str, int]
    content: tuple[int, int]
    """Rows and their hash."""


@dataclass
class Pristine:
    """What both databases were right after their migrations."""

    catalog: list[tuple[object, ...]]
    rows: dict[str, bytes]
    """Of Postgres, by table, as COPY gives them."""
    made: dict[str, Made]

    @classmethod
    async def of(cls, clickhouse: ClickHouse, pool: Pool) -> "Pristine":
        """Remember both as they are."""
        catalog = await _catalog(pool)
        names = [
            str(name) for what, _, name, kind, _ in catalog if (what, kind) == ("relation", "r")
        ]
        return cls(
            catalog, {name: await _copy(pool, name) for name in names}, await _made(clickhouse)
        )

    async def restored(self, clickhouse: ClickHouse, pool: Pool) -> bool:
        """Make both as they were; False when that would need more than to empty tables."""
        if await _catalog(pool) != self.catalog or not await self._clickhouse_restored(clickhouse):
            return False
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(f"TRUNCATE {', '.join(self.rows)} RESTART IDENTITY CASCADE")
            for name, rows in self.rows.items():
                await connection.copy_to_table(name, source=BytesIO(rows), format="binary")
        return True

    async def _clickhouse_restored(self, clickhouse: ClickHouse) -> bool:
        now = await _made(clickhouse)
        touched = [name for name in now if now[name] != self.made.get(name)]
        for name in touched:
            if name in self.made and self.made[name].content[0]:
                return False  # its rows are of the migrations themselves
            await clickhouse.command(f"DROP TABLE `{name}` SYNC")
        missing = [name for name in self.made if name in touched or name not in now]
        for name in missing:
            await clickhouse.command(self.made[name].sql)
        if missing:
            again = await _made(clickhouse)
            if [(n, m.sql) for n, m in again.items()] != [(n, m.sql) for n, m in self.made.items()]:
                return False
            self.made = again
        return True


async def _catalog(pool: Pool) -> list[tuple[object, ...]]:
    return [tuple(row) for row in await pool.fetch(CATALOG)]


async def _copy(pool: Pool, name: str) -> bytes:
    into = BytesIO()
    async with pool.acquire() as connection:
        await connection.copy_from_table(name, output=into, format="binary")
    return into.getvalue()


async def _made(clickhouse: ClickHouse) -> dict[str, Made]:
    found = {}
    for name, sql, uuid, paths, rows in await clickhouse.query(TABLES):
        files, content = _files(paths), (0, 0)
        if rows and not sql.startswith("CREATE VIEW"):  # parts merge, rows stay
            files = {}
            ((count, of_all),) = await clickhouse.query(
                f"SELECT count(), groupBitXor(cityHash64(*)) FROM `{name}`"
            )
            content = (count, of_all)
        found[name] = Made(sql, uuid, files, content)
    return found


def _files(paths: list[str]) -> dict[str, int]:
    """Every file under the directories of a table: an insert, a mutation or a token leaves one."""
    return {
        str(file): file.stat().st_size
        for path in paths
        for folder, _, names in os.walk(path)
        for file in (Path(folder) / name for name in names)
    }
