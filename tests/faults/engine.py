"""The engine under test as a process, its parts found by their pid files."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import orjson

from tidemill.deploy.supervisor import leftovers
from tidemill.streams.crash_points import VARIABLE, Arming, Hit

COMMAND = (sys.executable, "-m", "tidemill.deploy.cli")
LAUNCHER = (sys.executable, "-m", "tidemill.tests.faults.launcher")
POLL_S = 0.02


class Engine:
    """One data directory and an engine on it, under a load of `rate` synthetic trades a second.

    `proxies` names the ports over which the processes reach some of their servers.
    """

    def __init__(
        self, directory: Path, rate: int, proxies: Mapping[str, int] | None = None
    ) -> None:
        self.data_dir = directory / "data"
        self._rate = rate
        self._proxies = dict(proxies or {})
        self._log = directory / "engine.log"
        self._points = directory / "points"
        self._points.mkdir()
        self._process: subprocess.Popen[bytes] | None = None
        self.names: dict[int, str] = {}
        """Every process that was ever seen, by pid; `watch` sees all that live for a while."""

    @property
    def pid(self) -> int:
        """The supervisor's process."""
        assert self._process is not None
        return self._process.pid

    def pids(self) -> dict[str, int]:
        """The processes and servers that run now, by name."""
        records = leftovers.remembered(self.data_dir / "run")
        found = {r.name: r.pid for r in records if leftovers.still_running(r)}
        self.names |= {pid: name for name, pid in found.items()}
        return found

    async def watch(self) -> None:
        """Look for new processes until cancelled: a killed one must still be known by its pid."""
        while True:
            self.pids()
            await asyncio.sleep(0.1)

    async def pid_of(self, name: str, timeout_s: float = 30.0) -> int:
        """Wait for a process, and return its pid."""
        async with asyncio.timeout(timeout_s):
            while name not in self.pids():
                self.check()
                await asyncio.sleep(POLL_S)
        return self.pids()[name]

    async def start(self, timeout_s: float) -> None:
        """Start everything; return when every process is there."""
        self._log.touch()
        begin = self._log.stat().st_size
        proxies = [f"{name}={port}" for name, port in self._proxies.items()]
        argv = [*LAUNCHER, str(self.data_dir), str(self._rate), *proxies]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(argv, env=self.environment(), stdout=log, stderr=log)
        async with asyncio.timeout(timeout_s):
            while b"everything runs" not in self._log.read_bytes()[begin:]:
                self.check()
                await asyncio.sleep(0.1)

    def check(self) -> None:
        """Fail when it has ended by itself, and say what it said."""
        assert self._process is not None
        assert self._process.poll() is None, self.said()

    def said(self) -> str:
        """The end of what it printed."""
        return self._log.read_text(errors="replace")[-6_000:]

    @property
    def queries_url(self) -> str:
        """Where queries are answered, as it prints it."""
        urls: list[str] = re.findall(r"everything runs: (http://\S+)", self._log.read_text())
        return urls[-1]

    def live_url(self) -> str:
        """Where updates are pushed, as the process was told."""
        argv = Path(f"/proc/{self.pids()['live']}/cmdline").read_bytes().split(b"\0")
        return f"ws://127.0.0.1:{int(argv[argv.index(b'--port') + 1])}/live"

    async def stop(self, timeout_s: float = 60.0) -> None:
        """Ask everything to stop; it ends well, and nothing is left."""
        self.check()
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        status = await asyncio.to_thread(self._process.wait, timeout_s)
        assert status == 0, self.said()
        assert self.pids() == {}

    async def gone(self, timeout_s: float = 20.0) -> None:
        """Wait until the killed supervisor and everything under it is gone."""
        assert self._process is not None
        status = await asyncio.to_thread(self._process.wait, timeout_s)
        assert status == -signal.SIGKILL
        async with asyncio.timeout(timeout_s):
            while self.pids():
                await asyncio.sleep(POLL_S)

    async def command(self, *arguments: str, timeout_s: float) -> dict[str, object]:
        """Run another command on the directory to exit status 0; return its JSON line."""
        argv = [*COMMAND, *arguments, "--json", "--data-dir", str(self.data_dir)]
        process = await asyncio.create_subprocess_exec(
            *argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment()
        )
        try:
            out, errors = await asyncio.wait_for(process.communicate(), timeout_s)
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode == 0, (out.decode(), errors.decode()[-4_000:])
        answer = orjson.loads(out.splitlines()[-1])
        assert isinstance(answer, dict)
        return answer

    def clean(self) -> None:
        """Leave nothing running, however the test ended."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        leftovers.end(leftovers.remembered(self.data_dir / "run"), set())

    def environment(self) -> dict[str, str]:
        """What a process of the engine, or beside it, is started with."""
        return {**os.environ, VARIABLE: str(self._points)}

    # Points

    def arm(self, point: str, arming: Arming) -> None:
        """Have whoever reaches `point` kill as `arming` says."""
        (self._points / f"{point}.hit").unlink(missing_ok=True)
        fresh = self._points / f".{point}.arming"
        fresh.write_text(arming.model_dump_json())
        fresh.rename(self._points / f"{point}.armed")

    def disarm(self, point: str) -> None:
        """Have nobody killed at `point`."""
        (self._points / f"{point}.armed").unlink(missing_ok=True)

    def disarm_all(self) -> None:
        """Have nobody killed anywhere."""
        for path in self._points.glob("*.armed"):
            path.unlink(missing_ok=True)

    async def hit(self, point: str, timeout_s: float) -> Hit:
        """Wait until an armed point is hit; return the proof."""
        path = self._points / f"{point}.hit"
        deadline = time.monotonic() + timeout_s
        while not path.exists() or b'"killed"' not in path.read_bytes():
            self.check()
            assert time.monotonic() < deadline, f"{point} was not reached within {timeout_s} s"
            await asyncio.sleep(POLL_S)
        return Hit.model_validate_json(path.read_bytes())

    def was_hit(self, point: str) -> bool:
        """Whether a point was hit, though its record may not have been written any more."""
        return (self._points / f"{point}.hit").exists()
