"""Kinds of record that travel in frames, one file each; `KINDS` and `BY_TEMPLATE` register them."""

from tidemill.schemas import frame
from tidemill.schemas.frame import Frame, Kind
from tidemill.schemas.kinds.activity_bar import ACTIVITY_BAR
from tidemill.schemas.kinds.anomaly import ANOMALY
from tidemill.schemas.kinds.bar import BAR
from tidemill.schemas.kinds.book import BOOK
from tidemill.schemas.kinds.book_level import BOOK_LEVEL, BOOK_SNAPSHOT
from tidemill.schemas.kinds.book_metrics import BOOK_METRICS
from tidemill.schemas.kinds.composite_bar import COMPOSITE_BAR
from tidemill.schemas.kinds.derivative import DERIVATIVE
from tidemill.schemas.kinds.derivative_metrics import DERIVATIVE_METRICS
from tidemill.schemas.kinds.indicator import INDICATOR
from tidemill.schemas.kinds.liquidation import LIQUIDATION
from tidemill.schemas.kinds.opportunity import OPPORTUNITY
from tidemill.schemas.kinds.price import PRICE
from tidemill.schemas.kinds.quote import QUOTE
from tidemill.schemas.kinds.resampled_bar import RESAMPLED_BAR
from tidemill.schemas.kinds.signal import SIGNAL
from tidemill.schemas.kinds.status import STATUS
from tidemill.schemas.kinds.time import TIME
from tidemill.schemas.kinds.trade import TRADE
from tidemill.schemas.kinds.venue_bar import VENUE_BAR

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        TRADE,
        QUOTE,
        STATUS,
        TIME,
        BAR,
        BOOK,
        DERIVATIVE,
        LIQUIDATION,
        PRICE,
        VENUE_BAR,
        BOOK_METRICS,
        BOOK_LEVEL,
        BOOK_SNAPSHOT,
        DERIVATIVE_METRICS,
        OPPORTUNITY,
        ACTIVITY_BAR,
        INDICATOR,
        SIGNAL,
        RESAMPLED_BAR,
        COMPOSITE_BAR,
        ANOMALY,
    )
}
BY_TEMPLATE: dict[int, Kind] = {kind.template_id: kind for kind in KINDS.values()}


def decode(payload: bytes) -> Frame:
    """Decode one frame of any registered kind. Raises Unreadable."""
    return frame.decode(payload, BY_TEMPLATE)
