"""Low-rate events as JSON, one subject a file; `EVENTS` registers them by tag."""

from tidemill.schemas.events import event
from tidemill.schemas.events.activity_bars import ActivityBarsDefined, ActivityBarsRemoved
from tidemill.schemas.events.anomalies import AnomaliesDefined, AnomaliesRemoved
from tidemill.schemas.events.archive import RangeSealed, TrimAnnounced
from tidemill.schemas.events.composites import CompositeDefined, CompositeRemoved
from tidemill.schemas.events.control import CodeDeployed, DeadLetterSkipped
from tidemill.schemas.events.dead_letter import DeadLetter
from tidemill.schemas.events.event import Derived, Event, encode
from tidemill.schemas.events.feed import (
    BookGapDetected,
    BookResynced,
    ChecksumMismatch,
    ClockSkew,
    FeedConnected,
    FeedDisconnected,
    FeedStale,
    RecordsGivenUp,
    TradeGapDeclared,
    TradeGapDetected,
    TradeGapFilled,
    TradeGapSuspected,
)
from tidemill.schemas.events.fees import FeesDefined
from tidemill.schemas.events.indicators import IndicatorSetDefined, IndicatorSetRemoved
from tidemill.schemas.events.instrument import InstrumentDefined, InstrumentDefinedV1
from tidemill.schemas.events.screens import ScreenDefined, ScreenRemoved

EVENTS: dict[str, type[Event]] = {
    kind.tag(): kind
    for kind in (
        ActivityBarsDefined,
        ActivityBarsRemoved,
        AnomaliesDefined,
        AnomaliesRemoved,
        BookGapDetected,
        BookResynced,
        ChecksumMismatch,
        ClockSkew,
        CodeDeployed,
        CompositeDefined,
        CompositeRemoved,
        DeadLetter,
        DeadLetterSkipped,
        FeedConnected,
        FeedDisconnected,
        FeedStale,
        FeesDefined,
        IndicatorSetDefined,
        IndicatorSetRemoved,
        InstrumentDefined,
        InstrumentDefinedV1,
        RangeSealed,
        RecordsGivenUp,
        ScreenDefined,
        ScreenRemoved,
        TradeGapDeclared,
        TradeGapDetected,
        TradeGapFilled,
        TradeGapSuspected,
        TrimAnnounced,
    )
}

__all__ = ["EVENTS", "Derived", "Event", "decode", "encode"]


def decode(payload: bytes) -> Event:
    """Read one event of any registered type. Raises Unreadable."""
    return event.decode(payload, EVENTS)
