"""Misbehaviour on request: what a test asks the exchange to do wrong.

drop       the next `count` trades of `symbol` are not sent; REST still has them
duplicate  the next `count` trades of `symbol` are sent twice
cut        every connection is reset now
pause      for `seconds` the market goes on but nothing at all is sent; then it is sent late
mute       for `seconds` what would be sent is thrown away: a half-open connection
"""

from dataclasses import dataclass, field

KINDS = ("drop", "duplicate", "cut", "pause", "mute")


@dataclass
class Faults:
    """What is armed. `done` counts what was done wrong, by kind."""

    drop: dict[str, int] = field(default_factory=dict)
    duplicate: dict[str, int] = field(default_factory=dict)
    cut_now: bool = False
    paused_until_s: float = 0.0
    muted_until_s: float = 0.0
    done: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))

    def arm(self, kind: str, symbol: str, count: int, seconds: float, now_s: float) -> None:
        """Ask for a fault. ValueError for one that is not known."""
        if kind == "drop":
            self.drop[symbol] = self.drop.get(symbol, 0) + count
        elif kind == "duplicate":
            self.duplicate[symbol] = self.duplicate.get(symbol, 0) + count
        elif kind == "cut":
            self.cut_now = True
        elif kind == "pause":
            self.paused_until_s = now_s + seconds
        elif kind == "mute":
            self.muted_until_s = now_s + seconds
        else:
            raise ValueError(f"unknown fault {kind!r}")

    def copies(self, symbol: str) -> int:
        """How often the next trade of a symbol is sent."""
        for kind, armed, copies in (("drop", self.drop, 0), ("duplicate", self.duplicate, 2)):
            left = armed.get(symbol, 0)
            if left:
                self.done[kind] += 1
                armed[symbol] = left - 1
                return copies
        return 1
