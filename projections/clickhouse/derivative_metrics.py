"""What funding, open interest and basis of derivatives say, once a minute."""

from pathlib import Path

from tidemill.projections.columns import POSITION, SYMBOL, VENUE, Column, decimal, time, uint
from tidemill.projections.table import Table
from tidemill.schemas.enums import FundingSignal, InterestSignal

DERIVATIVE_METRICS = Table(
    name="derivative_metrics",
    version=1,
    kind="append",
    database="clickhouse",
    reads="derivative_metrics",
    filters=("derivatives.*.*.*.*",),
    columns=(
        *POSITION,
        SYMBOL,
        VENUE,
        time("ts"),
        time("ts_event"),
        time("ts_recv"),
        decimal("mark_price"),
        decimal("index_price"),
        decimal("basis"),
        decimal("basis_ratio", exponent=-9),
        decimal("funding_rate", exponent=-12),
        decimal("funding_annualized", exponent=-12),
        decimal("funding_24h", exponent=-12),
        decimal("funding_7d", exponent=-12),
        time("next_funding_time"),
        uint("funding_interval_s", 32),
        decimal("open_interest"),
        decimal("open_interest_change"),
        decimal("open_interest_change_ratio", exponent=-9),
        decimal("last_price"),
        decimal("price_change"),
        decimal("price_change_ratio", exponent=-9),
        decimal("volume"),
        uint("fields", 16),
        Column("funding_signal", "enum", enum=FundingSignal),
        Column("interest_signal", "enum", enum=InterestSignal),
        uint("flags", 16),
    ),
    sql=Path(__file__).with_suffix(".sql"),
    emitted_by="derivatives",
)
