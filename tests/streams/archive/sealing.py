"""An archiver as a process of its own, for tests that have it killed at its crash points."""

import asyncio
from pathlib import Path

from tidemill.streams import crash_points
from tidemill.streams.archive import segment
from tidemill.streams.archive.archiver import Archiver, Limits
from tidemill.streams.archive.store import Store
from tidemill.streams.crash_points import CrashPoints
from tidemill.streams.jetstream import JetStreamLog
from tidemill.streams.jetstream_connection import connect
from tidemill.tests.forked import load

load(__name__, "pandas")  # where there is one, pyarrow loads it with its first table


def seal(url: str, location: str, until: int, points: Path) -> None:
    """Seal LOG in small segments as far as `until`; be killed where `points` says."""
    segment.GROUP_BYTES = 2_000
    crash_points._points = CrashPoints(points)  # as its variable does when the module is loaded
    asyncio.run(_seal(url, location, until))


async def _seal(url: str, location: str, until: int) -> None:
    connection = await connect(url)
    log = await JetStreamLog.open(connection, "LOG")
    archiver = Archiver(log, Store.at(location), Limits(segment_messages_max=200))
    await archiver.seal(until)
    await connection.close()
