"""`bench rebuild`: the tables trades and bars made again from LOG alone, in one pass.

LOG holds `--trades` synthetic trades of 8 instruments. One round: `tidemill rebuild trades bars` in
a process of its own makes new instances of both (protocol B, fsync; bars by the engine), which are
dropped again. Beside it, alternating: the same trades straight into a table of the same types and
settings, prepared beforehand, by one and by two inserts at once. At the end LOG is made three times
as long, to see whether the memory of a rebuild grows with it.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from tests.bench.parts.cpu import cpu_s, peak_rss_bytes
from tests.bench.parts.filling import filled
from tests.bench.pipeline import INSTRUMENTS, PER_FRAME, settled, straight
from tests.bench.rounds import against, answer, say, summary
from tidemill.deploy.commands.retire import drop_all
from tidemill.deploy.embedded.servers import EmbeddedServers
from tidemill.deploy.load import Load
from tidemill.deploy.prepared import databases, prepare
from tidemill.deploy.roles.connections import streams
from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.clickhouse.trades import TRADES
from tidemill.projections.postgres.readings import Pool
from tidemill.projections.registry import VERSIONS
from tidemill.projections.versions import present
from tidemill.streams.appender import Appender

RATE = 50_000
"""Trades a second of event time: how dense bars are."""
TABLES = ("trades", "bars")


class Round(NamedTuple):
    """One rebuild: its seconds (without the start of its process), rows, CPU seconds and memory."""

    seconds: float
    rows: dict[str, int]
    cpu_s: float
    rss_mb: float


def rebuild(folder: Path) -> Round:
    """Run `tidemill rebuild` and wait for it."""
    command = [sys.executable, "-m", "tidemill.deploy.cli", "rebuild", *TABLES, "--json"]
    process = subprocess.Popen(
        [*command, "--data-dir", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    peak, seconds = 0, 0.0
    while process.poll() is None:
        peak = max(peak, peak_rss_bytes(process.pid))
        with suppress(OSError, IndexError):
            seconds = cpu_s(process.pid)
        time.sleep(0.05)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    result: dict[str, Any] = orjson.loads(said.splitlines()[-1])
    rows = {name: result["tables"][name]["rows"] for name in TABLES}
    return Round(result["seconds"], rows, seconds, peak / (1 << 20))


async def dropped(pool: Pool, clickhouse: ClickHouse) -> None:
    """Drop what a round has made."""
    there = await present(pool, VERSIONS)
    made = [v for v in there if v.table.name in TABLES and not v.active]
    await drop_all(made, pool, clickhouse)


async def bench(trades: int, rounds: int) -> None:
    """Run it all and print the result."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = await stack.enter_async_context(EmbeddedServers(folder))
        await prepare(servers.urls)
        pool, clickhouse = await stack.enter_async_context(databases(servers.urls))
        opened = await stack.enter_async_context(streams(servers.urls.nats_engine, "bench"))
        ddl = TRADES.migration.split(";")[0].split("\n", 1)[1]
        await clickhouse.command(ddl.replace(TRADES.physical, "straight"))
        load = Load(INSTRUMENTS, RATE, PER_FRAME)
        appender = Appender(opened.log, ">")
        await appender.own()
        await appender.append(load.opening())
        exact = await filled(appender, load, trades)
        pids = {name: servers.supervisor.pid_of(name) for name in ("nats", "clickhouse")}
        made, direct = [], {1: [], 2: []}
        used = dict.fromkeys(pids, 0.0)
        for number in range(rounds + 1):
            before = {name: cpu_s(pid) for name, pid in pids.items()}
            one = await asyncio.to_thread(rebuild, folder)
            after = {name: cpu_s(pid) for name, pid in pids.items()}
            assert one.rows["trades"] == exact, one
            await dropped(pool, clickhouse)
            await settled(clickhouse)
            took = []
            for at_once in direct:
                same = Load(INSTRUMENTS, RATE, PER_FRAME)
                took.append(await straight(clickhouse, same, exact, at_once))
                await settled(clickhouse)
            say(
                f"round {number}: rebuild {exact / one.seconds / 1e6:.2f} M trades/s"
                f" ({one.rss_mb:.0f} MB), straight {exact / took[0] / 1e6:.2f},"
                f" two at once {exact / took[1] / 1e6:.2f}" + (" (warm-up)" if not number else "")
            )
            if number:
                made.append(one)
                for at_once, seconds in zip(direct, took, strict=True):
                    direct[at_once].append(exact / seconds)
                used = {name: used[name] + after[name] - before[name] for name in pids}
        thrice = exact + await filled(appender, load, 2 * exact)
        long = await asyncio.to_thread(rebuild, folder)
        assert long.rows["trades"] == thrice, long
        answer(_result(exact, made, direct, used, long, thrice))


def _result(
    exact: int,
    made: list[Round],
    direct: dict[int, list[float]],
    used: dict[str, float],
    long: Round,
    thrice: int,
) -> dict[str, Any]:
    through = [exact / one.seconds for one in made]
    used = {**used, "rebuild": sum(one.cpu_s for one in made)}
    return {
        **against(through, direct),
        "cpu_s_per_million": {
            name: round(seconds / len(made) / exact * 1e6, 3) for name, seconds in used.items()
        },
        "rss_mb": summary([one.rss_mb for one in made]),
        "thrice": {
            "trades": thrice,
            "trades_per_s": round(thrice / long.seconds),
            "rss_mb": round(long.rss_mb),
        },
        "rounds": len(made),
        "trades": exact,
        "bars": made[0].rows["bars"],
        "instruments": INSTRUMENTS,
        "frame": PER_FRAME,
        "fsync": "always",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trades", type=int, default=4_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="accepted; the result is always JSON")
    options = parser.parse_args()
    asyncio.run(bench(options.trades, options.rounds))


if __name__ == "__main__":
    main()
