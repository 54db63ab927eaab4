"""Closed bars as venues themselves made them, one row each: what our own are audited against."""

from pathlib import Path

from tidemill.projections.columns import POSITION, SYMBOL, VENUE, decimal, time, uint
from tidemill.projections.table import Table

VENUE_BARS = Table(
    name="venue_bars",
    version=1,
    kind="append",
    database="clickhouse",
    reads="venue_bar",
    filters=("md.venue_bar.*.*.*",),
    columns=(
        *POSITION,
        SYMBOL,
        VENUE,
        time("ts_event"),
        time("ts_recv"),
        time("ts_open"),
        uint("interval_s", 32),
        decimal("open"),
        decimal("high"),
        decimal("low"),
        decimal("close"),
        decimal("volume"),
        decimal("quote_volume"),
        uint("trade_count", 64),
        uint("flags", 16),
    ),
    sql=Path(__file__).with_suffix(".sql"),
    key=("symbol", "venue", "interval_s"),
)
