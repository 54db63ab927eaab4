"""Reading a JetStream stream in order: an ephemeral pull consumer that is never trusted.

Two pull requests stand open while there is room, so messages flow without a round trip each. A
hole in the consumer's own sequence, a missed heartbeat, a lost connection or any refusal makes a
new consumer at the next expected stream sequence; nothing is skipped or repeated.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from tidemill.schemas.errors import Regressed, Unavailable
from tidemill.streams.jetstream_connection import ApiError, Connection
from tidemill.streams.jetstream_consumer import (
    HEARTBEAT_S,
    PULL_BYTES,
    PULLS_OPEN_MAX,
    Consumer,
)
from tidemill.streams.log import Identity, Message

BUFFER_BYTES_MAX = 2 * PULL_BYTES
"""No pull request is opened above this; with those open, at most twice as much is held."""
INACTIVE_S = 60.0
_HOW = "restore LOG or re-feed it (`tidemill repair`); nothing more is written"
_RETRY_S = 0.1
_REPAIR_S = 2.0
"""A repair gets this long even where a pull has less time: a busy server needs some of it."""


class Stream(Protocol):
    """What a reader asks of its log; of one that is `append_only` only the beginning ever goes."""

    name: str
    append_only: bool

    async def identity(self) -> Identity: ...

    async def get(self, sequence: int) -> Message | None: ...


@dataclass
class Owed:
    """At least `count` messages up to sequence `until`, by the server's own count, are to come:
    unless LOG does not begin with `first` any more. Those after the counting make up for some."""

    count: int
    until: int
    first: int


class JetStreamReader:
    """Reads one stream; implements tidemill.streams.log.Reader."""

    def __init__(
        self, connection: Connection, log: Stream, start: int, filters: Sequence[str]
    ) -> None:
        self._connection = connection
        self._log = log
        self._next = max(start, 1)
        self._filters = tuple(filters)
        self._uuid = ""
        self._last: Message | None = None
        self._buffer: deque[Message] = deque()
        self._buffered = 0
        self._pending = 0
        self._arrived = asyncio.Event()
        self._consumer: Consumer | None = None
        self._owed: Owed | None = None
        self._closed = False

    async def open(self) -> None:
        """Create the consumer. Raises Unavailable."""
        self._uuid = (await self._log.identity()).uuid
        try:
            await self._create()
        except ApiError as error:
            raise Unavailable(f"reading {self._log.name}: {error}") from error

    async def pull(self, messages_max: int, bytes_max: int, timeout_s: float) -> list[Message]:
        """See Reader.pull."""
        if self._closed:
            raise RuntimeError("the reader was closed")
        await asyncio.sleep(0)  # a full buffer must not keep other tasks from running
        deadline = asyncio.get_running_loop().time() + timeout_s
        while not self._buffer:
            remaining = deadline - asyncio.get_running_loop().time()
            if self._consumer is None or self._consumer.broken:
                await self._repair(remaining)
            elif remaining <= 0:
                return []
            else:
                await self._consumer.request(self._room)
                await self._listen(self._consumer, remaining)
        if self._owed is not None and self._buffer[-1].sequence > self._owed.until:
            await self._settle(self._owed)
        taken = self._take(messages_max, bytes_max)
        if self._consumer is not None and not self._consumer.broken:
            await self._consumer.request(self._room)
        return taken

    def _take(self, messages_max: int, bytes_max: int) -> list[Message]:
        buffer, size = self._buffer, 0
        taken: list[Message] = []
        while buffer and len(taken) < messages_max:
            size += len(buffer[0].payload)
            if taken and size > bytes_max:
                break
            taken.append(buffer.popleft())
        self._buffered -= sum([len(message.payload) for message in taken])
        return taken

    async def _listen(self, consumer: Consumer, timeout_s: float) -> None:
        """Wait for a message; distrust a consumer that is silent while we wait."""
        heard, start = consumer.heard, asyncio.get_running_loop().time()
        patience_s = min(timeout_s, HEARTBEAT_S)
        self._arrived.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self._arrived.wait()
        # Beyond our patience this process was held up itself; what came meanwhile is unheard yet.
        waited_s = asyncio.get_running_loop().time() - start
        consumer.waited(heard, min(waited_s, patience_s))

    @property
    def held_bytes(self) -> int:
        """Bytes of messages that arrived and were not pulled yet; bounded."""
        return self._buffered

    @property
    def _room(self) -> bool:
        return self._buffered < BUFFER_BYTES_MAX

    @property
    def pending(self) -> int:
        """See Reader.pending: what the server said last, and what waits here."""
        return self._pending + len(self._buffer)

    async def complete(self) -> int:
        """See Reader.complete."""
        pulled = self._buffer[0].sequence - 1 if self._buffer else self._next - 1
        consumer = self._consumer
        if self._buffer or consumer is None or consumer.broken:
            return pulled
        end = (await self._log.identity()).last  # asked first: what comes later is not claimed
        try:
            drained = await consumer.drained()
        except ApiError as error:
            raise Unavailable(f"reading {self._log.name}: {error}") from error
        return max(pulled, end) if drained and not self._buffer else pulled

    async def close(self) -> None:
        """See Reader.close."""
        self._closed = True
        await self._drop()

    async def _repair(self, timeout_s: float) -> None:
        """Prove that this is still the same stream and go on where we were, within the time."""
        broken = self._consumer.broken if self._consumer is not None else ""
        reason: Exception = Unavailable(f"no answer in time ({broken or 'no consumer'})")
        try:
            async with asyncio.timeout(max(timeout_s, _REPAIR_S)):
                while True:
                    try:
                        await self._drop()
                        await self._check()
                        return await self._create()
                    except (Unavailable, ApiError) as error:
                        reason = error
                        await asyncio.sleep(_RETRY_S)
        except TimeoutError:
            raise Unavailable(f"reading {self._log.name}: {reason}") from reason

    async def _check(self) -> None:
        """Raise Regressed unless the stream still is, and holds, what was read of it."""
        identity = await self._log.identity()
        name, read = self._log.name, self._next - 1
        if identity.uuid != self._uuid:
            raise Regressed(f"LOG REGRESSED: {name} is {identity.uuid}, not {self._uuid}: {_HOW}")
        if self._last is None:
            return
        if identity.last < self._last.sequence:
            ends = f"{name} ends at {identity.last}, {read} was read"
            raise Regressed(f"LOG REGRESSED: {ends}: {_HOW}")
        now = await self._log.get(self._last.sequence)
        if now is not None and now != self._last:
            raise Regressed(f"LOG REGRESSED: {name} has another message at {read}: {_HOW}")

    async def _settle(self, owed: Owed) -> None:
        """Raise Regressed where the server left out what it had counted: it skips a message that
        it cannot read any more (a damaged block), and says nothing."""
        identity = await self._log.identity()
        self._owed = None
        if owed.count > 0 and identity.first == owed.first:
            raise Regressed(
                f"LOG REGRESSED: {owed.count} messages of {self._log.name} up to {owed.until}"
                " cannot be read any more: restore it (`tidemill repair`)"
            )

    async def _create(self) -> None:
        """Make a consumer at the next expected sequence."""
        name = self._log.name
        before = await self._log.identity()
        self._owed = None
        consumer = Consumer(self._connection, name, self._receive, self._arrived.set)
        config = {
            "name": consumer.name,
            "description": self._connection.name,
            "ack_policy": "none",
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self._next,
            "replay_policy": "instant",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": int(INACTIVE_S * 1e9),
            "filter_subjects": list(self._filters),
        }
        try:
            self._pending = await consumer.open(config)
            after = await self._log.identity()
        except BaseException:  # also when cancelled: the subscription must not stay
            await consumer.close()
            raise
        if self._log.append_only and before.first == after.first:
            self._owed = Owed(self._pending, after.last, after.first)
        self._consumer = consumer
        await consumer.request(self._room)

    async def _drop(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.close()

    async def _receive(self, message: Message, pending: int) -> None:
        if self._owed is not None and message.sequence <= self._owed.until:
            self._owed.count -= 1
        self._buffer.append(message)
        self._buffered += len(message.payload)
        self._next = message.sequence + 1
        self._last = message
        self._pending = pending
        self._arrived.set()
        consumer = self._consumer
        if consumer is not None and consumer.open_pulls < PULLS_OPEN_MAX:
            await consumer.request(self._room)
