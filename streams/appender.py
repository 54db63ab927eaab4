"""Appending as the only owner of some subjects: lost acknowledgements are resolved, never guessed.

A messages' list is stored once or, when another owner wrote meanwhile, not at all:

    Unavailable, or Fenced after that    the outcome is not known: read the newest own message
      it is where the fence stands       nothing landed (yet): the same again, under the same fence
      it is our last message             it landed
      it is gone                         the log lost what it had confirmed: Regressed
      it is anything else                someone else owns the subjects: Fenced

A request that still travels when the same is sent again cannot be stored twice: the fence of the
later one is stale then, and the next look finds the first.
"""

import asyncio
import random
from collections.abc import Callable, Sequence

from tidemill.schemas.errors import Fenced, Regressed, Unavailable
from tidemill.streams import crash_points
from tidemill.streams.filters import Matcher
from tidemill.streams.log import Fence, Log, Message

RETRY_MIN_S, RETRY_MAX_S = 0.02, 0.25


class Appender:
    """The owner of the subjects that the filter `subject` takes; `last` is their newest one."""

    def __init__(self, log: Log, subject: str) -> None:
        self.subject = subject
        self.last = 0
        self.retries = 0
        self._log = log
        self._owned = Matcher((subject,))

    async def own(self) -> Message | None:
        """Take the subjects as they stand; return their newest message. Raises Unavailable."""
        newest = await self._log.last(self.subject)
        self.last = newest.sequence if newest is not None else 0
        return newest

    async def append(
        self, messages: Sequence[tuple[str, bytes]], waiting: Callable[[], None] = lambda: None
    ) -> int:
        """Store `messages`, all of them once, however long it takes; return the last sequence.

        `waiting` is called at every attempt. Raises Fenced when someone else owns the subjects;
        then nothing of this was stored. Raises Regressed where what was stored before is gone.
        Raises ValueError for a subject that is not owned: only
        the fence keeps a message from being stored twice.
        """
        for subject, _ in messages:
            if not self._owned.taken(subject):
                raise ValueError(f"{subject} is not one of {self.subject}")
        pause_s = RETRY_MIN_S
        while True:
            waiting()
            try:
                self.last = await self._log.append(messages, Fence(self.subject, self.last))
                return self.last
            except (Unavailable, Fenced) as error:
                crash_points.reach("append.outcome.asking")
                landed = await self._landed(messages[-1], error)
                crash_points.reach("append.outcome.told")
            if landed:
                return self.last
            self.retries += 1
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))
            pause_s = min(2 * pause_s, RETRY_MAX_S)

    async def _landed(self, wanted: tuple[str, bytes], error: Exception) -> bool:
        """Look whether an attempt of unknown outcome landed. Raises Fenced, Regressed."""
        try:
            newest = await self._log.last(self.subject)
        except Unavailable:
            return False
        if newest is None or newest.sequence < self.last:
            await self._prove_held()
            return False
        if newest.sequence == self.last:
            return False
        if (newest.subject, newest.payload) != wanted:
            owner = f"{self.subject} is at {newest.sequence}, ours ended at {self.last}"
            raise Fenced(f"another writer owns it: {owner}") from error
        self.last = newest.sequence
        return True

    async def _prove_held(self) -> None:
        """Raise Regressed where what was confirmed to us is gone, and was not purged."""
        try:
            identity = await self._log.identity()
        except Unavailable:
            return
        if self.last >= identity.first or self.last > identity.last:
            raise Regressed(
                f"LOG REGRESSED: {self.subject} ended at {self.last}, which {self._log.name} does"
                f" not hold; it ends at {identity.last}: restore it (`tidemill repair`)"
            )
