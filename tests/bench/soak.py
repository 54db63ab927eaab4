"""`bench soak`: an hour at a steady rate with everything running; does anything grow?

Servers, a simulated exchange, feeds, time, graph, projections, archive, queries and live run as
processes of their own, with synthetic trades besides. Every `--every` seconds: of each process with
its descendants the private memory (RssAnon) and the file handles; how far, in LOG's own time, the
hindmost table and the graph are behind; and the latency from the receipt of a trade to the bar that
it closes at a `live.>` subscriber. After the warm-up each series has to be flat: memory grows less
than 1 % an hour (or 1 MB), handles less than 1 % (or one), lag less than 0.1 s, latency less than
10 % (or 5 ms); and no process may have ended. Exit status 1 where anything is not. With `--report
DIR` the figures are written there as soak.md and soak.svg.
"""

import argparse
import asyncio
import os
import re
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from tests.bench.latency import Arrival, listen, stepping, updates
from tests.bench.parts.plot import charts
from tests.bench.parts.trend import Samples, Trend, after, trend
from tests.bench.rounds import answer, say
from tidemill.deploy import overview
from tidemill.deploy.children import environment, exchange, roles
from tidemill.deploy.embedded.ports import LOOPBACK, free_port
from tidemill.deploy.embedded.servers import EmbeddedServers
from tidemill.deploy.prepared import databases, prepare
from tidemill.deploy.roles.connections import streams
from tidemill.deploy.settings import FeedSettings
from tidemill.projections.postgres.readings import Pool
from tidemill.projections.registry import VERSIONS
from tidemill.projections.versions import present
from tidemill.streams import moments
from tidemill.streams.jetstream_connection import Connection, connect
from tidemill.streams.log import Log

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
EVENTS_PER_S = 20.0
"""Of each symbol of the simulated exchange."""
CAUSES_MAX = 40
"""Bars of one sample whose causes are looked up."""
LIMITS = {
    "memory_mb": (0.01, 1.0),
    "handles": (0.01, 1.0),
    "lag_s": (0.0, 0.1),
    "latency_ms": (0.10, 5.0),
}
"""Of each quantity: growth an hour that counts as flat, as a part of the median and in its unit."""
_ANON = re.compile(r"RssAnon:\s+(\d+) kB")


