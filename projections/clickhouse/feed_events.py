"""What feeds said of themselves, one row each: connections, holes, gaps of books, clocks.

`expected` and `received` are what was expected and what came instead, whatever that was: ids, a
checksum, a volume. What one type of event alone has is JSON in `detail`. A type that is added
later has rows here without a change.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from tidemill.projections.columns import POSITION, Column, integer, text, time
from tidemill.projections.table import Table
from tidemill.schemas.events import Event
from tidemill.schemas.kinds.quote import TS_NONE

_NONE: Mapping[str, Any] = {
    **dict.fromkeys(("venue", "symbol", "product", "reason", "expected", "received"), ""),
    **dict.fromkeys(("first_id", "last_id", "offset_ns", "latency_ns"), 0),
    **dict.fromkeys(("ts_from", "ts_to"), TS_NONE),
}
_ALIASES = {
    "expected_id": "expected",
    "received_id": "received",
    "computed": "received",
    "last_update_id": "last_id",
}
"""Fields of some events that are the same thing under another name."""


def fields(event: Event) -> dict[str, Any]:
    """Return what the columns of an event's row are filled from."""
    own = {_ALIASES.get(name, name): value for name, value in vars(event).items()}
    row = {**_NONE, **{name: own.pop(name) for name in _NONE if name in own}}
    del own["sequence"]
    if "first_id" in vars(event):  # a hole: the first missing trade, and the one after the last
        row |= {"expected": row["first_id"], "received": row["last_id"] + 1}
    row["ts_recv"] = own.pop("ts_recv", row["ts_to"])
    row["event"] = event.title or type(event).__name__
    row["detail"] = orjson.dumps(own, option=orjson.OPT_SORT_KEYS).decode() if own else ""
    return row


FEED_EVENTS = Table(
    name="feed_events",
    version=1,
    kind="append",
    database="clickhouse",
    reads=Event,
    filters=("md.event.*.*.*",),
    columns=(
        *POSITION,
        text("event"),
        text("symbol"),
        text("venue"),
        text("product"),
        time("ts_recv"),
        text("reason"),
        text("expected"),
        text("received"),
        integer("first_id", 64),
        integer("last_id", 64),
        Column("ts_from", "time_or_null"),
        Column("ts_to", "time_or_null"),
        integer("offset_ns", 64),
        integer("latency_ns", 64),
        text("detail"),
    ),
    sql=Path(__file__).with_suffix(".sql"),
    key=("venue", "symbol", "product", "event"),
    fields=fields,
)
