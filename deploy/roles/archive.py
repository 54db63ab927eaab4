"""The role archive: seals LOG, and deletes from it what `retention` lets go."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Coroutine, Sequence

import asyncpg

from tidemill.deploy.roles.connections import Streams, streams
from tidemill.deploy.roles.gauges import show
from tidemill.deploy.settings import Missing, Settings
from tidemill.deploy.slowest import slowest
from tidemill.schemas.errors import Unavailable
from tidemill.streams.archive.archived_log import NOTICE_S
from tidemill.streams.archive.archiver import Archiver
from tidemill.streams.archive.store import Store
from tidemill.streams.archive.trimmer import Keep, Trimmed, trim
from tidemill.streams.jetstream import JetStreamLog
from tidemill.streams.jetstream_connection import connect
from tidemill.streams.lease import Lease

logger = logging.getLogger(__name__)

LEASE = "archive"
TRIM_S = 60.0
"""Pause between two looks at what may go."""


async def run(settings: Settings) -> None:
    """Wait for the lease, then seal, and trim where `retention` is set, until cancelled.

    Raises Missing for a setting that is not there, Regressed where LOG is not what was archived.
    """
    settings.require("nats_engine", "archive")
    keep = _keep(settings)
    owner = settings.owner or f"{socket.gethostname()}-{os.getpid()}"
    store = await asyncio.to_thread(Store.at, settings.archive)
    async with streams(settings.nats_engine, "archive", settings.archive) as opened:
        lease = Lease(opened.leases, LEASE, owner)
        await lease.wait()
        archiver = Archiver(opened.log.inner, store)
        show(
            "archive",
            position=lambda: archiver.sealed,
            lag=lambda: archiver.lag,
            messages=lambda: archiver.messages,
            retries=lambda: archiver.retries,
        )
        work: list[Coroutine[None, None, None]] = [lease.keep(), archiver.run()]
        if keep is not None:
            work.append(_retain(settings, opened, store, keep))
        try:
            await _until_one_ends(work)
        finally:
            with contextlib.suppress(Unavailable):
                await lease.release()


async def _until_one_ends(work: Sequence[Coroutine[None, None, None]]) -> None:
    """Run all until one ends, or all are cancelled; raises what ended it."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    for end in ends:
        if isinstance(end, Exception):
            raise end


def _keep(settings: Settings) -> Keep | None:
    if not settings.retention:
        return None
    settings.require("nats_admin", "postgres")
    try:
        return Keep.parse(settings.retention)
    except ValueError as error:
        raise Missing(f"TIDEMILL_RETENTION: {error}") from error


async def _retain(settings: Settings, opened: Streams, store: Store, keep: Keep) -> None:
    """Trim again and again."""
    while True:
        try:
            done = await trimmed(
                settings.nats_admin, settings.postgres, opened, store, keep, NOTICE_S
            )
            if done.messages:
                logger.info("LOG now begins at %d: %d deleted", done.first, done.messages)
        except Unavailable as error:
            logger.warning("the trimmer waits: %s", error)
        await asyncio.sleep(TRIM_S)


async def trimmed(
    nats_admin: str,
    postgres: str,
    opened: Streams,
    store: Store,
    keep: Keep,
    notice_s: float,
) -> Trimmed:
    """Trim once, with the rights that it takes. Raises as `trim`."""
    connection = await connect(nats_admin, name="trimmer")
    try:
        log = await JetStreamLog.open(connection, opened.log.name)
        async with asyncpg.create_pool(postgres, min_size=1, max_size=1) as pool:
            return await trim(log, store, keep, lambda: slowest(opened.out, pool), notice_s)
    except (OSError, asyncpg.PostgresConnectionError) as error:
        raise Unavailable(f"Postgres: {error}") from error
    finally:
        await connection.close()
