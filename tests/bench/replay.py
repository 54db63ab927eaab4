"""`bench replay`: LOG in memory to bars of all seven intervals, through the runtime as it is.

One round steps the whole LOG with a fresh shard and its checkpoints into a fresh OUT in memory:
decoding, stepping, numbering, framing and transacting are all in it. Twice: frames of `--per-frame`
trades of 8 instruments, and bursts as in the captures. Beside each, NautilusTrader's backtest
engine makes the same bars of a part of the same trades; its objects are made beforehand.
"""

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.parts import market
from tests.bench.parts.beside import Beside
from tests.bench.rounds import answer, say, summary
from tidemill.processors.bars import BARS
from tidemill.schemas import kinds
from tidemill.schemas.run import Records
from tidemill.streams import subjects
from tidemill.streams.memory import MemoryLog
from tidemill.streams.runtime.graph import Graph
from tidemill.streams.runtime.shard import Shard
from tidemill.streams.subjects import OUT_SUBJECTS

NAUTILUS = "nautilus-trader==1.221.0"
"""The newest with a wheel for Python 3.11."""
NAUTILUS_SPECS = ("1-SECOND", "1-MINUTE", "5-MINUTE", "15-MINUTE", "1-HOUR", "4-HOUR", "1-DAY")
INSTRUMENTS, SPARSE_INSTRUMENTS = 8, 20
DENSE_RATE = 100_000
"""Trades a second of market time: a second of it closes bars of every instrument."""

Trades = dict[str, Records]


def trades_of(log: MemoryLog) -> Trades:
    """Return all trades by symbol."""
    found: dict[str, list[Records]] = {}
    for message in log.slice(1, log.end):
        assert message is not None
        subject = subjects.parse(message.subject)
        if subject.kind == "trade":
            found.setdefault(subject.symbol, []).append(kinds.decode(message.payload).records)
    return {symbol: np.concatenate(parts) for symbol, parts in found.items()}


async def step(log: MemoryLog) -> tuple[float, float, MemoryLog]:
    """Step LOG from its beginning to its end; return (seconds, CPU seconds, OUT)."""
    out = MemoryLog("OUT", OUT_SUBJECTS)
    shard = Shard(log, out, Graph("main", [BARS]))
    began, cpu = time.perf_counter(), time.process_time()
    await shard.run(until=log.end - 1)
    return time.perf_counter() - began, time.process_time() - cpu, out


def bars_in(out: MemoryLog, trades: Trades) -> int:
    """Return how many bars OUT has; assert that those of a second hold every trade they must."""
    counted, bars = dict.fromkeys(trades, 0), 0
    until = dict.fromkeys(trades, 0)
    for message in out.slice(1, out.end):
        subject = subjects.parse(message.subject) if message is not None else None
        if message is None or subject is None or subject.kind != "bar":
            continue
        records = kinds.decode(message.payload).records
        bars += len(records)
        assert not records["revision"].any()
        if subject.spec == "1s":
            counted[subject.symbol] += int(records["trade_count"].sum())
            until[subject.symbol] = int(records["ts_open"][-1]) + 1_000_000_000
    for symbol, records in trades.items():
        wanted = int((records["ts_event"] < until[symbol]).sum())
        assert counted[symbol] == wanted > 0, f"{symbol}: {counted[symbol]} of {wanted} trades"
    return bars


def nautilus_of(trades: Trades, most: int, folder: Path) -> Beside:
    """The other engine, with the first `most` trades, about."""
    path = folder / f"{len(trades)}.npz"
    np.savez(path, allow_pickle=False, **_arrays(trades, most))
    return Beside(NAUTILUS, "nautilus.py", [str(path), *NAUTILUS_SPECS], folder)


def _arrays(trades: Trades, most: int) -> dict[str, np.ndarray[Any, Any]]:
    """Return what nautilus.py reads: the first `most` trades, about."""
    each = most // len(trades)
    found: dict[str, np.ndarray[Any, Any]] = {}
    for which, records in enumerate(trades.values()):
        part = records[:each]
        found[f"ts_{which}"] = part["ts_event"].copy()
        found[f"price_{which}"] = part["price"] / 1e8
        found[f"quantity_{which}"] = part["quantity"] / 1e8
        found[f"side_{which}"] = part["aggressor_side"].copy()
        found[f"id_{which}"] = part["trade_id"].copy()
    return found


async def alternate(name: str, facts: market.Facts, rounds: int, theirs: int) -> dict[str, Any]:
    """Warm up, then alternate our shard with the other engine; return medians and spread."""
    log = await market.in_memory(facts)
    trades = trades_of(log)
    total = sum(map(len, trades.values()))
    ours, cpu, other, other_cpu, bars = [], [], [], [], 0
    with tempfile.TemporaryDirectory() as folder:
        nautilus = nautilus_of(trades, theirs, Path(folder))
        try:
            for number in range(rounds + 1):
                seconds, used, out = await step(log)
                bars = bars_in(out, trades)
                beside = await asyncio.to_thread(nautilus.round)
                say(
                    f"{name} round {number}: {total / seconds / 1e6:.2f} M trades/s,"
                    f" {used / total * 1e9:.0f} ns of CPU a trade; nautilus {beside}"
                    f" load {os.getloadavg()[0]:.1f}" + (" (warm-up)" if number == 0 else "")
                )
                if number:
                    ours.append(total / seconds)
                    cpu.append(used / total * 1e9)
                if number and beside is not None:
                    other.append(beside["trades"] / beside["seconds"])
                    other_cpu.append(beside["cpu_seconds"] / beside["trades"] * 1e9)
        finally:
            nautilus.close()
    return {
        "trades_per_s": summary(ours),
        "cpu_ns_per_trade": summary(cpu, 1),
        "trades": total,
        "instruments": len(trades),
        "frames": len(facts),
        "bars": bars,
        "nautilus": _theirs(other, other_cpu, theirs),
        "vs_nautilus": round(summary(ours)["median"] / summary(other)["median"], 1)
        if other
        else None,
        **({"why": nautilus.why} if nautilus.why else {}),
    }


def _theirs(rates: list[float], cpu: list[float], trades: int) -> dict[str, Any] | None:
    if not rates:
        return None
    return {
        "version": NAUTILUS,
        "trades_per_s": summary(rates),
        "cpu_ns_per_trade": summary(cpu, 1),
        "trades": trades,
    }


async def bench(options: argparse.Namespace) -> None:
    """Run both densities and print the result."""
    theirs = options.nautilus_trades
    facts = market.dense(options.trades, INSTRUMENTS, options.per_frame, DENSE_RATE)
    full = await alternate("dense", facts, options.rounds, theirs)
    facts = market.sparse(options.sparse_trades, SPARSE_INSTRUMENTS)
    thin = await alternate("sparse", facts, options.rounds, theirs)
    answer(
        {
            "trades_per_s": full["trades_per_s"]["median"],
            "sparse_trades_per_s": thin["trades_per_s"]["median"],
            "intervals": 7,
            "rounds": options.rounds,
            "per_frame": options.per_frame,
            "dense": full,
            "sparse": thin,
            "load_average": round(os.getloadavg()[0], 2),
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trades", type=int, default=8_000_000)
    parser.add_argument("--sparse-trades", type=int, default=500_000)
    parser.add_argument("--nautilus-trades", type=int, default=200_000)
    parser.add_argument("--per-frame", type=int, default=1_300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="accepted; the result is always JSON")
    asyncio.run(bench(parser.parse_args()))


if __name__ == "__main__":
    main()
