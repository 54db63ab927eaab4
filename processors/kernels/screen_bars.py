"""Which bars screens take, and what is known of those that they look back on."""

from typing import Any

import numpy as np
from numba import njit

from tidemill.processors.kernels.indicator_state import FLAGS, LATE, NEVER
from tidemill.processors.kernels.screen_state import Ints
from tidemill.schemas.run import Records
from tidemill.schemas.screening.language import MARKET_FIELDS

NEXT, AGAIN, OLDER = 0, 1, 2
"""What a bar is: a later one than all before, the newest one revised, a revision of an older one,
which is not taken."""

Values = np.ndarray[Any, np.dtype[np.float64]]
Modes = np.ndarray[Any, np.dtype[np.uint8]]
Flags = np.ndarray[Any, np.dtype[np.uint16]]
Counts = np.ndarray[Any, np.dtype[np.uint32]]


def admit(state: Records, slots: Ints, spec: int, keys: Ints, flags: Flags) -> tuple[Modes, Counts]:
    """Take note of bars (N,) of instruments `slots`; return what each is, and how many bars ago
    there was one with each flag (N, 4)."""
    rows, at = np.unique(slots, return_inverse=True)
    tracks = np.ascontiguousarray(state["tracks"][rows, spec])
    modes = np.empty(len(slots), np.uint8)
    since = np.empty((len(slots), len(FLAGS)), np.uint32)
    seen, before = tracks["since"], tracks["since_before"]
    of_bars = flags.astype(np.uint16)
    _follow(
        tracks["newest"], tracks["bars"], seen, before,
        at.astype(np.int64), keys, of_bars, modes, since,
    )  # fmt: skip
    state["tracks"][rows, spec] = tracks
    return modes, since


@njit(
    "void(i8[:], u8[:], u4[:,:], u4[:,:], i8[::1], i8[::1], u2[::1], u1[::1], u4[:,::1])",
    cache=True,
)
def _follow(
    newest: Ints,
    bars: Any,
    since: Counts,
    since_before: Counts,
    at: Ints,
    keys: Ints,
    flags: Flags,
    modes: Modes,
    out: Counts,
) -> None:  # pragma: no cover
    for j in range(len(at)):
        k = at[j]
        if bars[k] > 0 and keys[j] < newest[k]:
            modes[j] = OLDER
            since[k, LATE] = since_before[k, LATE] = 0
            out[j] = since[k]
            continue
        if bars[k] > 0 and keys[j] == newest[k]:
            modes[j] = AGAIN
            since[k] = since_before[k]
        else:
            modes[j] = NEXT
            since_before[k] = since[k]
            bars[k] += np.uint64(1)
        newest[k] = keys[j]
        for f in range(since.shape[1]):
            if flags[j] >> f & 1:
                since[k, f] = 0
            elif since[k, f] < NEVER:
                since[k, f] += np.uint32(1)
            out[j, f] = since[k, f]


def flags_within(since: Counts, reach: int) -> Flags:
    """Return the flags (N,) of the newest `reach` bars."""
    found = np.zeros(len(since), np.uint16)
    for f in range(since.shape[1]):
        found |= (since[:, f] < reach).astype(np.uint16) << np.uint16(f)
    return found


def at_close(state: Records, slots: Ints, spec: int, modes: Modes) -> list[Values]:
    """Return MARKET_FIELDS of bars (N,) of one spec, (N,) each, as of when each closed first.

    `modes` say which of them are revisions; what closes now is noted in `state`.
    """
    rows, at = np.unique(slots, return_inverse=True)
    now = np.where(state["known"][rows] > 0, state["market"][rows], np.nan)
    then = np.ascontiguousarray(state["tracks"]["market"][rows, spec])
    found = np.empty((len(slots), len(MARKET_FIELDS)))
    _recall(now, then, at.astype(np.int64), modes, found)
    state["tracks"]["market"][rows, spec] = then
    return list(np.ascontiguousarray(found.T))


@njit("void(f8[:,::1], f8[:,::1], i8[::1], u1[::1], f8[:,::1])", cache=True)
def _recall(
    now: Values, then: Values, at: Ints, modes: Modes, found: Values
) -> None:  # pragma: no cover
    for j in range(len(at)):
        if modes[j] == NEXT:
            then[at[j]] = now[at[j]]
        found[j] = then[at[j]]
