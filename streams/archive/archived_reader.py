"""Reading LOG and its archive as one, in order, whatever is trimmed meanwhile."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tidemill.streams.filters import Matcher, distinct
from tidemill.streams.log import Message, Reader

if TYPE_CHECKING:
    from tidemill.streams.archive.archived_log import ArchivedLog
    from tidemill.streams.archive.cursor import Cursor


class ArchivedReader:
    """Implements tidemill.streams.log.Reader; see archived_log.py for why it misses nothing."""

    def __init__(self, log: "ArchivedLog", start: int, filters: Sequence[str]) -> None:
        self._log = log
        self._filters = distinct(filters)
        self._matcher = Matcher(self._filters)
        self._at = start - 1
        """Every matching message up to here was given."""
        self._cursor: Cursor | None = None
        self._inner: Reader | None = None
        self._checked = 0.0
        self._end = 0
        self._closed = False

    async def open(self) -> None:
        """Begin where the next message is: in the archive or in LOG."""
        checked = asyncio.get_running_loop().time()
        floor = await self._log.floor()
        if self._log.sealed_first:
            floor = max(floor, (await self._log.archive_now()).end + 1)
        if self._at + 1 < floor:
            self._end = (await self._log.identity_of_log()).last
            self._cursor = await self._log.cursor(self._at + 1, self._matcher)
        else:
            self._inner = await self._log.inner.read(self._at + 1, self._filters)
            self._checked = checked

    async def pull(self, messages_max: int, bytes_max: int, timeout_s: float) -> list[Message]:
        """See Reader.pull."""
        if self._closed:
            raise RuntimeError("the reader was closed")
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            left = max(deadline - asyncio.get_running_loop().time(), 0)
            if self._cursor is not None:
                messages = await self._cursor.pull(messages_max, bytes_max, left)
                self._at = max(self._at, self._cursor.at)
                if messages or not self._cursor.ended:
                    return messages
            elif self._inner is not None:
                messages = await self._inner.pull(messages_max, bytes_max, left)
                if await self._intact(bool(messages)):
                    self._at = messages[-1].sequence if messages else self._at
                    return messages
            await self._turn()

    async def _intact(self, pulled: bool) -> bool:
        """Return whether nothing was trimmed between `_at` and what LOG's reader gave since."""
        assert self._inner is not None
        now = asyncio.get_running_loop().time()
        if now - self._checked <= self._log.check_s:
            return True
        given = self._at if pulled else await self._inner.complete()
        if await self._log.floor() > self._at + 1:
            return False
        self._checked, self._at = now, max(self._at, given)
        return True

    async def _turn(self) -> None:
        """Leave the archive at its end, or LOG where it was trimmed, and go on."""
        await self._drop()
        await self.open()

    async def _drop(self) -> None:
        cursor, self._cursor = self._cursor, None
        inner, self._inner = self._inner, None
        if cursor is not None:
            await cursor.close()
        if inner is not None:
            await inner.close()

    @property
    def pending(self) -> int:
        """See Reader.pending; in the archive an upper bound."""
        if self._inner is not None:
            return self._inner.pending
        return max(self._end - self._at, 0)

    async def complete(self) -> int:
        """See Reader.complete."""
        if self._inner is None:
            return self._at
        given = await self._inner.complete()
        return max(self._at, given) if await self._intact(True) else self._at

    async def close(self) -> None:
        """See Reader.close."""
        self._closed = True
        await self._drop()
