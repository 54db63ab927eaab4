"""The latest bar of each instrument and interval: "now" only."""

from dataclasses import replace
from pathlib import Path

from tidemill.projections.clickhouse.bars import BARS

LATEST_BARS = replace(
    BARS,
    name="latest_bars",
    version=1,
    kind="latest",
    database="postgres",
    sql=Path(__file__).with_suffix(".sql"),
    newest=("ts_open", "revision"),
)
