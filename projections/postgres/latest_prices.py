"""The latest price of each pair: "now" only."""

from dataclasses import replace
from pathlib import Path

from tidemill.projections.clickhouse.prices import PRICES

LATEST_PRICES = replace(
    PRICES,
    name="latest_prices",
    version=1,
    kind="latest",
    database="postgres",
    sql=Path(__file__).with_suffix(".sql"),
)
