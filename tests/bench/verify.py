"""`bench verify`: how fast `tidemill verify` compares a table of trades with LOG, in what memory.

LOG is filled with `--trades` trades of `--instruments` and materialised by the real sink; then
`tidemill verify trades` runs as a user runs it, `--rounds` times, against the servers that are up.
With `--data-dir` what was filled stays, and the next run measures it again.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import orjson

from tests.bench.parts.cpu import cpu_s, peak_rss_bytes
from tests.bench.parts.filling import filled, materialised, sink_of_trades
from tests.bench.pipeline import INSTRUMENTS, PER_FRAME
from tests.bench.rounds import answer, say, summary
from tidemill.deploy.embedded.servers import EmbeddedServers, ServerUrls
from tidemill.deploy.load import Load
from tidemill.deploy.prepared import databases, prepare
from tidemill.deploy.roles.connections import streams
from tidemill.streams.appender import Appender


async def fill(urls: ServerUrls, folder: Path, trades: int, load: Load) -> None:
    """Append trades until LOG holds them, and let the sink take them all."""
    async with streams(urls.nats_engine, "bench") as opened, databases(urls) as (pool, _):
        sink = await sink_of_trades(urls, folder)
        appender = Appender(opened.log, ">")
        await appender.own()
        await appender.append(load.opening())
        await filled(appender, load, trades)
        await materialised(pool, appender.last)
        sink.terminate()
        await sink.wait()


async def verified(folder: Path, pids: dict[str, int]) -> dict[str, Any]:
    """Run `tidemill verify trades` once; return its answer, seconds, CPU seconds and peak RSS."""
    before = {name: cpu_s(pid) for name, pid in pids.items()}
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tidemill.deploy.cli", "verify", "trades", "--json"),
        *("--data-dir", str(folder)),
        stdout=asyncio.subprocess.PIPE,
    )
    peak = 0
    reading = asyncio.create_task(process.communicate())
    while not reading.done():
        peak = max(peak, peak_rss_bytes(process.pid))
        await asyncio.wait({reading}, timeout=0.05)
    seconds = time.perf_counter() - began
    out, _ = await reading
    found: dict[str, Any] = orjson.loads(out.splitlines()[-1])
    assert found["equal"] is True, found
    used = {name: round(cpu_s(pid) - before[name], 2) for name, pid in pids.items()}
    rows = found["tables"]["trades"]["rows"]
    return {"rows": rows, "seconds": seconds, "rss_bytes": peak, "cpu_s": used}


async def bench(trades: int, rounds: int, folder: Path | None, load: Load) -> None:
    """Fill where that is needed, verify `rounds` times and print the result."""
    async with AsyncExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = await stack.enter_async_context(EmbeddedServers(folder))
        urls = servers.urls
        await prepare(urls)
        async with streams(urls.nats_engine, "bench") as opened:
            empty = (await opened.log.identity()).last == 0
        if empty:
            began = time.perf_counter()
            await fill(urls, folder, trades, load)
            say(f"filled in {time.perf_counter() - began:.1f} s")
        pids = {name: servers.supervisor.pid_of(name) for name in ("nats", "clickhouse")}
        found = []
        for number in range(rounds):
            found.append(await verified(folder, pids))
            one = found[-1]
            say(
                f"round {number}: {one['rows']} rows in {one['seconds']:.1f} s,"
                f" {one['rows'] / one['seconds'] / 1e6:.2f} M/s,"
                f" {one['rss_bytes'] / 1e6:.0f} MB, cpu {one['cpu_s']}"
            )
    answer(
        {
            "rows": found[0]["rows"],
            "rows_per_s": summary([one["rows"] / one["seconds"] for one in found])["median"],
            "seconds": summary([one["seconds"] for one in found], 1),
            "peak_rss_mb": round(max(one["rss_bytes"] for one in found) / 1e6),
            "instruments": len(load.definitions),
            "frame": load.per_frame,
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trades", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--instruments", type=int, default=INSTRUMENTS)
    parser.add_argument("--per-frame", type=int, default=PER_FRAME)
    parser.add_argument("--data-dir", type=Path, help="kept, and used again where it is filled")
    parser.add_argument("--json", action="store_true", help="accepted; the result is always JSON")
    options = parser.parse_args()
    load = Load(options.instruments, 1_000_000, options.per_frame)
    asyncio.run(bench(options.trades, options.rounds, options.data_dir, load))


if __name__ == "__main__":
    main()
