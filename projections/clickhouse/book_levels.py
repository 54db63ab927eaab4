"""Levels of order books as venues published them, one row each: changes and snapshots.

Most rows of all are of this table. Ordered by position within an instrument, so that the changes
from a checkpoint up to any position lie side by side; on disk about 4 bytes a row (measured on
745,632 levels of BTCUSDT: prices 1.9, quantities 1.5, all else 0.5; 91 in memory).
"""

from pathlib import Path

from tidemill.projections.columns import POSITION, SIDE, SYMBOL, VENUE, decimal, time, uint
from tidemill.projections.table import Table

BOOK_LEVELS = Table(
    name="book_levels",
    version=1,
    kind="append",
    database="clickhouse",
    reads="book",
    filters=("md.book.*.*.*",),
    columns=(
        *POSITION,
        SYMBOL,
        VENUE,
        time("ts_event"),
        time("ts_recv"),
        uint("first_update_id", 64),
        uint("last_update_id", 64),
        decimal("price"),
        decimal("quantity"),
        SIDE,
        uint("flags", 16),
    ),
    sql=Path(__file__).with_suffix(".sql"),
    period_s=0.25,
)
