"""What a feed says of itself: connections, holes, staleness, clocks."""

from typing import ClassVar, Literal

from tidemill.schemas.events.event import Derived, Event
from tidemill.schemas.events.instrument import Name, ShortName


class FeedConnected(Event):
    """A feed's socket is up and subscribed. `connection` counts up from 1 for one process."""

    channel: ClassVar[str] = "md.event"
    venue: ShortName
    product: ShortName
    connection: int
    ts_recv: int


class FeedDisconnected(Event):
    """A feed's socket went down, and why."""

    channel: ClassVar[str] = "md.event"
    venue: ShortName
    product: ShortName
    connection: int
    ts_recv: int
    reason: str


class FeedStale(Derived):
    """Nothing was heard of a feed for `silent_ns` of `time`; derived from `time` and `status`."""

    channel: ClassVar[str] = "feeds.stale"
    venue: ShortName
    product: ShortName
    ts: int
    silent_ns: int
    state: Literal["STALE", "FRESH"]


class TradeGapDetected(Event):
    """Trades with ids `first_id` to `last_id` were not received; bars are held meanwhile."""

    channel: ClassVar[str] = "md.event"
    venue: ShortName
    symbol: Name
    first_id: int
    last_id: int
    ts_recv: int


class TradeGapFilled(Event):
    """Trades `first_id` to `last_id` were fetched and appended in id order."""

    channel: ClassVar[str] = "md.event"
    venue: ShortName
    symbol: Name
    first_id: int
    last_id: int
    ts_recv: int


class TradeGapDeclared(Event):
    """Trades `first_id` to `last_id` are lost for good; the bars they touch carry GAP.

    `ts_from` and `ts_to` are the event times of the trades around the hole (ns).
    """

    channel: ClassVar[str] = "md.event"
    venue: ShortName
    symbol: Name
    first_id: int
    last_id: int
    ts_from: int
    ts_to: int
    ts_recv: int
    reason: str


class TradeGapSuspected(Event):
    """Trades may be missing between event times `ts_from` and `ts_to` (ns); bars there carry GAP.

    RECONNECTED: a channel without contiguous ids was down between them. BAR_DIFFERS: the venue's
    own bar says `expected` where its trades add up to `received` (volume; decimal text).
    """

    channel: ClassVar[str] = "md.event"
    venue: ShortName
    symbol: Name
    ts_from: int
    ts_to: int
    ts_recv: int
    reason: Literal["RECONNECTED", "BAR_DIFFERS"]
    expected: str = ""
    received: str = ""


class BookGapDetected(Event):
    """The book is INVALID from here on: what came does not follow from what was there.

    `last_update_id` is the book's; the next change had to follow `expected_id` and said it follows
    `received_id` (-1 where there is no such number).
    """

    channel: ClassVar[str] = "md.event"
    venue: ShortName
    symbol: Name
    last_update_id: int
    expected_id: int
    received_id: int
    ts_recv: int
    reason: Literal["GAP", "DISCONNECTED", "CHECKSUM", "CROSSED", "MALFORMED", "OVERFLOW"]


class BookResynced(Event):
    """The book is VALID again, from the snapshot before this on; it was not for `invalid_ns`."""

    channel: ClassVar[str] = "md.event"
    venue: ShortName
    symbol: Name
    last_update_id: int
    invalid_ns: int
    attempts: int
    ts_recv: int


class ChecksumMismatch(Event):
    """The venue's checksum of its book differs from ours after update `last_update_id`."""

    channel: ClassVar[str] = "md.event"
    venue: ShortName
    symbol: Name
    last_update_id: int
    expected: int
    computed: int
    ts_recv: int


class RecordsGivenUp(Event):
    """Records could not be appended within the limit and were dropped, declared here."""

    channel: ClassVar[str] = "md.event"
    venue: ShortName
    product: ShortName
    records: int
    ts_from: int
    ts_to: int
    reason: str


class ClockSkew(Event):
    """The venue's clock against ours: `offset_ns` is venue minus ours at the least latency."""

    channel: ClassVar[str] = "md.event"
    venue: ShortName
    product: ShortName
    offset_ns: int
    latency_ns: int
    ts_recv: int
