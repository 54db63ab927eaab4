"""What is said of a whole feed: that it is connected or not, could not read, or sees time jump."""

from tidemill.schemas.events.event import Event
from tidemill.schemas.events.feed import (
    ClockSkew,
    FeedConnected,
    FeedDisconnected,
    RecordsGivenUp,
)
from tidemill.streams.feeds.clock import VenueClock
from tidemill.streams.feeds.connections import Turned
from tidemill.streams.feeds.feed import Malformed, Venue

REASON_CHARS_MAX = 300


def connected_event(venue: Venue, turned: Turned, reason: str, now: int) -> Event:
    """Return the event of a turn at `now` (ns) after which everything is heard, or not any more."""
    names = {
        "venue": venue.venue,
        "product": venue.product,
        "connection": turned.connection,
        "ts_recv": now,
    }
    if turned.connected:
        return FeedConnected.model_validate(names)
    return FeedDisconnected.model_validate({**names, "reason": reason[:REASON_CHARS_MAX]})


def unreadable_event(venue: Venue, malformed: list[Malformed]) -> RecordsGivenUp:
    """Return the event of messages, at least one, that could not be read."""
    return RecordsGivenUp(
        venue=venue.venue,
        product=venue.product,
        records=len(malformed),
        ts_from=malformed[0].received,
        ts_to=malformed[-1].received,
        reason=f"unreadable messages, the first: {malformed[0].reason}"[:REASON_CHARS_MAX],
    )


def skew_event(venue: Venue, clock: VenueClock, now: int) -> ClockSkew | None:
    """Return an event where the venue's clock has moved against ours since the last one."""
    offset_ns = clock.skew()
    if offset_ns is None:
        return None
    return ClockSkew(
        venue=venue.venue,
        product=venue.product,
        offset_ns=offset_ns,
        latency_ns=clock.latency_ns,
        ts_recv=now,
    )
