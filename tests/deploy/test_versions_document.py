"""projections/VERSIONS.md, done step by step as its reader would do it."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import orjson
import pytest

import tidemill.projections
from tidemill.deploy.children import answers, environment, role
from tidemill.deploy.embedded.ports import free_port
from tidemill.deploy.embedded.servers import EmbeddedServers, ServerUrls
from tidemill.deploy.load import Load
from tidemill.deploy.prepared import prepare
from tidemill.deploy.replaying import step
from tidemill.deploy.roles.connections import streams
from tidemill.deploy.supervisor.child import Child
from tidemill.deploy.tables import materialise
from tidemill.schemas.errors import Unavailable
from tidemill.tests.projections import facts

pytestmark = pytest.mark.integration
ROOT = Path(tidemill.projections.__file__).resolve().parents[1]
DOCUMENT = ROOT / "projections" / "VERSIONS.md"
PARTS = ("schemas", "streams", "processors", "projections", "gateway", "deploy", "tests")
READY_S = 30


class Checkout:
    """A copy of this checkout, where the reader works, and what it says."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self._port = folder, port
        for part in PARTS:
            shutil.copytree(ROOT / part, folder / part)
        (folder / ".src").mkdir()
        (folder / ".src" / "tidemill").symlink_to("..")
        self.environment = {**os.environ, "PYTHONPATH": str(folder / ".src")}
        blocks = re.findall(r"^```bash\n(.*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
        self.blocks: list[str] = blocks

    async def do(self, words: str) -> str:
        """Do the one block that has these words, and return what it printed."""
        (block,) = [block for block in self.blocks if words in block]
        return await self.run(block.replace("127.0.0.1:3000", f"127.0.0.1:{self._port}"))

    async def run(self, script: str) -> str:
        """Run a script of bash in which `tidemill` is this checkout's."""
        tidemill = f'tidemill() {{ "{sys.executable}" -m tidemill.deploy.cli "$@"; }}\nset -e\n'
        done = await asyncio.to_thread(
            subprocess.run,
            ["bash", "-c", tidemill + script],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr[-4_000:]
        return done.stdout

    async def versions(self) -> dict[str, tuple[bool, int]]:
        """Of each physical table of bars: whether it answers, and its rows."""
        said = await self.run("tidemill versions --json")
        tables = orjson.loads(said.splitlines()[-1])["tables"]
        bars = {name: one for name, one in tables.items() if name.startswith("bars")}
        return {name: (one["active"], one["rows"]) for name, one in bars.items()}


async def market(urls: ServerUrls) -> None:
    """A log with trades of BTCUSDT at BINANCE, and its tables."""
    load = Load(2, 200, per_frame=20, venue="BINANCE")
    async with streams(urls.nats_engine, "test") as opened:
        await facts.append(opened.log, load.opening())
        for batch in load.facts(4_000):
            await facts.append(opened.log, batch)
        await facts.append(opened.log, [load.status(), load.time()])
        await step(opened.log, opened.out)
        await materialise(urls, opened.log, opened.out)


@asynccontextmanager
async def queries(checkout: Checkout, urls: ServerUrls, port: int) -> AsyncIterator[None]:
    """The queries server of a run."""
    env = environment(urls, checkout.folder / ".tidemill", [], 0)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tidemill.deploy.cli", "run", "queries", "--port", str(port)),
        env={**checkout.environment, **env},
        cwd=checkout.folder,
    )
    try:
        async with asyncio.timeout(READY_S):
            while True:
                try:
                    await answers(f"http://127.0.0.1:{port}/health")()
                    break
                except Unavailable:
                    await asyncio.sleep(0.1)
        yield
    finally:
        process.terminate()
        await process.wait()


def projections(checkout: Checkout, urls: ServerUrls) -> Child:
    """The role that fills tables, from the reader's checkout, as it is when it starts."""
    env = environment(urls, checkout.folder / ".tidemill", [], 0)
    return role("projections", ["projections"], {**checkout.environment, **env}, after=())


async def filled(urls: ServerUrls, name: str) -> bool:
    """Whether a sink has taken a physical table over since its rebuild (the first to claim it)."""
    connection = await asyncpg.connect(urls.postgres)
    try:
        async with asyncio.timeout(READY_S):
            while (await connection.fetchval("SELECT epoch FROM sink WHERE t = $1", name)) < 2:
                await asyncio.sleep(0.1)
    finally:
        await connection.close()
    return True


async def test_a_new_column_step_by_step(tmp_path: Path) -> None:
    port = free_port()
    checkout = Checkout(tmp_path / "checkout", port)
    async with EmbeddedServers(checkout.folder / ".tidemill") as servers:
        await prepare(servers.urls)
        await market(servers.urls)
        rows = (await checkout.versions())["bars__v1"][1]
        assert rows > 20
        await servers.supervisor.start(projections(checkout, servers.urls))
        async with queries(checkout, servers.urls, port):
            assert await checkout.do("curl") == '"version":1\n'
            await checkout.do("bars_v2.py")
            await checkout.do("tidemill rebuild")
            # The role did not know it: it started anew, by itself, and fills it from here on.
            assert await filled(servers.urls, "bars__v2")
            assert await checkout.versions() == {
                "bars__v1": (True, rows),
                "bars__v2": (False, rows),
            }
            await checkout.do("tidemill versions")
            assert await checkout.do("curl") == '"version":2\n'
            await checkout.run("tidemill swap --back bars")
            assert await checkout.do("curl") == '"version":1\n'
            await checkout.run("tidemill swap bars__v2")
            await checkout.do("--back")
            assert await checkout.do("curl") == '"version":2\n'
            await checkout.do("tidemill retire")
            assert await checkout.versions() == {"bars__v2": (True, rows)}
            assert await checkout.do("curl") == '"version":2\n'
    assert len(checkout.blocks) == 6, "a step of the document is not done here"
