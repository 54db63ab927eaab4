"""The connections that roles share: the two streams of the log, opened when the server is there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from tidemill.schemas.errors import Regressed
from tidemill.streams.archive.archived_log import ArchivedLog
from tidemill.streams.jetstream import JetStreamLog
from tidemill.streams.jetstream_connection import Connection, connect
from tidemill.streams.log import Log


class Streams(NamedTuple):
    """LOG, OUT and the leases of one engine."""

    log: ArchivedLog
    out: Log
    leases: Log


async def open_streams(connection: Connection, archive: str = "") -> Streams:
    """Open the streams that the migrator made, LOG with its `archive` (a place, empty for none).

    Raises Unavailable; Regressed without identity.
    """
    logs = [await JetStreamLog.open(connection, n) for n in ("LOG", "OUT", "KV_LEASES")]
    for log in logs:
        if not log.uuid:
            raise Regressed(f"stream {log.name} has no identity: run `tidemill migrate --apply`")
    log, out, leases = logs
    return Streams(ArchivedLog(log, archive), out, leases)


@asynccontextmanager
async def streams(url: str, name: str, archive: str = "") -> AsyncIterator[Streams]:
    """Connect as the user in `url`, for one role. Raises Unavailable."""
    connection = await connect(url, name=name)
    try:
        yield await open_streams(connection, archive)
    finally:
        await connection.close()
