"""One client: what it asks, what it is sent, and whether it is still there."""

import asyncio
import contextlib
import time
from collections.abc import Callable

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from tidemill.gateway.live.hub import Hub
from tidemill.gateway.live.metrics import Metrics
from tidemill.gateway.live.outbox import Outbox
from tidemill.gateway.live.protocol import Ping, Topic, event, read, refusal
from tidemill.gateway.live.settings import LiveSettings

GOING_AWAY, POLICY_VIOLATION = 1001, 1008
REFUSED_MAX = 100
"""Messages over the rate that are refused before a client is closed."""


class Rate:
    """A token bucket: `per_s` messages a second, as many at once."""

    def __init__(self, per_s: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._clock = per_s, clock
        self._left, self._at = float(per_s), clock()

    def allows(self) -> bool:
        """Take a token, if there is one."""
        now = self._clock()
        self._left = min(self._per_s, self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Session:
    """One connection, from its handshake to its end."""

    def __init__(
        self, socket: ServerConnection, hub: Hub, settings: LiveSettings, metrics: Metrics
    ) -> None:
        self._socket, self._hub = socket, hub
        self._settings, self._metrics = settings, metrics
        self._topics: set[Topic] = set()
        self._rate, self._refused = Rate(settings.live_messages_per_s), 0
        self._outbox = Outbox(
            settings.live_queue_updates_max, settings.live_queue_bytes_max, lambda: hub.newest
        )

    async def run(self) -> None:
        """Serve until the client leaves, or must."""
        self._hub.join(self._outbox)
        self._outbox.reply(event("connected", as_of=self._hub.newest))
        tasks = [asyncio.create_task(part()) for part in (self._hear, self._send, self._ping)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._hub.leave(self._outbox, self._topics)
            self._metrics.dropped.inc(self._outbox.dropped)
            self._metrics.conflated.inc(self._outbox.conflated)
            for task in tasks:
                task.cancel()
            for task in tasks:
                with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
                    await task

    async def _hear(self) -> None:
        async for text in self._socket:
            if not self._rate.allows():
                self._refuse_rate()
            else:
                self._answer(text)
            if self._refused > REFUSED_MAX or self._outbox.stuck:
                await self._socket.close(POLICY_VIOLATION, "too many messages")
                return

    def _refuse_rate(self) -> None:
        self._refused += 1
        self._metrics.refused.labels("rate").inc()
        allowed = f"at most {self._settings.live_messages_per_s} messages a second"
        self._outbox.reply(refusal("RATE_LIMITED", allowed))

    def _answer(self, text: str | bytes) -> None:
        try:
            request = read(text)
        except ValueError as error:
            self._metrics.refused.labels("invalid").inc()
            self._outbox.reply(refusal("INVALID_INPUT", str(error)))
            return
        if isinstance(request, Ping):
            self._outbox.reply(event("pong", as_of=self._hub.newest))
        elif request.op == "subscribe":
            self._subscribe(request.topic)
        else:
            self._topics.discard(request.topic)
            self._hub.unsubscribe(self._outbox, request.topic)
            self._outbox.reply(event("unsubscribed", **request.topic.fields()))

    def _subscribe(self, topic: Topic) -> None:
        most = self._settings.live_subscriptions_max
        if topic not in self._topics and len(self._topics) >= most:
            self._metrics.refused.labels("subscriptions").inc()
            self._outbox.reply(refusal("TOO_MANY_SUBSCRIPTIONS", f"at most {most}"))
            return
        self._topics.add(topic)
        self._hub.subscribe(self._outbox, topic)
        self._outbox.reply(event("subscribed", **topic.fields(), as_of=self._hub.newest))

    async def _send(self) -> None:
        while True:
            body = await self._outbox.take()
            await self._socket.send(body, text=True)
            self._metrics.messages.inc()
            self._metrics.bytes.inc(len(body))

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(self._settings.live_ping_s)
            try:
                async with asyncio.timeout(self._settings.live_pong_s):
                    await (await self._socket.ping())
            except TimeoutError:
                await self._socket.close(GOING_AWAY, "no pong")
                return
