"""The log in memory: the real port without a server, for tests, backtests and replay.

It has what the server has: sequences, fences, all-or-nothing batches, checkpoints that replace,
readers that wait, `live.>`, and on request lost acknowledgements, absence and regression.
"""

import asyncio
from collections.abc import Sequence
from enum import Enum
from uuid import uuid4

from tidemill.schemas.errors import Fenced, Regressed, Unavailable
from tidemill.streams import batch
from tidemill.streams.filters import Matcher, within
from tidemill.streams.live import LiveQueue
from tidemill.streams.log import Checkpoint, Fence, Identity, Message

_PENDING_COUNTED_MAX = 1_000
_SCANNED_AT_ONCE = 1_000


class Fault(Enum):
    """What becomes of the next append or transaction; either way it raises Unavailable."""

    LANDED = "stored, but the acknowledgement is lost"
    LOST = "not stored"


class MemoryLog:
    """One stream in memory; implements tidemill.streams.log.Log."""

    def __init__(self, name: str, subjects: Sequence[str], uuid: str | None = None) -> None:
        self.name = name
        self.uuid = uuid or uuid4().hex
        self.faults: list[Fault | None] = []
        self.away = False
        self._subjects = tuple(subjects)
        self._taken = Matcher(subjects)
        self._first = 1
        self._messages: list[Message | None] = []
        self._lasts: dict[str, int] = {}
        self._fences: dict[str, tuple[Matcher, int]] = {}
        self._waiting: set[asyncio.Future[None]] = set()
        self._live: list[LiveQueue] = []

    @property
    def first(self) -> int:
        """The first sequence that was not purged."""
        return self._first

    @property
    def end(self) -> int:
        """The sequence that the next message gets."""
        return self._first + len(self._messages)

    async def append(self, messages: Sequence[tuple[str, bytes]], fence: Fence | None) -> int:
        """See Log.append."""
        batch.check(messages, self._taken, self.name)
        await self._attempt(() if fence is None else (fence,), messages, ())
        return self.end - 1

    async def transact(
        self, outputs: Sequence[tuple[str, bytes]], checkpoints: Sequence[Checkpoint]
    ) -> dict[str, int]:
        """See Log.transact."""
        batch.check_checkpoints(outputs, checkpoints)
        messages = [*outputs, *((one.subject, one.payload) for one in checkpoints)]
        batch.check(messages, self._taken, self.name)
        subjects = [one.subject for one in checkpoints]
        fences = [Fence(one.subject, one.last) for one in checkpoints]
        start = await self._attempt(fences, messages, subjects) + len(outputs)
        return {subject: start + at for at, subject in enumerate(subjects)}

    async def _attempt(
        self,
        fences: Sequence[Fence],
        messages: Sequence[tuple[str, bytes]],
        replaced: Sequence[str],
    ) -> int:
        """Check the fences and store; return the first message's sequence."""
        await asyncio.sleep(0)
        self._present()
        fault = self.faults.pop(0) if self.faults else None
        if fault is Fault.LOST:
            raise Unavailable("the request was lost")
        for fence in fences:
            if (last := self._last_of(fence.subject)) != fence.last:
                raise Fenced(f"{fence.subject} is at {last}, not {fence.last}")
        start = self.end
        for subject in replaced:
            self._delete(self._lasts.get(subject, 0))
        self._store(messages)
        if fault is Fault.LANDED:
            raise Unavailable("the acknowledgement was lost")
        return start

    def _store(self, messages: Sequence[tuple[str, bytes]]) -> None:
        start = self.end
        stored = [Message(start + at, *message) for at, message in enumerate(messages)]
        self._messages += stored
        for sequence, subject, _ in stored:
            self._lasts[subject] = sequence
        for pattern, (matcher, _) in self._fences.items():
            newest = next((m for m in reversed(stored) if matcher.taken(m.subject)), None)
            if newest is not None:
                self._fences[pattern] = (matcher, newest.sequence)
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()
        for queue in self._live:
            queue.put(stored)

    def _delete(self, sequence: int) -> None:
        if sequence >= self._first:
            self._messages[sequence - self._first] = None

    def _last_of(self, pattern: str) -> int:
        """Return the newest sequence on `pattern`, 0 for none; wildcards are kept up to date."""
        if "*" not in pattern and ">" not in pattern:
            return self._lasts.get(pattern, 0)
        if pattern not in self._fences:
            matcher = Matcher((pattern,))
            found = (last for subject, last in self._lasts.items() if matcher.taken(subject))
            self._fences[pattern] = (matcher, max(found, default=0))
        return self._fences[pattern][1]

    def _present(self) -> None:
        if self.away:
            raise Unavailable(f"{self.name} is away")

    async def read(self, start: int, filters: Sequence[str]) -> "MemoryReader":
        """See Log.read."""
        wanted = within(filters, self._subjects, self.name)
        self._present()
        return MemoryReader(self, max(start, self._first), wanted)

    async def last(self, subject: str) -> Message | None:
        """See Log.last."""
        self._present()
        return self._at(self._last_of(subject))

    async def lasts(self, subject: str) -> list[Message]:
        """See Log.lasts."""
        self._present()
        matcher = Matcher((subject,))
        found = [self._at(last) for one, last in self._lasts.items() if matcher.taken(one)]
        return sorted((m for m in found if m is not None), key=lambda m: m.subject)

    async def get(self, sequence: int) -> Message | None:
        """See Log.get."""
        self._present()
        return self._at(sequence)

    def _at(self, sequence: int) -> Message | None:
        if self._first <= sequence < self.end:
            return self._messages[sequence - self._first]
        return None

    async def identity(self) -> Identity:
        """See Log.identity."""
        self._present()
        first = next((m.sequence for m in self._messages if m is not None), self.end)
        return Identity(self.uuid, first, self.end - 1)

    async def live(self, filters: Sequence[str], bytes_max: int = 8 << 20) -> LiveQueue:
        """See Live.live: what is stored from now on, as `live.>` shows it."""
        queue = LiveQueue(Matcher(filters), bytes_max)

        async def leave() -> None:
            self._live.remove(queue)

        queue.on_close(leave)
        self._live.append(queue)
        return queue

    def slice(self, start: int, stop: int) -> list[Message | None]:
        """Return the messages `start` <= sequence < `stop`; None where one was replaced."""
        return self._messages[max(start - self._first, 0) : max(stop - self._first, 0)]

    async def wait(self, timeout_s: float) -> None:
        """Return after the next append, or after `timeout_s`."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        await asyncio.wait((future,), timeout=timeout_s)
        self._waiting.discard(future)

    async def purge(self, last: int) -> None:
        """Delete every message up to sequence `last`, for good."""
        self._present()
        gone = min(max(last + 1 - self._first, 0), len(self._messages))
        del self._messages[:gone]
        self._first += gone
        self._lasts = {s: r for s, r in self._lasts.items() if r >= self._first}
        self._fences.clear()

    def truncate(self, last: int) -> None:
        """Lose every message after `last`, as a server does that lost its disk's tail."""
        del self._messages[max(last + 1 - self._first, 0) :]
        self._lasts = {m.subject: m.sequence for m in self._messages if m is not None}
        self._fences.clear()

    def recreate(self) -> None:
        """Become another, empty stream of the same name."""
        self.truncate(0)
        self.uuid = uuid4().hex


