"""Captures of cryptofeed as capture lines: its text layout, and the JSON lines of its successor.

Text, one line an event (times are seconds since 1970; cryptofeed's tools/ write it):

    <time>: <raw message>           received
    <url> <-> <time>                a connection was opened
    <url> <- <time>: <message>      sent
    <url> -> <time>: <body>         REST answered
    configuration: <JSON>           of the recorder; not kept

JSON lines, one object a line, of ``t`` header, http, connect, send, recv, with ``ts`` (s), ``url``
or ``addr``, and ``data`` (the message as text).

What was received stays as it was, to the byte. REST answers become ``rest:`` messages. What a
connection carries is told by its URL or by what was sent; where a venue file knows the address,
that becomes ``socket:`` messages (UP), so that a replay says that the feed was connected.
"""

import re
from collections.abc import Iterable, Iterator
from heapq import merge
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import orjson

from tidemill.schemas.errors import Unreadable
from tidemill.streams.feeds.capture import rest_message
from tidemill.streams.feeds.connections import Turn, socket_message
from tidemill.streams.feeds.feed import Socket, Venue
from tidemill.streams.feeds.registry import VENUES

Line = tuple[int, bytes]
"""Receive time (ns) and raw message: a line of a capture."""

_TEXT = re.compile(rb"(?:(\S+) (->|<-|<->) )?(\d{1,10})(?:\.(\d{1,9}))?(?:: (.*)|\s*)", re.DOTALL)
_NOT_KEPT = b"configuration: "


class Topic(NamedTuple):
    """One subscription: a venue's channel, and what the venue calls the instrument."""

    channel: str
    raw: str


def converted(name: str, lines: Iterable[bytes]) -> Iterator[Line]:
    """Yield the capture lines of the file `name`. Raises Unreadable, naming the wrong line."""
    text, jsons = _Text(), _JsonLines()
    for number, line in enumerate(lines, 1):
        if line.isspace() or line.startswith(_NOT_KEPT):
            continue
        layout = jsons if line.startswith(b"{") else text
        try:
            yield from layout.read(line.rstrip(b"\r\n"))
        except (KeyError, TypeError, ValueError, Unreadable) as error:
            raise Unreadable(
                f"{name}, line {number} is of no known layout: {type(error).__name__} {error}"
            ) from error


def merged(files: Iterable[tuple[str, Iterable[bytes]]]) -> Iterator[Line]:
    """Yield the capture lines of (name, lines) that were recorded together, by receive time.

    Raises as `converted`.
    """
    return merge(*(converted(name, lines) for name, lines in files), key=lambda line: line[0])


class _Text:
    """Reads the text layout. A file holds one connection after another."""

    def __init__(self) -> None:
        self._connection = 0

    def read(self, line: bytes) -> Iterator[Line]:
        match = _TEXT.fullmatch(line)
        if match is None:
            raise Unreadable(f"{line[:60]!r} begins with no time")
        url, arrow, seconds, fraction, body = match.groups()
        at = int(seconds) * 1_000_000_000 + int((fraction or b"").ljust(9, b"0"))
        if arrow is None:
            yield at, body or b""
        elif arrow == b"->":
            yield at, _rest(url.decode(), body or b"")
        elif arrow == b"<->":
            self._connection += 1
            yield from _turns(at, self._connection, url.decode(), _of_url(url.decode()))
        else:
            yield from _turns(at, self._connection, url.decode(), _of_command(body or b""))


class _JsonLines:
    """Reads JSON lines. Connections are numbered as they come."""

    def __init__(self) -> None:
        self._connections: dict[str, int] = {}

    def read(self, line: bytes) -> Iterator[Line]:
        event = orjson.loads(line)
        what = event["t"]
        if what == "header":
            return
        at = _nanoseconds(event["ts"])
        if what == "recv":
            yield at, event["data"].encode()
        elif what == "http":
            yield at, _rest(event["url"], event["data"].encode())
        elif what == "connect":
            number = self._connections.setdefault(event["conn"], len(self._connections) + 1)
            yield from _turns(at, number, event["addr"], _of_url(event["addr"]))
        elif what == "send":
            number = self._connections[event["conn"]]
            yield from _turns(at, number, event["addr"], _of_command(event["data"].encode()))
        else:
            raise Unreadable(f"{what!r} is no event")


def _nanoseconds(seconds: float) -> int:
    """Seconds as JSON has them, by their shortest text: exact to what was written."""
    whole, _, fraction = repr(float(seconds)).partition(".")
    return int(whole) * 1_000_000_000 + int(fraction[:9].ljust(9, "0"))


def _rest(url: str, body: bytes) -> bytes:
    parts = urlsplit(url)
    return rest_message(parts.path + (f"?{parts.query}" if parts.query else ""), body)


def _turns(at: int, connection: int, url: str, topics: list[Topic]) -> Iterator[Line]:
    """Yield what the venue files that know `url` carry of `topics`, from here on."""
    if not topics:
        return
    for venue, socket in _sockets_of(url):
        names = {_kind(channel.name) for channel in socket.channels}
        found = (venue.infer(t.raw) for t in topics if _kind(t.channel) in names)
        symbols = tuple(dict.fromkeys(d.symbol for d in found if d is not None))
        if symbols:
            yield at, socket_message(Turn(socket.name, connection, "UP", "recorded", symbols))


def _sockets_of(url: str) -> Iterator[tuple[Venue, Socket]]:
    """Yield the sockets at `url`, or at a path under which it was split since."""
    asked = urlsplit(url)
    for venue in VENUES.values():
        for socket in venue.sockets:
            own = urlsplit(venue.url(venue.endpoints.websocket, socket))
            if own.hostname == asked.hostname and own.path.endswith(asked.path):
                yield venue, socket


def _kind(channel: str) -> str:
    """The first word of a channel's name: depth of depth@100ms, orderbook of orderbook.200."""
    return re.split(r"[@._]", channel, maxsplit=1)[0]


def _of_url(url: str) -> list[Topic]:
    """What a URL subscribes to: /stream?streams=btcusdt@trade/... of Binance."""
    streams = parse_qs(urlsplit(url).query).get("streams", [""])[0]
    return [topic for name in streams.split("/") if (topic := _topic(name)) is not None]


def _of_command(body: bytes) -> list[Topic]:
    """What a message subscribes to; nothing if it is another one, as a ping."""
    try:
        command = orjson.loads(body)
    except orjson.JSONDecodeError:
        return []
    if not isinstance(command, dict):
        return []
    if str(command.get("op", command.get("method", ""))).lower() != "subscribe":
        return []
    asked: list[Any] = command.get("args") or command.get("params") or []
    return [topic for name in asked if (topic := _topic(name)) is not None]


def _topic(name: Any) -> Topic | None:
    """Read btcusdt@depth (Binance), orderbook.200.BTCUSDT (Bybit), {channel, instId} (OKX)."""
    if isinstance(name, dict):
        return Topic(name["channel"], name["instId"]) if "instId" in name else None
    if "@" in name:
        raw, _, channel = name.partition("@")
        return Topic(channel, raw.upper())
    channel, dot, raw = name.rpartition(".")
    return Topic(channel, raw) if dot else None
