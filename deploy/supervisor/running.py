"""The life of one child: start, probe, watch, back off, start again, and in the end stop."""

import asyncio
import json
import os
import random
import sys
import time
from asyncio.subprocess import Process
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL

from tidemill.deploy.supervisor import launch, leftovers
from tidemill.deploy.supervisor.child import Child, ChildFailed, State, Status
from tidemill.deploy.supervisor.logs import LogFile
from tidemill.schemas.errors import Unavailable

PROBE_TIMEOUT_S = 5.0
PROBE_PAUSE_MIN_S, PROBE_PAUSE_MAX_S = 0.02, 0.25


class Running:
    """One child under supervision. `live` runs until cancelled or until the child failed."""

    def __init__(
        self,
        child: Child,
        run_dir: Path,
        log: LogFile,
        mark: str,
        changed: Callable[[Status], Awaitable[None]],
        hurry: asyncio.Event,
    ) -> None:
        self.child = child
        self.log = log
        self.status = Status(child.name, None, State.WAITING, 0, time.time_ns())
        self.ready = asyncio.Event()
        self.gone = asyncio.Event()
        self._run_dir = run_dir
        self._mark = mark
        self._changed = changed
        self._hurry = hurry
        self._failed_tries = 0
        self._restarts: deque[float] = deque()

    async def live(self, after: list["Running"]) -> None:
        """Keep the child running, started whenever all of `after` are ready.

        Raises ChildFailed when it ended more often than its policy allows.
        """
        while True:
            for other in after:
                await other.ready.wait()
            reason = await self._once()
            await self._back_off(reason)

    async def _once(self) -> str:
        """One start to one end; returns why it ended."""
        if self.child.before is not None:
            await asyncio.to_thread(self.child.before)
        process = await self._spawn()
        ready_s: float | None = None
        try:
            self._remember(process.pid)
            await self._become(State.STARTING, process.pid)
            reason = await self._until_ready(process)
            if reason is None:
                ready_s = time.monotonic()
                self.ready.set()
                await self._become(State.READY, process.pid)
                reason = f"ended with status {await process.wait()}"
        finally:
            self.ready.clear()
            await whole(self._end(process))
        steady = ready_s is not None and time.monotonic() - ready_s >= self.child.restart.steady_s
        self._failed_tries = 0 if steady else self._failed_tries + 1
        return reason

    async def _spawn(self) -> Process:
        child = self.child
        output = self.log.open()
        try:
            return await asyncio.create_subprocess_exec(
                *command(child, parent=os.getpid()),
                env={**child.environment(), leftovers.MARK: self._mark},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        finally:
            os.close(output)

    def _remember(self, pid: int) -> None:
        argv, number = list(self.child.argv), int(self.child.death_signal)
        leftovers.remember(self._run_dir, self.child.name, pid, argv, number, self._mark)

    async def _until_ready(self, process: Process) -> str | None:
        """Probe until healthy (None), ended, or out of time (why)."""
        ended = asyncio.create_task(process.wait())
        probed = asyncio.create_task(self._probe())
        try:
            await asyncio.wait((ended, probed), return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                return f"ended with status {ended.result()} before it was ready"
            return probed.result()
        finally:
            for task in (ended, probed):
                task.cancel()
            await asyncio.wait((ended, probed))

    async def _probe(self) -> str | None:
        deadline = time.monotonic() + self.child.ready_timeout_s
        pause_s = PROBE_PAUSE_MIN_S
        while True:
            try:
                return await asyncio.wait_for(self.child.probe(), PROBE_TIMEOUT_S)
            except TimeoutError:
                reason = f"the probe took more than {PROBE_TIMEOUT_S} s"
            except Unavailable as error:
                reason = str(error)
            if time.monotonic() > deadline:
                return f"not ready after {self.child.ready_timeout_s} s: {reason}"
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, PROBE_PAUSE_MAX_S)

    async def _end(self, process: Process) -> None:
        """Stop the process if it still runs, politely first, and what it left in its session."""
        if process.returncode is None:
            await self._become(State.STOPPING, process.pid)
            with suppress(ProcessLookupError):
                process.send_signal(self.child.stop_signal)
            if not await self._ended_in_time(process):
                with suppress(ProcessLookupError):
                    process.send_signal(SIGKILL)
                await process.wait()
        leftovers.end_session(process.pid, self._mark)
        leftovers.forget(self._run_dir, self.child.name)

    async def _ended_in_time(self, process: Process) -> bool:
        ended = asyncio.create_task(process.wait())
        hurried = asyncio.create_task(self._hurry.wait())
        timeout_s = self.child.stop_timeout_s
        try:
            await asyncio.wait(
                (ended, hurried), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            return ended.done()
        finally:
            for task in (ended, hurried):
                task.cancel()
            await asyncio.wait((ended, hurried))

    async def _back_off(self, reason: str) -> None:
        """Wait before the next start. Raises ChildFailed when there is to be none."""
        policy, now_s = self.child.restart, time.monotonic()
        while self._restarts and now_s - self._restarts[0] > policy.window_s:
            self._restarts.popleft()
        if self._failed_tries >= policy.tries_max or len(self._restarts) >= policy.restarts_max:
            await self._become(State.FAILED, None, reason)
            raise ChildFailed(self._obituary(reason))
        self._restarts.append(now_s)
        self.status = replace(self.status, restarts=self.status.restarts + 1)
        await self._become(State.BACKOFF, None, reason)
        longest_s = min(policy.backoff_max_s, policy.backoff_min_s * 2**self._failed_tries)
        await asyncio.sleep(longest_s * random.uniform(0.5, 1.0))

    def _obituary(self, reason: str) -> str:
        return (
            f"{self.child.name} {reason}; given up after {self.status.restarts} restarts. "
            f"The end of {self.log.path}:\n{self.log.tail() or '(empty)'}"
        )

    async def _become(self, state: State, pid: int | None, reason: str = "") -> None:
        self.status = replace(
            self.status, pid=pid, state=state, since_ns=time.time_ns(), reason=reason
        )
        await self._changed(self.status)

    async def stopped(self) -> None:
        """Note that the child is down for good; those it comes after may stop now."""
        if self.status.state is not State.FAILED:
            await self._become(State.STOPPED, None)
        self.gone.set()


async def whole(coroutine: Coroutine[None, None, None]) -> None:
    """Run to the end even when cancelled, and only then be cancelled."""
    task = asyncio.create_task(coroutine)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        raise


def command(child: Child, parent: int) -> tuple[str, ...]:
    """The command line that makes a process into `child`, bound to the life of `parent`."""
    account = child.account
    settings = {
        "parent": parent,
        "death_signal": int(child.death_signal),
        "uid": account.uid if account else None,
        "gid": account.gid if account else None,
        "search": account.search if account else False,
        "nice": child.nice,
    }
    launcher = (sys.executable, "-I", "-S", str(launch.__file__), json.dumps(settings))
    return (*launcher, *child.argv)
