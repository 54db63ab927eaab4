"""kill -9: at named points, of servers in the middle of what others ask, at random moments."""

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from random import Random

from tidemill.projections.registry import TABLES
from tidemill.streams.crash_points import Arming, Hit
from tidemill.tests.faults.points import CLICKHOUSE_STEPS, POSTGRES_STEPS, of
from tidemill.tests.faults.stage import FLOW_S, STEADY_S, Stage, Struck

HIT_S = 60.0
"""How long a point may take to be reached."""
SNAPSHOT_HIT_S = 120.0
BUSY = ("trades", "quotes", "bars", "times", "prices", "top_levels")
"""Tables of ClickHouse that have new rows all the time."""
SERVERS = ("nats", "postgres", "clickhouse", "valkey")
_FLOWING = ("inserting", "inserted", "moving", "moved", "written", "committed")
_STARTING = ("claiming", "claimed", "fenced", "drained", "read")
_POSTGRES = tuple(t.name for t in TABLES.values() if t.database == "postgres")
_LATEST = tuple(name for name in _POSTGRES if name.startswith("latest_"))


def _sinks(steps: tuple[str, ...]) -> list[str]:
    house = [f"sink.{t}.{s}" for t in BUSY for s in CLICKHOUSE_STEPS if s in steps]
    postgres = [f"sink.{t}.{s}" for t in _LATEST for s in POSTGRES_STEPS if s in steps]
    return house + postgres


def _named(role: str, *occasions: str) -> list[str]:
    return [p.name for p in of(role) if p.occasion in occasions and "<" not in p.name]


_BATCH = ("half", "committing", "committed")
_MESSAGE = ("sending", "answered")
FLOWING: Mapping[str, list[str]] = {
    "graph": [
        *(_named("graph", "always")),
        *(f"graph-main-0.batch.{step}" for step in _BATCH),
    ],
    "load": [*_named("load", "always"), *(f"load.batch.{step}" for step in _BATCH)],
    "feeds": [*_named("feeds", "always"), *(f"feeds.batch.{step}" for step in _BATCH)],
    "time": [*_named("time", "always"), *(f"time.message.{step}" for step in _MESSAGE)],
    "projections": _sinks((*_FLOWING, "advancing", "advanced")),
}
"""Points that a process comes by as long as data flow."""
STARTING: Mapping[str, list[str]] = {
    "graph": _named("graph", "start"),
    "projections": _sinks(_STARTING),
}
"""Points that it comes by when it begins."""
SNAPSHOT = _named("graph", "snapshot")


async def at_points(stage: Stage, random: Random) -> Struck:
    """Kill one to three processes, each at a point of its own; some again where they begin."""
    roles = random.sample(sorted(FLOWING), random.choice((1, 1, 2, 2, 3)))
    armed = []
    for role in roles:
        point = random.choice(FLOWING[role])
        stage.engine.arm(point, Arming(nth=random.randint(1, 4)))
        armed.append((role, point))
        again = role in STARTING and random.random() < 0.5
        if again and "lease" not in point:  # where the archive may be the one that is killed
            point = random.choice(STARTING[role])
            stage.engine.arm(point, Arming())
            armed.append((role, point))
    return await _seen(stage, armed, HIT_S)


async def at_snapshot(stage: Stage, random: Random) -> Struck:
    """Kill the graph at a point of writing a snapshot, and let it begin from what is there."""
    point = random.choice(SNAPSHOT)
    stage.engine.arm(point, Arming())
    return await _seen(stage, [("graph", point)], SNAPSHOT_HIT_S)


async def _seen(stage: Stage, armed: list[tuple[str, str]], timeout_s: float) -> Struck:
    """Wait for every hit; the wait for the second point of a process is for its start as well."""
    hits: list[Hit] = []
    for role, point in armed:
        hit = await stage.engine.hit(point, timeout_s)
        name = stage.engine.names.get(hit.killed)
        # Whoever beats leases is killed at it: the graph or the archive.
        assert name == role or (name == "archive" and "lease" in point), (hit, name)
        hits.append(hit)
    for hit in hits:
        await stage.replaced(stage.engine.names[hit.killed], hit.killed)
    proof = ", ".join(f"{hit.killed} at {hit.point}" for hit in hits)
    what = " + ".join(f"{role} at {point}" for role, point in armed)
    return Struck(what, f"killed {proof}", max(hit.ts for hit in hits))


INSIDE: Mapping[str, list[tuple[str, str]]] = {
    "nats": [
        *(("load", f"load.batch.{step}") for step in _BATCH),
        *(("graph", f"graph-main-0.batch.{step}") for step in _BATCH),
        *(("feeds", f"feeds.batch.{step}") for step in _BATCH),
        ("time", "time.message.sending"),
        ("graph", "lease.beat.storing"),
    ],
    "clickhouse": [("projections", f"sink.{t}.inserting") for t in BUSY],
    "postgres": [
        *(("projections", f"sink.{t}.advancing") for t in BUSY),
        *(
            ("projections", f"sink.{t}.{s}")
            for t in _LATEST
            for s in ("moving", "moved", "written")
        ),
    ],
}
"""Of each server, who asks something of it at which point."""


async def server_inside(stage: Stage, random: Random) -> Struck:
    """Kill a server while one process is in the middle of something that it asked of it."""
    server = random.choice(sorted(INSIDE))
    role, point = random.choice(INSIDE[server])
    after_s = random.choice((0.0, 0.0, 0.001, 0.002, 0.005, 0.02))
    pid = await stage.engine.pid_of(server)
    stage.engine.arm(point, Arming(nth=random.randint(1, 4), pid=pid, after_s=after_s))
    hit = await stage.engine.hit(point, HIT_S)
    assert hit.killed == pid
    await stage.replaced(server, pid)
    inside = "before its end" if hit.latest == point else f"at {hit.latest}"
    what = f"{server} {after_s * 1e3:g} ms after {role} was at {point}"
    return Struck(what, f"killed {pid} {inside}", hit.ts)


async def at_random(stage: Stage, random: Random) -> Struck:
    """Kill one to three of all processes and servers, each at a moment of its own."""
    names = random.sample(sorted(stage.engine.pids()), random.choice((1, 1, 2, 3)))
    killed: list[tuple[str, int]] = []
    for name in names:
        await asyncio.sleep(random.uniform(0, 0.5))
        pid = await stage.engine.pid_of(name)
        os.kill(pid, signal.SIGKILL)
        killed.append((name, pid))
    ts = time.time_ns()
    for name, pid in killed:
        await stage.replaced(name, pid)
    await asyncio.sleep(STEADY_S)
    return Struck(" + ".join(names), f"killed {', '.join(str(pid) for _, pid in killed)}", ts)


async def the_supervisor(stage: Stage, random: Random) -> Struck:
    """Kill the supervisor, and everything with it, and start again on what is there."""
    await asyncio.sleep(random.uniform(0, 0.5))
    pid = stage.engine.pid
    os.kill(pid, signal.SIGKILL)
    ts = time.time_ns()
    await stage.engine.gone(FLOW_S)
    await stage.engine.start(FLOW_S)
    return Struck("the supervisor, and all with it", f"killed {pid}, nothing was left", ts)
