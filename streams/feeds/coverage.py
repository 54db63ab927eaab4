"""Since when trades that no id proves are heard without a break, by the turns of connections.

A connection hears everything from its UP on, but its end may be noticed late: what it missed before
its DOWN, or had not told yet at its CLOSED, another one must have heard. One that came up less than
15 s before may not have: then the trades lapse and resume at once, and are joined anew.
"""

from collections.abc import Iterable
from typing import NamedTuple

from tidemill.streams.feeds.connections import LOOP, Turn

SILENT_NS = 15_000_000_000
"""Longest that a connection may be dead before it is found out: a ping's period and patience, and
some more."""


class Covered(NamedTuple):
    """Symbols whose trades lapsed, and those that resumed; doubted ones did both."""

    lapsed: list[str]
    resumed: list[str]


class Coverage:
    """The connections that carry the trades of each symbol, of `sockets` only."""

    def __init__(self, sockets: Iterable[str]) -> None:
        self._sockets = frozenset(sockets)
        self._up: dict[str, dict[int, int]] = {}  # symbol: connection: since when (ns)

    def take(self, turn: Turn, now: int) -> Covered:
        """Take a turn at `now` (ns, receive time)."""
        covered = Covered([], [])
        if turn.connection == LOOP and turn.state == "DOWN":
            covered.lapsed.extend(symbol for symbol, up in self._up.items() if up)
            self._up.clear()
        if turn.socket not in self._sockets or turn.connection == LOOP:
            return covered
        for symbol in turn.symbols:
            up = self._up.setdefault(symbol, {})
            if turn.state == "UP":
                if not up:
                    covered.resumed.append(symbol)
                up.setdefault(turn.connection, now)
            elif turn.state != "OPENING" and up.pop(turn.connection, None) is not None:
                if not up:
                    covered.lapsed.append(symbol)
                elif min(up.values()) > now - SILENT_NS:
                    covered.lapsed.append(symbol)
                    covered.resumed.append(symbol)
        return covered
