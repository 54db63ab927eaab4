"""Both logs, opened the same way, for tests that must hold for either."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.servers import RunningNats
from tidemill.streams.declarations import Stream
from tidemill.streams.jetstream import JetStreamLog
from tidemill.streams.jetstream_connection import connect
from tidemill.streams.memory import MemoryLog
from tidemill.streams.migrator import migrate

SUBJECTS = ("md.>", "cmd.>", "ckpt.>", "time")
TEST = Stream("TEST", SUBJECTS, transactional=True)


@asynccontextmanager
async def jetstream(nats: RunningNats) -> AsyncIterator[JetStreamLog]:
    """The stream TEST on a real server: this test's own, no other knows the URL's password."""
    connection = await connect(nats.url)
    try:
        await migrate(connection, (TEST,), apply=True)
        yield await JetStreamLog.open(connection, "TEST")
    finally:
        await connection.close()


def memory() -> MemoryLog:
    """The stream TEST in memory."""
    return MemoryLog("TEST", SUBJECTS)
