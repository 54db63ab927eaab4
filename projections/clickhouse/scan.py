"""A ClickHouse table read in logical order, a bounded number of rows at a time."""

from collections.abc import AsyncIterator

from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.rows import Rows, concatenate
from tidemill.projections.table import Table

SCAN_ROWS_MAX = 262_144
"""Most rows of one read, unless one root has more."""
_WINDOW_ROOTS = 65_536


async def scan(clickhouse: ClickHouse, table: Table, as_of: int) -> AsyncIterator[Rows]:
    """Yield the rows with _r <= `as_of` in the order (_r, _i, _n)."""
    names = ", ".join(f"`{column.name}`" for column in table.columns)
    sql = (
        f"SELECT {names} FROM {table.physical} WHERE _r >= {{a:UInt64}} AND _r <= {{b:UInt64}}"
        " ORDER BY _r, _i, _n"
    )
    async for first, last in _ranges(clickhouse, table, as_of):
        blocks = await clickhouse.columns(sql, table.columns, {"a": first, "b": last})
        if blocks:
            yield concatenate(blocks)


async def _ranges(
    clickhouse: ClickHouse, table: Table, as_of: int
) -> AsyncIterator[tuple[int, int]]:
    """Yield ranges of roots, ascending, that hold all rows and each at most SCAN_ROWS_MAX."""
    windows = await clickhouse.query(
        f"SELECT intDiv(_r, {_WINDOW_ROOTS}) AS w FROM {table.physical}"
        " WHERE _r <= {b:UInt64} GROUP BY w ORDER BY w",
        {"b": as_of},
    )
    for (window,) in windows:
        first = window * _WINDOW_ROOTS
        last = min(as_of, first + _WINDOW_ROOTS - 1)
        counts = await clickhouse.query(
            f"SELECT _r, count() FROM {table.physical} WHERE _r >= {{a:UInt64}}"
            " AND _r <= {b:UInt64} GROUP BY _r ORDER BY _r",
            {"a": first, "b": last},
        )
        total, before = 0, first
        for root, count in counts:
            if total and total + count > SCAN_ROWS_MAX:
                yield before, root - 1
                total, before = 0, root
            total += count
        yield before, last
