"""Closed bars, one row each and one more for every revision."""

from pathlib import Path

from tidemill.projections.columns import BAR_VALUES, POSITION, SYMBOL, VENUE, time, uint
from tidemill.projections.table import Table

BARS = Table(
    name="bars",
    version=1,
    kind="append",
    database="clickhouse",
    reads="bar",
    filters=("bars.*.*.*.*",),
    columns=(
        *POSITION,
        SYMBOL,
        VENUE,
        uint("interval_s", 32),
        time("ts_open"),
        uint("revision", 32),
        *BAR_VALUES,
        uint("first_trade_id", 64),
        uint("last_trade_id", 64),
        uint("flags", 16),
    ),
    sql=Path(__file__).with_suffix(".sql"),
    period_s=0.25,
    emitted_by="bars",
    key=("symbol", "venue", "interval_s"),
)
