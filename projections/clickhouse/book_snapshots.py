"""Whole valid books, a row a level: where the book of any later position begins."""

from pathlib import Path

from tidemill.projections.columns import POSITION, SIDE, SYMBOL, VENUE, decimal, time, uint
from tidemill.projections.table import Table

BOOK_SNAPSHOTS = Table(
    name="book_snapshots",
    version=1,
    kind="append",
    database="clickhouse",
    reads="book_snapshot",
    filters=("snapshots.*.*.*.*",),
    columns=(
        *POSITION,
        SYMBOL,
        VENUE,
        time("ts"),
        uint("last_update_id", 64),
        decimal("price"),
        decimal("quantity"),
        uint("level", 32),
        SIDE,
        uint("flags", 16),
    ),
    sql=Path(__file__).with_suffix(".sql"),
    emitted_by="book",
)
