"""Asking for snapshots of books, by REST or by subscribing anew: never two for one symbol at once.

The intake says which books want one. A symbol is asked for after a little jitter (a cut makes all
of them want one), at most four at a time, within the venue's limits, and again after a pause that
doubles, because an answer may be older than the changes that have to follow it. Where the venue
sends a snapshot on subscribing, one that has just been subscribed to is given time to send it.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

CONCURRENT_MAX = 4
LOOK_S = 0.02
JITTER_S = 0.1
SENT_S = 5.0
"""How long the snapshot that a venue sends on subscribing may take."""
AGAIN_S_MIN, AGAIN_S_MAX = 0.3, 30.0


@dataclass
class Try:
    """When a symbol may be asked for, and how often it was in vain."""

    due: float
    attempts: int = 0
    flying: bool = False


class Snapshots:
    """One feed's requests for snapshots.

    `wanting` tells the symbols that want one now; `subscribed_at` when (loop time) a connection
    came up that carries a symbol's book, None without one; `ask` asks for one, by `by_rest` or by
    the socket, and returns whether the venue took the request.
    """

    def __init__(
        self,
        wanting: Callable[[], Sequence[str]],
        subscribed_at: Callable[[str], float | None],
        ask: Callable[[str], Awaitable[bool]],
        by_rest: bool,
    ) -> None:
        self.asked = 0
        self._wanting, self._subscribed_at = wanting, subscribed_at
        self._ask, self._by_rest = ask, by_rest
        self._tries: dict[str, Try] = {}

    async def run(self) -> None:
        """Ask for what is wanted, for ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._look(group)
                await asyncio.sleep(LOOK_S)

    def _look(self, group: asyncio.TaskGroup) -> None:
        now = asyncio.get_running_loop().time()
        wanting = self._wanting()
        self._tries = {s: t for s, t in self._tries.items() if t.flying or s in wanting}
        for symbol in wanting:
            if (since := self._subscribed_at(symbol)) is None:
                continue  # nothing would follow the snapshot
            trying = self._tries.setdefault(symbol, Try(now + random.uniform(0.0, JITTER_S)))
            sent = not self._by_rest and not trying.attempts and now < since + SENT_S
            if trying.flying or trying.due > now or sent:
                continue
            if sum(t.flying for t in self._tries.values()) >= CONCURRENT_MAX:
                return
            trying.flying = True
            group.create_task(self._one(symbol, trying))

    async def _one(self, symbol: str, trying: Try) -> None:
        try:
            self.asked += 1
            await self._ask(symbol)
        finally:
            trying.flying = False
            trying.attempts = min(trying.attempts + 1, 16)
            pause_s = min(AGAIN_S_MAX, AGAIN_S_MIN * 2.0 ** (trying.attempts - 1))
            if not self._by_rest:
                pause_s = max(pause_s, SENT_S)
            trying.due = asyncio.get_running_loop().time() + pause_s * random.uniform(0.5, 1.0)
