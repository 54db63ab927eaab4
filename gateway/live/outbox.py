"""What waits for one client: bounded, the latest of what may be conflated, drops that are told."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

from tidemill.gateway.live.protocol import Topic, event
from tidemill.gateway.live.updates import Update

MESSAGE_BYTES = 256 << 10
"""About how much goes into one message."""
REPLIES_MAX = 256
"""Replies that wait; a client that makes more and reads none is closed."""


class Outbox:
    """One client's queue. `newest` returns the position that a gap is told with."""

    def __init__(self, updates_max: int, bytes_max: int, newest: Callable[[], int]) -> None:
        self._updates_max, self._bytes_max, self._newest = updates_max, bytes_max, newest
        self._replies: deque[bytes] = deque()
        self._all: deque[Update] = deque()
        self._latest: OrderedDict[Any, Update] = OrderedDict()
        self._bytes = 0
        self._dropped: dict[Topic, int] = {}
        self.dropped = self.conflated = 0
        self._filled = asyncio.Event()

    @property
    def stuck(self) -> bool:
        """Whether more replies wait than a client can make who reads them."""
        return len(self._replies) > REPLIES_MAX

    def reply(self, body: bytes) -> None:
        """Add what is never dropped."""
        self._replies.append(body)
        self._filled.set()

    def put(self, update: Update) -> None:
        """Add an update; drop the oldest over the limits."""
        if update.slot is None:
            self._all.append(update)
        else:
            before = self._latest.pop(update.slot, None)
            if before is not None:
                self._bytes -= len(before.body)
                self.conflated += 1
            self._latest[update.slot] = update
        self._bytes += len(update.body)
        while len(self._all) > self._updates_max or (self._all and self._bytes > self._bytes_max):
            self._drop(self._all.popleft())
        while len(self._latest) > self._updates_max or self._bytes > self._bytes_max:
            self._drop(self._latest.popitem(last=False)[1])
        self._filled.set()

    def _drop(self, update: Update) -> None:
        self._bytes -= len(update.body)
        self._dropped[update.topic] = self._dropped.get(update.topic, 0) + 1
        self.dropped += 1

    async def take(self) -> bytes:
        """Return the next message, a JSON array, as soon as anything waits."""
        await self._filled.wait()
        parts = list(self._replies)
        self._replies.clear()
        # What was dropped was older than all that waits.
        as_of = self._newest()
        for topic, count in self._dropped.items():
            parts.append(event("gap", **topic.fields(), dropped=count, as_of=as_of))
        self._dropped.clear()
        size = 0
        while size < MESSAGE_BYTES and (self._all or self._latest):
            update = self._all.popleft() if self._all else self._latest.popitem(last=False)[1]
            parts.append(update.body)
            size += len(update.body)
        self._bytes -= size
        if not self._all and not self._latest:
            self._filled.clear()
        return b"[" + b",".join(parts) + b"]"
