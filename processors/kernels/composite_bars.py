"""Members' bars, statuses and times into bars of composites: the kernels that the processor calls.

A record of numba keeps no array alive: `scratch` (1,) BAR, a bar in the making, is the caller's.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import from_dtype, njit, types
from numpy.typing import NDArray

from tidemill.processors.kernels.bar_state import GRACE_NS, HOLD_FEED, HOLD_INSTRUMENT
from tidemill.processors.kernels.composite_parts import (
    LENGTHS,
    build,
    copy,
    find,
    keep,
    known_to,
    next_open,
    same,
    spec_of,
    take,
    waiting,
)
from tidemill.processors.kernels.composite_plan import Composites
from tidemill.processors.kernels.composite_state import (
    AHEAD,
    BAR,
    CANNOT,
    EMITTED,
    REFUSED,
    STATE,
    TOLD,
    TOO_OLD,
)
from tidemill.processors.kernels.signatures import strided
from tidemill.schemas.kinds.bar import BAR as OF_A_MEMBER
from tidemill.schemas.kinds.status import STATUS
from tidemill.schemas.kinds.time import TIME
from tidemill.schemas.run import FRAMES, INSTRUMENTS

SPECS_COUNT = len(LENGTHS)
_TOLD, _AHEAD = np.array(TOLD), np.array(AHEAD)
_FOREVER = 2**63 - 1


class Out(NamedTuple):
    """What was told (capacity,) EMITTED and refused (capacity,) REFUSED; of each the first `counts`
    (2,) are valid."""

    told: NDArray[np.void]
    refused: NDArray[np.void]
    counts: NDArray[np.int64]


_Tuple: Callable[..., types.Type] = types.Tuple
_NamedTuple: Callable[..., types.Type] = types.NamedTuple
_Ints, _Table = types.Array(types.int64, 1, "C"), types.Array(types.int64, 2, "C")
_Of = _NamedTuple(
    (_Ints, _Table, _Ints, types.Array(types.uint8, 2, "C"), _Ints, _Table, _Table), Composites
)
_Out = _NamedTuple(
    (
        types.Array(from_dtype(EMITTED), 1, "C"),
        types.Array(from_dtype(REFUSED), 1, "C"),
        _Ints,
    ),
    Out,
)
_Rows, _Scratch = strided(STATE, readonly=False), strided(BAR, readonly=False)
_Frames, _Keys = strided(FRAMES), strided(INSTRUMENTS)
_Bars, _Statuses = strided(OF_A_MEMBER.dtype), strided(STATUS.dtype)
_Times = strided(TIME.dtype)


@njit(cache=True)
def _nothing() -> Out:
    return Out(np.empty(16, EMITTED), np.empty(4, REFUSED), np.zeros(2, np.int64))


@njit(cache=True)
def _tell(out: Out, at: Any, c: int, t: int, bar: Any) -> Out:
    """Tell a composite's bar as it stands."""
    count = out.counts[0]
    if count == len(out.told):
        grown = np.empty(2 * count, EMITTED)
        grown[:count] = out.told
        out = Out(grown, out.refused, out.counts)
    record = out.told[count]
    record.at_r, record.at_i = at
    record.composite = c
    record.spec = t
    record.bar = bar
    out.counts[0] += 1
    return out


@njit(cache=True)
def _refuse(out: Out, at: Any, slot: int, c: int, t: int, ts_open: int, reason: int) -> Out:
    count = out.counts[1]
    if count == len(out.refused):
        grown = np.empty(2 * count, REFUSED)
        grown[:count] = out.refused
        out = Out(out.told, grown, out.counts)
    record = out.refused[count]
    record.at_r, record.at_i = at
    record.slot = slot
    record.composite = c
    record.ts_open = ts_open
    record.spec = t
    record.reason = reason
    out.counts[1] += 1
    return out


@njit(cache=True)
def _settle(out: Out, of: Composites, at: Any, c: int, t: int, told: Any, built: Any) -> Out:
    """Take what was built for what is told, tell it where any member is in it, and refuse members
    that are left out of it from here on."""
    left = built.left & ~told.left
    copy(told, built)
    told.inside = built.inside
    told.missing = built.missing
    told.left = built.left
    if told.inside:
        out = _tell(out, at, c, t, told)
    for m in range(of.counts[c]):
        if left >> m & 1:
            out = _refuse(out, at, of.members[c, m], c, t, told.ts_open, CANNOT)
    return out


@njit(cache=True)
def _advance(
    rows: Any, scratch: Any, of: Composites, out: Out, at: Any, c: int, t: int, to: int
) -> Out:
    """Close the bars of a composite that end by a time, the oldest first."""
    row = rows[of.slots[c]]
    track = row.tracks[t]
    if to <= track.closed_to:
        return out
    while True:
        opening: Any = _FOREVER
        for m in range(of.counts[c]):
            slot = of.members[c, m]
            if slot >= 0:
                one = next_open(rows[slot], t, track.closed_to, to)
                if one >= 0:
                    opening = min(opening, one)
        if opening == _FOREVER:
            break
        told = row.bars[keep(row, t, opening, _TOLD[t])]
        build(rows, of, c, t, told, scratch[0])
        out = _settle(out, of, at, c, t, told, scratch[0])
        track.closed_to = opening + LENGTHS[t]
    track.closed_to = to
    return out


