"""The state of an instrument's book: its levels by side, and what is known of their truth.

A row is packed and begins as zeros, which is "no book yet".
"""

import numpy as np

from tidemill.schemas.enums import BookFlag, BookState, OrderSide, RecordFlag

LEVELS_MAX = 8_192
"""Levels kept of each side, a power of two; beyond it the worst are dropped: TRUNCATED."""
MASK = LEVELS_MAX - 1
TOP = 20
"""Levels of each side that are told each second."""
CHANGES_MIN = 100
"""A whole book is told again after more changes than it has levels, and than this."""
FORCED = np.int64(1) << 62
"""Changes since the last whole book where there was none: it is told as soon as it is valid."""
SILENCE_NS_MAX = 5_000_000_000
"""A book is STALE after a longer silence of its feed, in ns of `time`."""
USUAL_MAX = 3_600
"""A book's usual depth is its mean over so many tellings, older ones fading."""

BUY, SELL = int(OrderSide.BUY), int(OrderSide.SELL)
LAST, SNAPSHOT = int(RecordFlag.LAST), int(RecordFlag.SNAPSHOT)
SYNCHRONIZING, VALID, INVALID = (
    int(state) for state in (BookState.SYNCHRONIZING, BookState.VALID, BookState.INVALID)
)
CROSSED, TRUNCATED, STALE, OVERFLOW = (
    int(flag) for flag in (BookFlag.CROSSED, BookFlag.TRUNCATED, BookFlag.STALE, BookFlag.OVERFLOW)
)

SIDE = np.dtype(
    [
        ("ends", "<i8", (2,)),  # place of the best level in the ring, and the number of levels
        ("prices", "<i8", (LEVELS_MAX,)),
        ("quantities", "<i8", (LEVELS_MAX,)),
    ]
)
"""One side, as `schemas/book.py` has it: a ring, best level first."""

STATE = np.dtype(
    [
        ("ts_event", "<i8"),  # of the newest record
        ("ts_recv", "<i8"),
        ("last_update_id", "<u8"),
        ("loading_id", "<u8"),  # last_update_id of the snapshot that is coming in
        ("heard", "<i8"),  # receive time of the feed's newest status, 0 none, ns
        ("second", "<i8"),  # newest second of `time` in which it was told
        ("changes", "<i8"),  # records since the last whole book
        ("usual", "<f8"),  # mean depth within 1 %, as of `measured` tellings
        ("measured", "<i8"),
        ("state", "u1"),  # BookState by snapshots, changes and gaps alone
        ("loading", "u1"),  # 1 inside a snapshot
        ("open", "u1"),  # 1 inside a venue's message
        ("truncated", "u1"),
        ("stale", "u1"),  # 1 since its feed fell silent until its next message
        ("dirty", "u1"),  # 1 if it changed since it was told
        ("told", "u1"),  # 1 + the state that was told last, 0 none
        ("price_exponent", "i1"),  # of the levels
        ("quantity_exponent", "i1"),
        ("bids", SIDE),
        ("asks", SIDE),
    ]
)
"""One row of the processor's state: one instrument."""
