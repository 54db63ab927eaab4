"""Bars of shorter intervals to bars of longer ones: 3m 30m 2h 6h 8h 12h 3d 1w 1M.

Each is made of the longest built bars that divide it: 3m of 1m, 30m of 15m, 2h and 6h of 1h, 8h and
12h of 4h, 3d, 1w and 1M of 1d. Weeks begin on Monday, months are the calendar's, three days are
counted from the epoch, all in UTC. Sums are exact; open and close go by trade id, and where ids
of two parts are equal by time.

A bar closes with its last part, or where that had no trade by the venue's time: at the first record
of the instrument (a status at the latest) after the status that let the parts close. A revised part
revises the bar, revision + 1, wherever that changes it; so does a part that comes where the bar had
closed empty: that is revision 1.

Flags: those of its parts; GAP also where a gap touches the interval but no part; PARTIAL also where
the feed began inside it before the first part; STALE also where time closed it after its feed was
silent. A feed that lapses before the first part has closed counts as begun after that.

Parts are kept as long as `bars` can revise them (kernels/resampled_state.py). One that is older, or
that a sum cannot take in 128 bits, is a dead letter that names the intervals that lack it.
An instrument that `bars` has parked gives no more parts: its open bars close by time with what
came, and the dead letter of `bars` is what says that trades are missing.
"""

from collections.abc import Iterator

import numpy as np

from tidemill.processors.kernels import resampled_bars as kernel
from tidemill.processors.kernels.bar_out import Out
from tidemill.processors.kernels.resampled_state import (
    GAP_TOO_OLD,
    REFUSALS,
    REFUSED,
    SOURCES,
    SPECS,
    STAGE,
    STATE,
)
from tidemill.processors.processor import Emit, Processor, Records, Run
from tidemill.schemas.events.dead_letter import DeadLetter
from tidemill.schemas.events.event import Derived
from tidemill.schemas.events.feed import (
    FeedConnected,
    FeedDisconnected,
    RecordsGivenUp,
    TradeGapDeclared,
    TradeGapSuspected,
)
from tidemill.schemas.kinds.resampled_bar import RESAMPLED_BAR

_GAPS = TradeGapDeclared | TradeGapSuspected | RecordsGivenUp


def step(state: Records, run: Run) -> list[Emit]:
    """Fold one run of bars, statuses or feed events into the longer bars of its instruments.

    `state` (S,) STATE, changed in place. Emits kind `resampled_bar` and, rarely, `dead_letter`.
    """
    match run.kind:
        case "bar":
            out, count, refused, refusals = kernel.fold_bars(
                state, _stages(), run.frames, run.records
            )
            return [*_bars(out, count), *_dead_letters(refused[:refusals])]
        case "status":
            out, count = kernel.fold_status(
                state, _stages(), run.frames, run.records, run.instruments
            )
            return _bars(out, count)
        case "event":
            return [emit for index in range(len(run.frames)) for emit in _event(state, run, index)]
    raise ValueError(f"resampled_bars does not read {run.kind}")


def _stages() -> Records:
    """Scratch space of a kernel call; its last record's numbers never reach another call."""
    return np.zeros(1, STAGE)


def _bars(out: Out, count: int) -> list[Emit]:
    if count == 0:
        return []
    return [Emit("resampled_bar", out.slots[:count], out.specs[:count], out.bars[:count])]


def _dead_letters(refused: Records) -> list[Emit]:
    if len(refused) == 0:
        return []
    specs = np.zeros(len(refused), np.uint8)
    events = tuple(_dead_letter(refusal) for refusal in refused)
    return [Emit("dead_letter", refused["slot"].copy(), specs, RESAMPLED_BAR.empty(0), events)]


def _dead_letter(refusal: np.void) -> Derived:
    """Subject and payload are those of the LOG record, which the runtime has and a step has not."""
    lacking = ",".join(spec for t, spec in enumerate(SPECS) if int(refusal["targets"]) >> t & 1)
    bar = f"bar {SOURCES[int(refusal['source'])]} of {int(refusal['ts_open'])}"
    what = "a gap" if refusal["reason"] == GAP_TOO_OLD else bar
    return DeadLetter(
        at_r=int(refusal["at_r"]),
        at_i=int(refusal["at_i"]),
        processor="resampled_bars",
        subject="",
        reason=f"{what} is not in bars of {lacking}: {REFUSALS[int(refusal['reason'])]}",
        policy="skip",
        payload="",
    )


def _event(state: Records, run: Run, index: int) -> Iterator[Emit]:
    """Step one event of an instrument or of a feed; those that say nothing of bars are passed."""
    event, frame = run.events[index], run.frames[index]
    for slot in run.slots(index):
        if isinstance(event, FeedConnected | FeedDisconnected):
            kernel.mark_lapse(state, slot, isinstance(event, FeedConnected))
        elif isinstance(event, _GAPS):
            r, i = np.uint64(frame["r"]), np.uint32(frame["i"])
            out, count, lost = kernel.declare_gap(
                state, _stages(), slot, r, i, event.ts_from, event.ts_to
            )
            yield from _bars(out, count)
            if lost:
                refused = np.array([(r, i, slot, 0, 0, GAP_TOO_OLD, lost)], REFUSED)
                yield from _dead_letters(refused)


RESAMPLED_BARS = Processor(
    name="resampled_bars",
    version=1,
    scope="pair",
    reads=("bar", "status", "event"),
    emits=("resampled_bar", "dead_letter"),
    state=STATE,
    step=step,
    specs=SPECS,
    poison="skip",
)
