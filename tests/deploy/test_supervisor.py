"""The supervisor: order, health, restart, stop; children here are small Python programs."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path

import pytest

from tidemill.deploy.supervisor.child import Child, ChildFailed, Restart, State, Status
from tidemill.deploy.supervisor.lock import AlreadyRunning
from tidemill.deploy.supervisor.logs import LogFile
from tidemill.deploy.supervisor.supervisor import Supervisor
from tidemill.schemas.errors import Unavailable

FOREVER = "import time; time.sleep(600)"
QUICK = Restart(backoff_min_s=0.01, backoff_max_s=0.05, tries_max=3, restarts_max=4)


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", "-c", code)


def file_exists(path: Path) -> Callable[[], Awaitable[None]]:
    async def probe() -> None:
        if not path.exists():
            raise Unavailable(f"{path.name} is not there")

    return probe


class Heard:
    """An event callback that keeps what it was told, with the time in seconds."""

    def __init__(self) -> None:
        self.events: list[tuple[float, Status]] = []

    async def __call__(self, status: Status) -> None:
        self.events.append((time.monotonic(), status))

    def of(self, *states: State) -> list[tuple[str, State]]:
        return [(s.name, s.state) for _, s in self.events if s.state in states]

    async def until(self, name: str, state: State, count: int = 1) -> None:
        async with asyncio.timeout(10):
            while self.of(state).count((name, state)) < count:
                await asyncio.sleep(0.005)


async def test_a_child_starts_when_those_it_comes_after_are_healthy_and_not_before(
    tmp_path: Path,
) -> None:
    heard, open_file = Heard(), tmp_path / "open"
    slow = f"import time; time.sleep(.3); open({str(open_file)!r}, 'w'); time.sleep(600)"
    first = Child("first", python(slow), probe=file_exists(open_file))
    second = Child("second", python(FOREVER), after=("first",))
    alone = Child("alone", python(FOREVER))
    async with Supervisor(tmp_path, heard) as supervisor:
        await supervisor.start(second, alone, first)
        assert all(status.state is State.READY for status in supervisor.status())
        order = heard.of(State.STARTING, State.READY)
        assert order.index(("first", State.READY)) < order.index(("second", State.STARTING))
        assert order.index(("alone", State.READY)) < order.index(("first", State.READY))


async def test_children_stop_in_reverse_order(tmp_path: Path) -> None:
    heard = Heard()
    names = ("a", "b", "c")
    async with Supervisor(tmp_path, heard) as supervisor:
        for before, name in zip(("", *names), names, strict=False):
            after = (before,) if before else ()
            await supervisor.start(Child(name, python(FOREVER), after=after))
        pids = [supervisor.pid_of(name) for name in names]
    assert [name for name, _ in heard.of(State.STOPPED)] == ["c", "b", "a"]
    assert [name for name, _ in heard.of(State.STOPPING)] == ["c", "b", "a"]
    assert not any(alive(pid) for pid in pids)
    assert not list((tmp_path / "run").glob("*.pid"))


async def test_a_killed_child_is_started_again_and_probed_again(tmp_path: Path) -> None:
    heard, probes = Heard(), 0

    async def probe() -> None:
        nonlocal probes
        probes += 1

    async with Supervisor(tmp_path, heard) as supervisor:
        await supervisor.start(Child("role", python(FOREVER), probe=probe))
        victim = supervisor.pid_of("role")
        os.kill(victim, signal.SIGKILL)
        await heard.until("role", State.READY, count=2)
        (status,) = supervisor.status()
        assert status.pid not in (None, victim) and status.restarts == 1 and probes == 2
        assert status.since_ns > 0
    reasons = [s.reason for _, s in heard.events if s.state is State.BACKOFF]
    assert reasons == ["ended with status -9"]


async def test_a_child_that_always_dies_fails_everything_and_shows_its_last_words(
    tmp_path: Path,
) -> None:
    heard = Heard()
    dies = python("import sys; print('the disk is on fire', file=sys.stderr); sys.exit(3)")
    policy = Restart(backoff_min_s=0.05, backoff_max_s=0.4, tries_max=5)
    with pytest.raises(ChildFailed, match=r"(?s)bad ended with status 3.*the disk is on fire"):
        async with Supervisor(tmp_path, heard) as supervisor:
            await supervisor.start(Child("good", python(FOREVER)))
            good = supervisor.pid_of("good")
            await supervisor.start(Child("bad", dies, restart=policy, probe=never))
    assert not alive(good)
    starts = [at for at, s in heard.events if (s.name, s.state) == ("bad", State.STARTING)]
    waits = [b - a for a, b in pairwise(starts)]
    assert len(starts) == 5
    for n, wait_s in enumerate(waits, start=1):  # jitter halves at most; nothing comes early
        assert wait_s >= min(0.4, 0.05 * 2**n) * 0.5


async def test_a_child_that_dies_later_interrupts_whoever_waits(tmp_path: Path) -> None:
    dies = Child("dies", python("import time; time.sleep(.1)"), restart=QUICK)
    with pytest.raises(ChildFailed, match="given up after 2 restarts"):
        async with Supervisor(tmp_path) as supervisor:
            await supervisor.start(dies)
            await asyncio.sleep(30)  # not in wait(): the block itself is interrupted


async def test_restarts_of_a_child_that_recovers_are_bounded_in_a_window(tmp_path: Path) -> None:
    policy = Restart(backoff_min_s=0.01, steady_s=0.02, restarts_max=3, window_s=60)
    lives = Child("lives", python("import time; time.sleep(.2)"), restart=policy)
    with pytest.raises(ChildFailed, match="given up after 3 restarts"):
        async with Supervisor(tmp_path) as supervisor:
            await supervisor.start(lives)
            await supervisor.wait()


async def test_a_child_that_never_gets_healthy_is_stopped_and_says_why(tmp_path: Path) -> None:
    child = Child("mute", python(FOREVER), probe=never, ready_timeout_s=0.05, restart=QUICK)
    with pytest.raises(ChildFailed, match=r"mute not ready after 0\.05 s: it never is"):
        async with Supervisor(tmp_path) as supervisor:
            await supervisor.start(child)


async def test_a_probe_that_crashes_is_a_bug_and_stops_everything(tmp_path: Path) -> None:
    async def crashes() -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        async with Supervisor(tmp_path) as supervisor:
            await supervisor.start(Child("role", python(FOREVER), probe=crashes))
    assert not list((tmp_path / "run").glob("*.pid"))


async def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    child = Child("ghost", ("/nowhere/ghost",), restart=QUICK, probe=never)
    with pytest.raises(ChildFailed, match="/nowhere/ghost: No such file"):
        async with Supervisor(tmp_path) as supervisor:
            await supervisor.start(child)


async def test_a_child_that_ignores_the_signal_is_killed_after_its_time(tmp_path: Path) -> None:
    deaf = tmp_path / "deaf"
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"open({str(deaf)!r}, 'w'); time.sleep(600)"
    )
    child = Child("deaf", python(code), probe=file_exists(deaf), stop_timeout_s=0.3)
    async with Supervisor(tmp_path) as supervisor:
        await supervisor.start(child)
        pid, started_s = supervisor.pid_of("deaf"), time.monotonic()
    assert not alive(pid)
    assert 0.3 <= time.monotonic() - started_s < 9


async def test_what_a_dead_child_left_in_its_session_is_ended(tmp_path: Path) -> None:
    grandchild = tmp_path / "grandchild"
    code = (
        "import subprocess, sys, time;"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        f"open({str(grandchild)!r}, 'w').write(str(p.pid)); time.sleep(600)"
    )
    heard = Heard()
    async with Supervisor(tmp_path, heard) as supervisor:
        await supervisor.start(Child("role", python(code), probe=file_exists(grandchild)))
        await asyncio.sleep(0.1)
        orphan = int(grandchild.read_text())
        os.kill(supervisor.pid_of("role"), signal.SIGKILL)
        await heard.until("role", State.BACKOFF)
        await until_gone(orphan)


async def test_a_flood_of_output_blocks_nobody_and_stays_bounded(tmp_path: Path) -> None:
    done = tmp_path / "done"
    code = (
        "import time\nfor _ in range(600): print('x' * 99_999)\n"
        f"open({str(done)!r}, 'w'); print('last words', flush=True); time.sleep(600)"
    )
    async with Supervisor(tmp_path) as supervisor:
        await supervisor.start(Child("loud", python(code), probe=file_exists(done)))
        path = tmp_path / "logs" / "loud.log"
        async with asyncio.timeout(10):
            while path.stat().st_size > 16 * 1024 * 1024:
                await asyncio.sleep(0.05)


def test_a_log_keeps_its_end_and_one_older_piece(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "logs" / "x.log", bytes_max=100)
    descriptor = log.open()
    os.write(descriptor, b'{"event":"old"}\n' * 10)
    log.cut()
    os.write(descriptor, b'{"event":"new"}\n')
    os.close(descriptor)
    assert log.path.read_text() == '{"event":"new"}\n'
    assert log.path.with_name("x.log.1").read_text() == '{"event":"old"}\n' * 10
    assert log.tail() == '{"event":"new"}'
    assert LogFile(tmp_path / "none").tail() == ""


async def test_two_supervisors_of_one_directory_are_refused_naming_the_first(
    tmp_path: Path,
) -> None:
    async with Supervisor(tmp_path) as supervisor:
        await supervisor.start(Child("role", python(FOREVER)))
        with pytest.raises(AlreadyRunning, match=f"in use by process {os.getpid()}"):
            async with Supervisor(tmp_path):
                pass
        assert alive(supervisor.pid_of("role"))
    async with Supervisor(tmp_path):
        pass


async def test_children_in_a_circle_or_after_nobody_or_twice_are_refused(tmp_path: Path) -> None:
    a = Child("a", python(FOREVER), after=("b",))
    b = Child("b", python(FOREVER), after=("a",))
    async with Supervisor(tmp_path) as supervisor:
        for wrong in ((a, b), (a,), (Child("c", python("")), Child("c", python("")))):
            with pytest.raises(ValueError, match=r"children that come|a name is taken"):
                await supervisor.start(*wrong)
        assert supervisor.status() == ()


async def test_before_runs_ahead_of_every_start(tmp_path: Path) -> None:
    heard, ran = Heard(), []
    async with Supervisor(tmp_path, heard) as supervisor:
        child = Child("role", python(FOREVER), before=lambda: ran.append(1))
        await supervisor.start(child)
        os.kill(supervisor.pid_of("role"), signal.SIGKILL)
        await heard.until("role", State.READY, count=2)
    assert len(ran) == 2


async def never() -> None:
    raise Unavailable("it never is")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def until_gone(*pids: int) -> None:
    async with asyncio.timeout(10):
        while any(alive(pid) for pid in pids):
            await asyncio.sleep(0.01)
