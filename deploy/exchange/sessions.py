"""WebSocket sessions and who listens to what.

A message is rendered and framed once for every variant that somebody wants (raw or combined,
milliseconds or microseconds) and the same bytes go to all its listeners, joined into one write a
session and tick: framing each message through the WebSocket library would cost more than all the
rest. Data frames of a server are not masked and carry no state, so this is exact as long as no
extension (compression) is negotiated.
"""

import asyncio
from collections import deque
from collections.abc import Iterable

from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN, Event


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
    """One client's connection: what it listens to and what it is owed."""

    def __init__(self, connection: CountedConnection, *, combined: bool, unit_us: int) -> None:
        self.connection = connection
        self.combined = combined
        self.unit_us = unit_us
        self.streams: dict[str, None] = {}
        self.out: list[bytes] = []
        self._incoming: deque[float] = deque()
        self._control_frames_seen = 0

    @property
    def buffered_bytes(self) -> int:
        """What the socket has not taken yet."""
        return self.connection.transport.get_write_buffer_size()

    def send(self, text: str) -> None:
        self.out.append(frame_of(text))

    def flush(self) -> None:
        """Hand everything owed to the socket in one write."""
        if self.out and self.connection.protocol.state is OPEN:
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


Variants = dict[tuple[bool, int], dict[Session, None]]


class Hub:
    """Every session, and the listeners of each stream by variant (combined, unit_us)."""

    def __init__(self) -> None:
        self.sessions: dict[Session, None] = {}
        self._streams: dict[str, Variants] = {}

    def listeners(self, stream: str) -> Variants:
        """The listeners of a stream; empty when nobody listens."""
        return self._streams.get(stream, {})

    def streams(self) -> Iterable[str]:
        return list(self._streams)

    def subscribe(self, session: Session, streams: Iterable[str]) -> None:
        for stream in streams:
            session.streams[stream] = None
            variant = (session.combined, session.unit_us)
            self._streams.setdefault(stream, {}).setdefault(variant, {})[session] = None

    def unsubscribe(self, session: Session, streams: Iterable[str]) -> None:
        for stream in streams:
            if session.streams.pop(stream, ...) is ...:
                continue
            variants = self._streams[stream]
            variant = (session.combined, session.unit_us)
            del variants[variant][session]
            if not variants[variant]:
                del variants[variant]
            if not variants:
                del self._streams[stream]

    def set_combined(self, session: Session, combined: bool) -> None:
        streams = list(session.streams)
        self.unsubscribe(session, streams)
        session.combined = combined
        self.subscribe(session, streams)

    def leave(self, session: Session) -> None:
        self.unsubscribe(session, list(session.streams))
        self.sessions.pop(session, None)

    def flush(self, buffer_bytes_max: int) -> None:
        """Write what is owed; disconnect whoever does not read fast enough."""
        for session in list(self.sessions):
            session.flush()
            if session.buffered_bytes > buffer_bytes_max:
                session.cut()

    def congested(self, buffer_bytes_max: int) -> bool:
        return any(session.buffered_bytes > buffer_bytes_max for session in self.sessions)


def wrap(stream: str, text: str, combined: bool) -> str:
    return f'{{"stream":"{stream}","data":{text}}}' if combined else text


def now_s() -> float:
    """The event loop's clock: only for limits of connections."""
    return asyncio.get_running_loop().time()
