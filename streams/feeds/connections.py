"""Which channels are heard, by what the loop notes of its connections: pure, so replay knows, too.

The loop notes every turn of a connection as a raw message among the venue's (`socket_message`):

    OPENING  it is about to carry the channels of `socket` for `symbols`, beside others perhaps
    UP       it is subscribed: from here on everything comes
    DOWN     it ended, or never came up; the loop will open another one
    CLOSED   we ended it: another one took over, or its symbols are not wanted any more

A symbol is heard on a socket while at least one connection that carries it is UP. It lapses when
the last one goes. Connection 0 stands for the loop itself, its symbols are all that it wants; when
it is DOWN, so is every connection: the loop began anew. A capture without such messages is heard
always.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import orjson

from tidemill.schemas.errors import Unreadable

State = Literal["OPENING", "UP", "DOWN", "CLOSED"]
PREFIX = b'{"stream":"socket:'
LOOP = 0
"""The number that stands for the loop itself."""
TAIL_NS = 1_000_000_000
"""How long after two connections carried the same the later one's messages are still merged."""


class Turn(NamedTuple):
    """One turn of a connection, as the loop noted it."""

    socket: str
    connection: int
    state: State
    reason: str
    symbols: tuple[str, ...]


def socket_message(turn: Turn) -> bytes:
    """Return `turn` as a raw message."""
    data = turn._asdict()
    return orjson.dumps({"stream": f"socket:{data.pop('socket')}", "data": data})


def turn_of(raw: bytes) -> Turn:
    """Return what `socket_message` made. Raises Unreadable."""
    try:
        message = orjson.loads(raw)
        data: Mapping[str, Any] = message["data"]
        symbols = tuple(map(str, data["symbols"]))
        state, socket = data["state"], str(message["stream"]).removeprefix("socket:")
        turn = Turn(socket, int(data["connection"]), state, str(data["reason"]), symbols)
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"it notes no connection: {type(error).__name__} {error}") from error
    if state not in get_args(State):
        raise Unreadable(f"{state!r} is no state of a connection")
    return turn


Heard = tuple[str, str]
"""A socket's name and a symbol."""


@dataclass
class Turned:
    """What a turn changes: what lapsed, what is heard (again), and whether all is, if that changed.

    `connection` is the one to name: the first after everything was down, or the one that ended.
    """

    lapsed: list[Heard] = field(default_factory=list)
    resumed: list[Heard] = field(default_factory=list)
    connected: bool | None = None
    connection: int = 0


class Connections:
    """The connections of one feed. `connected` says that everything wanted is heard.

    What is wanted while everything else is heard (an instrument just listed) does not change that.
    `merged_until` is the receive time (ns) when messages stopped coming twice, the last time.
    """

    def __init__(self) -> None:
        self.connected = False
        self.merged_until = 0
        self._up: dict[Heard, set[int]] = {}  # wanted, and the connections that are UP
        self._opening: dict[Heard, set[int]] = {}
        self._joined: set[Heard] = set()  # those of `_up` that were UP once
        self._twice: set[Heard] = set()
        self._named = 0

    def heard(self, socket: str, symbol: str) -> bool:
        """Whether a connection that carries it is UP, or nothing was ever noted of it."""
        return bool(self._up.get((socket, symbol), True))

    def merging(self, now: int) -> bool:
        """Whether messages may come twice at `now` (ns): two carry the same, or did lately."""
        return bool(self._twice) or now < self.merged_until

    def take(self, turn: Turn, now: int) -> Turned:
        """Take a turn at `now` (ns, receive time)."""
        turned = Turned(connection=turn.connection)
        if turn.connection == LOOP and turn.state == "DOWN":
            for key in list(self._up):
                self._leave(key, None, turned, now)
        for symbol in turn.symbols if turn.connection != LOOP else ():
            key = turn.socket, symbol
            if turn.state == "OPENING":
                self._up.setdefault(key, set())
                self._opening.setdefault(key, set()).add(turn.connection)
            elif turn.state == "UP":
                self._enter(key, turn.connection, turned)
            else:
                self._leave(key, turn.connection, turned, now)
                if turn.state == "CLOSED" and not self._up[key] and not self._opening[key]:
                    del self._up[key], self._opening[key]  # not wanted any more
                    self._joined.discard(key)
            self._count(key, now)
        self._note(turned)
        return turned

    def _enter(self, key: Heard, connection: int, turned: Turned) -> None:
        up = self._up.setdefault(key, set())
        if not up:
            turned.resumed.append(key)
        up.add(connection)
        self._joined.add(key)
        self._opening.setdefault(key, set()).discard(connection)

    def _leave(self, key: Heard, connection: int | None, turned: Turned, now: int) -> None:
        """Let one connection (None: every one) carry `key` no more."""
        up, opening = self._up.setdefault(key, set()), self._opening.setdefault(key, set())
        was = bool(up)
        if connection is None:
            up.clear()
            opening.clear()
            self._count(key, now)
        up.discard(connection or 0)
        opening.discard(connection or 0)
        if was and not up:
            turned.lapsed.append(key)

    def _count(self, key: Heard, now: int) -> None:
        """Note whether two connections carry `key`."""
        if len(self._up.get(key, ())) + len(self._opening.get(key, ())) > 1:
            self._twice.add(key)
        elif key in self._twice:
            self._twice.remove(key)
            self.merged_until = max(self.merged_until, now + TAIL_NS)

    def _note(self, turned: Turned) -> None:
        counted = self._joined if self.connected else self._up
        connected = bool(counted) and all(self._up[key] for key in counted)
        if connected != self.connected:
            self.connected = turned.connected = connected
            if connected:
                self._named = turned.connection
            else:
                turned.connection = self._named
