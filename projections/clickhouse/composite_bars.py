"""Closed bars of composites, one row each and one more for every revision."""

from pathlib import Path

from tidemill.projections.columns import BAR_VALUES, POSITION, SYMBOL, VENUE, text, time, uint
from tidemill.projections.table import Table

COMPOSITE_BARS = Table(
    name="composite_bars",
    version=1,
    kind="append",
    database="clickhouse",
    reads="composite_bar",
    filters=("composite_bars.*.*.*.*",),
    columns=(
        *POSITION,
        SYMBOL,
        VENUE,
        uint("interval_s", 32),
        time("ts_open"),
        uint("revision", 32),
        *BAR_VALUES,
        text("venues"),
        text("missing"),
        text("late"),
        uint("flags", 16),
    ),
    sql=Path(__file__).with_suffix(".sql"),
    period_s=0.25,
    emitted_by="composite_bars",
    key=("symbol", "venue", "interval_s"),
)
