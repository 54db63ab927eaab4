"""Time as LOG has it, one row for each of its records: what `as_of=` a time means."""

from pathlib import Path

from tidemill.projections.columns import POSITION, time
from tidemill.projections.table import Table

TIMES = Table(
    name="times",
    version=1,
    kind="append",
    database="clickhouse",
    reads="time",
    filters=("time",),
    columns=(*POSITION, time("ts")),
    sql=Path(__file__).with_suffix(".sql"),
    key=(),
)
