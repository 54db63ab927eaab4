"""The supervisor: children in order, watched, restarted, and stopped in reverse order."""

import asyncio
import math
import secrets
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Self

from tidemill.deploy.supervisor import leftovers
from tidemill.deploy.supervisor.child import Child, Status
from tidemill.deploy.supervisor.lock import Lock
from tidemill.deploy.supervisor.logs import LogFile
from tidemill.deploy.supervisor.running import Running

LOGS_CUT_EVERY_S = 1.0
GUARD_TIMEOUT_S = 20.0
SIGNALS = (signal.SIGINT, signal.SIGTERM)


async def ignore(_: Status) -> None:
    """The event callback of someone who does not listen."""


class Supervisor:
    """Runs children whose pid files are in `directory/run`, logs in `directory/logs`.

        async with Supervisor(directory) as supervisor:
            supervisor.handle_signals()
            await supervisor.start(*children)   # returns when every probe has passed
            await supervisor.wait()             # until a signal

    Leaving the block stops everything in reverse order. A child that fails for good interrupts
    the block's task, and the block raises `ChildFailed` with the end of the child's log; SIGINT
    and SIGTERM interrupt it too, and it ends without an exception, `signalled` set; a second
    signal kills what has not stopped. Should the supervisor be killed, the kernel ends its
    children, a guard process ends their descendants, and the next start looks for leftovers. (To
    the kernel the parent is a thread: enter in one that lives as long as the process.)
    Entering raises `AlreadyRunning` when another process supervises `directory`.
    """

    def __init__(
        self, directory: Path, on_event: Callable[[Status], Awaitable[None]] = ignore
    ) -> None:
        self.directory = directory
        self.signalled: signal.Signals | None = None
        self._run_dir = directory / "run"
        self._on_event = on_event
        self._lock = Lock(self._run_dir)
        self._mark = secrets.token_hex(16)
        self._running: dict[str, Running] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._failure: BaseException | None = None
        self._interrupted = asyncio.Event()
        self._hurry = asyncio.Event()
        self._stopping = False

    async def __aenter__(self) -> Self:
        self._lock.acquire()
        try:
            await asyncio.to_thread(self._end_leftovers)
            self._guard = self._start_guard()
        except BaseException:
            self._lock.release()
            raise
        self._owner = asyncio.current_task()
        self._cutter = asyncio.create_task(self._cut_logs())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        await self.stop()
        ours = isinstance(error, asyncio.CancelledError) and self._interrupted.is_set()
        if ours and self._owner is not None and self._owner.uncancel() > 0:
            return False  # someone else cancels us as well
        if self._failure is not None and (error is None or ours):
            raise self._failure
        return ours

    def handle_signals(self) -> None:
        """Stop on SIGINT and SIGTERM. Only in the main thread, only inside the block."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._on_signal, number)

    async def start(self, *children: Child) -> None:
        """Start these children, each when those it comes after are healthy; return when all are.

        May be called again: later children may come after earlier ones.
        Raises ChildFailed when one of them, or an earlier one, fails for good; ValueError when a
        name is taken or `after` names none of the children or leads in a circle.
        """
        self._check(children)
        for child in children:
            self._running[child.name] = self._adopt(child)
        for child in children:
            after = [self._running[name] for name in child.after]
            task = asyncio.create_task(self._running[child.name].live(after), name=child.name)
            self._tasks[child.name] = task
            task.add_done_callback(self._on_end)
        await self._unless_interrupted(self._all_ready(children))
        if self._interrupted.is_set():
            raise asyncio.CancelledError("interrupted before every child was ready")

    async def wait(self) -> None:
        """Wait until a signal arrives, or a child fails for good (raises ChildFailed)."""
        await self._unless_interrupted(asyncio.sleep(math.inf))

    async def stop(self) -> None:
        """Stop every child after those that come after it; let the directory go."""
        self._stopping = True
        await asyncio.gather(*(self._stop_child(name) for name in self._running))
        self._cutter.cancel()
        await asyncio.wait((self._cutter,))
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        await asyncio.to_thread(self._guard.wait, GUARD_TIMEOUT_S)
        self._lock.release()
        for number in SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)

    async def end(self, *names: str) -> None:
        """Stop these children for good, each after those that come after it; the rest goes on."""
        await asyncio.gather(*(self._stop_child(name) for name in names))

    def status(self) -> tuple[Status, ...]:
        """What every child is doing, in the order they were given."""
        return tuple(running.status for running in self._running.values())

    def pid_of(self, name: str) -> int:
        """The process of one child. Raises KeyError for an unknown name, ProcessLookupError when
        it does not run at the moment."""
        pid = self._running[name].status.pid
        if pid is None:
            raise ProcessLookupError(f"{name} is {self._running[name].status.state}")
        return pid

    def _adopt(self, child: Child) -> Running:
        log = LogFile(self.directory / "logs" / f"{child.name}.log")
        return Running(child, self._run_dir, log, self._mark, self._on_event, self._hurry)

    def _check(self, children: tuple[Child, ...]) -> None:
        placed = set(self._running)
        waiting = {child.name: set(child.after) for child in children}
        if len(waiting) < len(children) or placed & set(waiting):
            raise ValueError(f"a name is taken: {[child.name for child in children]}")
        while free := {name for name, after in waiting.items() if after <= placed}:
            placed |= free
            waiting = {name: after for name, after in waiting.items() if name not in free}
        if waiting:
            raise ValueError(f"children that come after each other or after none: {waiting}")

    async def _unless_interrupted(self, wanted: Coroutine[None, None, None]) -> None:
        tasks = (asyncio.create_task(wanted), asyncio.create_task(self._interrupted.wait()))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if self._failure is not None:
            raise self._failure

    async def _all_ready(self, children: tuple[Child, ...]) -> None:
        ready = [self._running[child.name].ready for child in children]
        while not all(each.is_set() for each in ready):  # one may end while another is awaited
            for each in ready:
                await each.wait()

    def _on_end(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and self._failure is None:
            self._failure = error
            self._interrupt()

    def _on_signal(self, number: signal.Signals) -> None:
        if self.signalled is not None or self._stopping:
            self._hurry.set()
        self.signalled = number
        self._interrupt()

    def _interrupt(self) -> None:
        first = not self._interrupted.is_set()
        self._interrupted.set()
        if first and not self._stopping and self._owner is not None:
            self._owner.cancel()

    async def _stop_child(self, name: str) -> None:
        later = [r.child.name for r in self._running.values() if name in r.child.after]
        for other in later:
            await self._running[other].gone.wait()
        task = self._tasks[name]
        task.cancel()
        await asyncio.wait((task,))
        await self._running[name].stopped()

    async def _cut_logs(self) -> None:
        while True:
            await asyncio.sleep(LOGS_CUT_EVERY_S)
            for running in self._running.values():
                await asyncio.to_thread(running.log.cut)

    def _end_leftovers(self) -> None:
        records = leftovers.remembered(self._run_dir)
        leftovers.end(records, {record.mark for record in records})
        for record in records:
            leftovers.forget(self._run_dir, record.name)

    def _start_guard(self) -> subprocess.Popen[bytes]:
        program = (sys.executable, "-I", "-S", str(leftovers.__file__))
        return subprocess.Popen(
            (*program, str(self._run_dir.absolute()), self._mark),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
