"""kill -9 of the trimmer between its steps: LOG and archive stay one, and the next trim goes on."""

import asyncio
import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from tidemill.schemas import events
from tidemill.schemas.events.archive import TrimAnnounced
from tidemill.streams.archive.archived_log import ArchivedLog
from tidemill.streams.archive.archiver import Archiver, Limits
from tidemill.streams.archive.facts import TRIM
from tidemill.streams.archive.store import Store
from tidemill.streams.archive.trimmer import Keep, Reading, Trimmed, trim
from tidemill.streams.crash_points import VARIABLE, Arming, Hit
from tidemill.streams.jetstream import JetStreamLog
from tidemill.streams.jetstream_connection import connect
from tidemill.tests.flow.logs import declare
from tidemill.tests.servers import RunningNats
from tidemill.tests.streams.archive import logs

pytestmark = pytest.mark.integration
FACTS, READ = 1_000, 700


async def _trimmed(url: str, location: str) -> Trimmed:
    async def slowest() -> Reading:
        return Reading(READ, "a reader")

    connection = await connect(url)
    try:
        log = await JetStreamLog.open(connection, "LOG")
        return await trim(log, Store.at(location), Keep(records=100), slowest, 0.05)
    finally:
        await connection.close()


def _trim(url: str, location: str, points: str) -> None:
    os.environ[VARIABLE] = points
    from tidemill.streams import crash_points

    crash_points._points = crash_points.CrashPoints(Path(points))
    asyncio.run(_trimmed(url, location))


@pytest.mark.parametrize(
    ("point", "deleted"), [("archive.trim.announced", False), ("archive.trim.purged", True)]
)
async def test_a_trimmer_that_is_killed_goes_on(
    nats: RunningNats, tmp_path: Path, point: str, deleted: bool
) -> None:
    await declare(nats)
    location, points = str(tmp_path / "archive"), tmp_path / "points"
    points.mkdir()
    connection = await connect(nats.url)
    log = await JetStreamLog.open(connection, "LOG")
    await logs.append(log, logs.facts(FACTS))
    await Archiver(log, Store.at(location), Limits(segment_messages_max=200)).seal(FACTS)
    whole = await logs.everything(log)
    (points / f"{point}.armed").write_text(Arming().model_dump_json())
    process = multiprocessing.get_context("spawn").Process(
        target=_trim, args=(nats.url, location, str(points))
    )
    process.start()
    await asyncio.to_thread(process.join, 60)
    assert process.exitcode == -signal.SIGKILL
    assert Hit.model_validate_json((points / f"{point}.hit").read_bytes()).killed == process.pid
    first = (await log.identity()).first
    assert first == (601 if deleted else 1)
    assert await _everything(log, location, FACTS) == whole[:FACTS]
    again = await _trimmed(nats.url, location)
    assert (again.first, again.messages) == (601, 0 if deleted else 600)
    assert await _everything(log, location, FACTS) == whole[:FACTS]
    told = await log.last(TRIM)
    assert told is not None
    announced = events.decode(told.payload)
    assert isinstance(announced, TrimAnnounced) and announced.r1 == 600
    await connection.close()


async def _everything(log: JetStreamLog, location: str, count: int) -> list[object]:
    return list((await logs.everything(ArchivedLog(log, location)))[:count])
