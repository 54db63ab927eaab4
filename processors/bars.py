"""Trades to time bars of seven intervals in one pass, closed and revised as the venue's time says.

A bar closes at the first of: a trade at or past its end while ids prove that none is missing; or
the venue's clock a grace past its end while nothing holds. A trade for a closed bar revises it:
the whole bar again, revision + 1, LATE (also where the bar had closed empty: that is revision 1).
Intervals without trades have no bar. The bars of one record come by interval, then oldest first.

First and last trade, and so open and close, go by trade id, and by logical order where ids are
equal: a bar whose hole was filled late is the venue's own bar again.

Flags: GAP, a declared or suspected gap touches it (closed bars are revised to say so); PARTIAL,
the feed began inside it, or came back inside it and ids do not prove that nothing was missed;
STALE, closed by time after its feed was silent for more than 5 s. Before the first trade a feed is
known to cover an instrument from the first status after `FeedConnected`, otherwise from that trade.

What no kept bar can take (older than the newest 120 seconds with trades, 16 minutes, 4 of the rest;
a sum over 128 bits; an impossible time or quantity) is never dropped silently: a dead letter names
the trade and the intervals that lack it, and every other interval has it.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tidemill.processors.kernels import bars as kernel
from tidemill.processors.kernels.bar_out import Out
from tidemill.processors.kernels.bar_state import (
    GAP_TOO_OLD,
    REFUSALS,
    REFUSED,
    SPECS,
    STAGE,
    STATE,
)
from tidemill.processors.processor import Emit, Processor, Records, Run
from tidemill.schemas.events.dead_letter import DeadLetter
from tidemill.schemas.events.event import Derived, Event
from tidemill.schemas.events.feed import (
    FeedConnected,
    FeedDisconnected,
    RecordsGivenUp,
    TradeGapDeclared,
    TradeGapSuspected,
)
from tidemill.schemas.kinds.bar import BAR

_NO_IDS = (1, 0)


def step(state: Records, run: Run) -> list[Emit]:
    """Fold one run of trades, statuses or feed events into the bars of its instruments.

    `state` (S,) STATE, changed in place. Emits kind `bar` and, rarely, `dead_letter`.
    """
    match run.kind:
        case "trade":
            out, count, refused, refusals = kernel.fold_trades(
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
    raise ValueError(f"bars does not read {run.kind}")


def check(run: Run) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Frames (F,) of trades whose exponents are not their instrument's: bars have only one pair of
    them, and a coarser one could not hold what a finer one says."""
    return run.inexact_trades()


def _stages() -> Records:
    """Scratch space of a kernel call; its last record's numbers never reach another call."""
    return np.zeros(1, STAGE)


def _bars(out: Out, count: int) -> list[Emit]:
    if count == 0:
        return []
    return [Emit("bar", out.slots[:count], out.specs[:count], out.bars[:count])]


def _dead_letters(refused: Records) -> list[Emit]:
    if len(refused) == 0:
        return []
    specs = np.zeros(len(refused), np.uint8)
    events = tuple(_dead_letter(refusal) for refusal in refused)
    return [Emit("dead_letter", refused["slot"].copy(), specs, BAR.empty(0), events)]


def _dead_letter(refusal: np.void) -> Derived:
    """Subject and payload are those of the LOG record, which the runtime has and a step has not."""
    intervals = ",".join(spec for k, spec in enumerate(SPECS) if int(refusal["intervals"]) >> k & 1)
    what = "a gap" if refusal["reason"] == GAP_TOO_OLD else f"trade {refusal['trade_id']}"
    return DeadLetter(
        at_r=int(refusal["at_r"]),
        at_i=int(refusal["at_i"]),
        processor="bars",
        subject="",
        reason=f"{what} is not in bars of {intervals}: {REFUSALS[int(refusal['reason'])]}",
        policy="skip",
        payload="",
    )


def _event(state: Records, run: Run, index: int) -> Iterator[Emit]:
    """Step one event of an instrument or of a feed; those that say nothing of bars are passed."""
    event = run.events[index]
    slots = run.slots(index)
    match event:
        case FeedConnected() | FeedDisconnected():
            for slot in slots:
                kernel.mark_lapse(state, slot, isinstance(event, FeedConnected))
        case TradeGapDeclared() | TradeGapSuspected() | RecordsGivenUp():
            yield from _gap(state, run.frames[index], event, slots)


def _gap(state: Records, frame: np.void, event: Event, slots: list[int]) -> Iterator[Emit]:
    assert isinstance(event, TradeGapDeclared | TradeGapSuspected | RecordsGivenUp)
    ids = (event.first_id, event.last_id) if isinstance(event, TradeGapDeclared) else _NO_IDS
    for slot in slots:
        gap = kernel.Gap(
            np.uint64(frame["r"]),
            np.uint32(frame["i"]),
            np.int32(slot),
            event.ts_from,
            event.ts_to,
            *(np.uint64(trade_id) for trade_id in ids),
        )
        out, count, lost = kernel.declare_gap(state, _stages(), gap)
        yield from _bars(out, count)
        if lost:
            refused = np.array([(gap.at_r, gap.at_i, slot, 0, GAP_TOO_OLD, lost)], REFUSED)
            yield from _dead_letters(refused)


BARS = Processor(
    name="bars",
    version=1,
    scope="pair",
    reads=("trade", "status", "event"),
    emits=("bar", "dead_letter"),
    state=STATE,
    step=step,
    specs=SPECS,
    poison="park",
    check=check,
)
