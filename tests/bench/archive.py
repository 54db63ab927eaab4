"""The archive: how fast LOG is sealed, read back beside LOG itself, scanned and trimmed.

`python -m tests.bench.archive --trades 10000000`. LOG is on a nats-server of its own with fsync;
sealing includes the digest chain, the fsync, and reading every file again from the disk.
"""

import argparse
import asyncio
import os
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.rounds import answer, say, summary
from tests.servers import nats_server
from tidemill.deploy.load import Load
from tidemill.streams import declarations, scan
from tidemill.streams.appender import Appender
from tidemill.streams.archive.archived_log import ArchivedLog
from tidemill.streams.archive.archiver import Archiver
from tidemill.streams.archive.store import Store
from tidemill.streams.archive.trimmer import Keep, Reading, trim
from tidemill.streams.jetstream import JetStreamLog
from tidemill.streams.jetstream_connection import connect
from tidemill.streams.log import Log
from tidemill.streams.migrator import migrate

INSTRUMENTS = 8
BATCH_MESSAGES = 64


async def fill(log: Log, trades: int) -> tuple[int, int]:
    """Append the load; return how many messages and payload bytes LOG has."""
    load, appender = Load(INSTRUMENTS, 1_000_000), Appender(log, ">")
    await appender.own()
    size, batch = 0, load.opening()
    for made in load.facts(trades):
        batch += made
        if len(batch) >= BATCH_MESSAGES:
            await appender.append(batch)
            size, batch = size + sum(len(payload) for _, payload in batch), []
    if batch:
        await appender.append(batch)
    return appender.last, size + sum(len(payload) for _, payload in batch)


async def read(log: Log, filters: Sequence[str], last: int) -> float:
    """Read everything that matches; return the seconds it took."""
    began = time.perf_counter()
    reader = await log.read(1, filters)
    while await reader.complete() < last:
        await reader.pull(2_000, 8 << 20, 1.0)
    await reader.close()
    return time.perf_counter() - began


async def measure(log: JetStreamLog, location: str, options: argparse.Namespace) -> dict[str, Any]:
    """Seal, read, scan and trim one LOG."""
    last, size = await fill(log, options.trades)
    say(f"LOG holds {last} messages, {size / 1e6:.0f} MB")
    store, cpu, began = Store.at(location), time.process_time(), time.perf_counter()
    await Archiver(log, store).seal(last)
    sealing, cpu = time.perf_counter() - began, time.process_time() - cpu
    stored = sum(path.stat().st_size for path in Path(location).iterdir())
    flat_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds: dict[str, list[float]] = {"log": [], "archive": [], "one_instrument": []}
    both = ArchivedLog(log, location, sealed_first=True)
    one = f"md.trade.LOAD.{Load(INSTRUMENTS, 1).definitions[0].symbol}.*"
    for number in range(options.rounds + 1):
        took = {
            "log": await read(log, [">"], last),
            "archive": await read(both, [">"], last),
            "one_instrument": await read(both, [one], last),
        }
        for name in took if number else ():
            seconds[name].append(took[name])
    rates = {name: [options.trades / s for s in many] for name, many in seconds.items()}
    scanned = await asyncio.to_thread(scans, location, options.rounds)
    began = time.perf_counter()

    async def nobody() -> Reading:
        return Reading(last, "nobody")

    trimmed = await trim(log, store, Keep(), nobody, notice_s=0.0)
    return {
        "seal_mb_per_s": round(size / sealing / 1e6, 1),
        "seal_trades_per_s": round(options.trades / sealing),
        "seal_messages_per_s": round(last / sealing),
        "seal_cpu_s": round(cpu, 2),
        "seconds": round(sealing, 2),
        "bytes_per_trade": {
            "log": round(size / options.trades, 1),
            "archive": round(stored / options.trades, 1),
        },
        "files": len(store.names()),
        "read_trades_per_s": {name: summary(many) for name, many in rates.items()},
        "archive_vs_log": round(
            summary(rates["archive"])["median"] / summary(rates["log"])["median"], 2
        ),
        "scan_trades_per_s": summary(scanned),
        "trim_messages": trimmed.messages,
        "trim_s": round(time.perf_counter() - began, 2),
        "sealing_rss_mb": round(flat_mb),
    }


def scans(location: str, rounds: int) -> list[float]:
    """Return the rates of scanning one instrument from the archive alone, after a warm-up."""
    symbol = f"{Load(INSTRUMENTS, 1).definitions[0].symbol}.LOAD"
    rates = []
    for number in range(rounds + 1):
        began = time.perf_counter()
        rows = scan("trade", [symbol], archive=location).num_rows
        if number:
            rates.append(rows / (time.perf_counter() - began))
    return rates


async def bench(options: argparse.Namespace) -> None:
    """Run it on a server of its own and print the result."""
    with tempfile.TemporaryDirectory() as directory:
        async with nats_server(Path(directory)) as nats:
            connection = await connect(nats.url)
            await migrate(connection, declarations.streams(), apply=True)
            log = await JetStreamLog.open(connection, "LOG")
            found = await measure(log, str(Path(directory) / "archive"), options)
            await connection.close()
    load = round(os.getloadavg()[0], 2)
    answer({"trades": options.trades, "rounds": options.rounds, **found, "load_average": load})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trades", type=int, default=6_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="accepted; the result is always JSON")
    asyncio.run(bench(parser.parse_args()))


if __name__ == "__main__":
    main()
