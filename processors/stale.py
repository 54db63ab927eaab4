"""Feeds that fall silent: `time` against the newest status of each feed.

Both are judged at records of `time` alone: STALE at the first one more than 5 s past the receive
time of the feed's newest status, FRESH at the first one after which that is no longer so. A feed
that never spoke is not known, so it is not stale. `silent_ns` is the silence at that record.
"""

import numpy as np

from tidemill.processors.processor import Emit, Processor, Records, Run
from tidemill.schemas.events.event import Derived
from tidemill.schemas.events.feed import FeedStale

SILENCE_NS_MAX = 5_000_000_000
"""A feed is stale after a longer silence, in ns of `time`."""

STATE = np.dtype(
    [
        ("heard", "<i8"),  # receive time of the newest status, 0 before the first, ns
        ("stale", "u1"),  # 1 while the feed is known to be stale
    ]
)
"""One row of the processor's state: one feed."""


def step(state: Records, run: Run) -> list[Emit]:
    """Take note of statuses, or compare them with the time; `state` (F,) changes in place."""
    if run.kind == "status":
        _hear(state, run)
        return []
    made: list[Derived] = []
    rows: list[int] = []
    for frame in run.frames:
        for index in range(int(frame["count"])):
            ts = int(run.records["ts"][int(frame["start"]) + index])
            turned = _turned(state, ts)
            for row in sorted(turned, key=lambda row: run.feeds[row]):
                venue, product = run.feeds[row]
                stale = state["stale"][row] = not state["stale"][row]
                rows.append(row)
                made.append(
                    FeedStale(
                        at_r=int(frame["r"]),
                        at_i=int(frame["i"]) + index,
                        venue=venue,
                        product=product,
                        ts=ts,
                        silent_ns=max(0, ts - int(state["heard"][row])),
                        state="STALE" if stale else "FRESH",
                    )
                )
    if not made:
        return []
    specs = np.zeros(len(rows), np.uint8)
    return [Emit("feed", np.array(rows, np.int32), specs, np.zeros(0, np.dtype([])), tuple(made))]


def _hear(state: Records, run: Run) -> None:
    """Keep the newest receive time of each feed; a hold of one instrument says nothing of it."""
    for frame in run.frames[(run.frames["slot"] < 0) & (run.frames["feed"] >= 0)]:
        start, row = int(frame["start"]), int(frame["feed"])
        newest = run.records["ts_recv"][start : start + int(frame["count"])].max()
        state["heard"][row] = max(state["heard"][row], newest)


def _turned(state: Records, ts: int) -> list[int]:
    """Return the rows of feeds that are stale and were not, or were and are not."""
    silent = (state["heard"] > 0) & (ts - state["heard"] > SILENCE_NS_MAX)
    return [int(row) for row in np.flatnonzero(silent != (state["stale"] > 0))]


STALE = Processor(
    name="stale",
    version=1,
    scope="global",
    reads=("status", "time"),
    emits=("feed",),
    state=STATE,
    step=step,
    key="feed",
    subject="feed",
    specs=("stale",),
    poison="skip",
)
