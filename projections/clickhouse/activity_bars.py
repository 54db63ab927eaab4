"""Bars that closed by what was traded, one row each and one more for every revision."""

from pathlib import Path

from tidemill.projections.columns import (
    BAR_VALUES,
    POSITION,
    SYMBOL,
    VENUE,
    Column,
    decimal,
    time,
    uint,
)
from tidemill.projections.table import Table
from tidemill.schemas.enums import BarAggregation
from tidemill.schemas.kinds.activity_bar import STEP_EXPONENT

ACTIVITY_BARS = Table(
    name="activity_bars",
    version=1,
    kind="append",
    database="clickhouse",
    reads="activity_bar",
    filters=("activity_bars.*.*.*.*",),
    columns=(
        *POSITION,
        SYMBOL,
        VENUE,
        Column("aggregation", "enum", enum=BarAggregation),
        uint("sequence", 64),
        time("ts_open"),
        time("ts_close"),
        uint("revision", 32),
        decimal("step", exponent=STEP_EXPONENT),
        decimal("threshold", exponent=STEP_EXPONENT),
        *BAR_VALUES,
        uint("first_trade_id", 64),
        uint("last_trade_id", 64),
        uint("flags", 16),
    ),
    sql=Path(__file__).with_suffix(".sql"),
    emitted_by="activity_bars",
    key=("symbol", "venue", "aggregation"),
)
