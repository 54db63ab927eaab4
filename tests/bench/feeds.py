"""`bench feeds`: many instruments from the venue's sockets to rows, everything running.

The simulated Binance spot market trades `--instruments` symbols, busy ones and quiet ones (Zipf),
and sends trades, best bids and offers and the changes of whole books; the feed proves and appends
them; graph, archive and projections run as always. A record's way ends when the acknowledged
position of its table (polled every 10 ms) has passed it: then a query that asks now sees its row.
The exchange is a process of its own on the same cores, and is no part of what is measured.
"""

import argparse
import asyncio
import os
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import clickhouse_connect
import numpy as np
import uvloop

from tests.bench.parts.cpu import cpu_seconds, rss_bytes
from tests.bench.rounds import answer, say
from tidemill.deploy.children import environment, exchange, roles
from tidemill.deploy.embedded.ports import LOOPBACK, free_port
from tidemill.deploy.embedded.servers import EmbeddedServers
from tidemill.deploy.prepared import prepare
from tidemill.deploy.settings import FeedSettings
from tidemill.projections.postgres import readings

WARM_UP_S = 30.0
POLL_S = 0.01
SETTLE_S = 5.0
TABLES = ("trades", "quotes", "book_levels")


class Poll(NamedTuple):
    """When the positions were read (ns UTC), and they, in the order of TABLES."""

    ns: int
    positions: tuple[int, ...]


def symbols(count: int) -> list[str]:
    """Return names of instruments, the busiest first."""
    known = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT"]
    return [*known, *(f"C{k:03d}USDT" for k in range(len(known), count))][:count]


async def poll(pool: readings.Pool, until: float) -> list[Poll]:
    """Read the positions again and again."""
    found: list[Poll] = []
    while time.monotonic() < until:
        now = await readings.read(pool, TABLES)
        if len(now) == len(TABLES):
            found.append(Poll(time.time_ns(), tuple(now[name].as_of for name in TABLES)))
        await asyncio.sleep(POLL_S)
    return found


def ways(client: Any, table: str, name: str, polls: list[Poll], since: int) -> np.ndarray[Any, Any]:
    """Return ns from receipt to row of every record of a table received from `since` on."""
    which = TABLES.index(name)
    until = polls[-1].positions[which]
    result = client.query_np(
        f"SELECT _r, toUnixTimestamp64Nano(ts_recv) AS received FROM {table}"
        " WHERE _r <= {until:UInt64} AND ts_recv >= fromUnixTimestamp64Nano({since:Int64})",
        parameters={"until": until, "since": since},
    )
    roots, received = result["_r"].astype(np.int64), result["received"]
    seen = np.searchsorted(np.array([p.positions[which] for p in polls]), roots, side="left")
    return np.array([p.ns for p in polls], np.int64)[seen] - received


def quantiles(values: np.ndarray[Any, Any]) -> dict[str, float]:
    """Return p50 and p99 in milliseconds."""
    at = {"p50_ms": 0.5, "p99_ms": 0.99}
    return {
        name: round(float(np.quantile(values, q, method="higher")) / 1e6, 1)
        for name, q in at.items()
    }


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Start everything, let it run, and return the result."""
    names = symbols(options.instruments)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = await stack.enter_async_context(EmbeddedServers(folder))
        await prepare(servers.urls)
        port = free_port()
        feed = FeedSettings(
            venue="BINANCE",
            symbols=tuple(names),
            websocket=f"ws://{LOOPBACK}:{port}",
            rest=f"http://{LOOPBACK}:{port}",
        )
        env = environment(servers.urls, folder, [feed], free_port())
        rate = options.rate / options.instruments
        venue = exchange("BINANCE", port, names, rate, 1)
        venue = replace(venue, argv=(*venue.argv, "--zipf", "1.0"))
        await servers.supervisor.start(venue, *roles(env, free_port(), free_port(), [venue.name]))
        pool = await asyncpg.create_pool(servers.urls.postgres_reader, min_size=1, max_size=1)
        stack.push_async_callback(pool.close)
        say(f"warming up for {WARM_UP_S} s ...")
        await asyncio.sleep(WARM_UP_S)
        pids = {s.name: s.pid for s in servers.supervisor.status() if s.pid is not None}
        since, before = time.time_ns(), cpu_seconds(pids)
        polls = await poll(pool, time.monotonic() + options.seconds + SETTLE_S)
        after = cpu_seconds(pids)
        memory = {name: round(rss_bytes(pid) / 2**20) for name, pid in pids.items()}
        now = await readings.read(pool, TABLES)
        client = clickhouse_connect.get_client(dsn=servers.urls.clickhouse_reader)
        found = {name: ways(client, now[name].table, name, polls, since) for name in TABLES}
    elapsed = options.seconds + SETTLE_S
    everything = np.concatenate(list(found.values()))
    used = {name: round(after[name] - cpu, 2) for name, cpu in before.items()}
    return {
        "records_per_s": round(len(everything) / elapsed),
        "p99_ms": quantiles(everything)["p99_ms"],
        "offered_events_per_s": options.rate,
        "instruments": options.instruments,
        "seconds": elapsed,
        "tables": {
            name: {"records_per_s": round(len(way) / elapsed), **quantiles(way)}
            for name, way in found.items()
        },
        "feed_cores": round(used["feeds"] / elapsed, 2),
        "cpu_s": used,
        "rss_mb": memory,
        "load_average": round(os.getloadavg()[0], 2),
        "fsync": "always",
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="tidemill bench feeds", description=__doc__)
    parser.add_argument(
        "--rate",
        type=int,
        default=10_700,
        help="trades and quotes a second; with the levels of books about twice as many records",
    )
    parser.add_argument("--instruments", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=40.0, help="measured, after a warm-up")
    parser.add_argument("--json", action="store_true", help="accepted; the result is always JSON")
    answer(uvloop.run(measure(parser.parse_args())))


if __name__ == "__main__":
    main()
