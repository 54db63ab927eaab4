"""`tidemill trim`: LOG without its sealed beginning, which the archive has from then on."""

import asyncio
from pathlib import Path

from tidemill.deploy.commands.output import Exit, answer, say
from tidemill.deploy.embedded.servers import ServerUrls, servers_on
from tidemill.deploy.prepared import databases
from tidemill.deploy.roles.archive import LEASE, trimmed
from tidemill.deploy.roles.connections import Streams, streams
from tidemill.deploy.settings import Missing, archive_of
from tidemill.deploy.slowest import slowest
from tidemill.schemas import kinds
from tidemill.schemas.errors import Fenced
from tidemill.streams.archive.archived_log import NOTICE_S
from tidemill.streams.archive.archiver import Archiver
from tidemill.streams.archive.store import Store
from tidemill.streams.archive.trimmer import Keep
from tidemill.streams.lease import Lease
from tidemill.streams.moments import root_at


async def trim(keep: str, seal: bool, data_dir: Path, json: bool) -> Exit:
    """Delete from LOG what is sealed, proven and behind every reader, but for what is kept.

    With `seal`, all that may go is sealed first. Raises Missing for a `keep` that is not one,
    Fenced where an archiver runs and shall seal, Regressed where archive and LOG differ.
    """
    try:
        wanted = Keep.parse(keep)
    except ValueError as error:
        raise Missing(f"--keep: {error}") from error
    location = archive_of(data_dir)
    async with servers_on(data_dir) as urls, streams(urls.nats_engine, "trim", location) as opened:
        store = await asyncio.to_thread(Store.at, location)
        if seal:
            await seal_what_may_go(urls, opened, store, wanted)
        say(
            f"what may go is read again, then announced to readers, {NOTICE_S:.0f} s before it goes"
        )
        done = await trimmed(urls.nats_admin, urls.postgres, opened, store, wanted, NOTICE_S)
    answer({"first": done.first, "messages": done.messages, "why_no_more": done.why}, json)
    return Exit.HELD


async def seal_what_may_go(urls: ServerUrls, opened: Streams, store: Store, keep: Keep) -> None:
    """Seal up to the first message that has to stay. Raises Fenced where an archiver runs."""
    async with databases(urls) as (pool, _):
        until = (await slowest(opened.out, pool)).r
    until = min(until, (await opened.log.identity()).last - keep.records)
    newest = await opened.log.last("time")
    if keep.ns and newest is not None:
        now = int(kinds.decode(newest.payload).records["ts"][-1])
        until = min(until, await root_at(opened.log, now - keep.ns))
    lease = Lease(opened.leases, LEASE, "tidemill trim")
    if not await lease.acquire():
        raise Fenced(f"{await lease.holder()} seals already: wait for it, or leave --seal away")
    keeping = asyncio.create_task(lease.keep())
    try:
        await Archiver(opened.log.inner, store).seal(until)
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await lease.release()
