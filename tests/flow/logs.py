"""Logs of a replay, in memory and on a real server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tidemill.deploy.roles.connections import Streams, streams
from tidemill.streams import declarations
from tidemill.streams.appender import Appender
from tidemill.streams.jetstream_connection import connect
from tidemill.streams.log import Log
from tidemill.streams.memory import MemoryLog
from tidemill.streams.migrator import migrate
from tidemill.streams.subjects import LOG_SUBJECTS, OUT_SUBJECTS
from tidemill.tests.flow.sources import Facts, Source
from tidemill.tests.servers import RunningNats

BATCH_MESSAGES, BATCH_BYTES = 1_000, 4 << 20


async def filled(source: Source) -> MemoryLog:
    """LOG in memory with all facts of a source."""
    log = MemoryLog("LOG", LOG_SUBJECTS)
    await append(log, source.facts)
    return log


def out_in_memory() -> MemoryLog:
    """An empty OUT."""
    return MemoryLog("OUT", OUT_SUBJECTS)


async def append(log: Log, facts: Facts) -> None:
    """Append facts as their only writer."""
    appender = Appender(log, ">")
    await appender.own()
    batch: Facts = []
    size = 0
    for fact in facts:
        if len(batch) == BATCH_MESSAGES or size + len(fact[1]) > BATCH_BYTES:
            await appender.append(batch)
            batch, size = [], 0
        batch.append(fact)
        size += len(fact[1])
    await appender.append(batch)


@asynccontextmanager
async def on_server(nats: RunningNats) -> AsyncIterator[Streams]:
    """LOG, OUT and the leases on a real server, made if they are missing."""
    await declare(nats)
    async with streams(nats.urls["engine"], "test") as opened:
        assert opened.log.name == "LOG" and opened.out.name == "OUT"
        yield opened


async def declare(nats: RunningNats, without: str = "") -> None:
    """Make the streams as declared, one of them anew."""
    connection = await connect(nats.url, name="migrator")
    try:
        if without:
            await connection.api(f"STREAM.DELETE.{without}")
        await migrate(connection, declarations.streams(), apply=True)
    finally:
        await connection.close()
