"""The archiver: seals LOG, range after range, for good. One writes; the fence decides.

    messages -> unfinished file -> durable, renamed -> read again, equal -> RangeSealed in LOG

Killed anywhere, it leaves an unfinished file, which the next one deletes, or a whole one that LOG
does not know: the next one reads it again, compares it with LOG and seals it.
"""

import asyncio
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from tidemill.schemas import events
from tidemill.schemas.errors import Regressed, Unavailable
from tidemill.schemas.events.archive import RangeSealed
from tidemill.streams import crash_points
from tidemill.streams.appender import Appender
from tidemill.streams.archive import chain
from tidemill.streams.archive.archive import Archive
from tidemill.streams.archive.facts import SEALED, sealed_of
from tidemill.streams.archive.manifest import open_archive
from tidemill.streams.archive.sealed_file import Checked, opened
from tidemill.streams.archive.segment import Range, Segment, range_of
from tidemill.streams.archive.store import Store
from tidemill.streams.log import Log, Message, Reader

logger = logging.getLogger(__name__)

PULL_MESSAGES, PULL_BYTES, PULL_S = 2_000, 8 << 20, 1.0
RETRY_S = (0.2, 5.0)


@dataclass(frozen=True)
class Limits:
    """When a segment is sealed: whichever comes first. `age_ns` is by `time` of LOG."""

    segment_bytes_max: int = 256 << 20
    segment_messages_max: int = 1_000_000
    segment_age_ns: int = 600_000_000_000


