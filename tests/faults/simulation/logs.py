"""The memory log behind a network: every port of it is a client's, with a client's troubles."""

import asyncio
from collections.abc import Sequence
from copy import copy
from random import Random
from typing import NamedTuple

from tidemill.streams.log import Checkpoint, Fence, Identity, Message
from tidemill.streams.memory import MemoryLog, MemoryReader
from tidemill.tests.faults.simulation.loop import ACTOR, Actor, SimulatedLoop
from tidemill.tests.faults.simulation.network import Server, immediately


class Entry(NamedTuple):
    """A message as it was stored, who sent it, and in which request it came."""

    message: Message
    author: Actor | None
    request: int


class Store(MemoryLog):
    """The server's side: the memory log itself, and a journal of all that was ever stored."""

    def __init__(self, name: str, subjects: Sequence[str], server: Server, loop: SimulatedLoop):
        super().__init__(name, subjects, uuid=f"uuid-of-{name}")
        self.server = server
        self.journal: list[Entry] = []
        self.sent: set[tuple[Actor, str, bytes]] = set()
        """Checkpoints that were sent, by whom, whatever became of them."""
        self._loop = loop
        self._requests = 0
        self._sleepers: list[asyncio.Future[None]] = []

    def _store(self, messages: Sequence[tuple[str, bytes]]) -> None:
        start = self.end
        super()._store(messages)
        self._requests += 1
        for at, (subject, payload) in enumerate(messages):
            message = Message(start + at, subject, payload)
            self.journal.append(Entry(message, self.server.author, self._requests))
        sleepers, self._sleepers = self._sleepers, []
        for sleeper in sleepers:
            _wake(sleeper)

    async def changed(self, within_s: float) -> None:
        """Return at the next append, or when the time is up."""
        sleeper: asyncio.Future[None] = self._loop.create_future()
        self._sleepers.append(sleeper)
        timer = self._loop.call_later(within_s, _wake, sleeper)
        try:
            await sleeper
        finally:
            timer.cancel()


def _wake(sleeper: "asyncio.Future[None]") -> None:
    if not sleeper.done():
        sleeper.set_result(None)


class ClientLog:
    """One process's connection to a log; implements tidemill.streams.log.Log."""

    def __init__(self, store: Store, random: Random) -> None:
        self.name = store.name
        self._store, self._server, self._random = store, store.server, random

    async def append(self, messages: Sequence[tuple[str, bytes]], fence: Fence | None) -> int:
        """See Log.append."""
        sent = list(messages)
        store = self._store
        return await self._server.call(lambda: immediately(store.append(sent, fence)), True)

    async def transact(
        self, outputs: Sequence[tuple[str, bytes]], checkpoints: Sequence[Checkpoint]
    ) -> dict[str, int]:
        """See Log.transact."""
        sent, last, store = list(outputs), list(checkpoints), self._store
        store.sent |= {(ACTOR.get(), one.subject, one.payload) for one in last}
        return await self._server.call(lambda: immediately(store.transact(sent, last)), True)

    async def read(self, start: int, filters: Sequence[str]) -> "ClientReader":
        """See Log.read."""
        store = self._store
        reader = await self._server.call(lambda: immediately(store.read(start, filters)))
        return ClientReader(store, reader, self._random)

    async def last(self, subject: str) -> Message | None:
        """See Log.last."""
        return await self._server.call(lambda: immediately(self._store.last(subject)))

    async def lasts(self, subject: str) -> list[Message]:
        """See Log.lasts."""
        return await self._server.call(lambda: immediately(self._store.lasts(subject)))

    async def get(self, sequence: int) -> Message | None:
        """See Log.get."""
        return await self._server.call(lambda: immediately(self._store.get(sequence)))

    async def identity(self) -> Identity:
        """See Log.identity."""
        return await self._server.call(lambda: immediately(self._store.identity()))


class ClientReader:
    """Reads through the network: in pieces of any size, and from where it was after a cut."""

    def __init__(self, store: Store, reader: MemoryReader, random: Random) -> None:
        self._store, self._reader, self._random = store, reader, random

    async def pull(self, messages_max: int, bytes_max: int, timeout_s: float) -> list[Message]:
        """See Reader.pull."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        if self._random.random() < 0.3:  # what has come so far, not all that there is
            messages_max = min(messages_max, self._random.randint(1, 9))
        while True:
            seen = len(self._store.journal)
            found = await self._ask(messages_max, bytes_max)
            remaining = deadline - loop.time()
            if found or remaining <= 0:
                return found
            if len(self._store.journal) == seen:
                await self._store.changed(remaining)

    async def _ask(self, messages_max: int, bytes_max: int) -> list[Message]:
        reader = copy(self._reader)  # a request that arrives late moves nobody's place but its own

        def pulled() -> list[Message]:
            return immediately(reader.pull(messages_max, bytes_max, 0))

        found: list[Message] = await self._store.server.call(pulled)
        self._reader = reader
        return found

    @property
    def pending(self) -> int:
        """See Reader.pending."""
        return self._reader.pending

    async def complete(self) -> int:
        """See Reader.complete."""
        return await self._store.server.call(lambda: immediately(self._reader.complete()))

    async def close(self) -> None:
        """See Reader.close."""
