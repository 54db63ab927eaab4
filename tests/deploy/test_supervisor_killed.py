"""The supervisor as a process of its own: signals, kill -9, and what a new start finds."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tidemill.deploy.supervisor import leftovers
from tidemill.deploy.supervisor.child import Child
from tidemill.deploy.supervisor.supervisor import Supervisor

# Two children; one has a grandchild in its own session and one in a session of the grandchild's.
PROGRAM = """
import asyncio, sys
from pathlib import Path
from tidemill.deploy.supervisor.child import Child
from tidemill.deploy.supervisor.supervisor import Supervisor
from tidemill.schemas.errors import Unavailable

directory = Path(sys.argv[1])
PARENT = '''
import subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
near, far = subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)
open(sys.argv[1], "w").write(f"{near.pid} {far.pid}")
time.sleep(600)
'''
DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); "

async def probe():
    if len((directory / "grandchildren").read_text().split() if
            (directory / "grandchildren").exists() else ()) != 2:
        raise Unavailable("no grandchildren yet")
    if not (directory / "logs/deaf.log").read_text():
        raise Unavailable("it can still hear")

async def main():
    async with Supervisor(directory) as supervisor:
        supervisor.handle_signals()
        python = (sys.executable, "-c")
        await supervisor.start(
            Child("deaf", (*python, DEAF + "time.sleep(600)"), stop_timeout_s=float(sys.argv[2])),
            Child("parent", (*python, PARENT, str(directory / "grandchildren")), probe=probe),
        )
        pids = {status.name: status.pid for status in supervisor.status()}
        print(*pids.values(), (directory / "grandchildren").read_text(), flush=True)
        await supervisor.wait()
    print("stopped by", supervisor.signalled.name, flush=True)

asyncio.run(main())
"""


@pytest.fixture
def started(tmp_path: Path) -> Iterator["Started"]:
    process = Started(tmp_path, deaf_for_s=1.0)
    yield process
    process.clean()


class Started:
    """The program above, running: its process and the pids it printed."""

    def __init__(self, directory: Path, deaf_for_s: float) -> None:
        self.errors = directory / "stderr"
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(directory), str(deaf_for_s)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self.process.stdout is not None
        self.output = self.process.stdout
        self.pids = [int(word) for word in self.output.readline().split()]

    def guard(self) -> int:
        (pid,) = (
            process.pid
            for process in leftovers.processes()
            if _parent(process.pid) == self.process.pid and process.pid not in self.pids
        )
        return pid

    def clean(self) -> None:
        self.process.kill()
        self.process.wait()
        self.output.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_every_child_and_ends_the_supervisor_cleanly(
    started: Started, number: signal.Signals
) -> None:
    assert len(started.pids) == 4
    started.process.send_signal(number)
    assert started.output.readline() == f"stopped by {number.name}\n"
    assert started.process.wait(10) == 0
    assert not any(map(alive, started.pids))
    assert started.errors.read_text() == ""


def test_a_second_signal_does_not_wait_for_the_deaf(tmp_path: Path) -> None:
    started = Started(tmp_path, deaf_for_s=60)
    started.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert started.process.poll() is None
    started.process.send_signal(signal.SIGTERM)
    assert started.process.wait(10) == 0
    assert not any(map(alive, started.pids))
    started.clean()


async def test_kill_9_of_the_supervisor_leaves_nothing_and_a_new_start_works(
    started: Started, tmp_path: Path
) -> None:
    guard = started.guard()
    started.process.kill()
    await until_gone(*started.pids, guard)
    async with fresh_supervisor(tmp_path) as supervisor:
        assert alive(supervisor.pid_of("fresh"))


async def test_a_new_start_ends_what_survived_supervisor_and_guard(
    started: Started, tmp_path: Path
) -> None:
    os.kill(started.guard(), signal.SIGKILL)
    started.process.kill()
    children, grandchildren = started.pids[:2], started.pids[2:]
    await until_gone(*children)  # the kernel's work
    await asyncio.sleep(0.3)
    assert all(map(alive, grandchildren))  # nobody's, until the next start
    async with fresh_supervisor(tmp_path):
        assert not any(map(alive, grandchildren))


async def test_a_new_start_ends_a_child_that_outlived_its_supervisor(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    survivor = subprocess.Popen(["sleep", "600"], start_new_session=True)
    remember(tmp_path, survivor.pid)
    async with fresh_supervisor(tmp_path):
        assert survivor.wait(5) == -signal.SIGKILL


async def test_a_re_used_pid_is_never_killed(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    innocent = subprocess.Popen(["sleep", "600"], start_new_session=True)
    remember(tmp_path, innocent.pid)
    (record,) = leftovers.remembered(tmp_path / "run")
    for wrong in (
        replace(record, start_ticks=record.start_ticks - 1),
        replace(record, boot="another boot"),
    ):
        (tmp_path / "run" / "old.pid").write_text(json.dumps(asdict(wrong)))
        async with fresh_supervisor(tmp_path):
            assert innocent.poll() is None
    innocent.kill()
    innocent.wait()


async def test_a_damaged_pid_file_hinders_no_start(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "old.pid").write_text('{"name": "old", "pi')
    async with fresh_supervisor(tmp_path):
        pass


@asynccontextmanager
async def fresh_supervisor(directory: Path) -> AsyncIterator[Supervisor]:
    async with Supervisor(directory) as supervisor:
        await supervisor.start(Child("fresh", ("sleep", "600")))
        yield supervisor


def remember(directory: Path, pid: int) -> None:
    leftovers.remember(directory / "run", "old", pid, ["sleep", "600"], signal.SIGKILL, "m" * 32)


def alive(pid: int) -> bool:
    return leftovers.process(pid) is not None


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def until_gone(*pids: int) -> None:
    async with asyncio.timeout(5):
        while any(map(alive, pids)):
            await asyncio.sleep(0.01)
