"""Who wants what, and the loop that hands every committed update to those who do."""

import asyncio
import logging
from collections.abc import Iterator
from itertools import product

from tidemill.gateway.live.metrics import Metrics
from tidemill.gateway.live.outbox import Outbox
from tidemill.gateway.live.protocol import ANY, Topic, event
from tidemill.gateway.live.updates import DERIVED, FILTERS, topic_of, updates_of
from tidemill.schemas import kinds
from tidemill.schemas.errors import Unavailable, Unreadable
from tidemill.streams.jetstream import live
from tidemill.streams.jetstream_connection import Connection, connect
from tidemill.streams.live import LiveQueue
from tidemill.streams.log import Message
from tidemill.streams.subjects import parse

log = logging.getLogger(__name__)

INBOX_PREFIX = "_INBOX.gateway"
PULL_MESSAGES_MAX, PULL_TIMEOUT_S = 256, 0.5
QUEUE_BYTES_MAX = 32 << 20
RETRY_MIN_S, RETRY_MAX_S = 0.1, 5.0


class Hub:
    """Subscriptions of all clients, and the newest position that has been seen."""

    def __init__(self, url: str, metrics: Metrics) -> None:
        self.newest = 0
        self._url, self._metrics = url, metrics
        self._wanting: dict[Topic, dict[Outbox, None]] = {}
        self._everyone: dict[Outbox, None] = {}
        self._connection: Connection | None = None
        self._dropped = 0
        self._lost = self._back = False

    @property
    def connected(self) -> bool:
        """Whether NATS is there, as far as is known."""
        return self._connection is not None and self._connection.connected

    def join(self, outbox: Outbox) -> None:
        """Add a client."""
        self._everyone[outbox] = None

    def leave(self, outbox: Outbox, topics: set[Topic]) -> None:
        """Remove a client and its subscriptions."""
        del self._everyone[outbox]
        for topic in topics:
            self.unsubscribe(outbox, topic)

    def subscribe(self, outbox: Outbox, topic: Topic) -> None:
        """Hand updates of `topic` to `outbox` from now on."""
        self._wanting.setdefault(topic, {})[outbox] = None

    def unsubscribe(self, outbox: Outbox, topic: Topic) -> None:
        """Hand no more of them."""
        wanting = self._wanting.get(topic, {})
        wanting.pop(outbox, None)
        if not wanting:
            self._wanting.pop(topic, None)

    async def run(self) -> None:
        """Listen for ever; waits while NATS is away."""
        self._connection, queue = await self._listen()
        self._connection.on_lost(self._on_lost)
        try:
            while True:
                messages = await queue.pull(PULL_MESSAGES_MAX, PULL_TIMEOUT_S)
                for message in messages:
                    self._hand(message)
                self._look_for_gaps(queue, len(messages))
                await asyncio.sleep(0)  # clients' turn
        finally:
            await self._connection.close()

    async def _listen(self) -> tuple[Connection, LiveQueue]:
        pause_s = RETRY_MIN_S
        while True:
            try:
                connection = await connect(self._url, name="live", inbox_prefix=INBOX_PREFIX)
                return connection, await live(connection, FILTERS, QUEUE_BYTES_MAX)
            except Unavailable as error:
                log.warning("%s", error)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RETRY_MAX_S)

    def _on_lost(self) -> None:
        self._lost, self._back = True, False

    def _look_for_gaps(self, queue: LiveQueue, pulled: int) -> None:
        """Tell everybody once what this server has missed itself.

        After a lost connection only when all that came before was handed on, so that the position
        that is told lies behind what was missed.
        """
        if queue.dropped > self._dropped:
            self._tell_gap(queue.dropped - self._dropped)
            self._dropped = queue.dropped
        if self._lost and self._back and pulled:
            self._lost = False
            self._tell_gap(None)
        elif self._lost and self.connected and pulled < PULL_MESSAGES_MAX:
            self._back = True

    def _tell_gap(self, dropped: int | None) -> None:
        nothing = {"channel": None, "symbol": None, "venue": None}
        body = event("gap", **nothing, dropped=dropped, as_of=self.newest)
        for outbox in self._everyone:
            outbox.reply(body)
        self._metrics.gaps.inc()

    def _hand(self, message: Message) -> None:
        """Give a message's updates to those who want them; decode and write it once, if at all."""
        topic = topic_of(parse(message.subject))
        derived = topic is not None and topic.channel in DERIVED
        if not derived:
            self.newest = max(self.newest, message.sequence)
        takers = dict(self._takers(topic)) if topic is not None else {}
        if topic is None or not (takers or derived):
            return
        try:
            frame = kinds.decode(message.payload)
        except Unreadable as error:
            log.error("%s %d: %s", message.subject, message.sequence, error)
            self._tell_gap(1)
            return
        if derived:  # its own sequence is OUT's, which is no position
            self.newest = max(self.newest, int(frame.records["at_r"].max()))
        for update in updates_of(frame, topic, message.sequence) if takers else ():
            self._metrics.updates.labels(topic.channel).inc()
            for outbox in takers:
                outbox.put(update)

    def _takers(self, topic: Topic) -> Iterator[tuple[Outbox, None]]:
        screens = (topic.screen, ANY) if topic.screen else ("",)
        for symbol, venue, screen in product((topic.symbol, ANY), (topic.venue, ANY), screens):
            named = topic._replace(symbol=symbol, venue=venue, screen=screen)
            yield from self._wanting.get(named, {}).items()
