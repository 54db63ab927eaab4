"""The state of an instrument's bars: open and newest closed ones, and what their closing needs.

A row is packed and begins as zeros, which is "nothing yet". Of each interval the newest `KEPT` bars
with trades stay, in a ring: open ones, and closed ones so that a late trade can revise them.
"""

from itertools import accumulate

import numpy as np

from tidemill.schemas.bar_type import BUILT_SPECS, INTERVALS_S
from tidemill.schemas.enums import BarFlag
from tidemill.schemas.kinds.bar import BAR

GRACE_NS = 1_000_000_000
"""A bar closes by the venue's clock this long after its end, in ns."""
SILENCE_NS_MAX = 5_000_000_000
"""A bar that is closed by a status after a longer silence of its feed carries STALE, in ns."""
TS_AHEAD_NS_MAX = 3_600_000_000_000
"""A trade whose event time is further ahead of its receive time is refused, in ns: one wrong
timestamp of a venue would otherwise close every bar until then."""

SPECS = BUILT_SPECS
LENGTHS_NS = tuple(INTERVALS_S[spec] * 1_000_000_000 for spec in SPECS)
"""Lengths of the intervals, ascending; each divides the next, and days begin at UTC midnight."""
KEPT = (120, 16, 4, 4, 4, 4, 4)
"""Bars kept of each interval; at most 255."""
FIRST = (0, *accumulate(KEPT))[:-1]
"""Where the ring of each interval begins in a row's bars."""

# Bits of `hold`: who asked that bars do not close by time.
HOLD_INSTRUMENT, HOLD_FEED = 1, 2
# Bits of `link`: UP after FeedConnected until FeedDisconnected; LAPSED from either of them until
# the next trade shows by its id whether anything is missing.
UP, LAPSED = 1, 2
# Bits of a bar's flags (BarFlag).
GAP, LATE, PARTIAL, STALE = (
    int(flag) for flag in (BarFlag.GAP, BarFlag.LATE, BarFlag.PARTIAL, BarFlag.STALE)
)
# Why a record was refused.
TAKEN, MALFORMED, OVERFLOW, TOO_OLD, GAP_TOO_OLD = 0, 1, 2, 3, 4

SUMS = ("volume", "quote_volume", "taker_buy_volume")
"""The 128-bit sums of a bar, two words each."""

_OF_A_BAR = tuple(name for name in BAR.dtype.names or () if name not in {"at_r", "at_i", "n"})

KEPT_BAR = np.dtype([(name, BAR.dtype[name]) for name in _OF_A_BAR if name != "interval_s"])
"""A bar as it is kept: the fields of kind `bar` without position and interval."""

TRACK = np.dtype(
    [
        ("closed_to", "<i8"),  # every bar that begins before this is closed, ns
        ("head", "u1"),  # place of the newest bar in the ring
        ("kept", "u1"),  # bars in the ring
    ]
)
"""One interval of one instrument."""

STATE = np.dtype(
    [
        ("next_id", "<u8"),  # one more than the highest trade id seen or declared lost
        ("hole_next", "<u8"),  # while `hole`: lowest id missing,
        ("hole_end", "<u8"),  # and one more than the highest id missing
        ("max_ts", "<i8"),  # latest event time of a trade, ns
        ("proven_ts", "<i8"),  # `max_ts` when ids last proved that no trade is missing
        ("venue_time", "<i8"),  # the venue's clock by the newest status, ns
        ("status_recv", "<i8"),  # receive time of the feed's newest status, ns
        ("began", "<i8"),  # from when on trades are known to be complete, 0 unknown, ns
        ("gap_from", "<i8"),  # newest declared gap, in event times, for bars that open later
        ("gap_to", "<i8"),
        ("seen", "u1"),  # 1 after the first trade
        ("hole", "u1"),  # 1 while ids are missing that were neither filled nor declared lost
        ("hold", "u1"),
        ("link", "u1"),
        ("tracks", TRACK, (len(KEPT),)),
        ("bars", KEPT_BAR, (sum(KEPT),)),
    ]
)
"""One row of the processor's state: one instrument."""

STAGED_MAX = 3 * sum(KEPT)
"""More than the bars that one record can emit for one instrument: each kept one by a mark and by
closing, and for each interval one late and one that had to go."""

STAGE = np.dtype(
    [
        ("at_r", "<u8"),
        ("at_i", "<u4"),
        ("slot", "<i4"),
        ("count", "<i8"),  # bars emitted by this record
        ("places", "<i8", (len(KEPT),)),
        ("specs", "u1", (STAGED_MAX,)),
        ("bars", BAR.dtype, (STAGED_MAX,)),
    ]
)
"""The record being stepped, whose it is, where it belongs in each interval, and what it emits."""

REFUSED = np.dtype(
    [
        ("at_r", "<u8"),
        ("at_i", "<u4"),
        ("slot", "<i4"),
        ("trade_id", "<u8"),
        ("reason", "u1"),
        ("intervals", "u1"),  # bit k: interval k did not take it
    ]
)
"""A trade, or a gap, that could not be put into its bars."""

REFUSALS = {
    MALFORMED: "its quantity or event time cannot be",
    OVERFLOW: "a sum of its bar would leave 128 bits",
    TOO_OLD: "its bars are older than those kept",
    GAP_TOO_OLD: "bars that it touches may be older than those kept",
}
"""What a refusal means, in words."""
