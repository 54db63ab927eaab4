"""Every processor there is: one line each."""

from tidemill.processors.activity_bars import ACTIVITY_BARS
from tidemill.processors.anomalies import ANOMALIES
from tidemill.processors.arbitrage import ARBITRAGE
from tidemill.processors.bars import BARS
from tidemill.processors.book import BOOK
from tidemill.processors.composite_bars import COMPOSITE_BARS
from tidemill.processors.derivatives import DERIVATIVES
from tidemill.processors.indicators import INDICATORS
from tidemill.processors.price import PRICE
from tidemill.processors.processor import Processor
from tidemill.processors.resampled_bars import RESAMPLED_BARS
from tidemill.processors.screener import SCREENER
from tidemill.processors.stale import STALE

PROCESSORS: tuple[Processor, ...] = (
    ACTIVITY_BARS,
    ANOMALIES,
    ARBITRAGE,
    BARS,
    BOOK,
    COMPOSITE_BARS,
    DERIVATIVES,
    INDICATORS,
    PRICE,
    RESAMPLED_BARS,
    SCREENER,
    STALE,
)
