"""Migrations of both databases: dbmate-style files, applied once each, refused when changed.

A file has a section ``-- migrate:up`` and one ``-- migrate:down``; statements end with ``;`` at
the end of a line. What was applied stands in `schema_migrations` with the SHA-256 of the up
section. One runner at a time, by an advisory lock in Postgres.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.postgres.errors import unavailable
from tidemill.projections.postgres.positions import Connection
from tidemill.projections.postgres.readings import Pool, activate_first
from tidemill.projections.table import Table

_HERE = Path(__file__).parent
_SECTION = re.compile(r"^-- migrate:(up|down).*$", re.MULTILINE)
_LOCK = 7_101_000_001  # advisory lock of Tidemill's migrations

_POSTGRES_APPLIED = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version text PRIMARY KEY,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
_CLICKHOUSE_APPLIED = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version String,
    checksum String,
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(applied_at)
ORDER BY version
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1, min_compressed_bytes_to_fsync_after_merge = 1
"""


class Migration(NamedTuple):
    """One file: its name in `schema_migrations`, what it does, and what undoes it."""

    version: str
    up: str
    down: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the up section."""
        return hashlib.sha256(self.up.encode()).hexdigest()

    @property
    def statements(self) -> list[str]:
        """The statements of the up section."""
        return statements(self.up)


def statements(section: str) -> list[str]:
    """Split a section at the semicolons that end a line."""
    parts = re.split(r";\s*$", section, flags=re.MULTILINE)
    return [part.strip() for part in parts if part.strip()]


def parse(version: str, text: str) -> Migration:
    """Read one file. Raises ValueError when it has not both sections, up first."""
    parts = _SECTION.split(text)
    if [name for name in parts[1::2]] != ["up", "down"]:
        raise ValueError(f"{version}: a migration has the sections migrate:up and migrate:down")
    return Migration(version, parts[2].strip(), parts[4].strip())


def of(database: str, tables: Iterable[Table]) -> list[Migration]:
    """Return the migrations of `clickhouse` or `postgres`: its own, then those of its tables."""
    files = [(path.stem, path) for path in sorted((_HERE / database / "migrations").glob("*.sql"))]
    files += [(table.physical, table.sql) for table in tables if table.database == database]
    return [parse(version, path.read_text()) for version, path in files]


async def migrate(pool: Pool, clickhouse: ClickHouse, tables: Sequence[Table]) -> list[str]:
    """Bring both databases up to date; return what was applied. Running it again does nothing.

    Raises ValueError when a file that was applied has changed, Unavailable.
    """
    with unavailable():
        async with pool.acquire() as connection:
            await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
            try:
                applied = await _migrate_postgres(connection, of("postgres", tables))
                applied += await _migrate_clickhouse(clickhouse, of("clickhouse", tables))
            finally:
                await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)
    await activate_first(pool, tables)
    return applied


def due(migrations: Sequence[Migration], recorded: dict[str, str]) -> list[Migration]:
    """Return those not applied. Raises ValueError for one that changed since it was."""
    for migration in migrations:
        checksum = recorded.get(migration.version, migration.checksum)
        if checksum != migration.checksum:
            raise ValueError(
                f"migration {migration.version} was applied and has changed since:"
                " write a new one, or a new version of the table"
            )
    return [migration for migration in migrations if migration.version not in recorded]


async def _migrate_postgres(connection: Connection, migrations: list[Migration]) -> list[str]:
    await connection.execute(_POSTGRES_APPLIED)
    rows = await connection.fetch("SELECT version, checksum FROM schema_migrations")
    todo = due(migrations, {row["version"]: row["checksum"] for row in rows})
    for migration in todo:
        async with connection.transaction():
            await connection.execute(migration.up)
            await connection.execute(
                "INSERT INTO schema_migrations (version, checksum) VALUES ($1, $2)",
                migration.version,
                migration.checksum,
            )
    return [migration.version for migration in todo]


async def _migrate_clickhouse(clickhouse: ClickHouse, migrations: list[Migration]) -> list[str]:
    """Apply what is due. There are no transactions: an up section may run again after a crash."""
    await clickhouse.command(_CLICKHOUSE_APPLIED)
    rows = await clickhouse.query("SELECT version, checksum FROM schema_migrations FINAL")
    todo = due(migrations, dict(rows))
    for migration in todo:
        for statement in migration.statements:
            await clickhouse.command(statement)
        await clickhouse.command(
            "INSERT INTO schema_migrations (version, checksum)"
            " SELECT {version:String}, {checksum:String}",
            {"version": migration.version, "checksum": migration.checksum},
            {"async_insert": 0},
        )
    return [migration.version for migration in todo]
