"""The trimmer: the only one that deletes from LOG, and only what the archive has proven to hold.

A range may go when it is sealed, read again just now and equal to what LOG holds, to the digest
chain and to the newest RangeSealed, behind every reader, and older than what is to be kept.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tidemill.schemas import events, kinds
from tidemill.schemas.errors import Regressed
from tidemill.schemas.events.archive import TrimAnnounced
from tidemill.streams import crash_points
from tidemill.streams.appender import Appender
from tidemill.streams.archive import chain
from tidemill.streams.archive.archive import Archive
from tidemill.streams.archive.archived_log import NOTICE_S
from tidemill.streams.archive.facts import TRIM
from tidemill.streams.archive.manifest import open_archive
from tidemill.streams.archive.sealed_file import opened
from tidemill.streams.archive.segment import Range, range_of
from tidemill.streams.archive.store import Store
from tidemill.streams.log import Log, Message

PULL_MESSAGES, PULL_BYTES, PULL_S = 2_000, 8 << 20, 10.0
UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class Purgeable(Log, Protocol):
    """LOG, opened with the right to delete from it."""

    async def purge(self, last: int) -> None:
        """Delete every message up to sequence `last`, for good."""
        ...


class Reading(NamedTuple):
    """How far the slowest reader has come, and which it is."""

    r: int
    reader: str


@dataclass(frozen=True)
class Keep:
    """What stays in LOG at least: so many records, and so much of its `time`."""

    records: int = 0
    ns: int = 0

    @classmethod
    def parse(cls, text: str) -> "Keep":
        """Read ``7d``, ``12h``, ``30m``, ``45s``, or a number of records. Raises ValueError."""
        if text.isdecimal():
            return cls(records=int(text))
        if text[:-1].isdecimal() and text[-1:] in UNITS_S:
            return cls(ns=int(text[:-1]) * UNITS_S[text[-1]] * 1_000_000_000)
        raise ValueError(f"{text!r} is neither a duration, as 7d or 12h, nor a number of records")


class Trimmed(NamedTuple):
    """LOG now begins at `first`; `messages` were deleted. `why` it was no more."""

    first: int
    messages: int
    why: str


async def trim(
    log: Purgeable,
    store: Store,
    keep: Keep,
    slowest: Callable[[], Awaitable[Reading]],
    notice_s: float = NOTICE_S,
) -> Trimmed:
    """Delete from LOG, the stream itself, what may go.

    Raises Regressed where archive and LOG differ: then nothing was deleted. Raises Unavailable.
    """
    archive, _ = await open_archive(log, store)
    first = (await log.identity()).first
    limits = [Reading(archive.end, "nothing after it is sealed"), await slowest()]
    limits.append(Reading((await log.identity()).last - keep.records, "so many records are kept"))
    limit = min(limits, key=lambda reading: reading.r)
    names = [n for n in archive.names if range_of(n)[1] >= first and range_of(n)[1] <= limit.r]
    now = await _now(log) if keep.ns else 0
    proven, why = 0, f"{limit.reader}, at {limit.r}"
    for name in names:
        found = await asyncio.to_thread(archive.range, name)
        if keep.ns and now - found.ts < keep.ns:
            why = "so much time is kept"
            break
        await _prove(log, archive, found, first)
        proven = found.r1
    if not proven:
        return Trimmed(first, 0, why)
    # The chain leads on to what LOG's newest RangeSealed attests.
    await asyncio.to_thread(archive.linked, range_of(names[0])[1])
    await _announce(log, archive.log, proven)
    crash_points.reach("archive.trim.announced")
    await asyncio.sleep(notice_s)
    await log.purge(proven)
    crash_points.reach("archive.trim.purged")
    return Trimmed(proven + 1, proven + 1 - first, why)


async def _now(log: Log) -> int:
    message = await log.last("time")
    return int(kinds.decode(message.payload).records["ts"][-1]) if message is not None else 0


async def _prove(log: Log, archive: Archive, told: Range, first: int) -> None:
    """Raise Regressed unless a file is whole, and what LOG still has of it is the same."""

    def check() -> bytes:
        archive.store.forget_cached(told.name)
        with opened(archive.store, told.name) as file:
            file.check()
            start, before = max(first, told.r0), bytes.fromhex(told.before)
            for group in range(file.groups):
                before = chain.extend(before, file.until(group, start))
            return before

    before = await asyncio.to_thread(check)
    after = await _chain(log, before, max(first, told.r0), told.r1)
    if after.hex() != told.chain:
        raise Regressed(
            f"LOG REGRESSED: {archive.store.path(told.name)} does not hold what LOG holds;"
            " nothing was deleted"
        )


async def _chain(log: Log, digest: bytes, start: int, end: int) -> bytes:
    """Return the chain over LOG's own messages `start` to `end`."""
    reader = await log.read(start, [">"])
    try:
        while start <= end:
            messages = await reader.pull(PULL_MESSAGES, PULL_BYTES, PULL_S)
            wanted: list[Message] = [m for m in messages if m.sequence <= end]
            digest = await asyncio.to_thread(chain.extend, digest, wanted)
            start = messages[-1].sequence + 1 if messages else end + 1
    finally:
        await reader.close()
    return digest


async def _announce(log: Log, uuid: str, r1: int) -> None:
    """Say in LOG what will go, once for each range."""
    appender = Appender(log, TRIM)
    newest = await appender.own()
    known = events.decode(newest.payload) if newest is not None else None
    sequence = known.sequence if known is not None else 0
    event = TrimAnnounced(sequence=sequence + 1, log=uuid, r1=r1)
    await appender.append([(TRIM, events.encode(event))])
