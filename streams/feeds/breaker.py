"""A circuit breaker: after failures in a row nothing is asked for a while, then one probe decides.

CLOSED     everything is asked; `failures_max` failures in a row open it
OPEN       nothing is asked for a pause that doubles with every failed probe, jittered
HALF_OPEN  one request probes; its success closes the breaker, its failure opens it again
"""

import random
from collections.abc import Callable

FAILURES_MAX = 5
PAUSE_S_MIN, PAUSE_S_MAX = 1.0, 30.0


class Breaker:
    """One breaker. `clock` gives seconds that only rise."""

    def __init__(self, clock: Callable[[], float], failures_max: int = FAILURES_MAX) -> None:
        self._clock = clock
        self._failures_max = failures_max
        self._failures = 0
        self._opened = 0
        self._until = 0.0
        self._probing = False

    @property
    def open(self) -> bool:
        """Whether a request would be refused now."""
        return self._opened > 0 and (self._probing or self._clock() < self._until)

    def pass_(self) -> bool:
        """Whether a request may go; in HALF_OPEN the first one may, and must report."""
        if self.open:
            return False
        self._probing = self._opened > 0
        return True

    def succeeded(self) -> None:
        """The venue answered."""
        self._failures = self._opened = 0
        self._probing = False

    def forgotten(self) -> None:
        """The request was given up by us: it says nothing of the venue."""
        self._probing = False

    def failed(self) -> None:
        """The venue did not answer, or said that it is broken."""
        self._failures += 1
        if self._probing or self._failures >= self._failures_max:
            pause_s = min(PAUSE_S_MAX, PAUSE_S_MIN * 2.0**self._opened)
            self._until = self._clock() + pause_s * random.uniform(0.5, 1.0)
            self._opened = min(self._opened + 1, 16)
            self._failures = 0
        self._probing = False
