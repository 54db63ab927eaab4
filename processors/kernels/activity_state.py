"""The state of an instrument's activity bars: sums so far, open bars, the newest closed ones.

Everything that bars sum is summed once, since the first trade (`total`); a bar has in it what the
sums have grown by since it opened. A row is packed and begins as zeros, which is "nothing yet".
"""

import numpy as np

from tidemill.schemas.enums import BarAggregation, BarFlag
from tidemill.schemas.kinds.activity_bar import ACTIVITY_BAR

AGGREGATIONS = tuple(BarAggregation)
"""In order of emission; of the first nine, number k counts measure k // 3 in form k % 3."""
BARS = len(AGGREGATIONS)
MEASURED = 9
TRADES, QUANTITY, NOTIONAL = 0, 1, 2
"""Measures: number of trades, their quantities, price x quantity."""
PLAIN, IMBALANCE, RUNS = 0, 1, 2
"""Forms: the sum, what was bought less what was sold, the larger of the two."""
RENKO, RANGE = 9, 10

TICKS = 1_000
"""Trades of a bar as long as nothing else is known: of TICK bars, of those that seed, and the
length that the first imbalance and runs bars are expected to have."""
BRICK_PARTS = 1_000
"""A brick of Renko, and a range, is about one part in so many of the first price."""
SPAN = 20
"""Bars over which expectations are averaged: each new one weighs 2 / (SPAN + 1)."""
STRETCH = 10.0
"""Expected trades of a bar stay between a STRETCH-th of their first value and STRETCH times it."""
BRICKS_MAX = 64
"""Most bricks of one trade; the last one of so many is as high as what is left."""

KEPT = 8
"""Closed bars kept of each aggregation, so that a gap that is found late can mark them."""
TS_AHEAD_NS_MAX = 3_600_000_000_000
"""A trade whose event time is further ahead of its receive time is refused, in ns."""
PRICE_MAX = QUANTITY_MAX = 1 << 61
"""Mantissas from here on are refused: differences of prices must fit 64 bits."""
NOTIONAL_HIGH_MAX = 1 << 42
"""High word of the largest notional of a trade: 2^106."""
TOTAL_HIGH_MAX = 1 << 61
"""High word of the largest sum, 2^125: beyond it all bars close and sums begin anew, so that none,
nor the difference of two, ever leaves 128 bits."""

NEVER = np.int64(1) << 62
"""What no number of trades, no price and no high word of a total reaches."""

# Bits of `hold` and `link`, as bars have them.
HOLD_INSTRUMENT, HOLD_FEED = 1, 2
UP, LAPSED = 1, 2
GAP, PARTIAL = int(BarFlag.GAP), int(BarFlag.PARTIAL)
# Why a record was refused.
MALFORMED, GAP_TOO_OLD = 1, 2

TOTALS = np.dtype(
    [
        ("trades", "<i8"),
        ("trades_up", "<i8"),  # of them those that count as bought
        ("volume_lo", "<u8"),
        ("volume_hi", "<i8"),
        ("volume_up_lo", "<u8"),
        ("volume_up_hi", "<i8"),
        ("quote_volume_lo", "<u8"),
        ("quote_volume_hi", "<i8"),
        ("quote_volume_up_lo", "<u8"),
        ("quote_volume_up_hi", "<i8"),
        ("taker_buy_volume_lo", "<u8"),
        ("taker_buy_volume_hi", "<i8"),
    ]
)
"""Sums over trades; `up` over those that count as bought, by the rule of ticks too."""

EXPECTED = np.dtype(
    [
        ("trades", "<f8"),  # E[T], trades of a bar
        ("first", "<f8"),  # E[T] before the first bar, which bounds it
        ("signed", "<f8"),  # E[b v], what a trade adds to the imbalance
        ("size", "<f8"),  # E[v], the measure of a trade
        ("up", "<f8"),  # P[b = 1]
        ("size_up", "<f8"),  # E[v | b = 1]
        ("size_down", "<f8"),  # E[v | b = -1]
    ]
)
"""Averages over the bars that closed, by the letters of Advances in Financial Machine Learning."""

