"""kill -9 of `tidemill run graph`, the process of a deployment: its lease passes on, one digest."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tidemill.deploy.replaying import step
from tidemill.streams.log import Log
from tidemill.streams.runtime.checkpoint import Checkpoint
from tidemill.tests.flow.conftest import Replayed
from tidemill.tests.flow.logs import append, on_server
from tidemill.tests.flow.outcomes import outcome
from tidemill.tests.flow.sources import Source
from tidemill.tests.servers import RunningNats

pytestmark = pytest.mark.integration
WAIT_S = 60.0


def started(nats: RunningNats, directory: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {
        "TIDEMILL_NATS_ENGINE": nats.urls["engine"],
        "TIDEMILL_DATA_DIR": str(directory / "data"),
    }
    with (directory / "graph.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tidemill.deploy.cli", "run", "graph", "main"],
            cwd=directory,
            env=environment,
            stdout=log,
            stderr=log,
        )


async def done(out: Log) -> int:
    newest = await out.last("ckpt.main.all")
    return Checkpoint.read(newest.payload).done if newest is not None else 0


@pytest.mark.parametrize("played", ["exchanged"], indirect=True)
async def test_the_role_graph_killed_twice_and_stopped_once_gives_the_same_digest(
    nats: RunningNats, played: Source, replayed: Replayed, tmp_path: Path
) -> None:
    total, kills = len(played.facts), 0
    async with on_server(nats) as opened:
        for share in (1, 2, 3):
            held = (await opened.log.identity()).last
            before = await done(opened.out)
            await append(opened.log, played.facts[held : total * share // 3])
            process = started(nats, tmp_path)
            try:
                async with asyncio.timeout(WAIT_S):
                    while await done(opened.out) <= before:
                        assert process.poll() is None, (tmp_path / "graph.log").read_text()[-4000:]
                        await asyncio.sleep(0.005)
                if share < 3:
                    process.kill()
                    assert process.wait() == -signal.SIGKILL
                    assert before < await done(opened.out) < total
                    kills += 1
            finally:
                process.terminate()
                assert process.wait(20) in (0, -signal.SIGKILL)
        assert kills == 2
        await step(opened.log, opened.out, snapshots=tmp_path / "data" / "snapshots")
        assert await outcome(opened.log, opened.out) == replayed.outcome
