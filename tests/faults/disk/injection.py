"""A system call of a running server made to fail, or to kill it: at the n-th call, exactly.

By strace, attached to the server's processes. A call that kills is not done; nor is one that fails.
"""

import asyncio
import re
import shlex
import signal
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

KILL, EIO, ENOSPC = "signal=SIGKILL", "error=EIO", "error=ENOSPC"
ATTACH_S = 20.0
LET_GO_S = 5.0


@dataclass(frozen=True)
class Injection:
    """At the `nth` of `calls` (of one thread; on one of `paths`, if any are named) `action`.

    With `lasting` every later call fails, too.
    """

    calls: str
    action: str
    nth: int = 1
    paths: tuple[Path, ...] = ()
    lasting: bool = False

    def argv(self, pids: Sequence[int], told: Path) -> list[str]:
        """How strace is called."""
        when = f"{self.nth}+" if self.lasting else str(self.nth)
        argv = ["strace", "-f", "-qq", "-y", "-s", "64", "-o", str(told)]
        argv += [
            "-e",
            f"trace={self.calls}",
            "-e",
            f"inject={self.calls}:{self.action}:when={when}",
        ]
        for path in self.paths:
            argv += ["-P", str(path)]
        for pid in pids:
            argv += ["-p", str(pid)]
        return argv

    def __str__(self) -> str:
        return f"{self.action.rpartition('=')[2]} at {self.calls} {self.nth}"


class Attached:
    """An injection in place; `hit` waits for it and returns the call."""

    def __init__(self, injection: Injection, process: "subprocess.Popen[bytes]", told: Path):
        self._injection, self._process, self._told = injection, process, told

    def calls(self) -> list[str]:
        """The calls that were seen, as strace tells them."""
        return self._told.read_text(errors="replace").splitlines()

    def found(self) -> str:
        """The call that was made to fail or to kill; empty before."""
        mark = "+++ killed by SIGKILL" if self._injection.action == KILL else "(INJECTED)"
        lines = self.calls()
        for at, line in enumerate(lines):
            if mark in line:
                return _last_call(lines[:at], line) if self._injection.action == KILL else line
        return ""

    async def hit(self, timeout_s: float) -> str:
        """Return the call once it was. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while not (found := self.found()):
                await asyncio.sleep(0.01)
        return found

    async def end(self) -> None:
        """Let go of the processes; they run on. One that was killed strace may wait for in vain."""
        if self._injection.action != KILL and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._process.wait, LET_GO_S)
        self._process.kill()
        await asyncio.to_thread(self._process.wait)


def _last_call(lines: Sequence[str], killed: str) -> str:
    """The call that a killed thread was in: the newest that has not returned."""
    pending = [line for line in lines if line.endswith("= ?") or "<unfinished" in line]
    return pending[-1] if pending else killed


@asynccontextmanager
async def injected(
    injection: Injection, pids: Sequence[int], told: Path
) -> AsyncIterator[Attached]:
    """Attach to `pids` and all their threads; strace writes to `told`. Lets go at the end."""
    argv = injection.argv(pids, told)
    told.unlink(missing_ok=True)
    said = told.with_name(f"{told.name}.said")
    with said.open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output)
    attached = Attached(injection, process, told)
    try:
        async with asyncio.timeout(ATTACH_S):
            while not (told.exists() and all(map(_traced, pids))):
                if process.poll() is not None:  # nobody is left to trace: it hit already
                    assert told.exists() and attached.found(), (shlex.join(argv), said.read_text())
                    break
                await asyncio.sleep(0.01)
        yield attached
    finally:
        await attached.end()


def _traced(pid: int) -> bool:
    """Whether every thread of a process is traced (or the process is gone already)."""
    try:
        threads = [(task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return not Path(f"/proc/{pid}").exists()
    return all(re.search(r"TracerPid:\t[1-9]", status) for status in threads)


def children(pid: int) -> list[int]:
    """The processes that `pid` has started, and theirs."""
    found = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, tasks.read_text().split()):
            found += [child, *children(child)]
    return found
