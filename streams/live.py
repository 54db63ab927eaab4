"""What is committed, as it is committed: the queue behind a subscription to `live.>`.

It is for screens, not for truth: a slow consumer loses the oldest messages and is told how many;
who must see everything reads the log.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from tidemill.streams.filters import Matcher
from tidemill.streams.log import Message


class LiveQueue:
    """Committed messages that match, newest kept, at most `bytes_max` of payload."""

    def __init__(self, matcher: Matcher, bytes_max: int) -> None:
        self.dropped = 0
        self._matcher = matcher
        self._bytes_max = bytes_max
        self._bytes = 0
        self._messages: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._leave: Callable[[], Awaitable[object]] | None = None

    def put(self, messages: Sequence[Message]) -> None:
        """Add what matches; drop the oldest over the limit and count them in `dropped`."""
        for message in messages:
            if self._matcher.taken(message.subject):
                self._messages.append(message)
                self._bytes += len(message.payload)
        while self._bytes > self._bytes_max:
            self._bytes -= len(self._messages.popleft().payload)
            self.dropped += 1
        if self._messages:
            self._arrived.set()

    async def pull(self, messages_max: int, timeout_s: float) -> list[Message]:
        """Return the next messages, at least one if any arrives within `timeout_s`, else none."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._arrived.wait()
        except TimeoutError:
            return []
        count = min(messages_max, len(self._messages))
        taken = [self._messages.popleft() for _ in range(count)]
        self._bytes -= sum(len(message.payload) for message in taken)
        if not self._messages:
            self._arrived.clear()
        return taken

    def on_close(self, leave: Callable[[], Awaitable[object]]) -> None:
        """Have `leave` run when the queue is closed."""
        self._leave = leave

    async def close(self) -> None:
        """Stop collecting."""
        if self._leave is not None:
            await self._leave()


class Live(Protocol):
    """A stream that shows what it commits on `live.>`."""

    async def live(self, filters: Sequence[str], bytes_max: int = 8 << 20) -> LiveQueue:
        """Collect what is committed from now on to subjects that `filters` take.

        `filters` are the streams' own subjects, without ``live.``.
        """
        ...
