"""How many commands a connection may still send, where a venue allows so many an hour. Pure."""

from collections import deque

SPAN_S = 3_660.0
"""An hour, and what commands that wait for their turn may be sent later than they were counted."""


class Allowance:
    """At most `most` commands in any hour; None: as many as wanted. Times are of one clock, in s.

    What belongs together is taken together, so that nothing is left half done.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._taken: deque[float] = deque(maxlen=most or 0)

    def left(self, now: float) -> float:
        """How many may be sent at `now`. Any thread may ask."""
        if self._most is None:
            return float("inf")
        return self._most - sum(at > now - SPAN_S for at in list(self._taken))

    def take(self, count: int, now: float) -> bool:
        """Take `count` at `now`, or none of them; return whether they may be sent."""
        if self.left(now) < count:
            return False
        self._taken.extend([now] * count)
        return True
