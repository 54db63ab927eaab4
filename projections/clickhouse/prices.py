"""Prices of pairs over their venues, one row for each that was made."""

from pathlib import Path

from tidemill.projections.columns import POSITION, Column, decimal, text, time, uint
from tidemill.projections.table import Table

PRICES = Table(
    name="prices",
    version=1,
    kind="append",
    database="clickhouse",
    reads="price",
    filters=("prices.*.ALL.*.*",),
    columns=(
        *POSITION,
        Column("pair", "text", "subject", "symbol"),
        Column("window", "text", "subject", "spec"),
        time("ts"),
        decimal("volume"),
        decimal("quote_volume"),
        decimal("last_price_sum"),
        decimal("high_price"),
        decimal("low_price"),
        decimal("best_bid"),
        decimal("best_bid_quantity"),
        decimal("best_ask"),
        decimal("best_ask_quantity"),
        text("high_venue"),
        text("low_venue"),
        text("best_bid_venue"),
        text("best_ask_venue"),
        uint("venues", 8),
        uint("flags", 16),
    ),
    sql=Path(__file__).with_suffix(".sql"),
    emitted_by="price",
    key=("pair", "window"),
)
