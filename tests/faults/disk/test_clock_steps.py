"""The clocks of the engine's processes step by an hour, forwards and back: time goes on as it was.

The role `time` and a graph, as processes of their own, with a wall clock that the test moves. (The
servers read theirs otherwise; what they say of time is used for nothing.)
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from tidemill.deploy.load import Load
from tidemill.deploy.replaying import step
from tidemill.schemas import kinds
from tidemill.streams.appender import Appender
from tidemill.streams.lease import Lease
from tidemill.streams.log import Log
from tidemill.streams.memory import MemoryLog
from tidemill.streams.runtime.checkpoint import Checkpoint
from tidemill.streams.subjects import LOG_SUBJECTS
from tidemill.tests.faults.disk import means
from tidemill.tests.flow.logs import on_server, out_in_memory
from tidemill.tests.flow.outcomes import derived_outcome
from tidemill.tests.servers import RunningNats

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(240),
    pytest.mark.skipif(bool(means.no_compiler()), reason=means.no_compiler()),
]
HOUR_S = 3_600
STEPS_S = (HOUR_S, 0, -HOUR_S, 2 * HOUR_S, -5)
"""Offsets of the wall clock, one after the other."""


class Clock:
    """A wall clock for processes of its environment, `offset` seconds beside the machine's."""

    def __init__(self, directory: Path) -> None:
        self._file, library = directory / "offset", directory / "stepping_clock.so"
        source = Path(__file__).with_name("stepping_clock.c")
        flags = ("-O1", "-shared", "-fPIC", "-Wall", "-Werror", "-o")
        subprocess.run(["cc", *flags, str(library), str(source), "-ldl"], check=True)
        self.environment = {"LD_PRELOAD": str(library), "STEPPING_CLOCK": str(self._file)}
        self.set(0)

    def set(self, offset: int) -> None:
        """Step to an offset, in one piece."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(str(offset))
        fresh.rename(self._file)

    def now(self) -> float:
        """What a process that is started now takes for the time."""
        told = [sys.executable, "-c", "import time; print(time.time())"]
        ran = subprocess.run(told, env=os.environ | self.environment, stdout=subprocess.PIPE)
        return float(ran.stdout)


@pytest.fixture
def clock(tmp_path: Path) -> Iterator[Clock]:
    yield Clock(tmp_path)


@asynccontextmanager
async def role(
    nats: RunningNats, clock: Clock, directory: Path, *what: str
) -> AsyncIterator[subprocess.Popen[bytes]]:
    """`tidemill run` under the stepping clock."""
    environment = os.environ | clock.environment
    environment["TIDEMILL_NATS_ENGINE"] = nats.urls["engine"]
    environment["TIDEMILL_DATA_DIR"] = str(directory / "data")
    with (directory / f"{what[0]}.log").open("ab") as log:
        command = [sys.executable, "-m", "tidemill.deploy.cli", "run", *what]
        process = subprocess.Popen(command, cwd=directory, env=environment, stdout=log, stderr=log)
    try:
        yield process
        assert process.poll() is None, (directory / f"{what[0]}.log").read_text()[-3_000:]
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 20)


async def times(log: Log) -> list[int]:
    """The `time` records of LOG, ns."""
    end = await log.last("time")
    if end is None:
        return []
    reader, found = await log.read(1, ["time"]), list[int]()
    while True:
        for message in await reader.pull(1_000, 1 << 20, 1.0):
            found.append(int(kinds.decode(message.payload).records["ts"][-1]))
            if message.sequence >= end.sequence:
                await reader.close()
                return found


async def more_times(log: Log, count: int) -> None:
    """Wait for so many more `time` records."""
    wanted = len(await times(log)) + count
    async with asyncio.timeout(60):
        while len(await times(log)) < wanted:
            await asyncio.sleep(0.05)


async def stepped(out: Log, r: int) -> None:
    """Wait until the graph has stepped up to `r`."""
    async with asyncio.timeout(120):
        while (newest := await out.last("ckpt.main.all")) is None or (
            Checkpoint.read(newest.payload).done < r
        ):
            await asyncio.sleep(0.05)


def test_the_clock_of_a_process_can_be_moved(clock: Clock) -> None:
    before = clock.now()
    clock.set(-HOUR_S)
    assert -HOUR_S <= clock.now() - before < -HOUR_S + 60


async def test_steps_of_the_wall_clock_change_neither_time_nor_bars_nor_who_holds_a_lease(
    nats: RunningNats, clock: Clock, tmp_path: Path
) -> None:
    async with on_server(nats) as opened:
        writer = Appender(opened.log, "md.>")
        load = Load(2, 20)
        await writer.append([fact for fact in load.opening() if fact[0] != "time"])
        async with (
            role(nats, clock, tmp_path, "time"),
            role(nats, clock, tmp_path, "graph", "main"),
        ):
            await more_times(opened.log, 5)
            await stepped(opened.out, writer.last)
            lease = Lease(opened.leases, "graph.main.0of1", "looking")
            holder = await lease.holder()
            for offset in STEPS_S:
                clock.set(offset)
                trades = [frame for _ in range(10) for frame in load.round(7)]
                await writer.append([*trades, load.status()])
                await more_times(opened.log, 5)
                assert await lease.holder() == holder != ""
            await stepped(opened.out, writer.last)
        steps = np.diff(np.array(await times(opened.log)))
        assert (steps >= 0).all() and steps.max() < 60 * 10**9
        calm = MemoryLog("LOG", LOG_SUBJECTS, uuid=(await opened.log.identity()).uuid)
        reader, end = await opened.log.read(1, [">"]), (await opened.log.identity()).last
        while (await calm.identity()).last < end:
            for message in await reader.pull(1_000, 8 << 20, 5.0):
                await calm.append([message[1:]], None)
        await reader.close()
        out = out_in_memory()
        await step(calm, out)
        await step(opened.log, opened.out)
        replayed = await derived_outcome(calm, out)
        assert await derived_outcome(opened.log, opened.out) == replayed
        assert replayed["bars"].rows > 10
