"""Where everything that a feed hears comes together, each message with its receive time."""

import asyncio
import time
from collections.abc import Callable

INBOX_MESSAGES_MAX = 100_000

Clock = Callable[[], int]


class ReceiveClock:
    """Wall-clock nanoseconds, anchored once and then monotonic: it never steps back or jumps."""

    def __init__(self) -> None:
        self._anchor = time.time_ns() - time.monotonic_ns()

    def __call__(self) -> int:
        """Return the time (ns UTC)."""
        return self._anchor + time.monotonic_ns()


class Inbox:
    """Raw messages with their receive times, from every socket and REST, in the order received.

    `put_count` and `done_count` count messages that came in, and those that were dealt with.
    """

    def __init__(self, now: Clock) -> None:
        self.put_count = self.done_count = 0
        self._now = now
        self._received: list[int] = []
        self._raws: list[bytes] = []
        self._taken_from: int | None = None
        self._some = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def __len__(self) -> int:
        return len(self._raws)

    def heard_until(self) -> int:
        """Return the time (ns) up to which everything that came in was dealt with."""
        if self._taken_from is not None:
            return self._taken_from
        return self._received[0] if self._received else self._now()

    def note(self, raw: bytes) -> None:
        """Take one message, received now, whatever waits: the loop's own are few."""
        self._received.append(self._now())
        self._raws.append(raw)
        self.put_count += 1
        self._some.set()

    async def put(self, raw: bytes) -> None:
        """Take one message, received now; wait while the inbox is full (the socket backs up)."""
        self.note(raw)
        if len(self._raws) >= INBOX_MESSAGES_MAX:
            self._room.clear()
            await self._room.wait()

    async def take(self) -> tuple[list[int], list[bytes]]:
        """Wait for messages, and take all there are; `done` when they were dealt with."""
        await self._some.wait()
        taken = self._received, self._raws
        self._taken_from = taken[0][0]
        self._received, self._raws = [], []
        self._some.clear()
        self._room.set()
        return taken

    def done(self, count: int) -> None:
        """Note that `count` messages, which were taken, were dealt with."""
        self._taken_from = None
        self.done_count += count

    async def digested(self) -> None:
        """Wait until all that came in so far was dealt with."""
        until = self.put_count
        while self.done_count < until:
            await asyncio.sleep(0.005)
