"""One ephemeral pull consumer of JetStream: its open pull requests, and whether to trust it."""

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from uuid import uuid4

from nats.aio.subscription import Subscription

from tidemill.schemas.errors import Unavailable
from tidemill.streams.jetstream_connection import Connection
from tidemill.streams.log import Message

PULL_MESSAGES = 1_000
PULL_BYTES = 8 * 1024 * 1024
"""One pull request's limits; PULL_BYTES is above any message, or it would never be delivered."""
PULLS_OPEN_MAX = 2
PULL_EXPIRES_S = 10.0
HEARTBEAT_S = 1.0
HEARTBEATS_MISSED_S = 2.5


class Consumer:
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

    async def open(self, config: dict[str, object]) -> int:
        """Subscribe the inbox, create the consumer and return how many messages wait for it.

        Raises ApiError, Unavailable.
        """
        if not self._connection.connected:
            raise Unavailable("NATS is away")
        self._subscription = await self._connection.subscribe_deliveries(
            f"{self._inbox}.*", self._on_message
        )
        info = await self._connection.api(
            f"CONSUMER.CREATE.{self._stream}.{self.name}",
            {"stream_name": self._stream, "config": config, "action": "create"},
        )
        return int(info["num_pending"])

    async def drained(self) -> bool:
        """Return whether the server has sent all that matches, and we have it. Raises ApiError."""
        info = await self._connection.api(f"CONSUMER.INFO.{self._stream}.{self.name}")
        delivered = int(info["delivered"]["consumer_seq"])
        return int(info["num_pending"]) == 0 and delivered == self._sequence and not self.broken

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

    async def _on_message(
        self, subject: str, reply: str, payload: bytes, status: Mapping[str, str] | None
    ) -> None:
        if self.broken:
            return
        self.heard += 1
        if status is not None or subject.startswith(self._inbox):
            self._on_status(subject, status or {})
            return
        sequence, own, pending = positions(reply)
        if own != self._sequence + 1:
            return self._break(f"message {self._sequence + 1} of {self.name} is missing")
        self._sequence = own
        self._credit -= 1
        if self._credit == 0:
            self._pulls.clear()
        await self._receive(Message(sequence, subject, payload), pending)

    def _on_status(self, reply: str, headers: Mapping[str, str]) -> None:
        status, text = headers.get("Status", ""), headers.get("Description", "")
        if status == "100":
            return self._check_heartbeat(headers)
        if status == "409" and text == "Batch Completed":
            self._pulls.pop(reply, None)  # all of it was sent, its last message may come after this
            return self._wake()
        if status == "408" or (status == "409" and "MaxBytes" in text):
            if self._pulls.pop(reply, self) is None:
                self._credit -= int(headers.get("Nats-Pending-Messages", "0"))
            if not self._pulls:
                self._credit = 0
            return self._wake()
        self._break(f"{status} {text}")

    def _check_heartbeat(self, headers: Mapping[str, str]) -> None:
        """A heartbeat names the last message sent: one that we do not have is lost."""
        if int(headers.get("Nats-Last-Consumer", self._sequence)) > self._sequence:
            self._break("a heartbeat names a message that did not come")

    async def close(self) -> None:
        """Leave the inbox and delete the consumer; the server forgets it by itself otherwise."""
        self._break("closed")
        self._unlisten()
        if self._subscription is not None:
            await self._connection.unsubscribe(self._subscription)
        with suppress(Unavailable):
            deletion = f"$JS.API.CONSUMER.DELETE.{self._stream}.{self.name}"
            await self._connection.publish(deletion, b"")


def positions(reply: str) -> tuple[int, int, int]:
    """Return stream sequence, consumer sequence and pending count of a delivery's reply subject.

    ``$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>``, or the
    same with domain and account behind ``ACK`` and a random token at the end (ADR-15).
    """
    tokens = reply.split(".")
    at = 5 if len(tokens) == 9 else 7
    return int(tokens[at]), int(tokens[at + 1]), int(tokens[at + 3])
