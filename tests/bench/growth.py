"""`bench growth`: what 1, 10 and 100 million trades cost: time, memory, disk, bytes a trade.

One LOG grows to each size in turn. At each size: how fast the new trades went through LOG into
ClickHouse (the pipeline, with every promise); then `tidemill verify trades`; then `tidemill rebuild
trades bars`, whose tables are dropped again. Memory is the peak resident set of each process.
With `--report DIR` the figures are written there as growth.md and growth.svg.
"""

import argparse
import asyncio
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from tests.bench.parts.cpu import rss_bytes
from tests.bench.parts.filling import filled, materialised, sink_of_trades
from tests.bench.parts.plot import charts
from tests.bench.pipeline import INSTRUMENTS, PER_FRAME, settled
from tests.bench.rebuild import RATE, dropped, rebuild
from tests.bench.rounds import answer, say
from tests.bench.verify import verified
from tidemill.deploy.embedded.servers import EmbeddedServers
from tidemill.deploy.load import Load
from tidemill.deploy.prepared import databases, prepare
from tidemill.deploy.roles.connections import streams
from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.clickhouse.trades import TRADES
from tidemill.projections.postgres.readings import Pool
from tidemill.streams.appender import Appender
from tidemill.streams.log import Log

SIZES = (1_000_000, 10_000_000, 100_000_000)
Row = dict[str, Any]


async def peaks(pids: dict[str, int], into: dict[str, float]) -> None:
    """Keep in `into` the most resident memory (MB) of each process, until cancelled."""
    while True:
        for name, pid in pids.items():
            into[name] = max(into.get(name, 0), rss_bytes(pid) / 1e6)
        await asyncio.sleep(0.1)


async def disk(log: Log, folder: Path, clickhouse: ClickHouse) -> dict[str, float]:
    """Return the bytes that LOG and the table of trades take."""
    stream = folder.rglob(f"streams/{log.name}/msgs/*")
    table = await clickhouse.query(
        "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND table = {t:String}",
        {"t": TRADES.physical},
    )
    return {
        "log_bytes": float(sum(file.stat().st_size for file in stream)),
        "table_bytes": float(table[0][0]),
    }


async def through(
    appender: Appender, load: Load, pool: Pool, trades: int, sampled: dict[str, int]
) -> tuple[int, Row]:
    """Send about `trades` more through LOG into the table; return how many, and what it took."""
    memory: dict[str, float] = {}
    watching = asyncio.create_task(peaks(sampled, memory))
    began = time.perf_counter()
    exact = await filled(appender, load, trades)
    await materialised(pool, appender.last)
    seconds = time.perf_counter() - began
    watching.cancel()
    mb = {f"{name}_mb": round(most) for name, most in memory.items()}
    return exact, {"pipeline_per_s": round(exact / seconds), **mb}


async def bench(sizes: list[int], report: Path | None) -> None:
    """Grow, measure at each size, print the result and write the report."""
    rows: list[Row] = []
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = await stack.enter_async_context(EmbeddedServers(folder))
        await prepare(servers.urls)
        pool, clickhouse = await stack.enter_async_context(databases(servers.urls))
        opened = await stack.enter_async_context(streams(servers.urls.nats_engine, "bench"))
        pids = {name: servers.supervisor.pid_of(name) for name in ("nats", "clickhouse")}
        sink = await sink_of_trades(servers.urls, folder)
        stack.callback(sink.kill)
        load, appender = Load(INSTRUMENTS, RATE, PER_FRAME), Appender(opened.log, ">")
        await appender.own()
        await appender.append(load.opening())
        await materialised(pool, appender.last)  # the sink has started
        total = 0
        for size in sizes:
            sampled = {**pids, "sink": sink.pid}
            more, row = await through(appender, load, pool, size - total, sampled)
            total += more
            await settled(clickhouse)
            row = {"trades": total, **row, **await disk(opened.log, folder, clickhouse)}
            checked = await verified(folder, pids)
            made = await asyncio.to_thread(rebuild, folder)
            await dropped(pool, clickhouse)
            await settled(clickhouse)
            row |= {
                "log_bytes_a_trade": round(row["log_bytes"] / total, 1),
                "table_bytes_a_trade": round(row["table_bytes"] / total, 1),
                "verify_s": round(checked["seconds"], 1),
                "verify_mb": round(checked["rss_bytes"] / 1e6),
                "rebuild_s": round(made.seconds, 1),
                "rebuild_mb": round(made.rss_mb),
            }
            say(str(row))
            rows.append(row)
    if report is not None:
        await asyncio.to_thread(write, report, rows)
    answer({"rows": rows, "instruments": INSTRUMENTS, "frame": PER_FRAME})


def write(folder: Path, rows: list[Row]) -> None:
    """Write growth.md and growth.svg into `folder`."""

    def lines(**columns: str) -> dict[str, list[tuple[float, float]]]:
        return {
            name.replace("_", " "): [(row["trades"], row[column]) for row in rows]
            for name, column in columns.items()
        }

    for row in rows:
        row["pipeline_s"] = round(row["trades"] / row["pipeline_per_s"], 1)
    panels = {
        "seconds": lines(pipeline="pipeline_s", verify="verify_s", rebuild="rebuild_s"),
        "peak memory, MB": lines(
            sink="sink_mb", verify="verify_mb", rebuild="rebuild_mb", clickhouse="clickhouse_mb"
        ),
        "bytes a trade": lines(LOG="log_bytes_a_trade", table="table_bytes_a_trade"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "growth.svg").write_text(charts(panels))
    names = [name for name in rows[0] if not name.endswith("_bytes")]
    table = [
        "| " + " | ".join(name.replace("_", " ") for name in names) + " |",
        "|" + "---:|" * len(names),
        *("| " + " | ".join(f"{row[name]:,}" for name in names) + " |" for row in rows),
    ]
    text = "\n".join(
        [
            "# How the cost grows",
            "",
            "Written by `tidemill bench growth --report DIR`: dense synthetic trades of"
            f" {INSTRUMENTS} instruments, {PER_FRAME:,} a frame, fsync always, on the machine of"
            " whoever ran it. MB are peak resident memory; the rate of the pipeline is that of the"
            " trades that came since the size before.",
            "",
            *table,
            "",
            "![time, memory and bytes a trade over the number of trades](growth.svg)",
            "",
        ]
    )
    (folder / "growth.md").write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--report", type=Path, help="a folder for growth.md and growth.svg")
    parser.add_argument("--json", action="store_true", help="accepted; the result is always JSON")
    options = parser.parse_args()
    asyncio.run(bench(options.sizes, options.report))


if __name__ == "__main__":
    main()