@dataclass
class Series:
    """What was sampled: by quantity and name, pairs of (seconds since the start, value)."""

    points: dict[str, dict[str, list[tuple[float, float]]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    restarts: dict[str, int] = field(default_factory=dict)
    hindmost: str = ""
    """The table that was furthest behind at the last sample, and where it was."""

    def add(self, quantity: str, name: str, seconds: float, value: float) -> None:
        """Note one value."""
        self.points[quantity][name].append((seconds, value))


Verdicts = dict[str, dict[str, Trend]]


def judged(series: Series, warm_up_s: float) -> Verdicts:
    """Return the trend of every series after the warm-up. Raises ValueError for too few samples."""
    return {
        quantity: {
            name: trend(after(samples, warm_up_s), *LIMITS[quantity])
            for name, samples in by_name.items()
        }
        for quantity, by_name in series.points.items()
    }


def flat(verdicts: Verdicts, restarts: dict[str, int]) -> bool:
    """Return whether nothing grew and nothing ended."""
    return not any(restarts.values()) and all(
        one.flat for by_name in verdicts.values() for one in by_name.values()
    )


def descendants() -> dict[int, int]:
    """Return the parent of every process that is there now."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has just ended
            parents[int(folder.name)] = int(fields[1])
    return parents


def tree(root: int, parents: dict[int, int]) -> list[int]:
    """Return a process and all that descend from it."""
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def memory_mb(pid: int) -> float:
    """Return the private memory of a process, 0 where it has ended."""
    try:
        found = _ANON.search(Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1_000 if found else 0.0


def handles(pid: int) -> int:
    """Return how many file handles a process has open, 0 where it has ended."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


class Soak:
    """Everything that runs, sampled."""

    def __init__(self, servers: EmbeddedServers, log: Log, out: Log, pool: Pool) -> None:
        self._servers, self._log, self._out, self._pool = servers, log, out, pool
        self._began = time.monotonic()
        self.series = Series()

    async def sample(self, connection: Connection, arrivals: list[Arrival]) -> None:
        """Take one sample of everything."""
        seconds = round(time.monotonic() - self._began, 1)
        parents = await asyncio.to_thread(descendants)
        for status in self._servers.supervisor.status():
            self.series.restarts[status.name] = status.restarts
            if status.pid is not None:
                pids = tree(status.pid, parents)
                memory = sum(map(memory_mb, pids))
                self.series.add("memory_mb", status.name, seconds, memory)
                self.series.add("handles", status.name, seconds, sum(map(handles, pids)))
        own = os.getpid()
        self.series.add("memory_mb", "this measurement", seconds, memory_mb(own))
        tables = await present(self._pool, VERSIONS)
        hindmost = min(tables, key=lambda one: one.position)
        self.series.hindmost = f"{hindmost.table.physical} at {hindmost.position}"
        behind = await moments.behind_s(self._log, hindmost.position)
        self.series.add("lag_s", "hindmost table", seconds, behind)
        for name, graph in (await overview.graphs_of(self._log, self._out)).items():
            self.series.add("lag_s", f"graph {name}", seconds, graph["lag_s"])
        came, arrivals[:] = arrivals[-CAUSES_MAX:], []
        if came:
            found = await updates(connection, came)
            ways = np.array([one.arrived - one.received for one in found], np.float64) / 1e6
            self.series.add("latency_ms", "p50", seconds, float(np.quantile(ways, 0.5)))
            self.series.add("latency_ms", "p90", seconds, float(np.quantile(ways, 0.9)))


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Start everything, sample it, and return the result."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = await stack.enter_async_context(EmbeddedServers(folder))
        await prepare(servers.urls)
        port, live_port = free_port(), free_port()
        feed = FeedSettings(
            venue="BINANCE",
            symbols=SYMBOLS,
            websocket=f"ws://{LOOPBACK}:{port}",
            rest=f"http://{LOOPBACK}:{port}",
        )
        env = environment(servers.urls, folder, [feed], live_port)
        venue = exchange("BINANCE", port, SYMBOLS, EVENTS_PER_S, 1)
        children = roles(env, free_port(), live_port, [venue.name], options.rate)
        await servers.supervisor.start(venue, *children)
        connection = await connect(servers.urls.nats_admin, name="soak")
        stack.push_async_callback(connection.close)
        pool, _ = await stack.enter_async_context(databases(servers.urls))
        opened = await stack.enter_async_context(
            streams(servers.urls.nats_engine, "soak", str(folder / "archive"))
        )
        await stepping(connection)
        arrivals = await listen(connection)
        soak = Soak(servers, opened.log, opened.out, pool)
        until = time.monotonic() + options.seconds
        while time.monotonic() < until:
            await asyncio.sleep(options.every)
            await soak.sample(connection, arrivals)
            say(f"{until - time.monotonic():,.0f} s to go")
        trades = (await opened.log.identity()).last
    return result(options, soak.series, trades)


def result(options: argparse.Namespace, series: Series, messages: int) -> dict[str, Any]:
    """Return what is printed, and write the report where one is wanted."""
    warm_up_s = min(options.warm_up, options.seconds / 3)
    verdicts = judged(series, warm_up_s)
    found = {
        "flat": flat(verdicts, series.restarts),
        "seconds": options.seconds,
        "warm_up_s": warm_up_s,
        "offered_per_s": options.rate,
        "log_messages": messages,
        "restarts": sum(series.restarts.values()),
        "hindmost": series.hindmost,
        **{
            quantity: {name: _said(one) for name, one in by_name.items()}
            for quantity, by_name in verdicts.items()
        },
    }
    if options.report is not None:
        write(options.report, found, series)
    return found


def _said(one: Trend) -> dict[str, Any]:
    return {
        "median": round(one.median, 2),
        "growth_per_hour": round(one.growth, 3),
        "growth_percent": round(100 * one.ratio, 2),
        "flat": one.flat,
    }


def write(folder: Path, found: dict[str, Any], series: Series) -> None:
    """Write soak.md and soak.svg into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    panels: dict[str, dict[str, Samples]] = {
        quantity.replace("_", " "): dict(by_name) for quantity, by_name in series.points.items()
    }
    (folder / "soak.svg").write_text(charts(panels, linear=True))
    table = [
        "| quantity | of | median | growth an hour | % | flat |",
        "|---|---|---:|---:|---:|---|",
    ]
    for quantity in series.points:
        for name, one in found[quantity].items():
            table.append(
                f"| {quantity.replace('_', ' ')} | {name} | {one['median']:,}"
                f" | {one['growth_per_hour']:,} | {one['growth_percent']:,}"
                f" | {'yes' if one['flat'] else '**no**'} |"
            )
    verdict = "nothing grew" if found["flat"] else "not everything is flat"
    text = "\n".join(
        [
            "# Soak",
            "",
            f"Written by `tidemill bench soak --seconds {found['seconds']:g} --rate"
            f" {found['offered_per_s']} --report DIR` on the machine of whoever ran it:"
            f" {found['seconds']:g} s with everything running, {found['offered_per_s']} synthetic"
            f" trades a second and a simulated exchange, fsync always;"
            f" {found['log_messages']:,} messages in LOG, {found['restarts']} restarts."
            f" Trends are of what came after the first {found['warm_up_s']:g} s.",
            "",
            f"**Verdict: {verdict}.** Memory is private (RssAnon) with descendants; lag is LOG's"
            " own time; latency is from the receipt of a trade to its bar at a `live.>`"
            " subscriber. Slopes are medians of the slopes of all pairs of samples.",
            "",
            "![soak](soak.svg)",
            "",
            *table,
            "",
        ]
    )
    (folder / "soak.md").write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(prog="tidemill bench soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3_600.0)
    parser.add_argument("--warm-up", type=float, default=300.0, help="at most a third of it")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between samples")
    parser.add_argument("--rate", type=int, default=2_000, help="synthetic trades a second")
    parser.add_argument("--report", type=Path, help="where soak.md and soak.svg are written")
    parser.add_argument("--json", action="store_true", help="accepted; the result is always JSON")
    found = uvloop.run(measure(parser.parse_args()))
    answer(found)
    sys.exit(0 if found["flat"] else 1)


if __name__ == "__main__":
    main()
