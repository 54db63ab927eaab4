"""Opportunities of arbitrage as they opened, changed and closed, net of fees."""

from pathlib import Path

from tidemill.projections.columns import POSITION, Column, decimal, text, time, uint
from tidemill.projections.table import Table
from tidemill.schemas.enums import Legs, OpportunityStatus

OPPORTUNITIES = Table(
    name="opportunities",
    version=1,
    kind="append",
    database="clickhouse",
    reads="opportunity",
    filters=("arbitrage.*.*.*.*",),
    columns=(
        *POSITION,
        Column("pair", "text", "subject", "symbol"),
        time("ts"),
        time("ts_opened"),
        uint("opened_r", 64),
        uint("opened_i", 32),
        uint("changes", 32),
        decimal("buy_price"),
        decimal("sell_price"),
        decimal("quantity"),
        decimal("buy_notional"),
        decimal("sell_notional"),
        decimal("buy_fee"),
        decimal("sell_fee"),
        decimal("gross"),
        decimal("net"),
        decimal("spread_ratio", exponent=-9),
        decimal("gross_ratio", exponent=-9),
        decimal("net_ratio", exponent=-9),
        Column("buy_fee_rate", "decimal", "record", "buy_fee_ppm", exponent=-6),
        Column("sell_fee_rate", "decimal", "record", "sell_fee_ppm", exponent=-6),
        text("buy_venue"),
        text("buy_symbol"),
        text("sell_venue"),
        text("sell_symbol"),
        uint("venues", 8),
        Column("legs", "enum", enum=Legs),
        Column("status", "enum", enum=OpportunityStatus),
        uint("flags", 16),
    ),
    sql=Path(__file__).with_suffix(".sql"),
    emitted_by="arbitrage",
    key=("pair", "buy_venue", "buy_symbol", "sell_venue", "sell_symbol"),
)
