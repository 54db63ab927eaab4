"""repair: LOG is fed again from its archive, when told, and never over anything of its own."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tidemill.deploy.commands.repair import LOG, refeed
from tidemill.schemas.errors import Regressed
from tidemill.streams.archive import segment
from tidemill.streams.archive.archive import Archive
from tidemill.streams.archive.archived_log import ArchivedLog
from tidemill.streams.archive.archiver import Archiver, Limits
from tidemill.streams.archive.repair import Plan, check, plan
from tidemill.streams.archive.store import Store
from tidemill.streams.crash_points import VARIABLE, Arming
from tidemill.streams.jetstream import JetStreamLog
from tidemill.streams.jetstream_connection import Connection, connect
from tidemill.streams.log import Message
from tidemill.streams.recreator import recreate
from tidemill.tests.flow.logs import declare
from tidemill.tests.servers import RunningNats
from tidemill.tests.streams.archive import logs

pytestmark = pytest.mark.integration
FACTS, SEALED_AT = 1_000, 900
LIMITS = Limits(segment_messages_max=250)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.at(str(tmp_path / "archive"))


@pytest.fixture
async def admin(nats: RunningNats) -> AsyncIterator[Connection]:
    connection = await connect(nats.url)
    yield connection
    await connection.close()


async def sealed(nats: RunningNats, admin: Connection, store: Store) -> list[Message]:
    """A LOG whose beginning is sealed, in two goes; return all that it holds."""
    await declare(nats)
    log = await JetStreamLog.open(admin, "LOG")
    await logs.append(log, logs.facts(FACTS // 2))
    await Archiver(log, store, LIMITS).seal(FACTS // 2)
    await logs.append(log, logs.facts(FACTS // 2, start=FACTS // 2))
    await Archiver(log, store, LIMITS).seal(SEALED_AT)
    return await logs.everything(log)


async def repaired(admin: Connection, store: Store) -> Plan:
    archive = Archive.unattested(store)
    await check(archive)
    there = await admin.api("STREAM.NAMES")
    log = await JetStreamLog.open(admin, "LOG") if "LOG" in (there["streams"] or ()) else None
    wanted = await plan(archive, log)
    await refeed(admin, LOG, archive, wanted)
    return wanted


async def holds(admin: Connection, store: Store, whole: list[Message], first: int) -> None:
    """LOG is the old one again, up to what was sealed, and goes on."""
    log = await JetStreamLog.open(admin, "LOG")
    assert log.uuid == Archive.unattested(store).log
    assert (await log.identity()).first == first
    both = ArchivedLog(log, store.path(""))
    found = await logs.everything(both)
    assert found[:SEALED_AT] == whole[:SEALED_AT]
    await logs.append(both, logs.facts(300, start=5_000))
    archiver = Archiver(log, store, LIMITS)
    await archiver.seal((await log.identity()).last)
    config = (await admin.api("STREAM.INFO.LOG"))["config"]
    assert config["republish"]["dest"] == "live.>"


@pytest.mark.parametrize("how", ["gone", "made anew"])
async def test_a_lost_log_begins_again_after_what_it_attests_itself(
    nats: RunningNats, admin: Connection, store: Store, how: str
) -> None:
    whole = await sealed(nats, admin, store)
    await admin.api("STREAM.DELETE.LOG")
    if how == "made anew":
        await declare(nats)
    heard: list[str] = []

    async def hear(message: object) -> None:
        heard.append("republished")

    await admin.subscribe("live.>", hear)
    wanted = await repaired(admin, store)
    assert wanted == Plan(FACTS // 2 + 1, SEALED_AT, anew=True)
    await asyncio.sleep(0.2)
    assert len(heard) <= 3  # what is sealed anew is news, what was fed again is not
    await holds(admin, store, whole, FACTS // 2 + 1)


async def test_a_log_that_lost_its_tail_gets_it_again(
    nats: RunningNats, admin: Connection, store: Store
) -> None:
    whole = await sealed(nats, admin, store)
    uuid = (await JetStreamLog.open(admin, "LOG")).uuid
    await admin.api("STREAM.DELETE.LOG")
    await recreate(admin, LOG, uuid, 1)
    log = await JetStreamLog.open(admin, "LOG")
    await logs.append(log, [message[1:] for message in whole[:700]])
    assert await repaired(admin, store) == Plan(701, SEALED_AT, anew=False)
    await holds(admin, store, whole, 1)


async def test_a_whole_log_lacks_nothing(
    nats: RunningNats, admin: Connection, store: Store
) -> None:
    await sealed(nats, admin, store)
    log = await JetStreamLog.open(admin, "LOG")
    await log.purge(300)
    assert (await plan(Archive.unattested(store), log)).missing == 0


@pytest.mark.parametrize("why", ["its own messages", "another message", "a hole", "no archive"])
async def test_a_log_with_anything_of_its_own_is_never_touched(
    nats: RunningNats, admin: Connection, store: Store, why: str, tmp_path: Path
) -> None:
    whole = await sealed(nats, admin, store)
    uuid = (await JetStreamLog.open(admin, "LOG")).uuid
    await admin.api("STREAM.DELETE.LOG")
    facts = [message[1:] for message in whole[:700]]
    match why:
        case "its own messages":
            await declare(nats)
        case "another message":
            await recreate(admin, LOG, uuid, 1)
            facts[555] = ("time", b"another")
        case "a hole":
            await recreate(admin, LOG, uuid, SEALED_AT + 7)
        case _:
            await recreate(admin, LOG, uuid, 1)
            store = Store.at(str(tmp_path / "empty"))
    log = await JetStreamLog.open(admin, "LOG")
    await logs.append(log, facts)
    before = await logs.everything(log)
    with pytest.raises(Regressed):
        await repaired(admin, store)
    assert await logs.everything(log) == before


def _repair(url: str, location: str, points: str) -> None:
    os.environ[VARIABLE] = points
    from tidemill.streams import crash_points

    crash_points._points = crash_points.CrashPoints(Path(points))
    segment.GROUP_BYTES = 2_000

    async def run() -> None:
        await repaired(await connect(url), Store.at(location))

    asyncio.run(run())


async def test_a_repair_that_is_killed_goes_on(
    nats: RunningNats, admin: Connection, store: Store, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(segment, "GROUP_BYTES", 2_000)
    whole = await sealed(nats, admin, store)
    await admin.api("STREAM.DELETE.LOG")
    points = tmp_path / "points"
    points.mkdir()
    (points / "archive.repair.fed.armed").write_text(Arming(nth=3).model_dump_json())
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_repair, args=(nats.url, store.path(""), str(points)))
    process.start()
    await asyncio.to_thread(process.join, 60)
    assert process.exitcode == -signal.SIGKILL
    last = (await (await JetStreamLog.open(admin, "LOG")).identity()).last
    assert FACTS // 2 < last < SEALED_AT
    assert await repaired(admin, store) == Plan(last + 1, SEALED_AT, anew=False)
    await holds(admin, store, whole, FACTS // 2 + 1)
