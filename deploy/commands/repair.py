"""`tidemill repair`: LOG fed again from its archive, after LOG lost what was sealed; when told."""

import asyncio
from pathlib import Path

from tidemill.deploy.commands.output import Exit, answer, say
from tidemill.deploy.embedded.servers import servers_on
from tidemill.deploy.settings import archive_of
from tidemill.streams.archive.archive import Archive
from tidemill.streams.archive.archiver import Archiver
from tidemill.streams.archive.repair import Plan, check, feed, plan
from tidemill.streams.archive.store import Store
from tidemill.streams.declarations import Stream, streams
from tidemill.streams.jetstream import JetStreamLog
from tidemill.streams.jetstream_connection import Connection, connect
from tidemill.streams.migrator import migrate
from tidemill.streams.recreator import exists, quieten, recreate

LOG = next(stream for stream in streams() if stream.name == "LOG")


async def repair(yes: bool, data_dir: Path, json: bool) -> Exit:
    """Say what LOG lacks of its archive; with `yes`, feed it again. Stop all roles before.

    Holds where nothing is lacking in the end. Raises Regressed where LOG has what the archive has
    not, or the archive is damaged.
    """
    async with servers_on(data_dir) as urls:
        connection = await connect(urls.nats_admin, name="repair")
        try:
            store = await asyncio.to_thread(Store.at, archive_of(data_dir))
            archive = await asyncio.to_thread(Archive.unattested, store)
            say("reading the whole archive ...")
            await check(archive)
            wanted = await plan(archive, await _opened(connection))
            if yes and (wanted.missing or wanted.anew):
                await refeed(connection, LOG, archive, wanted)
            result = {
                "sealed": archive.end,
                "first": wanted.first,
                "missing": wanted.missing,
                "recreated": wanted.anew and yes,
                "fed": wanted.missing if yes else 0,
            }
        finally:
            await connection.close()
    if wanted.missing and not yes:
        say("nothing was changed: stop all roles, then `tidemill repair --yes`")
    answer(result, json)
    return Exit.DID_NOT_HOLD if wanted.missing and not yes else Exit.HELD


async def _opened(connection: Connection) -> JetStreamLog | None:
    if not await exists(connection, LOG.name):
        return None
    return await JetStreamLog.open(connection, LOG.name)


async def refeed(connection: Connection, stream: Stream, archive: Archive, wanted: Plan) -> None:
    """Make LOG hold again what it lacks, and let it attest its archive again."""
    if wanted.anew:
        await recreate(connection, stream, archive.log, wanted.first)
    else:
        await quieten(connection, stream.name)
    log = await JetStreamLog.open(connection, stream.name)
    say(f"feeding {wanted.missing} messages again ...")
    await feed(archive, log, wanted)
    await migrate(connection, (stream,), apply=True)
    await Archiver(log, archive.store).open()