OPEN = np.dtype(
    [
        ("open", "u1"),  # 1 from its first trade on; 0: the next trade begins it, where it is on
        ("flags", "<u2"),
        ("sequence", "<u8"),
        ("ts_open", "<i8"),
        ("first_trade_id", "<u8"),
        ("first_price", "<i8"),
        ("high", "<i8"),  # without what `high` of the row adds; of RENKO the last brick's
        ("low", "<i8"),
        ("begun", "u1"),  # 1 from its first bar on with the step that is given
        ("given_lo", "<u8"),  # the step that LOG gives, 0 none
        ("given_hi", "<i8"),
        ("step_lo", "<u8"),  # in mantissas of its measure (of imbalance and runs: trades), 0: not
        ("step_hi", "<i8"),  # known yet
        ("threshold_lo", "<u8"),
        ("threshold_hi", "<i8"),
        # Where it closes: as a total of trades, 0 if that does not matter; and as a total of its
        # measure (of imbalance: bought less sold; of runs: bought) at or above the first, or, of
        # imbalance, at or below the second, or, of runs, sold at or above the second.
        ("trades_due", "<i8"),
        ("above_lo", "<u8"),
        ("above_hi", "<i8"),
        ("below_lo", "<u8"),
        ("below_hi", "<i8"),
        ("since", TOTALS),  # the sums before its first trade
        ("expected", EXPECTED),
    ]
)
"""The bar of one aggregation that is open, or that the next trade will open."""

KEPT_BAR = np.dtype(
    [
        (name, ACTIVITY_BAR.dtype[name])
        for name in ACTIVITY_BAR.dtype.names or ()
        if name not in {"at_r", "at_i", "n"}
    ]
)
"""A closed bar: the fields of kind `activity_bar` without position."""

RING = np.dtype([("head", "u1"), ("kept", "u1"), ("bars", KEPT_BAR, (KEPT,))])
"""The newest closed bars of one aggregation, the newest at `head`."""

STATE = np.dtype(
    [
        ("next_id", "<u8"),  # one more than the highest trade id seen
        ("max_ts", "<i8"),  # latest event time of a trade, ns
        ("gap_to", "<i8"),  # up to when trades are known to be missing, for bars that open later
        ("last_price", "<i8"),
        ("on", "<u2"),  # bit k is set where there are bars of aggregation k
        ("seen", "u1"),  # 1 after the first trade
        ("up", "u1"),  # 1 if the last trade counted as bought
        ("hold", "u1"),
        ("link", "u1"),
        ("unopened", "u1"),  # 1 if a bar is not open
        ("high", "<i8"),  # of the trades since a bar last closed
        ("low", "<i8"),
        ("total", TOTALS),
        ("bars", OPEN, (BARS,)),
        ("rings", RING, (BARS,)),
    ]
)
"""One row of the processor's state: one instrument."""

STAGED_MAX = BARS * (KEPT + 1) + BRICKS_MAX
"""More than the bars that one record can emit for one instrument."""

STAGE = np.dtype(
    [
        ("at_r", "<u8"),
        ("at_i", "<u4"),
        ("slot", "<i4"),
        ("price_exponent", "<i8"),
        ("quantity_exponent", "<i8"),
        ("inverse", "u1"),
        ("count", "<i8"),
        ("specs", "u1", (STAGED_MAX,)),
        ("bars", ACTIVITY_BAR.dtype, (STAGED_MAX,)),
    ]
)
"""The record being stepped, whose it is, and what it emits."""

REFUSED = np.dtype(
    [("at_r", "<u8"), ("at_i", "<u4"), ("slot", "<i4"), ("trade_id", "<u8"), ("reason", "u1")]
)
"""A trade, or a gap, that could not be put into its bars."""

REFUSALS = {
    MALFORMED: "its price, quantity or event time cannot be",
    GAP_TOO_OLD: "bars that it touches may be older than those kept",
}
"""What a refusal means, in words."""
