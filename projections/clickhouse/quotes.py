"""Best bids and offers, one row each; not every venue gives an event time."""

from pathlib import Path

from tidemill.projections.columns import POSITION, SYMBOL, VENUE, Column, decimal, time, uint
from tidemill.projections.table import Table

QUOTES = Table(
    name="quotes",
    version=1,
    kind="append",
    database="clickhouse",
    reads="quote",
    filters=("md.quote.*.*.*",),
    columns=(
        *POSITION,
        SYMBOL,
        VENUE,
        Column("ts_event", "time_or_null"),
        time("ts_recv"),
        uint("update_id", 64),
        decimal("bid_price"),
        decimal("bid_quantity"),
        decimal("ask_price"),
        decimal("ask_quantity"),
        uint("flags", 16),
    ),
    sql=Path(__file__).with_suffix(".sql"),
    period_s=0.25,
)
