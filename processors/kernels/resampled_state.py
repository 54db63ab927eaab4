"""The state of an instrument's resampled bars: the bars that they are made of, and themselves.

A row is packed and begins as zeros, which is "nothing yet". Bars stand by time, the oldest first.

The processor `bars` revises no bar that is not among its newest `KEPT` of the interval. So the
parts kept here are those, and as many before them as one resampled bar can have: whatever is
revised, all parts of the bar that it belongs to are here. A part older than those is refused.
"""

from itertools import accumulate
from typing import NamedTuple

import numpy as np

from tidemill.processors.kernels import bar_state
from tidemill.schemas.bar_type import INTERVALS_S, RESAMPLED_SPECS
from tidemill.schemas.kinds.resampled_bar import RESAMPLED_BAR

SECOND_NS = 1_000_000_000
DAY_NS = 86_400 * SECOND_NS

SPECS = RESAMPLED_SPECS


class Target(NamedTuple):
    """What a spec is made of: the longest built bar that divides it, at most `parts` of them.
    Intervals begin at `origin_ns` and every length after it."""

    source: str
    parts: int
    origin_ns: int = 0


# Days begin at UTC midnight, weeks on Monday, of which 1970-01-05 was the first. Three days count
# from the epoch: no document of a venue says where its 3d begin.
TARGETS = {
    "3m": Target("1m", 3),
    "30m": Target("15m", 2),
    "2h": Target("1h", 2),
    "6h": Target("1h", 6),
    "8h": Target("4h", 2),
    "12h": Target("4h", 3),
    "3d": Target("1d", 3),
    "1w": Target("1d", 7, origin_ns=4 * DAY_NS),
    "1M": Target("1d", 31),
}
SOURCES = tuple(dict.fromkeys(target.source for target in TARGETS.values()))
"""Specs of the bars that are read, the shortest first."""

_REVISABLE = tuple(bar_state.KEPT[bar_state.SPECS.index(spec)] for spec in SOURCES)
_MOST = tuple(max(t.parts for t in TARGETS.values() if t.source == spec) for spec in SOURCES)
PARTS = tuple(kept + most - 1 for kept, most in zip(_REVISABLE, _MOST, strict=True))
"""Parts kept of each source."""
FIRST_PART = (0, *accumulate(PARTS))[:-1]
BARS = tuple(_REVISABLE[SOURCES.index(TARGETS[spec].source)] + 1 for spec in SPECS)
"""Bars kept of each spec: one for each part that may be revised, and the open one."""
FIRST_BAR = (0, *accumulate(BARS))[:-1]
PART_NS = tuple(INTERVALS_S[spec] * SECOND_NS for spec in SOURCES)
PART_S = tuple(INTERVALS_S[spec] for spec in SOURCES)
SOURCE_OF = tuple(SOURCES.index(TARGETS[spec].source) for spec in SPECS)
LENGTH_NS = tuple(INTERVALS_S.get(spec, 0) * SECOND_NS for spec in SPECS)
"""Lengths of the specs, 0 for the calendar's month."""
ORIGIN_NS = tuple(TARGETS[spec].origin_ns for spec in SPECS)

# Why a part was refused.
TAKEN, OVERFLOW, TOO_OLD, GAP_TOO_OLD = 0, 1, 2, 3
REFUSALS = {
    OVERFLOW: "a sum would leave 128 bits",
    TOO_OLD: "it is older than the bars kept",
    GAP_TOO_OLD: "bars that it touches may be older than those kept",
}
"""What a refusal means, in words."""

PART = bar_state.KEPT_BAR

_OF_A_BAR = tuple(
    name for name in RESAMPLED_BAR.dtype.names or () if name not in {"at_r", "at_i", "n"}
)
BAR = np.dtype(
    [
        *((name, RESAMPLED_BAR.dtype[name]) for name in _OF_A_BAR if name != "interval_s"),
        ("marks", "<u2"),  # flags that are its own, not its parts'
        ("closed", "u1"),
    ]
)
"""A resampled bar as it is kept."""

SOURCE = np.dtype(
    [
        ("closed_to", "<i8"),  # every part that begins before this is closed, ns
        ("kept", "<i8"),
    ]
)
TRACK = np.dtype(
    [
        ("kept", "<i8"),
        ("gap_from", "<i8"),  # newest declared gap, in event times, for bars that open later
        ("gap_to", "<i8"),
    ]
)

STATE = np.dtype(
    [
        ("venue_time", "<i8"),  # the venue's clock by the newest status, ns
        ("status_recv", "<i8"),  # receive time of the feed's newest status, ns
        ("began", "<i8"),  # from when on trades are known to be complete, 0 unknown, ns
        ("due_r", "<u8"),  # position of a status that closes by time,
        ("due_to", "<i8"),  # up to when, 0 for none, ns
        ("due_i", "<u4"),
        ("due_flag", "<u2"),  # what bars that close by it carry
        ("seen", "u1"),  # 1 after the first part
        ("hold", "u1"),
        ("link", "u1"),
        ("sources", SOURCE, (len(SOURCES),)),
        ("tracks", TRACK, (len(SPECS),)),
        ("parts", PART, (sum(PARTS),)),
        ("bars", BAR, (sum(BARS),)),
    ]
)
"""One row of the processor's state: one instrument."""

STAGED_MAX = 2 * sum(BARS)
"""More than the bars that one record can emit for one instrument."""

STAGE = np.dtype(
    [
        ("at_r", "<u8"),
        ("at_i", "<u4"),
        ("slot", "<i4"),
        ("count", "<i8"),  # bars emitted by this record
        ("built", BAR),
        ("specs", "u1", (STAGED_MAX,)),
        ("bars", RESAMPLED_BAR.dtype, (STAGED_MAX,)),
    ]
)
"""The record being stepped, whose it is, a bar in the making, and what is emitted."""

REFUSED = np.dtype(
    [
        ("at_r", "<u8"),
        ("at_i", "<u4"),
        ("slot", "<i4"),
        ("ts_open", "<i8"),
        ("source", "u1"),
        ("reason", "u1"),
        ("targets", "<u2"),  # bit t: spec t lacks it
    ]
)
"""A part, or a gap, that could not be put into its bars."""
