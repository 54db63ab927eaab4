"""A Postgres table read in logical order, a bounded number of rows at a time."""

from collections.abc import AsyncIterator

from tidemill.projections.postgres.errors import unavailable
from tidemill.projections.postgres.readings import Pool
from tidemill.projections.postgres.records import from_records
from tidemill.projections.rows import Rows
from tidemill.projections.table import Table

SCAN_ROWS_MAX = 10_000


async def scan(pool: Pool, table: Table, as_of: int) -> AsyncIterator[Rows]:
    """Yield the rows with _r <= `as_of` in the order (_r, _i, _n), as of one moment."""
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    sql = f"SELECT {names} FROM {table.physical} WHERE _r <= $1 ORDER BY _r, _i, _n"
    with unavailable():
        async with pool.acquire() as connection, connection.transaction(readonly=True):
            cursor = await connection.cursor(sql, as_of)
            while records := await cursor.fetch(SCAN_ROWS_MAX):
                yield from_records(table.columns, [dict(record) for record in records])
