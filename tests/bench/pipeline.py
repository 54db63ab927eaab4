"""`bench pipeline`: decoded trades to LOG to ClickHouse rows, with every promise.

One round: `--trades` decoded trades of 8 instruments are framed, appended to LOG (fenced atomic
batches, fsync always) and materialised by the sink process (protocol B, fsync); the clock stops
when the last row is stored. Beside it, alternating: the same rows straight into a table of the same
types and settings, prepared beforehand, by one and by two inserts at once; and at the end one JSON
event a message through a FastStream handler that inserts what it collected.
"""

import argparse
import asyncio
import itertools
import os
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

from faststream.nats import JStream, NatsBroker, PullSub
from nats.js.api import DeliverPolicy

from tests.bench.parts.cpu import cpu_s
from tests.bench.parts.filling import FRAMES_A_FLUSH, materialised, sink_of_trades
from tests.bench.rounds import against, answer, say, summary
from tidemill.deploy.embedded.servers import EmbeddedServers, ServerUrls
from tidemill.deploy.load import Load
from tidemill.deploy.prepared import databases, prepare
from tidemill.deploy.roles.connections import streams
from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.clickhouse.fenced import ONE_BLOCK
from tidemill.projections.clickhouse.native import encode
from tidemill.projections.clickhouse.trades import TRADES
from tidemill.projections.limits import Limits
from tidemill.projections.postgres.readings import Pool
from tidemill.projections.rows import grouped
from tidemill.projections.sources import rows_of
from tidemill.streams.appender import Appender
from tidemill.streams.log import Log, Message

INSTRUMENTS, PER_FRAME = 8, 1_300
NAIVE_TRADES = 10_000
Facts = list[list[tuple[str, bytes]]]


def prepared(trades: int, load: Load) -> Facts:
    """Return the trades as flushes; framing them is part of what `append` is timed for."""
    rounds = trades // (INSTRUMENTS * PER_FRAME)
    messages = itertools.chain.from_iterable(load.round(PER_FRAME) for _ in range(rounds))
    return [
        list(batch) for batch in iter(lambda: list(itertools.islice(messages, FRAMES_A_FLUSH)), [])
    ]


async def count(clickhouse: ClickHouse, table: str) -> int:
    ((rows,),) = await clickhouse.query(f"SELECT count() FROM {table}")
    return int(rows)


async def settled(clickhouse: ClickHouse) -> None:
    """Return when no merge runs: what one phase leaves to do is not the next one's time."""
    while await count(clickhouse, "system.merges"):
        await asyncio.sleep(0.1)


async def through_the_log(
    appender: Appender, clickhouse: ClickHouse, pool: Pool, load: Load, trades: int
) -> tuple[float, float]:
    """Append and wait for the rows; return (seconds until stored, seconds until appended)."""
    before = await count(clickhouse, TRADES.physical)
    rounds = trades // (INSTRUMENTS * PER_FRAME)
    wanted = before + rounds * INSTRUMENTS * PER_FRAME
    decoded = [load.records(PER_FRAME) for _ in range(rounds)]  # what a venue's decoder hands over
    began = time.perf_counter()
    flush: list[tuple[str, bytes]] = []
    for round_ in decoded:
        flush += load.framed(round_)
        if len(flush) >= FRAMES_A_FLUSH:
            await appender.append(flush)
            flush = []
    if flush:
        await appender.append(flush)
    appended = time.perf_counter() - began
    await materialised(pool, appender.last)
    seconds = time.perf_counter() - began
    assert await count(clickhouse, TRADES.physical) == wanted
    return seconds, appended


async def straight(clickhouse: ClickHouse, load: Load, trades: int, inserts: int) -> float:
    """Insert the same rows, prepared beforehand, with `inserts` at once; return the seconds."""
    await clickhouse.command("TRUNCATE TABLE straight")
    facts = prepared(trades, load)
    messages = [Message(r, *fact) for r, fact in enumerate(itertools.chain.from_iterable(facts), 1)]
    size = Limits().rows_max // PER_FRAME
    bodies = []
    for at in range(0, len(messages), size):
        rows = rows_of(TRADES, messages[at : at + size])
        assert rows is not None
        head = b"INSERT INTO straight FORMAT Native\n"
        bodies.append(encode(TRADES.columns, grouped([rows]), head))
    began = time.perf_counter()
    turn = asyncio.Semaphore(inserts)

    async def send(body: memoryview) -> None:
        async with turn:
            await clickhouse.insert(body, dict(ONE_BLOCK))

    await asyncio.gather(*(send(body) for body in bodies))
    return time.perf_counter() - began


