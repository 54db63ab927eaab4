"""Every table there is: one line each version, the older ones first."""

from tidemill.projections.clickhouse.activity_bars import ACTIVITY_BARS
from tidemill.projections.clickhouse.anomalies import ANOMALIES
from tidemill.projections.clickhouse.bars import BARS
from tidemill.projections.clickhouse.book_levels import BOOK_LEVELS
from tidemill.projections.clickhouse.book_metrics import BOOK_METRICS
from tidemill.projections.clickhouse.book_snapshots import BOOK_SNAPSHOTS
from tidemill.projections.clickhouse.composite_bars import COMPOSITE_BARS
from tidemill.projections.clickhouse.derivative_metrics import DERIVATIVE_METRICS
from tidemill.projections.clickhouse.derivatives import DERIVATIVES
from tidemill.projections.clickhouse.feed_events import FEED_EVENTS
from tidemill.projections.clickhouse.feed_states import FEED_STATES
from tidemill.projections.clickhouse.indicators import INDICATORS
from tidemill.projections.clickhouse.liquidations import LIQUIDATIONS
from tidemill.projections.clickhouse.opportunities import OPPORTUNITIES
from tidemill.projections.clickhouse.prices import PRICES
from tidemill.projections.clickhouse.quotes import QUOTES
from tidemill.projections.clickhouse.resampled_bars import RESAMPLED_BARS
from tidemill.projections.clickhouse.screens import SCREENS
from tidemill.projections.clickhouse.signals import SIGNALS
from tidemill.projections.clickhouse.times import TIMES
from tidemill.projections.clickhouse.top_levels import TOP_LEVELS
from tidemill.projections.clickhouse.trades import TRADES
from tidemill.projections.clickhouse.venue_bars import VENUE_BARS
from tidemill.projections.postgres.instruments import INSTRUMENTS
from tidemill.projections.postgres.instruments_v2 import INSTRUMENTS_V2
from tidemill.projections.postgres.latest_bars import LATEST_BARS
from tidemill.projections.postgres.latest_prices import LATEST_PRICES
from tidemill.projections.postgres.latest_quotes import LATEST_QUOTES
from tidemill.projections.postgres.latest_trades import LATEST_TRADES
from tidemill.projections.table import Table

VERSIONS: tuple[Table, ...] = (
    TRADES,
    QUOTES,
    BARS,
    ACTIVITY_BARS,
    RESAMPLED_BARS,
    COMPOSITE_BARS,
    PRICES,
    TIMES,
    BOOK_LEVELS,
    BOOK_METRICS,
    BOOK_SNAPSHOTS,
    TOP_LEVELS,
    DERIVATIVES,
    DERIVATIVE_METRICS,
    OPPORTUNITIES,
    INDICATORS,
    SIGNALS,
    SCREENS,
    ANOMALIES,
    LIQUIDATIONS,
    VENUE_BARS,
    FEED_EVENTS,
    FEED_STATES,
    INSTRUMENTS,
    INSTRUMENTS_V2,
    LATEST_TRADES,
    LATEST_QUOTES,
    LATEST_BARS,
    LATEST_PRICES,
)
TABLES: dict[str, Table] = {table.name: table for table in VERSIONS}
"""Of each name the newest version: what a fresh machine makes."""
