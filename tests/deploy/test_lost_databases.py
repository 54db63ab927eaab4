"""Databases that are lost come back by one command, `tidemill rebuild --all`, digests and all."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
import pytest_asyncio

from tidemill.deploy.commands import rebuild
from tidemill.deploy.commands.output import Exit
from tidemill.deploy.embedded.servers import EmbeddedServers, servers_on
from tidemill.deploy.prepared import prepare
from tidemill.deploy.replaying import step
from tidemill.deploy.roles.connections import streams
from tidemill.deploy.tables import database_digests, materialise
from tidemill.projections.digest import Digest
from tidemill.projections.registry import TABLES
from tidemill.tests.projections import facts
from tidemill.tests.projections.rebuilding import facts_of_market

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]
Digests = dict[str, Digest]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Digests, int]:
    """A data directory whose tables hold a market, their digests, and where LOG ends."""
    folder = tmp_path_factory.mktemp("whole")
    market = await facts_of_market(12_000)
    messages = await (await market.read(1, [">"])).pull(100_000, 1 << 30, 1)
    async with EmbeddedServers(folder) as servers:
        await prepare(servers.urls)
        async with streams(servers.urls.nats_engine, "test") as opened:
            end = await facts.append(opened.log, [(m.subject, m.payload) for m in messages])
            await step(opened.log, opened.out)
            await materialise(servers.urls, opened.log, opened.out)
        digests = await database_digests(servers.urls, end)
    assert digests.keys() == TABLES.keys() and digests["bars"].rows > 50
    return folder, digests, end


@pytest.fixture
def data_dir(whole: tuple[Path, Digests, int], tmp_path: Path) -> Iterator[Path]:
    """A copy of it, with servers stopped."""
    copy = tmp_path / "data"
    subprocess.run(["cp", "-a", whole[0], copy], check=True)  # owners too: Postgres checks its own
    yield copy
    shutil.rmtree(copy)


def asked(
    data_dir: Path, *names: str, swap: bool = False, differs: bool = False
) -> rebuild.Options:
    return rebuild.Options(names, not names, swap, differs, data_dir, True)


@pytest.mark.parametrize(
    ("lost", "refilled"),
    [
        (("clickhouse",), {"trades", "quotes", "bars", "prices"}),
        (("postgres",), set(TABLES)),
        (("valkey",), set()),
        (("clickhouse", "postgres"), set(TABLES)),
    ],
    ids=["clickhouse", "postgres", "valkey", "both"],
)
async def test_a_lost_database_comes_back_by_one_command(
    whole: tuple[Path, Digests, int],
    data_dir: Path,
    lost: tuple[str, ...],
    refilled: set[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, digests, end = whole
    for name in lost:
        shutil.rmtree(data_dir / name)
    assert await rebuild.rebuild(asked(data_dir)) is Exit.HELD
    said = orjson.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["ok"] and refilled <= said["tables"].keys()
    async with servers_on(data_dir) as urls:
        assert await database_digests(urls, end) == digests
    assert await rebuild.rebuild(asked(data_dir)) is Exit.HELD
    assert orjson.loads(capsys.readouterr().out.splitlines()[-1])["tables"] == {}
