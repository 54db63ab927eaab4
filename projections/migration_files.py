"""Migration files, dbmate-style, and how one is applied: once, refused when it has changed.

A file has a section ``-- migrate:up`` and one ``-- migrate:down``; statements end with ``;`` at
the end of a line. What was applied stands in `schema_migrations` with the SHA-256 of the up
section.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.postgres.positions import Connection
from tidemill.projections.table import Table

_HERE = Path(__file__).parent
_SECTION = re.compile(r"^-- migrate:(up|down).*$", re.MULTILINE)
POSTGRES_APPLIED = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version text PRIMARY KEY,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
CLICKHOUSE_APPLIED = """
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


def own(database: str) -> list[Migration]:
    """Return the migrations of `clickhouse` or `postgres` that belong to no table."""
    files = sorted((_HERE / database / "migrations").glob("*.sql"))
    return [parse(path.stem, path.read_text()) for path in files]


def of_table(table: Table) -> Migration:
    """Return what makes and drops a physical table."""
    return parse(table.physical, table.migration)


def of(database: str, tables: Iterable[Table]) -> list[Migration]:
    """Return the migrations of a database: its own, then those of its tables."""
    return own(database) + [of_table(table) for table in tables if table.database == database]


def due(migrations: Sequence[Migration], recorded: Mapping[str, str]) -> list[Migration]:
    """Return those not applied. Raises ValueError for one that changed since it was."""
    for migration in migrations:
        checksum = recorded.get(migration.version, migration.checksum)
        if checksum != migration.checksum:
            raise ValueError(
                f"migration {migration.version} was applied and has changed since:"
                " write a new one, or a new version of the table"
            )
    return [migration for migration in migrations if migration.version not in recorded]


async def recorded_in_postgres(connection: Connection) -> dict[str, str]:
    """Return the checksums of what Postgres has, by version."""
    await connection.execute(POSTGRES_APPLIED)
    rows = await connection.fetch("SELECT version, checksum FROM schema_migrations")
    return {row["version"]: row["checksum"] for row in rows}


async def recorded_in_clickhouse(clickhouse: ClickHouse) -> dict[str, str]:
    """Return the checksums of what ClickHouse has, by version."""
    await clickhouse.command(CLICKHOUSE_APPLIED)
    return dict(await clickhouse.query("SELECT version, checksum FROM schema_migrations FINAL"))


async def apply_to_postgres(connection: Connection, migration: Migration) -> None:
    """Apply one, all of it or nothing."""
    async with connection.transaction():
        await connection.execute(migration.up)
        await connection.execute(
            "INSERT INTO schema_migrations (version, checksum) VALUES ($1, $2)",
            migration.version,
            migration.checksum,
        )


async def apply_to_clickhouse(clickhouse: ClickHouse, migration: Migration) -> None:
    """Apply one. There are no transactions: an up section may run again after a crash."""
    for statement in migration.statements:
        await clickhouse.command(statement)
    await clickhouse.command(
        "INSERT INTO schema_migrations (version, checksum)"
        " SELECT {version:String}, {checksum:String}",
        {"version": migration.version, "checksum": migration.checksum},
        {"async_insert": 0},
    )
