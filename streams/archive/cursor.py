"""Reading sealed messages in order: a row group at a time, the next one read meanwhile."""

import asyncio

from tidemill.streams.archive.archive import Archive
from tidemill.streams.archive.sealed_file import SealedFile
from tidemill.streams.filters import Matcher
from tidemill.streams.log import Message


class Cursor:
    """The messages of an archive from `start` on that are taken; holds two row groups at most.

    `at` is the sequence up to which all of them were given.
    """

    def __init__(self, archive: Archive, start: int, matcher: Matcher) -> None:
        self.at = start - 1
        self._archive, self._matcher = archive, matcher
        self._file: SealedFile | None = None
        self._group = 0
        self._read = start - 1
        self._held: list[Message] = []
        self._given = 0
        self._end = start - 1
        self._reading: asyncio.Task[tuple[list[Message], int]] | None = None
        self._chain = ""  # LOG's digest chain at the end of the file before

    @property
    def ended(self) -> bool:
        """Whether everything that is sealed was given."""
        return self.at >= self._archive.end

    async def pull(self, messages_max: int, bytes_max: int, timeout_s: float) -> list[Message]:
        """Return the next messages, at least one if one is found within `timeout_s`, else none.

        Raises Regressed where a file is damaged, Unavailable.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        while self._given == len(self._held) and not self.ended:
            if self._reading is None:
                self._reading = asyncio.create_task(asyncio.to_thread(self._next))
            left = max(deadline - asyncio.get_running_loop().time(), 0)
            done, _ = await asyncio.wait((self._reading,), timeout=left)
            if not done:
                return []
            reading, self._reading = self._reading, None
            (self._held, self._end), self._given = reading.result(), 0
            if not self._held:
                self.at = self._end
            if self._end < self._archive.end:
                self._reading = asyncio.create_task(asyncio.to_thread(self._next))
        return self._take(messages_max, bytes_max)

    def _take(self, messages_max: int, bytes_max: int) -> list[Message]:
        held, first, size = self._held, self._given, 0
        last = min(first + messages_max, len(held))
        while self._given < last:
            size += len(held[self._given].payload)
            if size > bytes_max and self._given > first:
                break
            self._given += 1
        taken = held[first : self._given]
        if self._given == len(held):
            self.at = self._end
        elif taken:
            self.at = taken[-1].sequence
        return taken

    def _next(self) -> tuple[list[Message], int]:
        """Read the next row group, or skip a file without one; return also where it ends."""
        if self._file is None:
            self._file = self._archive.open_file(self._read + 1, self._chain)
            self._group = self._file.group_of(self._read + 1)
            if not self._file.has(self._matcher):
                self._group = self._file.groups
        file = self._file
        if self._group == file.groups:
            found, self._read = [], file.range.r1
        else:
            found = file.read(self._group, self._matcher, self._read + 1)
            self._read = file.end_of(self._group)
            self._group += 1
        if self._read == file.range.r1:
            file.close()
            self._file, self._chain = None, file.range.chain
        return found, self._read

    async def close(self) -> None:
        """End reading."""
        if self._reading is not None:
            await asyncio.wait((self._reading,))
            if not self._reading.cancelled():
                self._reading.exception()
        if self._file is not None:
            self._file.close()
            self._file = None
