"""Trades, one row each, as their venues published them."""

from pathlib import Path

from tidemill.projections.columns import (
    AGGRESSOR_SIDE,
    POSITION,
    SYMBOL,
    VENUE,
    decimal,
    time,
    uint,
)
from tidemill.projections.table import Table

TRADES = Table(
    name="trades",
    version=1,
    kind="append",
    database="clickhouse",
    reads="trade",
    filters=("md.trade.*.*.*",),
    columns=(
        *POSITION,
        SYMBOL,
        VENUE,
        time("ts_event"),
        time("ts_recv"),
        uint("trade_id", 64),
        decimal("price"),
        decimal("quantity"),
        AGGRESSOR_SIDE,
        uint("flags", 16),
    ),
    sql=Path(__file__).with_suffix(".sql"),
    period_s=0.25,
)
