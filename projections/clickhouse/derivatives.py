"""What venues said of derivatives, one row each; bit k of `fields`: the k-th value was given."""

from pathlib import Path

from tidemill.projections.columns import POSITION, SYMBOL, VENUE, decimal, time, uint
from tidemill.projections.table import Table

DERIVATIVES = Table(
    name="derivatives",
    version=1,
    kind="append",
    database="clickhouse",
    reads="derivative",
    filters=("md.derivative.*.*.*",),
    columns=(
        *POSITION,
        SYMBOL,
        VENUE,
        time("ts_event"),
        time("ts_recv"),
        decimal("mark_price"),
        decimal("index_price"),
        decimal("funding_rate", exponent=-12),
        time("next_funding_time"),
        uint("funding_interval_s", 32),
        decimal("open_interest"),
        uint("fields", 16),
        uint("flags", 16),
    ),
    sql=Path(__file__).with_suffix(".sql"),
)
