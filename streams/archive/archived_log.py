"""LOG and its archive as one log: what LOG was trimmed of is read from sealed files.

Everything goes to LOG first and costs nothing more; only what LOG lacks opens the archive. LOG is
trimmed `NOTICE_S` after that was announced in LOG itself. A reader that has seen, within the last
`CHECK_S` of its own clock, that nothing is announced beyond its place therefore misses nothing; one
that has not looked for longer (it was held up) looks before it believes what it pulled.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tidemill.schemas.errors import Fenced, Regressed
from tidemill.streams.archive.archived_reader import ArchivedReader
from tidemill.streams.archive.facts import announced
from tidemill.streams.filters import Matcher
from tidemill.streams.log import Checkpoint, Fence, Identity, Log, Message

if TYPE_CHECKING:
    from tidemill.streams.archive.archive import Archive
    from tidemill.streams.archive.cursor import Cursor

NOTICE_S = 30.0
CHECK_S = 10.0


class ArchivedLog:
    """Implements tidemill.streams.log.Log over a stream and the archive at `location`.

    With `sealed_first`, whatever is sealed is read from the archive, whether LOG has it or not.
    An empty `location` is no archive: reading what LOG lacks then raises Regressed.
    """

    def __init__(
        self, log: Log, location: str, sealed_first: bool = False, check_s: float = CHECK_S
    ) -> None:
        self.name = log.name
        self.inner = log
        self.location = location
        self.sealed_first = sealed_first
        self.check_s = check_s
        self._first = 1
        """No message before it is in LOG, as far as is known; it only rises."""
        self._archive: Archive | None = None
        self._opening = asyncio.Lock()

    async def append(self, messages: Sequence[tuple[str, bytes]], fence: Fence | None) -> int:
        """See Log.append. Where LOG was trimmed of the message that a fence is at, it has none."""
        if fence is None:
            return await self.inner.append(messages, None)
        if fence.last == 0:
            await self._check(fence)
        try:
            return await self.inner.append(messages, fence)
        except Fenced:
            if not 0 < fence.last < (await self.identity_of_log()).first:
                raise
        await self._check(fence)
        return await self.inner.append(messages, Fence(fence.subject, 0))

    async def _check(self, fence: Fence) -> None:
        """Raise Fenced unless what LOG was trimmed of ends, on these subjects, at the fence."""
        newest = await self._archived(fence.subject)
        if newest != fence.last:
            raise Fenced(f"{fence.subject} is at {newest}, not {fence.last}")

    async def _archived(self, subject: str) -> int:
        """Return the newest sequence on `subject` among what LOG lacks, 0 for none."""
        identity = await self.identity_of_log()
        if identity.first == 1:
            return 0
        archive = await self.archive(identity.first - 1)
        lasts = await asyncio.to_thread(lambda: archive.lasts)
        matcher = Matcher((subject,))
        found = (r for name, r in lasts.items() if matcher.taken(name) and r < identity.first)
        return max(found, default=0)

    async def transact(
        self, outputs: Sequence[tuple[str, bytes]], checkpoints: Sequence[Checkpoint]
    ) -> dict[str, int]:
        """See Log.transact."""
        return await self.inner.transact(outputs, checkpoints)

    async def read(self, start: int, filters: Sequence[str]) -> ArchivedReader:
        """See Log.read."""
        reader = ArchivedReader(self, max(start, 1), filters)
        await reader.open()
        return reader

    async def last(self, subject: str) -> Message | None:
        """See Log.last."""
        found = await self.inner.last(subject)
        if found is not None:
            return found
        newest = await self._archived(subject)
        return await self.get(newest) if newest else None

    async def lasts(self, subject: str) -> list[Message]:
        """See Log.lasts."""
        found = {message.subject: message for message in await self.inner.lasts(subject)}
        identity = await self.identity_of_log()
        if identity.first > 1:
            archive = await self.archive(identity.first - 1)
            matcher = Matcher((subject,))
            for name, r in (await asyncio.to_thread(lambda: archive.lasts)).items():
                if name not in found and r < identity.first and matcher.taken(name):
                    found[name] = await asyncio.to_thread(archive.get, r)
        return [found[name] for name in sorted(found)]

    async def get(self, sequence: int) -> Message | None:
        """See Log.get."""
        found = await self.inner.get(sequence)
        if found is not None or sequence < 1:
            return found
        if sequence >= (await self.identity_of_log()).first:
            return None
        return await asyncio.to_thread((await self.archive(sequence)).get, sequence)

    async def identity(self) -> Identity:
        """See Log.identity; `first` is 1 where the archive has what LOG lacks."""
        identity = await self.identity_of_log()
        if identity.first == 1:
            return identity
        await self.archive(identity.first - 1)
        return Identity(identity.uuid, 1, identity.last)

    async def identity_of_log(self) -> Identity:
        """Return what LOG alone holds. Raises Unavailable."""
        identity = await self.inner.identity()
        self._first = max(self._first, identity.first)
        return identity

    async def floor(self) -> int:
        """Return the first sequence that LOG is sure to hold for the next `NOTICE_S`."""
        return max((await self.identity_of_log()).first, await announced(self.inner) + 1)

    async def archive(self, r: int = 0) -> "Archive":
        """Return the archive, with sequence `r` in it. Raises Regressed where it is not."""
        async with self._opening:
            if self._archive is None or self._archive.end < r:
                self._archive = await self._open()
            if self._archive.end < r:
                raise Regressed(
                    f"LOG REGRESSED: it begins at {self._first}, its archive ends at"
                    f" {self._archive.end}: restore the archive"
                )
            return self._archive

    async def archive_now(self) -> "Archive":
        """Return the archive with all that is sealed now."""
        async with self._opening:
            self._archive = await self._open()
            return self._archive

    async def _open(self) -> "Archive":
        if not self.location:
            raise Regressed(
                f"LOG begins at {self._first}: what came before is in its archive; say where that"
                " is (TIDEMILL_ARCHIVE)"
            )
        from tidemill.streams.archive.manifest import open_archive
        from tidemill.streams.archive.store import Store

        store = await asyncio.to_thread(Store.at, self.location)
        return (await open_archive(self.inner, store))[0]

    async def cursor(self, start: int, matcher: Matcher) -> "Cursor":
        """Open the archive at `start`, which LOG may lack."""
        from tidemill.streams.archive.cursor import Cursor

        return Cursor(await self.archive(start), start, matcher)
