"""Zombies: an owner stands still in the middle of a write until its successor writes, and goes on.

It must be refused, write nothing and say so. Then the successor is killed where it is a writer of
LOG (nobody takes over from one that still writes); else whoever the supervisor starts takes over
from it, and it must be refused in its turn.
"""

import asyncio
import os
import subprocess
from collections.abc import Mapping
from random import Random
from signal import SIGCONT, SIGKILL, SIGSTOP

from tidemill.deploy.supervisor import leftovers
from tidemill.streams.crash_points import Arming
from tidemill.tests.faults.kinds.killing import FLOWING, HIT_S
from tidemill.tests.faults.stage import FLOW_S, Stage, Struck, stopped

POINTS: Mapping[str, list[str]] = {
    role: [point for point in points if "lease" not in point] for role, points in FLOWING.items()
}
MORE_S = (0.0, 0.5, 3.0)
"""How long the successor goes on alone: shorter and longer than a lease lasts."""
WRITERS = ("feeds", "load")
REFUSED = "Fenced:"
"""How a process that was fenced says so when it ends."""


async def continued(stage: Stage, random: Random) -> Struck:
    """Stop an owner at a point of a write, let a successor write, and continue it."""
    role = random.choice(sorted(POINTS))
    point = random.choice(POINTS[role])
    stage.engine.arm(point, Arming(nth=random.randint(1, 4), signal=SIGSTOP))
    hit = await stage.engine.hit(point, HIT_S)
    pid = hit.killed
    async with asyncio.timeout(10):
        while not stopped(pid):
            await asyncio.sleep(0.005)
    refusals = stage.logged(role).count(REFUSED)
    successor = stage.again(pid)
    try:
        flowed = await stage.flows()  # nothing of the owner's does without the successor
        await asyncio.sleep(random.choice(MORE_S))
        assert stopped(pid)
    finally:
        os.kill(pid, SIGCONT)
    proof = await _refused(stage, role, pid, successor, refusals)
    return Struck(f"{role} stopped at {point}", proof, hit.ts, flowed)


async def _refused(
    stage: Stage, role: str, pid: int, successor: subprocess.Popen[bytes], refusals: int
) -> str:
    """See the continued one refused, and who writes afterwards alone; return the proof."""
    if role == "time":  # it goes on as a standby, and takes over when the successor is killed
        await asyncio.sleep(1.0)
        assert stage.engine.pids()["time"] == pid
        successor.send_signal(SIGKILL)
        await asyncio.to_thread(successor.wait, FLOW_S)
        return f"{pid} stood by until its successor {successor.pid} was killed"
    async with asyncio.timeout(FLOW_S):
        while leftovers.process(pid) is not None:
            stage.engine.check()
            await asyncio.sleep(0.02)
    said = stage.logged(role)
    assert said.count(REFUSED) > refusals, said[-2_000:]
    if role in WRITERS:
        successor.send_signal(SIGKILL)
        await asyncio.to_thread(successor.wait, FLOW_S)
        await stage.replaced(role, pid)
        return f"{pid} was refused; its successor {successor.pid} was killed"
    await stage.replaced(role, pid)
    status = await asyncio.to_thread(successor.wait, FLOW_S)
    told = stage.said_in[successor.pid].read_text(errors="replace")
    assert status == 1 and REFUSED in told, (status, told[-2_000:])
    return f"{pid} was refused, and then its successor {successor.pid}"
