"""What a round is played on: one engine under load, proxies to its servers, a witness, a report."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tidemill.deploy.embedded.addresses import remembered
from tidemill.deploy.supervisor import leftovers
from tidemill.schemas.errors import Unavailable
from tidemill.tests.faults.checker.recorder import recording
from tidemill.tests.faults.engine import Engine
from tidemill.tests.faults.observer import Mark, Observer, observer_on
from tidemill.tests.faults.proxy import Proxy
from tidemill.tests.faults.witness import Witness

CONFIRMED, HISTORY = "confirmed.jsonl", "checkpoints.jsonl"
"""What was seen committed, and every checkpoint: written from outside, for the checker."""
PROXIED = ("nats", "postgres", "clickhouse")
START_S = 280.0
"""The first start compiles kernels where none are cached."""
FLOW_S = 120.0
"""How long the engine may take to flow again; a bound for the test, no promise."""
STEADY_S = 0.6
"""What has just started is given this long, so that the supervisor does not count a failed try."""


@dataclass(frozen=True)
class Struck:
    """What a fault did: `what` it was, the `proof` that it hit, and when recovery begins (ns).

    `flowed` is when all flowed again (time.time()), where that was seen before the round was over.
    """

    what: str
    proof: str
    ts: int
    flowed: float | None = None


@dataclass
class Stage:
    """An engine that runs, and everything that looks at it or interferes with it."""

    engine: Engine
    observer: Observer
    witness: Witness
    proxies: Mapping[str, Proxy]
    directory: Path
    others: list[subprocess.Popen[bytes]] = field(default_factory=list)
    """Processes that a round has started beside those of the supervisor."""
    ended: int = 0

    async def mark(self) -> Mark:
        """Return how far every source is, once LOG can be asked."""
        async with asyncio.timeout(FLOW_S):
            while True:
                with contextlib.suppress(Unavailable):
                    return await self.observer.mark()
                await asyncio.sleep(0.02)

    async def flows(self, timeout_s: float = FLOW_S) -> float:
        """Return when (time.time()) all flowed that began after this call."""
        self.engine.check()
        return await self.observer.flowing(await self.mark(), timeout_s)

    async def replaced(self, name: str, pid: int) -> None:
        """See that a killed process is gone, and wait until another one runs in its place."""
        async with asyncio.timeout(FLOW_S):
            while leftovers.process(pid) is not None or self.engine.pids().get(name, pid) == pid:
                self.engine.check()
                await asyncio.sleep(0.02)

    def beside(self, name: str, argv: list[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a process beside the supervisor's; what it says goes to its own log."""
        path = self.directory / "beside" / f"{name}-{len(self.others)}.log"
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as log:
            process = subprocess.Popen(
                argv, env=dict(env), stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self.others.append(process)
        self.said_in[process.pid] = path
        return process

    said_in: dict[int, Path] = field(default_factory=dict)

    def again(self, pid: int) -> subprocess.Popen[bytes]:
        """Start what process `pid` is once more, beside it: its command, its environment."""
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode().split("\0")
        raw = Path(f"/proc/{pid}/environ").read_bytes().rstrip(b"\0").decode().split("\0")
        env = dict(one.split("=", 1) for one in raw)
        return self.beside(self.engine.names[pid], argv, env)

    def logged(self, name: str) -> str:
        """What a process of the supervisor has said so far."""
        path = self.engine.data_dir / "logs" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    async def recover(self) -> None:
        """After a round that failed: nothing is armed, nobody stands still, all flows again."""
        self.engine.disarm_all()
        for pid in self.engine.pids().values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.end_others()
        await self.flows()

    def end_others(self) -> None:
        """Leave nothing that a round has started."""
        for process in self.others:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()
        self.others.clear()


@contextlib.asynccontextmanager
async def staged(directory: Path, rate: int) -> AsyncIterator[Stage]:
    """Start an engine of `rate` trades a second behind proxies; end it with the block."""
    async with contextlib.AsyncExitStack() as stack:
        proxies = await stack.enter_async_context(proxies_of(directory / "data"))
        engine = Engine(directory, rate, {name: proxy.port for name, proxy in proxies.items()})
        stack.callback(engine.clean)
        watching = asyncio.create_task(engine.watch())
        stack.callback(watching.cancel)
        await engine.start(START_S)
        observer = await stack.enter_async_context(observer_on(engine.data_dir))
        witness = Witness(observer, directory / CONFIRMED)
        stage = Stage(engine, observer, witness, proxies, directory)
        stack.callback(stage.end_others)
        await stage.flows(START_S)
        history = recording(observer.urls.nats_engine, directory / HISTORY)
        await stack.enter_async_context(history)
        await stack.enter_async_context(witness.listening())
        yield stage


@contextlib.asynccontextmanager
async def proxies_of(data_dir: Path) -> AsyncIterator[dict[str, Proxy]]:
    """Listen for the servers of a directory, wherever each start of them lets them listen."""
    proxies = {name: Proxy(partial(_port, data_dir, name)) for name in PROXIED}
    try:
        for proxy in proxies.values():
            await proxy.start()
        yield proxies
    finally:
        for proxy in proxies.values():
            await proxy.close()


def _port(data_dir: Path, server: str) -> int:
    addresses = remembered(data_dir)
    assert addresses is not None
    return int(getattr(addresses, server))


def stopped(pid: int) -> bool:
    """Whether a process stands still (state T of proc(5))."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "T"


async def stand_still(pid: int) -> None:
    """Stop a process, and return when it stands."""
    os.kill(pid, signal.SIGSTOP)
    async with asyncio.timeout(10):
        while not stopped(pid):
            await asyncio.sleep(0.005)


def now_ns() -> int:
    """Return the time, ns UTC."""
    return time.time_ns()
