"""Forced orders, one row each; venues publish only some of them."""

from pathlib import Path

from tidemill.projections.columns import POSITION, SIDE, SYMBOL, VENUE, decimal, time, uint
from tidemill.projections.table import Table

LIQUIDATIONS = Table(
    name="liquidations",
    version=1,
    kind="append",
    database="clickhouse",
    reads="liquidation",
    filters=("md.liquidation.*.*.*",),
    columns=(
        *POSITION,
        SYMBOL,
        VENUE,
        time("ts_event"),
        time("ts_recv"),
        decimal("price"),
        decimal("average_price"),
        decimal("quantity"),
        decimal("filled_quantity"),
        SIDE,
        uint("flags", 16),
    ),
    sql=Path(__file__).with_suffix(".sql"),
)
