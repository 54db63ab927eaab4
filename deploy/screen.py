"""What flows, as a table that is drawn anew every second: rates, lag, bars closing, rows."""

import time
from collections import deque
from dataclasses import dataclass, field
from statistics import median

from rich.table import Table as Grid

from tidemill.deploy.supervisor.child import Status
from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.postgres import readings
from tidemill.projections.postgres.errors import unavailable
from tidemill.projections.postgres.readings import Pool
from tidemill.projections.registry import TABLES
from tidemill.streams.log import Log

WINDOW = 5
"""Samples that a rate is taken over."""


@dataclass
class Sample:
    """The engine at one moment. `lag_ms`: now less the receive time of the newest stored trade."""

    at: float
    log: int
    out: int
    rows: dict[str, int]
    lags: dict[str, int]
    lag_ms: float | None


@dataclass
class Monitor:
    """Takes samples of streams and tables; keeps the last ones for rates, all lags for a median."""

    log: Log
    out: Log
    pool: Pool
    clickhouse: ClickHouse
    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=WINDOW))
    lags_ms: list[float] = field(default_factory=list)

    async def sample(self) -> Sample:
        """Take a sample. Raises Unavailable."""
        log = (await self.log.identity()).last
        found = await readings.read(self.pool, list(TABLES))
        rows, lags = {}, {}
        for name, table in TABLES.items():
            if name in found:
                rows[name] = await self._count(found[name].table, table.database)
                lags[name] = max(0, log - found[name].as_of)
        sample = Sample(
            time.monotonic(),
            log,
            (await self.out.identity()).last,
            rows,
            lags,
            await self._lag_ms(found["trades"].table, log) if rows.get("trades") else None,
        )
        self.samples.append(sample)
        if sample.lag_ms is not None:
            self.lags_ms.append(sample.lag_ms)
        return sample

    async def _count(self, physical: str, database: str) -> int:
        if database == "clickhouse":
            ((count,),) = await self.clickhouse.query(f"SELECT count() FROM {physical}", {})
        else:
            with unavailable():
                count = await self.pool.fetchval(f"SELECT count(*) FROM {physical}")
        return int(count)

    async def _lag_ms(self, physical: str, log: int) -> float | None:
        ((newest,),) = await self.clickhouse.query(
            f"SELECT toUnixTimestamp64Nano(max(ts_recv)) FROM {physical} WHERE _r > {{r:UInt64}}",
            {"r": max(0, log - 50_000)},
        )
        return (time.time_ns() - newest) / 1e6 if newest else None

    def rate(self, name: str) -> float:
        """Return rows a second of a table over the last samples."""
        if len(self.samples) < 2:
            return 0.0
        first, last = self.samples[0], self.samples[-1]
        seconds = last.at - first.at
        return (last.rows.get(name, 0) - first.rows.get(name, 0)) / seconds if seconds else 0.0

    @property
    def lag_ms(self) -> float | None:
        """Median of all lags seen, without the first ones of a cold start."""
        steady = self.lags_ms[len(self.lags_ms) // 3 :]
        return round(median(steady), 1) if steady else None


def drawn(monitor: Monitor, children: tuple[Status, ...], url: str, left_s: float | None) -> Grid:
    """Return the newest sample as a table."""
    until = "until Ctrl-C" if left_s is None else f"{max(0, left_s):.0f} s left"
    grid = Grid(title=f"Tidemill   {url}   {until}", title_justify="left")
    for name in ("table", "rows", "rows/s", "records behind"):
        grid.add_column(name, justify="left" if name == "table" else "right")
    sample = monitor.samples[-1]
    for name, rows in sample.rows.items():
        grid.add_row(name, f"{rows:,}", f"{monitor.rate(name):,.0f}", f"{sample.lags[name]:,}")
    grid.add_section()
    lag = "-" if sample.lag_ms is None else f"{sample.lag_ms:,.0f} ms"
    grid.add_row("received to stored", lag, "", "")
    grid.add_row("LOG", f"{sample.log:,}", "", "")
    grid.add_row("OUT", f"{sample.out:,}", "", "")
    unwell = [f"{s.name} {s.state} ({s.restarts} restarts)" for s in children if s.restarts]
    grid.add_row("processes", str(len(children)), "", ", ".join(unwell) or "all well")
    return grid
