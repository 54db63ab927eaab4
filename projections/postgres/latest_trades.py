"""The latest trade of each instrument: "now" only."""

from dataclasses import replace
from pathlib import Path

from tidemill.projections.clickhouse.trades import TRADES

LATEST_TRADES = replace(
    TRADES,
    name="latest_trades",
    version=1,
    kind="latest",
    database="postgres",
    sql=Path(__file__).with_suffix(".sql"),
    conflated=True,
)
