"""The venue's clock, estimated from messages: pure, fed with times, never reading a clock.

A message's lead is the venue's time in it minus our receive time: the clocks' difference less the
way it took. The greatest lead of a window has the least latency (as NTP's clock filter takes the
sample of least delay, RFC 5905 section 10; here one-way), so receive time + greatest lead never
runs ahead of what the venue has sent us already.
"""

from collections import deque

BUCKET_NS = 10_000_000_000
BUCKETS = 6
"""The window is a minute, in buckets of ten seconds."""
SKEW_NS = 250_000_000
"""A change of the offset by more than this is said."""


class VenueClock:
    """Estimates one venue's time, from `venue_time` on; `offset_ns` is None before any is known."""

    def __init__(self, venue_time: int = 0) -> None:
        self.offset_ns: int | None = None
        self.latency_ns = 0
        self._buckets: deque[tuple[int, int]] = deque(maxlen=BUCKETS)
        self._said_ns = 0
        self.newest = venue_time

    def observe(self, received: int, lead_ns: int) -> None:
        """Take the greatest lead of messages received up to `received` (ns)."""
        bucket = received // BUCKET_NS
        if self._buckets and self._buckets[-1][0] == bucket:
            lead_max = max(self._buckets.pop()[1], lead_ns)
        else:
            lead_max = lead_ns
        self._buckets.append((bucket, lead_max))
        while self._buckets[0][0] <= bucket - BUCKETS:
            self._buckets.popleft()
        self.offset_ns = max(lead for _, lead in self._buckets)
        self.latency_ns = self.offset_ns - lead_ns

    def venue_time(self, now: int) -> int | None:
        """Return the venue's time at `now` (ns), never falling; None before anything is known."""
        if self.offset_ns is None:
            return None
        self.newest = max(self.newest, now + self.offset_ns)
        return self.newest

    def skew(self) -> int | None:
        """Return the offset when it is far from the one said last, and take it as said."""
        if self.offset_ns is None or abs(self.offset_ns - self._said_ns) <= SKEW_NS:
            return None
        self._said_ns = self.offset_ns
        return self.offset_ns
