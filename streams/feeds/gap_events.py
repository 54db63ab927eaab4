"""What is said of an instrument's trades, as events. Pure."""

from typing import Any

from tidemill.schemas.events.event import Event
from tidemill.schemas.events.feed import (
    TradeGapDeclared,
    TradeGapDetected,
    TradeGapFilled,
    TradeGapSuspected,
)
from tidemill.streams.feeds.audit import Differs
from tidemill.streams.feeds.feed import Instrument
from tidemill.streams.feeds.gaps import Declared, Detected, Filled
from tidemill.streams.feeds.session import Suspected

Finding = Detected | Filled | Declared | Suspected | Differs
_OF_IDS: dict[type[Finding], type[Event]] = {
    Detected: TradeGapDetected,
    Filled: TradeGapFilled,
    Declared: TradeGapDeclared,
}


def event_of(finding: Finding, instrument: Instrument, now: int) -> Event:
    """Return the event that says a finding of an instrument's trades at `now` (ns)."""
    said: dict[str, Any] = {
        "venue": instrument.definition.venue,
        "symbol": instrument.symbol,
        "ts_recv": now,
        **finding._asdict(),
    }
    if isinstance(finding, Suspected):
        return TradeGapSuspected.model_validate({**said, "reason": "RECONNECTED"})
    if isinstance(finding, Differs):
        return TradeGapSuspected.model_validate({**said, "reason": "BAR_DIFFERS"})
    said |= {"first_id": said.pop("first"), "last_id": said.pop("last")}
    return _OF_IDS[type(finding)].model_validate(said)