@njit(cache=True)
def _complete_to(rows: Any, of: Composites, c: int, t: int) -> Any:
    """Return up to when the bars of every member are known, ns."""
    found: Any = _FOREVER
    for m in range(of.counts[c]):
        slot = of.members[c, m]
        found = min(found, known_to(rows[slot], t) if slot >= 0 else 0)
    return found


@njit(cache=True)
def _revise(
    rows: Any, scratch: Any, of: Composites, out: Out, at: Any, c: int, m: int, t: int, ts_open: int
) -> Out:
    """Make a closed bar anew because of a member's; tell it where that changes it."""
    row, slot = rows[of.slots[c]], of.members[c, m]
    place = find(row, t, ts_open)
    if place < 0:
        place = keep(row, t, ts_open, _TOLD[t])
        if place < 0:
            return _refuse(out, at, slot, c, t, ts_open, TOO_OLD)
    told, built = row.bars[place], scratch[0]
    if told.inside >> m & 1 == 0:
        told.late |= 1 << m
    build(rows, of, c, t, told, built)
    if told.inside and not built.inside:  # as it was, which is not all
        flags = told.flags | built.flags
        copy(built, told)
        built.flags = flags
        built.inside = told.inside
    if same(told, built):
        return out
    if built.inside:
        told.revision += 1
    return _settle(out, of, at, c, t, told, built)


@njit(cache=True)
def _hear_part(
    rows: Any, scratch: Any, of: Composites, out: Out, at: Any, slot: int, t: int, bar: Any
) -> Out:
    kept = take(rows[slot], t, bar)
    end = bar.ts_open + LENGTHS[t]
    for c in range(len(of.slots)):
        row = rows[of.slots[c]]
        if not of.watched[c, t] or row.began == 0 or end <= row.began:
            continue
        for m in range(of.counts[c]):
            if of.members[c, m] != slot:
                continue
            if not kept:
                out = _refuse(out, at, slot, c, t, bar.ts_open, TOO_OLD)
                continue
            if end <= row.tracks[t].closed_to:
                out = _revise(rows, scratch, of, out, at, c, m, t, bar.ts_open)
            to = max(_complete_to(rows, of, c, t), waiting(rows[slot], t, _AHEAD[t]))
            out = _advance(rows, scratch, of, out, at, c, t, to)
    return out


@njit(_Out(_Rows, _Scratch, _Frames, _Bars, _Of), cache=True)
def fold_bars(
    rows: NDArray[np.void],
    scratch: NDArray[np.void],
    frames: NDArray[np.void],
    bars: NDArray[np.void],
    of: Composites,
) -> Out:
    """Step the bars (N,) that `frames` (F,) name, those of members; `rows` (S,) STATE change."""
    out = _nothing()
    for f in range(len(frames)):
        frame = frames[f]
        slot: Any = np.int64(frame.slot)
        if rows[slot].key == 0:
            continue
        for index in range(frame.start, frame.start + frame.count):
            bar = bars[index]
            t = spec_of(bar.interval_s)
            if t >= 0:
                at = (np.uint64(bar.at_r), np.uint32(bar.at_i))
                out = _hear_part(rows, scratch, of, out, at, slot, t, bar)
    return out


@njit(types.void(_Rows, _Frames, _Statuses, _Keys), cache=True)
def fold_status(
    rows: NDArray[np.void],
    frames: NDArray[np.void],
    statuses: NDArray[np.void],
    instruments: NDArray[np.void],
) -> None:
    """Note the venue's time by statuses (N,): of the frame's slot, or of every slot of its feed."""
    for f in range(len(frames)):
        frame = frames[f]
        first, end = 0, len(instruments)
        bit = HOLD_FEED
        if frame.slot >= 0:
            first, end = frame.slot, frame.slot + 1
            bit = HOLD_INSTRUMENT
        for index in range(frame.start, frame.start + frame.count):
            status = statuses[index]
            for slot in range(first, end):
                row = rows[slot]
                if row.key == 0 or (frame.slot < 0 and instruments[slot].feed != frame.feed):
                    continue
                row.hold = row.hold | bit if status.hold else row.hold & ~bit
                row.venue_time = max(row.venue_time, status.venue_time)


@njit(_Out(_Rows, _Scratch, _Frames, _Times, _Of), cache=True)
def fold_time(
    rows: NDArray[np.void],
    scratch: NDArray[np.void],
    frames: NDArray[np.void],
    times: NDArray[np.void],
    of: Composites,
) -> Out:
    """Step the time: what an earlier status closed of members is known by now, and who is not heard
    of is not waited for. `rows` (S,) STATE change."""
    out = _nothing()
    for f in range(len(frames)):
        frame = frames[f]
        for index in range(frame.start, frame.start + frame.count):
            ts = times[index].ts
            at = (np.uint64(frame.r), np.uint32(np.int64(frame.i) + index - frame.start))
            for c in range(len(of.slots)):
                row = rows[of.slots[c]]
                for m in range(of.counts[c]):
                    slot = of.members[c, m]
                    if slot >= 0 and rows[slot].hold == 0:
                        member = rows[slot]
                        member.heard_to = max(member.heard_to, member.venue_time - GRACE_NS)
                if row.began == 0:
                    row.began = ts
                    for t in range(SPECS_COUNT):
                        row.tracks[t].closed_to = ts
                    continue
                for t in range(SPECS_COUNT):
                    if of.watched[c, t]:
                        to = max(_complete_to(rows, of, c, t), ts - of.holds[c])
                        out = _advance(rows, scratch, of, out, at, c, t, to)
    return out
