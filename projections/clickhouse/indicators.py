"""Values of indicators over bars, one row for each output, and one more for every revision."""

from pathlib import Path

from tidemill.projections.columns import (
    POSITION,
    SYMBOL,
    VENUE,
    Column,
    number,
    text,
    time,
    uint,
)
from tidemill.projections.table import Table

INDICATORS = Table(
    name="indicators",
    version=1,
    kind="append",
    database="clickhouse",
    reads="indicator",
    filters=("indicators.*.*.*.*",),
    columns=(
        *POSITION,
        SYMBOL,
        VENUE,
        Column("bars", "text", "subject", "spec"),
        text("indicator"),
        text("output"),
        time("ts_open"),
        time("ts_close"),
        uint("revision", 32),
        number("value"),
        uint("flags", 16),
    ),
    sql=Path(__file__).with_suffix(".sql"),
    emitted_by="indicators",
    key=("symbol", "venue", "bars", "indicator", "output"),
)
