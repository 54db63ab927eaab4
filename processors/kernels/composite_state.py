"""The state of composites: their members' newest bars, and the bars that they told.

A row is one instrument, packed, and begins as zeros, which is "of no composite". It is a member's
or a composite's, never both. Bars of each interval stand by time, the oldest first.

The processor `bars` revises no bar that is not among its newest `KEPT` of the interval. A member's
row has those, and `AHEAD` more, which are of intervals that the composite has not closed; a
composite's row has its newest `KEPT`. So whatever is revised, all its parts are here.
"""

from itertools import accumulate

import numpy as np

from tidemill.processors.kernels import bar_state
from tidemill.schemas.kinds.composite_bar import COMPOSITE_BAR

SPECS = bar_state.SPECS
LENGTHS_NS = bar_state.LENGTHS_NS
TOLD = bar_state.KEPT
"""Bars that a composite keeps of each interval, to revise them."""
AHEAD = (40, 2, 2, 2, 2, 2, 2)
"""Bars of a member, of each interval, that may wait for the other members: 40 s of the shortest are
more than the longest hold."""
KEPT = tuple(told + ahead for told, ahead in zip(TOLD, AHEAD, strict=True))
"""Bars that are kept of each interval."""
FIRST = (0, *accumulate(KEPT))[:-1]
"""Where those of each interval begin in a row."""

# Why a part was refused.
TOO_OLD, CANNOT = 1, 2
REFUSALS = {
    TOO_OLD: "it is older than the bars kept",
    CANNOT: "the composite's exponents cannot express it, or a sum would leave 128 bits",
}
"""What a refusal means, in words."""

_OF_A_BAR = tuple(
    name
    for name in COMPOSITE_BAR.dtype.names or ()
    if name not in {"at_r", "at_i", "n", "interval_s", "venues", "missing", "late"}
)
_MASKS = ("inside", "missing", "late", "left")

BAR = np.dtype(
    [
        *((name, COMPOSITE_BAR.dtype[name]) for name in _OF_A_BAR),
        *((name, "u1") for name in _MASKS),  # bit m: the member of place m; `left`: left out
    ]
)
"""A bar as it is kept: a member's in the member's exponents, a composite's in its own."""

TRACK = np.dtype(
    [
        ("closed_to", "<i8"),  # of a composite: every bar that ends by then is told, ns
        ("kept", "<i8"),
    ]
)
STATE = np.dtype(
    [
        ("key", "<u8"),  # digest of what makes it what it is, 0 of no composite
        ("venue_time", "<i8"),  # of a member: the venue's clock by the newest status, ns
        ("heard_to", "<i8"),  # of a member: its bars that end by then are known, ns
        ("began", "<i8"),  # of a composite: the first `time` since its definition, ns
        ("hold", "u1"),
        ("tracks", TRACK, (len(SPECS),)),
        ("bars", BAR, (sum(KEPT),)),
    ]
)
"""One row of the processor's state: one instrument."""

EMITTED = np.dtype(
    [
        ("at_r", "<u8"),
        ("at_i", "<u4"),
        ("composite", "<u4"),
        ("spec", "u1"),
        ("bar", BAR),
    ]
)
"""A bar as it is told, and of which composite and interval."""
REFUSED = np.dtype(
    [
        ("at_r", "<u8"),
        ("at_i", "<u4"),
        ("slot", "<i4"),  # the member's
        ("composite", "<u4"),
        ("ts_open", "<i8"),
        ("spec", "u1"),
        ("reason", "u1"),
    ]
)
"""A member's bar that is not in its composite's."""
