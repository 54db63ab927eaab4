"""The latest quote of each instrument: "now" only."""

from dataclasses import replace
from pathlib import Path

from tidemill.projections.clickhouse.quotes import QUOTES

LATEST_QUOTES = replace(
    QUOTES,
    name="latest_quotes",
    version=1,
    kind="latest",
    database="postgres",
    sql=Path(__file__).with_suffix(".sql"),
    conflated=True,
)
