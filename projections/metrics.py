"""What sinks say of themselves: Prometheus metrics by table, never by instrument."""

import logging
from collections.abc import Callable

from prometheus_client import Counter, Gauge, Histogram

logger = logging.getLogger(__name__)

_ROWS = Counter("tidemill_sink_rows", "Rows inserted", ["table"])
_BYTES = Counter("tidemill_sink_bytes", "Bytes of rows sent", ["table"])
_REPAIRED = Counter("tidemill_sink_repaired_rows", "Rows a takeover found missing", ["table"])
_UNAVAILABLE = Counter("tidemill_sink_unavailable", "Times a server was away", ["table"])
_POSITION = Gauge("tidemill_sink_position", "Root up to which a table is complete", ["table"])
_LAG = Gauge("tidemill_sink_lag_messages", "Messages known to wait", ["table"])
_BEHIND = Gauge("tidemill_sink_lag_records", "Roots of LOG that a table is behind", ["table"])
_BEHIND_S = Gauge("tidemill_sink_lag_seconds", "LOG's time that a table is behind", ["table"])
_SECONDS = Histogram(
    "tidemill_sink_insert_seconds",
    "Time of one insert",
    ["table"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)


_positions: dict[str, int] = {}


def tell_lag(newest: int, behind_s: Callable[[int], float]) -> None:
    """Say how far every table of this process is behind LOG, which ends at `newest`."""
    for table, position in _positions.items():
        _BEHIND.labels(table).set(max(0, newest - position))
        _BEHIND_S.labels(table).set(behind_s(position))


class Metrics:
    """Metrics of one sink; `rows` and `blocks` also count for the process itself."""

    def __init__(self, table: str) -> None:
        self._table = table
        self.rows = self.blocks = self.repaired_rows = self.absences = 0

    def inserted(self, rows: int, size: int, seconds: float) -> None:
        """One insert was acknowledged."""
        self.rows, self.blocks = self.rows + rows, self.blocks + 1
        _ROWS.labels(self._table).inc(rows)
        _BYTES.labels(self._table).inc(size)
        _SECONDS.labels(self._table).observe(seconds)

    def repaired(self, rows: int) -> None:
        """A takeover inserts rows that were missing."""
        self.repaired_rows += rows
        _REPAIRED.labels(self._table).inc(rows)
        logger.warning("%s: %d rows of the tail are missing, inserting them", self._table, rows)

    def unavailable(self, error: Exception) -> None:
        """A server was away; the sink takes over again."""
        self.absences += 1
        _UNAVAILABLE.labels(self._table).inc()
        logger.warning("%s: %s; taking over again", self._table, error)

    def waiting(self, root: int) -> None:
        """The log does not reach as far as the table yet."""
        logger.warning("%s: waiting for the log to reach root %d", self._table, root)

    def position(self, position: int, lag: int) -> None:
        """The table is complete up to `position`."""
        _positions[self._table] = position
        _POSITION.labels(self._table).set(position)
        _LAG.labels(self._table).set(lag)
