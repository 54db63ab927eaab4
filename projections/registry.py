"""Every table there is: one line each."""

from tidemill.projections.clickhouse.bars import BARS
from tidemill.projections.clickhouse.prices import PRICES
from tidemill.projections.clickhouse.quotes import QUOTES
from tidemill.projections.clickhouse.trades import TRADES
from tidemill.projections.table import Table

TABLES: dict[str, Table] = {table.name: table for table in (TRADES, QUOTES, BARS, PRICES)}
