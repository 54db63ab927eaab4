"""Feeds that fell silent and came back, one row for each turn: STALE or FRESH from there on."""

from pathlib import Path

from tidemill.projections.columns import POSITION, integer, text, time
from tidemill.projections.table import Table
from tidemill.schemas.events.feed import FeedStale

FEED_STATES = Table(
    name="feed_states",
    version=1,
    kind="append",
    database="clickhouse",
    reads=FeedStale,
    filters=("feeds.stale.*.*.*",),
    columns=(
        *POSITION,
        text("venue"),
        text("product"),
        time("ts"),
        integer("silent_ns", 64),
        text("state"),
    ),
    sql=Path(__file__).with_suffix(".sql"),
    emitted_by="stale",
    scope="global",
    key=("venue", "product"),
)
