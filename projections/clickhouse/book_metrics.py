"""What books looked like once a second, and at every change of their state."""

from pathlib import Path

from tidemill.projections.columns import POSITION, SYMBOL, VENUE, Column, decimal, time, uint
from tidemill.projections.table import Table
from tidemill.schemas.enums import BookState, Signal, SpreadQuality

BOOK_METRICS = Table(
    name="book_metrics",
    version=1,
    kind="append",
    database="clickhouse",
    reads="book_metrics",
    filters=("books.*.*.*.*",),
    columns=(
        *POSITION,
        SYMBOL,
        VENUE,
        time("ts"),
        time("ts_event"),
        time("ts_recv"),
        uint("last_update_id", 64),
        decimal("bid_price"),
        decimal("bid_quantity"),
        decimal("ask_price"),
        decimal("ask_quantity"),
        decimal("spread"),
        decimal("spread_ratio", exponent=-9),
        decimal("bid_depth_1"),
        decimal("ask_depth_1"),
        decimal("bid_depth_5"),
        decimal("ask_depth_5"),
        decimal("bid_volume_1"),
        decimal("ask_volume_1"),
        decimal("imbalance", exponent=-9),
        decimal("bid_wall_price"),
        decimal("bid_wall_quantity"),
        decimal("ask_wall_price"),
        decimal("ask_wall_quantity"),
        decimal("confidence", exponent=-9),
        uint("bid_levels", 32),
        uint("ask_levels", 32),
        uint("bid_walls", 32),
        uint("ask_walls", 32),
        uint("liquidity_score", 8),
        Column("state", "enum", enum=BookState),
        Column("spread_quality", "enum", enum=SpreadQuality),
        Column("signal", "enum", enum=Signal),
        uint("flags", 16),
    ),
    sql=Path(__file__).with_suffix(".sql"),
    emitted_by="book",
)