class Archiver:
    """Seals what `log`, the stream itself, holds. Raises Fenced and Regressed."""

    def __init__(self, log: Log, store: Store, limits: Limits | None = None) -> None:
        self.sealed = 0
        """Newest sequence that is sealed."""
        self.messages = 0
        """Messages sealed since start."""
        self.lag = 0
        """Messages of LOG that are known to wait."""
        self.retries = 0
        self._log, self._store = log, store
        self._limits = limits or Limits()
        self._appender = Appender(log, SEALED)
        self._newest: Range | None = None
        self._manifest = b""
        self._count = 0
        self._lasts: dict[str, int] = {}

    async def run(self) -> None:
        """Seal for ever; wait, however long, while LOG or the archive is away."""
        attempt = 0
        while True:
            done = self.sealed
            try:
                await self.open()
                await self._follow(None)
            except Unavailable as error:
                attempt = 1 if self.sealed > done else attempt + 1
                self.retries += 1
                logger.warning("the archiver waits: %s", error)
            longest = min(RETRY_S[0] * 2 ** min(attempt, 10), RETRY_S[1])
            await asyncio.sleep(longest * random.uniform(0.5, 1.0))

    async def seal(self, until: int) -> None:
        """Seal everything up to sequence `until`, the last range however short it is.

        Raises Unavailable.
        """
        await self.open()
        if self.sealed < until:
            await self._follow(until)

    async def open(self) -> None:
        """Begin where the archive ends, after sealing whole files that a killed archiver left.

        Raises Regressed where LOG is not the one that was archived, Unavailable.
        """
        archive, message = await open_archive(self._log, self._store)
        await self._appender.own()
        if message is not None and self._appender.last != message.sequence:
            raise Unavailable("another archiver seals just now")
        self._manifest, self._count = b"", 0
        if message is not None:
            self._manifest, self._count = message.payload, sealed_of(message).sequence
        self._newest = archive.newest if archive.names else None
        self._lasts = dict(await asyncio.to_thread(lambda: archive.lasts))
        self.sealed = archive.end
        await asyncio.to_thread(self._store.clear_unfinished)
        await self._adopt(archive)

    async def _adopt(self, archive: Archive) -> None:
        """Seal the whole files after the newest sealed one; delete those that are damaged."""
        names = await asyncio.to_thread(self._store.names)
        while found := [name for name in names if range_of(name)[0] == self.sealed + 1]:
            name = found[0]
            try:
                checked, lasts = await asyncio.to_thread(self._check, name)
            except Regressed as error:
                logger.warning("deleted, to be made again: %s", error)
                await asyncio.to_thread(self._store.delete, name)
                names.remove(name)
                continue
            await self._compare(checked.range)
            await self._append(checked, lasts)

    async def _compare(self, found: Range) -> None:
        """Raise Regressed unless LOG holds what a file that was never sealed holds."""
        what = f"{self._store.path(found.name)}, which was made of LOG, holds other messages"
        end = (await self._log.identity()).last
        before = self._newest.chain if self._newest else chain.begin(found.log).hex()
        if found.r1 > end or found.before != before:
            raise Regressed(f"LOG REGRESSED: it ends at {end}: {what}")
        digest, r = bytes.fromhex(before), found.r0 - 1
        reader = await self._log.read(found.r0, [">"])
        try:
            while r < found.r1:
                messages = [m for m in await self._pull(reader, r + 1) if m.sequence <= found.r1]
                digest = await asyncio.to_thread(chain.extend, digest, messages)
                r = messages[-1].sequence if messages else r
        finally:
            await reader.close()
        if digest.hex() != found.chain:
            raise Regressed(f"LOG REGRESSED: {what}")

    async def _follow(self, until: int | None) -> None:
        """Seal what comes, for ever or up to `until`."""
        reader = await self._log.read(self.sealed + 1, [">"])
        segment = None
        r = self.sealed
        try:
            while until is None or self.sealed < until:
                room = self._limits.segment_messages_max - (segment.messages if segment else 0)
                messages = await self._pull(reader, r + 1, room)
                if until is not None:
                    messages = [m for m in messages if m.sequence <= until]
                if messages:
                    if segment is None:
                        segment = await self._begin()
                    await asyncio.to_thread(segment.add, messages)
                    r = messages[-1].sequence
                self.lag = reader.pending
                if segment is not None and (self._due(segment) or r == until):
                    made, segment = segment, None
                    await self._seal(made)
        finally:
            await reader.close()
            if segment is not None:
                await asyncio.to_thread(segment.abandon)

    async def _begin(self) -> Segment:
        uuid = (await self._log.identity()).uuid
        return await asyncio.to_thread(Segment, self._store, self._newest, uuid, self._lasts)

    async def _pull(
        self, reader: Reader, expected: int, messages_max: int = PULL_MESSAGES
    ) -> Sequence[Message]:
        """Pull messages. Raises Regressed for one that LOG does not have."""
        messages = await reader.pull(min(PULL_MESSAGES, messages_max), PULL_BYTES, PULL_S)
        for message in messages:
            if message.sequence != expected:
                raise Regressed(
                    f"LOG REGRESSED: {expected} is missing before it was sealed: restore LOG"
                )
            expected += 1
        return messages

    def _due(self, segment: Segment) -> bool:
        return (
            segment.bytes >= self._limits.segment_bytes_max
            or segment.messages >= self._limits.segment_messages_max
            or segment.age_ns >= self._limits.segment_age_ns
        )

    async def _seal(self, segment: Segment) -> None:
        made = await asyncio.to_thread(segment.finish)
        checked, lasts = await asyncio.to_thread(self._check, made.name)
        if checked.range != made:
            raise Regressed(
                f"ARCHIVE DAMAGED: {self._store.path(made.name)} is not what was sealed"
            )
        await self._append(checked, lasts)

    def _check(self, name: str) -> tuple[Checked, dict[str, int]]:
        """Read a file again, from the disk."""
        self._store.forget_cached(name)
        with opened(self._store, name) as file:
            return file.check(), file.lasts

    async def _append(self, checked: Checked, lasts: dict[str, int]) -> None:
        """Append the fact that a file is sealed."""
        made = checked.range
        event = RangeSealed(
            sequence=self._count + 1,
            log=made.log,
            r0=made.r0,
            r1=made.r1,
            messages=made.messages,
            ts=made.ts,
            file=made.name,
            file_bytes=checked.file_bytes,
            file_sha256=checked.file_sha256,
            chain=made.chain,
            previous=sha256(self._manifest).hexdigest() if self._manifest else "",
        )
        payload = events.encode(event)
        crash_points.reach("archive.seal.sealing")
        await self._appender.append([(SEALED, payload)])
        crash_points.reach("archive.seal.sealed")
        self._newest, self._lasts = made, lasts
        self._manifest, self._count = payload, event.sequence
        self.sealed = made.r1
        self.messages += made.messages
