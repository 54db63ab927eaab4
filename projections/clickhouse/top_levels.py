"""The 20 best levels of each side of valid books, once a second."""

from pathlib import Path

from tidemill.projections.columns import POSITION, SIDE, SYMBOL, VENUE, decimal, time, uint
from tidemill.projections.table import Table

TOP_LEVELS = Table(
    name="top_levels",
    version=1,
    kind="append",
    database="clickhouse",
    reads="book_level",
    filters=("levels.*.*.*.*",),
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
