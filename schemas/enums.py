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


class BarFlag(IntFlag):
    """What is to be known of one bar besides its values (uint16)."""

    NONE = 0
    GAP = 1  # a declared or suspected hole touches its interval
    LATE = 2  # revised after it had closed, by a late trade
    PARTIAL = 4  # the feed began inside its interval
    STALE = 8  # closed while its feed was stale