async def naive(urls: ServerUrls, clickhouse: ClickHouse) -> float:
    """Return trades a second of one JSON event a message through a FastStream handler."""
    await clickhouse.command(
        "CREATE TABLE IF NOT EXISTS naive (id UInt64, price Float64, quantity Float64)"
        " ENGINE = MergeTree ORDER BY id"
    )
    broker = NatsBroker(urls.nats_admin, logger=None)
    stream = JStream("NAIVE", subjects=["naive"])
    done = asyncio.Event()
    collected: list[tuple[int, float, float]] = []

    @broker.subscriber(
        "naive",
        stream=stream,
        deliver_policy=DeliverPolicy.ALL,
        pull_sub=PullSub(batch_size=500),
    )
    async def handle(event: dict[str, float]) -> None:
        collected.append((int(event["id"]), event["price"], event["quantity"]))
        if len(collected) % 1_000 == 0:
            values = ",".join(map(str, collected[-1_000:]))
            await clickhouse.command(f"INSERT INTO naive VALUES {values}")
        if len(collected) == NAIVE_TRADES:
            done.set()

    async with broker:
        await broker.start()
        began = time.perf_counter()
        for k in range(NAIVE_TRADES):
            await broker.publish({"id": k, "price": 1.5, "quantity": 2.5}, "naive", stream="NAIVE")
        await done.wait()
        return NAIVE_TRADES / (time.perf_counter() - began)


async def bench(trades: int, rounds: int) -> None:
    """Run it all and print the result."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = await stack.enter_async_context(EmbeddedServers(folder))
        urls = servers.urls
        await prepare(urls)
        pool, clickhouse = await stack.enter_async_context(databases(urls))
        ddl = TRADES.sql.read_text().split(";")[0].split("\n", 1)[1]
        await clickhouse.command(ddl.replace("trades__v1", "straight"))
        sink = await sink_of_trades(urls, folder)
        stack.callback(sink.kill)
        opened = await stack.enter_async_context(streams(urls.nats_engine, "bench"))
        pids = {name: servers.supervisor.pid_of(name) for name in ("nats", "clickhouse")}
        pids |= {"sink": sink.pid, "feeder": os.getpid()}
        result = await alternate(opened.log, clickhouse, pool, trades, rounds, pids)
        result["naive_per_s"] = round(await naive(urls, clickhouse))
        answer(result)


async def alternate(
    log: Log,
    clickhouse: ClickHouse,
    pool: Pool,
    trades: int,
    rounds: int,
    pids: dict[str, int],
) -> dict[str, object]:
    """Warm up, then alternate the pipeline with straight inserts of one and of two at once."""
    load = Load(INSTRUMENTS, 1_000_000, PER_FRAME)
    await Appender(log, ">").append(load.opening())
    appender = Appender(log, "md.*.LOAD.*.*")
    await appender.own()
    exact = trades // (INSTRUMENTS * PER_FRAME) * INSTRUMENTS * PER_FRAME
    through, appends, direct = [], [], {1: [], 2: []}
    used = dict.fromkeys(pids, 0.0)
    for number in range(rounds + 1):
        before = {name: cpu_s(pid) for name, pid in pids.items()}
        await settled(clickhouse)
        seconds, appended = await through_the_log(appender, clickhouse, pool, load, trades)
        if number:
            used = {name: used[name] + cpu_s(pid) - before[name] for name, pid in pids.items()}
        await settled(clickhouse)
        lone = await straight(clickhouse, Load(INSTRUMENTS, 1_000_000, PER_FRAME), trades, 1)
        await settled(clickhouse)
        both = await straight(clickhouse, Load(INSTRUMENTS, 1_000_000, PER_FRAME), trades, 2)
        say(
            f"round {number}: pipeline {exact / seconds / 1e6:.2f} M/s (append"
            f" {exact / appended / 1e6:.2f}), straight {exact / lone / 1e6:.2f},"
            f" two at once {exact / both / 1e6:.2f}" + (" (warm-up)" if number == 0 else "")
        )
        if number:
            through.append(exact / seconds)
            appends.append(exact / appended)
            direct[1].append(exact / lone)
            direct[2].append(exact / both)
    return {
        **against(through, direct),
        "append_trades_per_s": summary(appends)["median"],
        "cpu_s_per_million": {
            name: round(seconds / len(through) / exact * 1e6, 3) for name, seconds in used.items()
        },
        "rounds": len(through),
        "trades": exact,
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
