"""How often something may still be done, where a venue allows it so often in a time. Pure."""

from collections import deque

SPAN_S = 3_660.0
"""An hour, and what commands that wait for their turn may be sent later than they were counted."""
LATE = 1.2
"""Connections are counted for so many times the venue's span: they reach it sooner or later."""


class Allowance:
    """At most `most` in any `span_s`; None: as many as wanted. Times are of one clock, in s.

    What belongs together is taken together, so that nothing is left half done.
    """

    def __init__(self, most: int | None, span_s: float = SPAN_S) -> None:
        self._most, self._span_s = most, span_s
        self._taken: deque[float] = deque(maxlen=most or 0)

    def left(self, now: float) -> float:
        """How many are left at `now`. Any thread may ask."""
        if self._most is None:
            return float("inf")
        return self._most - sum(at > now - self._span_s for at in list(self._taken))

    def take(self, count: int, now: float) -> bool:
        """Take `count` at `now`, or none of them; return whether they were left."""
        if self.left(now) < count:
            return False
        self._taken.extend([now] * count)
        return True


def connections_of(allowed: tuple[int, float] | None) -> Allowance:
    """Return the allowance of `Limits.connections`, for all feeds that share an address."""
    most, span_s = allowed or (None, 0.0)
    return Allowance(most, LATE * span_s)