class MemoryReader:
    """Reads a MemoryLog; implements tidemill.streams.log.Reader."""

    def __init__(self, log: MemoryLog, start: int, filters: Sequence[str]) -> None:
        self._log = log
        self._next = start
        self._read = 0
        self._closed = False
        self._matcher = Matcher(filters)
        self._uuid = log.uuid

    async def pull(self, messages_max: int, bytes_max: int, timeout_s: float) -> list[Message]:
        """See Reader.pull."""
        if self._closed:
            raise RuntimeError("the reader was closed")
        await asyncio.sleep(0)
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            self._check()
            if found := self._take(messages_max, bytes_max):
                self._read = found[-1].sequence
                return found
            remaining = deadline - asyncio.get_running_loop().time()
            if remaining <= 0:
                return []
            await self._log.wait(remaining)

    def _check(self) -> None:
        if self._log.away:
            raise Unavailable(f"{self._log.name} is away")
        if self._log.uuid != self._uuid:
            raise Regressed(f"LOG REGRESSED: {self._log.name} was made anew")
        if self._log.end <= self._read:
            last = self._log.end - 1
            raise Regressed(
                f"LOG REGRESSED: {self._log.name} ends at {last}, {self._read} was read"
            )

    def _take(self, messages_max: int, bytes_max: int) -> list[Message]:
        """Scan until enough was found, or the end."""
        taken: list[Message] = []
        size = 0
        self._next = max(self._next, self._log.first)
        while self._next < self._log.end and len(taken) < messages_max:
            chunk = self._log.slice(self._next, self._next + max(messages_max, _SCANNED_AT_ONCE))
            found = self._wanted(chunk)
            fits = _fitting(found, messages_max - len(taken), bytes_max - size, not taken)
            taken += found[:fits]
            if fits < len(found):
                self._next = found[fits].sequence
                break
            self._next += len(chunk)
            size += sum([len(message.payload) for message in found])
        return taken

    def _wanted(self, chunk: list[Message | None]) -> list[Message]:
        if self._matcher.takes_all:
            return [message for message in chunk if message is not None]
        taken = self._matcher.taken
        return [message for message in chunk if message is not None and taken(message.subject)]

    @property
    def pending(self) -> int:
        """See Reader.pending; exact below a thousand messages, else an upper bound."""
        near = self._log.slice(self._next, self._next + _PENDING_COUNTED_MAX)
        return len(self._wanted(near)) + max(self._log.end - self._next - len(near), 0)

    async def complete(self) -> int:
        """See Reader.complete."""
        self._check()
        return self._next - 1

    async def close(self) -> None:
        """See Reader.close."""
        self._closed = True


def _fitting(messages: list[Message], messages_max: int, bytes_max: int, first: bool) -> int:
    """Return how many leading messages fit; one always does when it is the `first` of all."""
    if len(messages) <= messages_max and sum([len(m.payload) for m in messages]) <= bytes_max:
        return len(messages)
    size = 0
    for count, message in enumerate(messages[:messages_max]):
        size += len(message.payload)
        if size > bytes_max and not (first and count == 0):
            return count
    return min(len(messages), messages_max)
