"""Reading a JetStream stream in order: an ephemeral pull consumer that is never trusted.

Two pull requests stand open while there is room, so messages flow without a round trip each. A
hole in the consumer's own sequence, a missed heartbeat, a lost connection or any refusal makes a
new consumer at the next expected stream sequence; nothing is skipped or repeated.
"""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol
from uuid import uuid4

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from tidemill.schemas.errors import Regressed, Unavailable
from tidemill.streams.jetstream_connection import ApiError, Connection
from tidemill.streams.log import Identity, Message

PULL_MESSAGES = 1_000
PULL_BYTES = 8 * 1024 * 1024
"""One pull request's limits; PULL_BYTES is above any message, or it would never be delivered."""
PULLS_OPEN_MAX = 2
BUFFER_BYTES_MAX = 2 * PULL_BYTES
"""No pull request is opened above this; with those open, at most twice as much is held."""
PULL_EXPIRES_S = 10.0
HEARTBEAT_S = 1.0
HEARTBEATS_MISSED_S = 2.5
INACTIVE_S = 60.0
_RETRY_S = 0.1


class Stream(Protocol):
    """What a reader asks of its log."""

    name: str

    async def identity(self) -> Identity: ...

    async def get(self, sequence: int) -> Message | None: ...


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
        self._consumer: _Consumer | None = None

    async def open(self) -> None:
        """Create the consumer. Raises Unavailable."""
        self._uuid = (await self._log.identity()).uuid
        try:
            await self._create()
        except ApiError as error:
            raise Unavailable(f"reading {self._log.name}: {error}") from error

    async def pull(self, messages_max: int, bytes_max: int, timeout_s: float) -> list[Message]:
        """See Reader.pull."""
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

    async def _listen(self, consumer: "_Consumer", timeout_s: float) -> None:
        """Wait for a message; distrust a consumer that is silent while we wait."""
        heard, start = consumer.heard, asyncio.get_running_loop().time()
        self._arrived.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(min(timeout_s, HEARTBEAT_S)):
                await self._arrived.wait()
        consumer.waited(heard, asyncio.get_running_loop().time() - start)

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

    async def close(self) -> None:
        """See Reader.close."""
        await self._drop()

    async def _repair(self, timeout_s: float) -> None:
        """Prove that this is still the same stream and go on where we were, within the time."""
        reason: Exception = Unavailable("no answer")
        try:
            async with asyncio.timeout(max(timeout_s, _RETRY_S)):
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
            raise Regressed(f"LOG REGRESSED: {name} is {identity.uuid}, not {self._uuid}")
        if self._last is None:
            return
        if identity.last < self._last.sequence:
            raise Regressed(f"LOG REGRESSED: {name} ends at {identity.last}, {read} was read")
        now = await self._log.get(self._last.sequence)
        if now is not None and now != self._last:
            raise Regressed(f"LOG REGRESSED: {name} has another message at {read}")

    async def _create(self) -> None:
        """Make a consumer at the next expected sequence."""
        name = self._log.name
        consumer = _Consumer(self._connection, name, self._receive, self._arrived.set)
        config = {
            "name": consumer.name,
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
            await consumer.open(config)
        except BaseException:  # also when cancelled: the subscription must not stay
            await consumer.close()
            raise
        self._consumer = consumer
        await consumer.request(self._room)

    async def _drop(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.close()

    async def _receive(self, message: Message, pending: int) -> None:
        self._buffer.append(message)
        self._buffered += len(message.payload)
        self._next = message.sequence + 1
        self._last = message
        self._pending = pending
        self._arrived.set()
        consumer = self._consumer
        if consumer is not None and consumer.open_pulls < PULLS_OPEN_MAX:
            await consumer.request(self._room)


class _Consumer:
    """One ephemeral consumer: its inbox, its open pull requests, and whether it can be trusted."""

    def __init__(
        self,
        connection: Connection,
        stream: str,
        receive: Callable[[Message, int], Awaitable[None]],
        wake: Callable[[], None],
    ) -> None:
        self.name = f"reader-{uuid4().hex}"
        self.broken = ""
        self._connection = connection
        self._stream = stream
        self._receive = receive
        self._wake = wake
        self._inbox = connection.new_inbox()
        self._subscription: Subscription | None = None
        self._sequence = 0
        self._requests = 0
        self._pulls: dict[str, None] = {}
        self._credit = 0
        self.heard = 0
        self._silent_s = 0.0
        self._unlisten = connection.on_lost(lambda: self._break("connection lost"))

    @property
    def open_pulls(self) -> int:
        """Pull requests that may still bring messages."""
        return len(self._pulls)

    def waited(self, heard: int, seconds: float) -> None:
        """Count the time waited in silence since `heard`; too much of it breaks the consumer."""
        self._silent_s = self._silent_s + seconds if self._pulls and heard == self.heard else 0.0
        if self._silent_s > HEARTBEATS_MISSED_S:
            self._break("no heartbeat")

    def _break(self, reason: str) -> None:
        self.broken = self.broken or reason
        self._wake()

    async def open(self, config: dict[str, object]) -> None:
        """Subscribe the inbox and create the consumer. Raises ApiError, Unavailable."""
        if not self._connection.connected:
            raise Unavailable("NATS is away")
        self._subscription = await self._connection.subscribe(f"{self._inbox}.*", self._on_message)
        await self._connection.api(
            f"CONSUMER.CREATE.{self._stream}.{self.name}",
            {"stream_name": self._stream, "config": config, "action": "create"},
        )

    async def request(self, room: bool) -> None:
        """Open pull requests while fewer than PULLS_OPEN_MAX are open and there is room."""
        while room and not self.broken and len(self._pulls) < PULLS_OPEN_MAX:
            self._requests += 1
            reply = f"{self._inbox}.{self._requests}"
            wanted = {
                "batch": PULL_MESSAGES,
                "max_bytes": PULL_BYTES,
                "expires": int(PULL_EXPIRES_S * 1e9),
                "idle_heartbeat": int(HEARTBEAT_S * 1e9),
            }
            self._pulls[reply] = None
            self._credit += PULL_MESSAGES
            subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self.name}"
            try:
                await self._connection.publish(subject, json.dumps(wanted).encode(), reply=reply)
            except Unavailable as error:
                self._break(str(error))

    async def _on_message(self, msg: Msg) -> None:
        if self.broken:
            return
        self.heard += 1
        if msg.subject in self._pulls or msg.subject.startswith(self._inbox):
            self._on_status(msg.subject, msg.headers or {})
            return
        sequence, own, pending = positions(msg.reply)
        if own != self._sequence + 1:
            return self._break(f"message {self._sequence + 1} of {self.name} is missing")
        self._sequence = own
        self._credit -= 1
        if self._credit == 0:
            self._pulls.clear()
        await self._receive(Message(sequence, msg.subject, msg.data), pending)

    def _on_status(self, reply: str, headers: dict[str, str]) -> None:
        status, text = headers.get("Status", ""), headers.get("Description", "")
        if status == "100":
            return self._check_heartbeat(headers)
        if status == "408" or (status == "409" and "MaxBytes" in text):
            if self._pulls.pop(reply, self) is None:
                self._credit -= int(headers.get("Nats-Pending-Messages", "0"))
            if not self._pulls:
                self._credit = 0
            return self._wake()
        self._break(f"{status} {text}")

    def _check_heartbeat(self, headers: dict[str, str]) -> None:
        """A heartbeat names the last message sent: one that we do not have is lost."""
        if int(headers.get("Nats-Last-Consumer", self._sequence)) > self._sequence:
            self._break("a heartbeat names a message that did not come")

    async def close(self) -> None:
        """Leave the inbox and delete the consumer; the server forgets it by itself otherwise."""
        self._break("closed")
        self._unlisten()
        if self._subscription is not None and not self._connection.client.is_closed:
            await self._subscription.unsubscribe()
        if self._connection.connected:
            try:
                await self._connection.publish(
                    f"$JS.API.CONSUMER.DELETE.{self._stream}.{self.name}", b""
                )
            except Unavailable:
                return


def positions(reply: str) -> tuple[int, int, int]:
    """Return stream sequence, consumer sequence and pending count of a delivery's reply subject.

    ``$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>``, or the
    same with domain and account behind ``ACK`` and a random token at the end (ADR-15).
    """
    tokens = reply.split(".")
    at = 5 if len(tokens) == 9 else 7
    return int(tokens[at]), int(tokens[at + 1]), int(tokens[at + 3])
