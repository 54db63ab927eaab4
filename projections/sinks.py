"""The sink of a table, whichever database it is in."""

from dataclasses import replace

from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.clickhouse.sink import ClickHouseSink
from tidemill.projections.limits import Limits
from tidemill.projections.postgres.readings import Pool
from tidemill.projections.postgres.sink import PostgresSink
from tidemill.projections.sources import Source
from tidemill.projections.table import Table
from tidemill.streams import crash_points
from tidemill.streams.log import Log

Sink = ClickHouseSink | PostgresSink


def sink_of(
    table: Table,
    rows: Source,
    log: Log,
    clickhouse: ClickHouse,
    pool: Pool,
    limits: Limits | None = None,
    group: str = "sink",
) -> Sink:
    """Return the sink of one table; its crash points are ``<group>.<table>.<step>``."""
    step = crash_points.of(f"{group}.{table.name}")
    limits = limits or Limits()
    limits = replace(limits, period_s=min(limits.period_s, table.period_s))
    if table.database == "clickhouse":
        return ClickHouseSink(table, log, rows, clickhouse, pool, limits, step)
    return PostgresSink(table, log, rows, pool, limits, step)
