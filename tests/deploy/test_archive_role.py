"""The role archive: seals as LOG grows, trims behind every reader, and stops at another LOG."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import pytest

from tidemill.deploy.roles import archive
from tidemill.deploy.roles.connections import Streams, streams
from tidemill.deploy.settings import Missing, Settings
from tidemill.deploy.slowest import slowest
from tidemill.schemas.errors import Regressed
from tidemill.streams import log as port
from tidemill.streams import subjects
from tidemill.streams.archive import archiver
from tidemill.streams.archive.facts import SEALED
from tidemill.streams.runtime.checkpoint import Checkpoint
from tidemill.tests.flow.logs import declare
from tidemill.tests.servers import RunningNats, RunningPostgres
from tidemill.tests.streams.archive import logs

pytestmark = pytest.mark.integration
SINK = "CREATE TABLE sink (t text PRIMARY KEY, position bigint NOT NULL)"


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(archive.run(settings))
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not await holds():
            await asyncio.sleep(0.05)


async def grow(opened: Streams, turns: int, start: int) -> int:
    """Append facts over `turns` times twenty minutes; return the last sequence."""
    for turn in range(start, start + turns):
        await logs.append(opened.log, logs.facts(200, turn, turn * 12_000))
    return (await opened.log.identity()).last


async def test_it_seals_by_age_and_trims_behind_the_slowest_reader(
    nats: RunningNats, postgres: RunningPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "NOTICE_S", 0.1)
    monkeypatch.setattr(archive, "TRIM_S", 0.2)
    monkeypatch.setattr(archiver, "PULL_MESSAGES", 100)  # ranges of one turn
    await declare(nats)
    location = str(tmp_path / "archive")
    settings = Settings(
        nats_engine=nats.urls["engine"],
        nats_admin=nats.urls["admin"],
        postgres=postgres.dsn,
        archive=location,
        retention="100",
        owner="test",
    )
    pool = await asyncpg.create_pool(postgres.dsn, min_size=1, max_size=1)
    async with streams(nats.urls["engine"], "test", location) as opened, pool:
        await pool.execute(SINK)
        await grow(opened, 5, 0)
        async with running(settings):
            await until(lambda: _sealed(opened))
            assert (await slowest(opened.out, pool)).r == 0
            await asyncio.sleep(1.0)
            assert (await opened.log.identity_of_log()).first == 1  # nobody has read anything
            await commit(opened, 700)
            await pool.execute("INSERT INTO sink VALUES ('trades__v1', 650), ('bars__v1', 800)")
            found = await slowest(opened.out, pool)
            assert (found.r, found.reader) == (650, "table trades__v1 is the slowest reader")
            await until(lambda: _begins_after(opened, 400))
            assert (await opened.log.identity_of_log()).first <= 651
        await grow(opened, 2, 5)
        async with running(settings):  # begins again where it was
            await commit(opened, 1_200)
            await pool.execute("UPDATE sink SET position = 1200")
            await until(lambda: _begins_after(opened, 1_000))
        everything = await logs.everything(opened.log)
        facts = [f for turn in range(7) for f in logs.facts(200, turn, turn * 12_000)]
        assert [m[1:] for m in everything if not m.subject.startswith("ctl.")] == facts
        assert [m.sequence for m in everything] == list(range(1, len(everything) + 1))


async def commit(opened: Streams, done: int) -> None:
    """Say that one graph of two partitions has come to `done` in one, and further in the other."""
    points = []
    for partition in (3, 7):
        made = Checkpoint(
            graph="main",
            partition=partition,
            done=done + partition,
            processors=("bars",),
            code_hash="",
            log=(await opened.log.identity()).uuid,
            tail=0,
            out_from=1,
        )
        subject = subjects.checkpoint("main", partition)
        newest = await opened.out.last(subject)
        points.append(port.Checkpoint(subject, made.write(), newest.sequence if newest else 0))
    await opened.out.transact([], points)


async def _sealed(opened: Streams) -> bool:
    return await opened.log.last(SEALED) is not None


async def _begins_after(opened: Streams, r: int) -> bool:
    return (await opened.log.identity_of_log()).first > r


async def test_a_log_that_was_made_anew_stops_it_before_any_effect(
    nats: RunningNats, tmp_path: Path
) -> None:
    await declare(nats)
    location = str(tmp_path / "archive")
    settings = Settings(nats_engine=nats.urls["engine"], archive=location, owner="test")
    async with streams(nats.urls["engine"], "test", location) as opened:
        await grow(opened, 3, 0)
        async with running(settings):
            await until(lambda: _sealed(opened))
    before = sorted((tmp_path / "archive").iterdir())
    await declare(nats, without="LOG")
    async with streams(nats.urls["engine"], "test", location) as opened:
        await grow(opened, 3, 0)
        with pytest.raises(Regressed, match="LOG REGRESSED"):
            await asyncio.wait_for(archive.run(settings), 20)
        assert await opened.log.last(SEALED) is None
    assert sorted((tmp_path / "archive").iterdir()) == before


@pytest.mark.parametrize(
    ("retention", "why"), [("7 weeks", "RETENTION"), ("7d", "TIDEMILL_NATS_ADMIN")]
)
async def test_a_wrong_setting_is_named(tmp_path: Path, retention: str, why: str) -> None:
    settings = Settings(
        nats_engine="nats://127.0.0.1:1",
        archive=str(tmp_path),
        retention=retention,
        nats_admin="" if "ADMIN" in why else "nats://127.0.0.1:1",
        postgres="postgres://127.0.0.1:1",
    )
    with pytest.raises(Missing, match=why):
        await archive.run(settings)
