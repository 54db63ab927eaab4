"""A copy of LOG as files: what is sealed, and after it what is not sealed yet, as one archive."""

import asyncio

from tidemill.schemas.errors import Regressed, Unavailable
from tidemill.streams.archive.archive import Archive
from tidemill.streams.archive.archiver import Limits
from tidemill.streams.archive.manifest import open_archive
from tidemill.streams.archive.segment import Segment
from tidemill.streams.archive.store import Store
from tidemill.streams.log import Log

PULL_MESSAGES, PULL_BYTES, PULL_S = 2_000, 8 << 20, 10.0
COPY_BYTES = 4 << 20


async def copy_log(log: Log, store: Store, copies: Store, limits: Limits | None = None) -> Archive:
    """Make `copies` hold all of LOG as it is now, in files as `store` has them, and return it.

    `log` is the stream itself. It and its archive are only read. Files that are there already are
    kept, those of an earlier end go. Raises Regressed where LOG and archive differ, Unavailable.
    """
    last = (await log.identity()).last
    archive, _ = await open_archive(log, store)
    await asyncio.to_thread(copies.clear_unfinished)
    there = set(await asyncio.to_thread(copies.names))
    for name in archive.names:
        if name not in there:
            await asyncio.to_thread(copy_file, store, copies, name)
    made = await _unsealed(log, archive, copies, last, limits or Limits())
    for name in there - {*archive.names, *made}:
        await asyncio.to_thread(copies.delete, name)
    return Archive(copies, (*archive.names, *made), archive.log)


def copy_file(store: Store, copies: Store, name: str) -> None:
    """Copy one finished file, whole and durable or not at all."""
    with store.read(name) as source, copies.write(name) as target:
        while part := source.read(COPY_BYTES):
            target.write(part)
    copies.persist(name)
    copies.finish(name, name)


async def _unsealed(
    log: Log, archive: Archive, copies: Store, last: int, limits: Limits
) -> list[str]:
    """Write LOG's messages after the archive's end, up to `last`; return the files' names."""
    newest = archive.newest if archive.names else None
    lasts = dict(await asyncio.to_thread(lambda: archive.lasts))
    at, names = archive.end, list[str]()
    reader = await log.read(at + 1, [">"])
    try:
        while at < last:
            segment = await asyncio.to_thread(Segment, copies, newest, archive.log, lasts)
            while at < last and segment.bytes < limits.segment_bytes_max:
                messages = await reader.pull(PULL_MESSAGES, PULL_BYTES, PULL_S)
                messages = [message for message in messages if message.sequence <= last]
                if not messages:
                    raise Unavailable(f"{log.name} gave nothing for {PULL_S} s at {at}")
                if messages[0].sequence != at + 1:
                    raise Regressed(f"LOG REGRESSED: {at + 1} is missing: restore LOG")
                await asyncio.to_thread(segment.add, messages)
                at = messages[-1].sequence
                for message in messages:
                    lasts[message.subject] = message.sequence
            newest = await asyncio.to_thread(segment.finish)
            names.append(newest.name)
    finally:
        await reader.close()
    return names
