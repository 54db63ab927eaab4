"""A server is killed at, or refused, the n-th system call on its disk: nothing is lost or doubled.

TIDEMILL_FAULTS=full goes through every call and n (or TIDEMILL_FAULTS_ROUNDS of them) and writes a
report; otherwise a sample.
"""

import os
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from tidemill.tests.faults.disk import means
from tidemill.tests.faults.disk.injection import EIO, ENOSPC, KILL, Injection, children, injected
from tidemill.tests.faults.disk.report import Report
from tidemill.tests.faults.disk.small_engine import (
    FLOW_S,
    Servers,
    SmallEngine,
    servers,
    small_engine,
)
from tidemill.tests.servers import RunningServer

FULL = os.environ.get("TIDEMILL_FAULTS") == "full"
REPORTS = Path(__file__).parent.parent / "reports"
SEED = 5
ROUNDS = int(os.environ.get("TIDEMILL_FAULTS_ROUNDS", "1000"))
"""Of the full form, at most; there are about a hundred."""
HIT_S = 20.0
ALONE_S = 6.0
"""How long a server that was refused a call has to go on by itself before it is restarted."""

CALLS = {
    "nats": (
        ("pwrite64", (KILL, EIO, ENOSPC)),
        ("fsync", (KILL, EIO)),
        ("renameat", (KILL, EIO)),
        ("unlinkat", (KILL,)),
        ("mkdirat", (KILL, ENOSPC)),
    ),
    "postgres": (
        ("pwrite64", (KILL, EIO, ENOSPC)),
        ("fdatasync", (KILL, EIO)),
    ),
    "clickhouse": (
        ("write", (KILL,)),
        ("fdatasync", (KILL, EIO)),
        ("rename", (KILL, EIO)),
        ("mkdir", (KILL, ENOSPC)),
    ),
}
"""What each server does on its disk with every append, commit and insert, and what may come of it.
(`write` of the ClickHouse front goes to sockets, too: a kill is fair there, an error is not.)"""

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(3_600 if FULL else 180),
    pytest.mark.skipif(bool(means.no_strace()), reason=means.no_strace()),
]


def plan() -> list[tuple[str, Injection]]:
    """Every server, call and action at the 1st to 5th call; or one of each server and call."""
    full = [
        (server, Injection(call, action, nth))
        for server, calls in CALLS.items()
        for call, actions in calls
        for action in actions
        for nth in range(1, 6)
    ]
    if FULL:
        return random.Random(SEED).sample(full, min(ROUNDS, len(full)))
    chance = random.Random(SEED)
    calls = [(server, call) for server, calls in CALLS.items() for call, _ in calls]
    some = chance.sample(calls, 5)
    return [
        chance.choice([(s, one) for s, one in full if (s, one.calls) == wanted]) for wanted in some
    ]


async def refuse(
    engine: SmallEngine, name: str, server: RunningServer, injection: Injection, told: Path
) -> tuple[str, bool]:
    """Have a call of a running server fail, or kill it. Returns the call, and whether all flowed
    again without a restart of the server by us."""
    async with injected(injection, [server.pid, *children(server.pid)], told) as attached:
        where = await attached.hit(HIT_S)
    alone = injection.action != KILL or name == "postgres"  # which restarts itself
    if alone:
        try:
            await engine.flowing(ALONE_S)
            return where, True
        except (TimeoutError, OSError):
            server.kill()
    elif injection.action == KILL:
        server.kill()  # gone already: only waited for
    await server.start()
    return where, False


async def campaign(
    engine: SmallEngine, on: Servers, rounds: Sequence[tuple[str, Injection]], told: Path
) -> Report:
    """One fault after the other while all flows."""
    report = Report()
    await engine.start()
    await engine.flowing()
    for name, injection in rounds:
        where, by_itself = await refuse(engine, name, on.each[name], injection, told)
        seconds = await engine.flowing(FLOW_S)
        print(f"{name}: {injection}: {where.strip()[:100]} ({seconds:.1f} s)", flush=True)
        report.add(f"{name}: {injection.action.rpartition('=')[2]} at {injection.calls}",
                   where, by_itself, seconds)  # fmt: skip
    report.found = await engine.found()
    return report


async def test_a_server_that_is_killed_or_refused_at_the_nth_call_loses_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    async with servers(tmp_path) as on, small_engine(on) as engine:
        report = await campaign(engine, on, plan(), tmp_path / "told")
    print(f"\n{report.table()}")
    if FULL:
        report.write(REPORTS / "servers_killed_exactly", f"Servers killed exactly, seed {SEED}")
    assert report.found is not None and report.found.holds, report.found
