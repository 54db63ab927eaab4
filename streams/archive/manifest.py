"""The archive's manifest: facts in LOG, of which the newest attests all, and their proof."""

import asyncio

from tidemill.schemas.errors import Regressed
from tidemill.streams.archive.archive import Archive
from tidemill.streams.archive.facts import SEALED, sealed_of
from tidemill.streams.archive.store import Store
from tidemill.streams.log import Log, Message

_MEND = "restore LOG, or re-feed it from the archive (`tidemill repair`); nothing was written"


async def open_archive(log: Log, store: Store) -> tuple[Archive, Message | None]:
    """Open what LOG's newest RangeSealed attests; return it with that fact, None before any.

    Raises Regressed unless LOG is the one that the archive was made of: its UUID, and the message
    at the newest sealed position. Raises Unavailable.
    """
    identity = await log.identity()
    message = await log.last(SEALED)
    if message is None:
        found = await asyncio.to_thread(Archive.unattested, store)
        if found.log not in ("", identity.uuid):
            raise Regressed(
                f"LOG REGRESSED: it is stream {identity.uuid}, the archive {store.path('')} is of"
                f" {found.log}: {_MEND}"
            )
        if identity.first > 1:
            raise Regressed(
                f"LOG REGRESSED: it begins at {identity.first}, nothing sealed: {_MEND}"
            )
        return Archive(store, (), identity.uuid), None
    sealed = sealed_of(message)
    if sealed.log != identity.uuid:
        raise Regressed(
            f"LOG REGRESSED: it is stream {identity.uuid}, its archive is of {sealed.log}: {_MEND}"
        )
    archive = await asyncio.to_thread(Archive.attested, store, sealed)
    held = await log.get(sealed.r1)
    if held is not None and held != await asyncio.to_thread(archive.get, sealed.r1):
        raise Regressed(f"LOG REGRESSED: {sealed.r1} is another message than was sealed: {_MEND}")
    return archive, message
