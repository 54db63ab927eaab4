"""WebSocket sessions and who listens to what.

A message is rendered and framed once for every variant that somebody wants (Binance: raw or
combined, milliseconds or microseconds) and the same bytes go to all its listeners, joined into one
write a session and tick: framing each message through the WebSocket library would cost more than
all the rest. Data frames of a server are not masked and carry no state, so this is exact as long as
no extension (compression) is negotiated. Faults are done here, so that no protocol knows of them.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from heapq import heappop, heappush

from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN, Event

from tidemill.deploy.exchange.faults import Faults, Rule, Topic

HELD_MAX_S = 0.5  # a message to be reordered is sent then, whatever comes after it


def frame_of(text: str) -> bytes:
    """One unfragmented, unmasked text frame (RFC 6455, 5.2)."""
    payload = text.encode()
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


class CountedConnection(ServerConnection):
    """A connection that counts its control frames: Binance limits them like requests."""

    control_frames = 0

    def process_event(self, event: Event) -> None:
        if not isinstance(event, Request) and isinstance(event, Frame):
            self.control_frames += event.opcode in (Opcode.PING, Opcode.PONG)
        super().process_event(event)


class Session:
    """One client's connection: what it listens to and what it is owed.

    `variant` is how it wants its messages rendered; its protocol says what that is.
    """

    def __init__(self, connection: CountedConnection, variant: Hashable = None) -> None:
        self.connection = connection
        self.variant = variant
        self.streams: dict[str, None] = {}
        self.out: list[bytes] = []
        self.half_open = False
        self._held: dict[str, list[bytes]] = {}  # by stream: sent after the next of it
        self._late: list[tuple[float, int, str, bytes]] = []  # a heap by when it is due
        self._count = 0
        self._incoming: deque[float] = deque()
        self._control_frames_seen = 0

    @property
    def buffered_bytes(self) -> int:
        """What the socket has not taken yet."""
        return self.connection.transport.get_write_buffer_size()

    def send(self, text: str) -> None:
        """Owe it an answer: no fault touches those."""
        self.out.append(frame_of(text))

    def put(self, stream: str, frame: bytes) -> None:
        """Owe it a message of a stream, and what waited for the next one."""
        self.out.append(frame)
        if self._held and stream in self._held:
            self.out += self._held.pop(stream)

    def hold(self, stream: str, frame: bytes, due_s: float) -> None:
        """Keep a message until the next one of its stream, or until `due_s`."""
        self._held.setdefault(stream, []).append(frame)
        self.delay(stream, b"", due_s)

    def delay(self, stream: str, frame: bytes, due_s: float) -> None:
        """Keep a message until `due_s`."""
        self._count += 1
        heappush(self._late, (due_s, self._count, stream, frame))

    def flush(self, now_s: float) -> None:
        """Hand everything owed to the socket in one write."""
        while self._late and self._late[0][0] <= now_s:
            _, _, stream, frame = heappop(self._late)
            self.out += [frame] if frame else self._held.pop(stream, [])
        if self.out and not self.half_open and self.connection.protocol.state is OPEN:
            self.connection.transport.write(b"".join(self.out))
        self.out.clear()

    def too_many_incoming(self, now_s: float, per_second_max: int) -> bool:
        """Count what came in (one request, and control frames since the call before)."""
        frames = self.connection.control_frames
        self._incoming.extend([now_s] * (1 + frames - self._control_frames_seen))
        self._control_frames_seen = frames
        while self._incoming and self._incoming[0] <= now_s - 1.0:
            self._incoming.popleft()
        return len(self._incoming) > per_second_max

    def cut(self) -> None:
        """Drop the connection without a word, as a network does."""
        self.connection.transport.abort()

    def leave_half_open(self) -> None:
        """Stay connected and say nothing more: no data, no pings, no pongs, no answers."""
        self.half_open = True
        if self.connection.keepalive_task is not None:
            self.connection.keepalive_task.cancel()
        self.connection.transport.pause_reading()


Variants = dict[Hashable, dict[Session, None]]
Render = Callable[[Hashable], str]


class Hub:
    """Every session of one protocol, and the listeners of each stream by variant."""

    def __init__(self, faults: Faults) -> None:
        self.sessions: dict[Session, None] = {}
        self._streams: dict[str, Variants] = {}
        self._faults = faults

    def listened(self, stream: str) -> bool:
        """Whether anybody listens: nothing is rendered for nobody."""
        return stream in self._streams

    def streams(self) -> Iterable[str]:
        """The streams that somebody listens to."""
        return list(self._streams)

    def publish(self, topic: Topic, render: Render) -> None:
        """Send one message to every listener of the stream `topic.name`, as its variant has it;
        an empty text is not sent."""
        variants = self._streams.get(topic.name)
        if not variants:
            return
        faulty = bool(self._faults.messages)
        rule = self._faults.of_message(topic) if faulty else None
        for variant, sessions in variants.items():
            text = render(variant)
            if not text:
                continue
            frame = frame_of(text)
            for session in sessions:
                if faulty:
                    self._misdeliver(session, topic, text, frame, rule)
                else:
                    session.put(topic.name, frame)

    def publish_to(self, session: Session, topic: Topic, text: str) -> None:
        """Send one message of a stream to one listener (a snapshot on subscribing)."""
        rule = self._faults.of_message(topic)
        self._misdeliver(session, topic, text, frame_of(text), rule)

    def _misdeliver(
        self, session: Session, topic: Topic, text: str, frame: bytes, rule: Rule | None
    ) -> None:
        """Send a message to one session with what is to go wrong with it, if anything."""
        now = now_s()
        rule = rule or self._faults.of_listener(topic, now)
        if rule is None:
            session.put(topic.name, frame)
            return
        self._faults.done[rule.kind] += 1
        if rule.kind == "duplicate":
            session.put(topic.name, frame)
            session.put(topic.name, frame)
        elif rule.kind == "reorder":
            session.hold(topic.name, frame, now + HELD_MAX_S)
        elif rule.kind == "delay":
            session.delay(topic.name, frame, now + rule.ms / 1e3)
        elif rule.kind != "drop":
            session.put(topic.name, frame_of(self._faults.corrupted(rule, text)))

    def subscribe(self, session: Session, streams: Iterable[str]) -> None:
        """Have a session listen to streams, whether they exist or not."""
        for stream in streams:
            session.streams[stream] = None
            self._streams.setdefault(stream, {}).setdefault(session.variant, {})[session] = None

    def unsubscribe(self, session: Session, streams: Iterable[str]) -> None:
        """Have a session listen to streams no more."""
        for stream in streams:
            if session.streams.pop(stream, ...) is ...:
                continue
            variants = self._streams[stream]
            del variants[session.variant][session]
            if not variants[session.variant]:
                del variants[session.variant]
            if not variants:
                del self._streams[stream]

    def set_variant(self, session: Session, variant: Hashable) -> None:
        """Render what a session listens to otherwise from now on."""
        streams = list(session.streams)
        self.unsubscribe(session, streams)
        session.variant = variant
        self.subscribe(session, streams)

    def leave(self, session: Session) -> None:
        """Forget a session."""
        self.unsubscribe(session, list(session.streams))
        self.sessions.pop(session, None)

    def flush(self, buffer_bytes_max: int) -> None:
        """Write what is owed; disconnect whoever does not read fast enough."""
        now = now_s()
        for session in list(self.sessions):
            session.flush(now)
            if session.buffered_bytes > buffer_bytes_max:
                session.cut()

    def congested(self, buffer_bytes_max: int) -> bool:
        """Whether somebody does not read as fast as it is written."""
        return any(session.buffered_bytes > buffer_bytes_max for session in self.sessions)


def now_s() -> float:
    """The event loop's clock: only for connections, their limits and faults."""
    return asyncio.get_running_loop().time()
