"""The state of a derivative: what is known of it now, and bounded rings of what it was.

A row is packed and begins as zeros, which is "nothing known". Places of a ring say whose hour or
five minutes they hold, so that what is old needs no clearing.
"""

import numpy as np

MINUTE_NS, HOUR_NS = 60_000_000_000, 3_600_000_000_000
BUCKET_NS = 5 * MINUTE_NS
"""Open interest and price are remembered, and volume is summed, by so much time, in ns."""
BUCKETS_24H, BUCKETS_23H, BUCKETS_25H = 288, 276, 300
SAMPLES = 312
"""26 hours of buckets: the one of 25 hours ago is always there."""
HOURS_24H, HOURS_7D = 24, 168
TS_AHEAD_NS_MAX = HOUR_NS
"""A trade whose event time is further ahead of its receive time is not counted, in ns."""
RATE_MAX = 10**15
"""A funding rate beyond this, in 1e-12, cannot be: it is not taken."""

SAMPLE = np.dtype(
    [
        ("bucket", "<i8"),  # number of the five minutes, 0 none
        ("open_interest", "<i8"),  # at their first record that had both
        ("price", "<i8"),
    ]
)
RATE = np.dtype([("hour", "<i8"), ("rate", "<i8")])
"""The last funding rate of an hour, in 1e-12; hour 0 is none."""
VOLUME = np.dtype([("lo", "<u8"), ("hi", "<i8")])

STATE = np.dtype(
    [
        ("ts_event", "<i8"),  # of the newest record of kind derivative
        ("ts_recv", "<i8"),
        ("mark_price", "<i8"),
        ("index_price", "<i8"),
        ("funding_rate", "<i8"),
        ("next_funding_time", "<i8"),
        ("open_interest", "<i8"),
        ("last_price", "<i8"),
        ("last_ts", "<i8"),  # event time of the last price, 0 none, ns
        ("first_hour", "<i8"),  # of the first funding rate
        ("newest", "<i8"),  # newest bucket of the window of volumes, 0 none
        ("gap", "<i8"),  # newest bucket in which trades are known to be missing, 0 none
        ("minute", "<i8"),  # of `time`, when it was told last
        ("funding_interval_s", "<u4"),
        ("fields", "<u2"),  # as in kind derivative: what is known
        ("dirty", "u1"),  # 1 if anything changed since it was told
        ("new", "u1"),  # 1 if anything changed since its signals were looked at
        ("funding_told", "u1"),  # signals that were told last
        ("interest_told", "u1"),
        ("price_exponent", "i1"),
        ("quantity_exponent", "i1"),
        ("total", VOLUME),
        ("volumes", VOLUME, (BUCKETS_24H,)),
        ("samples", SAMPLE, (SAMPLES,)),
        ("rates", RATE, (HOURS_7D,)),
    ]
)
"""One row of the processor's state: one instrument."""
