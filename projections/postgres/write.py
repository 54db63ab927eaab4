"""Rows into a Postgres table inside a transaction: the latest of each key, or a ledger."""

from collections.abc import Sequence

from tidemill.projections.postgres.positions import Connection
from tidemill.projections.postgres.records import to_records
from tidemill.projections.rows import Rows, newest
from tidemill.projections.table import Table

OPEN = 2**63 - 1
"""`r_to` of a row that is still valid."""


def _names(columns: Sequence[str], prefix: str = "") -> str:
    return ", ".join(f'{prefix}"{name}"' for name in columns)


async def prepare(connection: Connection, table: Table) -> None:
    """Make this session's staging table, emptied at every commit."""
    await connection.execute(
        f"CREATE TEMP TABLE IF NOT EXISTS {table.physical}_staging"
        f" (LIKE {table.physical}) ON COMMIT DELETE ROWS"
    )


async def write(connection: Connection, table: Table, rows: Rows) -> None:
    """Write rows in logical order, after all that were written before."""
    if table.kind == "ledger":
        await _append_to_ledger(connection, table, rows)
    else:
        await _replace_latest(connection, table, rows)


async def _replace_latest(connection: Connection, table: Table, rows: Rows) -> None:
    latest = newest(rows, table.key, table.newest)
    columns = [column.name for column in table.columns]
    staging = f"{table.physical}_staging"
    await connection.copy_records_to_table(
        staging, records=to_records(table.columns, latest), columns=columns
    )
    changed = [name for name in columns if name not in table.key]
    await connection.execute(
        f"INSERT INTO {table.physical} AS t ({_names(columns)})"
        f" SELECT {_names(columns)} FROM {staging}"
        f" ON CONFLICT ({_names(table.key)}) DO UPDATE"
        f" SET ({_names(changed)}) = ROW ({_names(changed, 'excluded.')})"
        f" WHERE ({_names(table.newest, 'excluded.')}) >= ({_names(table.newest, 't.')})"
    )


async def _append_to_ledger(connection: Connection, table: Table, rows: Rows) -> None:
    """Add rows; the one that was valid before each of them is closed where it begins."""
    columns = [column.name for column in table.columns]
    records = to_records(table.columns, rows)
    key_at = [columns.index(name) for name in table.key]
    roots = rows.array("_r").tolist()
    ends: list[int] = [OPEN] * len(records)
    firsts: dict[tuple[object, ...], int] = {}
    following: dict[tuple[object, ...], int] = {}
    for row in reversed(range(len(records))):
        key = tuple(records[row][at] for at in key_at)
        ends[row] = following.get(key, OPEN)
        following[key] = firsts[key] = roots[row]
    conditions = " AND ".join(f't."{name}" = c."{name}"' for name in table.key)
    arrays = ", ".join(f"${at + 1}::text[]" for at in range(len(table.key)))
    await connection.execute(
        f"UPDATE {table.physical} t SET r_to = c.r"
        f" FROM unnest({arrays}, ${len(table.key) + 1}::bigint[]) AS c ({_names(table.key)}, r)"
        f" WHERE {conditions} AND t.r_to = {OPEN}",
        *(list(values) for values in zip(*firsts, strict=True)),
        list(firsts.values()),
    )
    await connection.copy_records_to_table(
        table.physical,
        records=[(*record, end) for record, end in zip(records, ends, strict=True)],
        columns=[*columns, "r_to"],
    )
