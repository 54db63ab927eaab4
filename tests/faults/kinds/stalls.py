"""ClickHouse stands still under a burst: its sinks stay small, everything else goes on."""

import asyncio
import os
import time
from pathlib import Path
from random import Random
from signal import SIGCONT

from tidemill.deploy.load import Load
from tidemill.projections.registry import TABLES
from tidemill.schemas.errors import Unavailable
from tidemill.streams.appender import Appender
from tidemill.tests.faults.stage import FLOW_S, Stage, Struck, stand_still

STANDS_S = (5.0, 10.0, 20.0)
BURST_PER_S = 200_000
"""Trades a second besides: ten times the load that a campaign has by default."""
GROWTH_MAX_BYTES = 400 << 20
"""How much the process of all sinks may grow meanwhile, whatever is waiting in LOG."""
ELSEWHERE = tuple(t.name for t in TABLES.values() if t.database == "postgres")
_PAGE = os.sysconf("SC_PAGE_SIZE")


async def clickhouse(stage: Stage, random: Random) -> Struck:
    """Stop ClickHouse for a while, append a burst meanwhile, and let it go on."""
    stands_s = random.choice(STANDS_S)
    house = await stage.engine.pid_of("clickhouse")
    sinks = await stage.engine.pid_of("projections")
    before = resident_bytes(sinks)
    await stand_still(house)
    began = time.monotonic()
    try:
        sampling = asyncio.create_task(_largest(sinks))
        appended, end = await _burst(stage, random, stands_s)
        await _reached(stage, end)
        await asyncio.sleep(max(0.0, stands_s - (time.monotonic() - began)))
        there = await stage.observer.positions()
        assert there["trades"] < end <= min(there[name] for name in ELSEWHERE)
        sampling.cancel()
        (largest,) = await asyncio.gather(sampling)
    finally:
        os.kill(house, SIGCONT)
    ts = time.time_ns()
    assert stage.engine.pids()["projections"] == sinks, "the sinks did not live through it"
    grown = largest - before
    assert grown < GROWTH_MAX_BYTES, f"sinks grew from {before:,} to {largest:,} bytes"
    what = f"ClickHouse stood for {time.monotonic() - began:.0f} s, {appended:,} trades came"
    proof = f"Postgres' tables were at {end} before it; sinks grew {grown >> 20} MiB"
    return Struck(what, proof, ts)


async def _burst(stage: Stage, random: Random, seconds: float) -> tuple[int, int]:
    """Append trades of a venue of this round's own; return how many, and the last position."""
    load = Load(8, BURST_PER_S, seed=random.randrange(1 << 30), venue=f"B{random.randrange(10**9)}")
    load.ts = time.time_ns()
    appender = Appender(stage.observer.log, f"md.*.{load.venue}.*.*")
    await appender.append([fact for fact in load.opening() if fact[0] != "time"])
    until, count, last = time.monotonic() + seconds, 0, 0
    while time.monotonic() < until:
        last = await appender.append(
            [fact for _ in range(4) for fact in load.round(load.per_frame)]
        )
        count += 4 * load.per_frame * len(load.definitions)
        ahead_s = (load.ts - time.time_ns()) / 1e9
        await asyncio.sleep(max(0.0, min(ahead_s, 1.0)))
    return count, last


async def _reached(stage: Stage, position: int) -> None:
    """Wait until the tables that are elsewhere have everything up to a position."""
    async with asyncio.timeout(FLOW_S):
        while True:
            try:
                there = await stage.observer.positions()
            except Unavailable:
                continue
            if min(there[name] for name in ELSEWHERE) >= position:
                return
            await asyncio.sleep(0.05)


async def _largest(pid: int) -> int:
    """Sample a process's memory until cancelled; return the most that was seen."""
    most = 0
    try:
        while True:
            most = max(most, resident_bytes(pid))
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        return most


def resident_bytes(pid: int) -> int:
    """Return a process's resident memory (field 2 of proc(5) statm)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
