"""Enumerations with NautilusTrader's names, which are FIX's; their numbers are on the wire."""

from enum import IntEnum, IntFlag


class AggressorSide(IntEnum):
    """Who took liquidity in a trade."""

    NO_AGGRESSOR = 0
    BUYER = 1
    SELLER = 2


class OrderSide(IntEnum):
    """The side of an order, or of a level in a book."""

    NO_ORDER_SIDE = 0
    BUY = 1
    SELL = 2


class RecordFlag(IntFlag):
    """What is to be known of one market-data record besides its values (uint16)."""

    NONE = 0
    FILLED = 1  # fetched over REST after a hole was seen
    BLOCK = 2  # a block trade, away from the book
    LIQUIDATION = 4
    AGGREGATE = 8  # several fills under one id
    LAST = 16  # last record of one venue message
    SNAPSHOT = 32  # part of a snapshot, not of a change
    RPI = 64  # it met, at least in part, an order for retail price improvement, which no book shows


class BarFlag(IntFlag):
    """What is to be known of one bar besides its values (uint16)."""

    NONE = 0
    GAP = 1  # a declared or suspected hole touches its interval
    LATE = 2  # revised after it had closed, by a late trade
    PARTIAL = 4  # the feed began inside its interval
    STALE = 8  # closed while its feed was stale


class BarAggregation(IntEnum):
    """What an activity bar counts until it closes; NautilusTrader's numbers, RANGE is ours."""

    TICK = 1
    TICK_IMBALANCE = 2
    TICK_RUNS = 3
    VOLUME = 4
    VOLUME_IMBALANCE = 5
    VOLUME_RUNS = 6
    VALUE = 7
    VALUE_IMBALANCE = 8
    VALUE_RUNS = 9
    RENKO = 18
    RANGE = 100


class BookState(IntEnum):
    """Whether a book is proven to be the venue's."""

    SYNCHRONIZING = 0  # no whole snapshot yet
    VALID = 1  # a snapshot and every change after it
    INVALID = 2  # not since a gap, or while its feed is silent


class BookFlag(IntFlag):
    """What is to be known of one book besides its state (uint16)."""

    NONE = 0
    CROSSED = 1  # its best bid is not below its best ask
    TRUNCATED = 2  # it has had more levels than are kept: the worst are missing
    STALE = 4  # its feed has been silent for more than 5 s
    OVERFLOW = 8  # a sum would leave 128 bits: depths and volumes are 0


class SpreadQuality(IntEnum):
    """How narrow a spread is, by its part of the mid price."""

    NONE = 0  # no bid or no ask
    EXCELLENT = 1  # below 0.05 %
    GOOD = 2  # below 0.1 %
    FAIR = 3  # below 0.3 %
    POOR = 4


class Signal(IntEnum):
    """What an observation is for."""

    NEUTRAL = 0
    BUY = 1
    SELL = 2


class FundingSignal(IntEnum):
    """What a funding rate says of those who pay it."""

    NEUTRAL = 0
    BULLISH = 1  # above 0.01 %
    BEARISH = 2  # below -0.01 %
    EXTREME_LONGS = 3  # above 0.1 %: overheated longs
    EXTREME_SHORTS = 4  # below -0.1 %: overheated shorts


class InterestSignal(IntEnum):
    """What open interest and price together say, both over 24 hours."""

    NEUTRAL = 0
    BULLISH = 1  # both up
    BEARISH = 2  # open interest up, price down
    SHORT_SQUEEZE = 3  # open interest down, price up
    LONG_LIQUIDATION = 4  # both down


class DerivativeFlag(IntFlag):
    """What is to be known of one derivative's numbers (uint16)."""

    NONE = 0
    PARTIAL_24H = 1  # seen for less than 23 hours: no change of open interest and price
    PARTIAL_7D = 2  # seen for less than 7 days: the average is over less
    ALERT = 4  # open interest changed by over 15 %, or was traded over 3 times, in 24 hours
    GAP = 8  # trades of the last 24 hours are missing in the volume


class Legs(IntEnum):
    """What is bought and what is sold in an opportunity."""

    SPOT = 0
    PERPETUAL = 1
    BASIS = 2  # one of each: a hedge that pays or earns funding until both are closed


class OpportunityStatus(IntEnum):
    """Where an opportunity is in its life."""

    CLOSED = 0
    OPENED = 1
    CHANGED = 2


class OpportunityFlag(IntFlag):
    """What is to be known of one opportunity (uint16)."""

    NONE = 0
    FEES_UNKNOWN = 1  # no fact says a leg's fee: it counts as 0, and `net` is an upper bound
    QUOTED = 2  # a leg is known by its best quote only
    BOUNDED = 4  # the end of the known levels was reached: there may be more


class SignalStatus(IntEnum):
    """What a signal says of its screen at its bar."""

    WITHDRAWN = 0  # a revision of the bar took back that its condition came true
    RAISED = 1  # its condition came true
    SCORED = 2  # the score of a bar, of a screen without a condition


class Recommendation(IntEnum):
    """What a score of 0 to 100 comes to; NONE where there is no score yet."""

    NONE = 0
    STRONG_SELL = 1
    SELL = 2
    HOLD = 3
    BUY = 4
    STRONG_BUY = 5


class ScreenTrend(IntEnum):
    """Where a score points; NONE where there is no score yet."""

    NONE = 0
    BEARISH = 1
    NEUTRAL = 2
    BULLISH = 3


class Momentum(IntEnum):
    """How strong a trend is, whichever way; NONE where that is not known yet."""

    NONE = 0
    WEAK = 1
    MODERATE = 2
    STRONG = 3


class Volatility(IntEnum):
    """How far a bar reaches; NONE where that is not known yet."""

    NONE = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3


class Severity(IntEnum):
    """How unusual an anomaly is."""

    NONE = 0  # a revision of its bar took it back
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4
