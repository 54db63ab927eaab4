"""Changes of a book that wait for a snapshot. Pure."""

from typing import NamedTuple

import numpy as np

from tidemill.schemas.kinds.quote import TS_NONE
from tidemill.streams.feeds.feed import Overlap, Records

MESSAGES_MAX, LEVELS_MAX = 20_000, 500_000
"""Most that waits; what is over it makes the buffer begin anew."""
ANEW_NS = 1_000_000_000
"""An old id whose time is so much newer is of a new numbering, not said twice."""


class Message(NamedTuple):
    """One message with its levels."""

    head: np.void
    levels: Records

    @property
    def first(self) -> int:
        """The first update id that it covers."""
        return int(self.head["first_id"])

    @property
    def last(self) -> int:
        """The last one."""
        return int(self.head["last_id"])

    @property
    def previous(self) -> int:
        """The last one of the message before it."""
        return int(self.head["previous_id"])

    @property
    def time(self) -> int:
        """The venue's time of it (ns), TS_NONE without one."""
        return int(self.head["ts_event"])

    def later(self, time: int, by: int) -> bool:
        """Whether its time is more than `by` after `time` (ns), where both are known."""
        return TS_NONE not in (time, self.time) and self.time > time + by

    def kept(self) -> "Message":
        """Return it without the run it came in, to be kept for a while."""
        return Message(self.head.copy(), self.levels.copy())

    def covered(self, snapshot: int, overlap: Overlap) -> bool:
        """Whether the REST snapshot of id `snapshot` holds all of it."""
        return self.last < snapshot + overlap.drop_below

    def meets(self, snapshot: int, overlap: Overlap) -> bool:
        """Whether nothing is between the REST snapshot of id `snapshot` and it."""
        return self.first <= snapshot + overlap.first_at_most or self.previous == snapshot


class Buffer:
    """Changes that wait, each of which follows the one before it."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._levels = 0

    def put(self, message: Message) -> bool:
        """Keep a change; return False where it was there already.

        One that does not follow the newest, or for which there is no room, is the first of a new
        buffer: what was kept proves nothing any more.
        """
        newest = self._messages[-1] if self._messages else None
        if newest is not None and message.previous != newest.last:
            if message.last <= newest.last and not message.later(newest.time, ANEW_NS):
                return False
            self.clear()
        full = len(self._messages) >= MESSAGES_MAX
        if full or self._levels + len(message.levels) > LEVELS_MAX:
            self.clear()
        self._messages.append(message.kept())
        self._levels += len(message.levels)
        return True

    def beyond(self, snapshot: int, overlap: Overlap) -> list[Message]:
        """Return what the REST snapshot of id `snapshot` does not hold."""
        return [m for m in self._messages if not m.covered(snapshot, overlap)]

    def clear(self) -> None:
        """Forget everything."""
        self._messages.clear()
        self._levels = 0
