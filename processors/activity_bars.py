"""Trades to bars that close by what was traded: trades, volume, value, price, imbalance, runs.

Which ones, of which instruments, with which steps is what LOG says (ActivityBarsDefined), from its
own position on; where it says nothing there are none. By NautilusTrader's names (RANGE is ours):

    TICK, VOLUME, VALUE              so many trades, so much quantity, so much price x quantity
    TICK_, VOLUME_, VALUE_IMBALANCE  |bought - sold| of the same reaches what was to be expected
    TICK_, VOLUME_, VALUE_RUNS       the larger of bought and sold reaches what was to be expected
    RENKO                            the price leaves the last brick by a step, two where it turns
    RANGE                            highest less lowest price reaches a step

Imbalance and runs are those of Lopez de Prado, with expectations that adapt (activity_thresholds);
NautilusTrader closes them at a fixed step, and its runs end where the side changes. A trade counts
as bought or sold by its aggressor; where a venue names none, by the rule of ticks: as the price
rose or fell, or else as the trade before (a first one as bought). Value is price x quantity, of an
inverse contract its quantity.

Trades count in logical order, each once: no trade is late, and none revises a bar. The trade that
closes a bar belongs to it whole; the next one opens the next bar. Of several bricks of one trade
the first has the trades.

Steps that nobody gave: 1,000 trades of TICK bars; of VOLUME and VALUE what the first 1,000 trades
came to, rounded down to 1, 2 or 5 times a power of ten; of RENKO and RANGE a thousandth of the
first price, rounded so; imbalance and runs are first expected to have 1,000 trades.

Flags: GAP, a declared or suspected gap touches the time from its first to its last trade (closed
bars are revised to say so, the newest 8 of each), or sums had to begin anew (after 2^125); PARTIAL,
the first bar, which begins where the feed or the set began, and a bar in which the feed was away
and ids do not prove that nothing was missed.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tidemill.processors.kernels.activity_plan import Plans, plans, switch
from tidemill.processors.kernels.activity_state import (
    BARS,
    GAP_TOO_OLD,
    REFUSALS,
    REFUSED,
    STAGE,
    STATE,
)
from tidemill.processors.kernels.bar_out import Out
from tidemill.processors.processor import Emit, Processor, Records, Run
from tidemill.schemas.bar_type import ACTIVITY_SPECS
from tidemill.schemas.events.dead_letter import DeadLetter
from tidemill.schemas.events.event import Derived
from tidemill.schemas.events.feed import (
    FeedConnected,
    FeedDisconnected,
    RecordsGivenUp,
    TradeGapDeclared,
    TradeGapSuspected,
)
from tidemill.schemas.exact import INT128
from tidemill.schemas.kinds.activity_bar import ACTIVITY_BAR

SPECS = ACTIVITY_SPECS


def step(state: Records, run: Run) -> list[Emit]:
    """Fold one run of trades, statuses or feed events into the bars of its instruments.

    `state` (S,) STATE, changed in place. Emits kind `activity_bar` and, rarely, `dead_letter`.
    """
    return fold(state, run, plans(run.settings)) if run.settings else []


def fold(state: Records, run: Run, of: Plans) -> list[Emit]:
    """As `step`, with the bars that `of` says."""
    # Where LOG asks for no such bars, none of these kernels is compiled or loaded.
    from tidemill.processors.kernels import activity_bars as kernel

    steps = _arranged(state, run, of)
    match run.kind:
        case "trade":
            out, count, refused, refusals = kernel.fold_trades(
                state, _stages(), run.frames, run.records, run.instruments, steps
            )
            return [*_bars(out, count), *_dead_letters(refused[:refusals])]
        case "status":
            kernel.hear_statuses(state, run.frames, run.records, run.instruments)
            return []
        case "event":
            return [emit for index in range(len(run.frames)) for emit in _event(state, run, index)]
    raise ValueError(f"activity_bars does not read {run.kind}")


def check(run: Run) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Frames (F,) of trades whose exponents are not their instrument's: steps are in those."""
    bad = run.inexact_trades()
    for index in np.flatnonzero(bad).tolist():
        instrument = run.instruments[run.frames["slot"][index]]
        bad[index] = plans(run.settings).of(instrument).on != 0
    return bad


def _arranged(state: Records, run: Run, of: Plans) -> Records:
    """Make the rows that a run concerns have the bars that LOG asks for; return their steps
    (S, BARS)."""
    steps = np.zeros((len(run.instruments), BARS), INT128)
    slots, of_feed = run.frames["slot"], run.frames["feed"][run.frames["slot"] < 0]
    concerned = np.isin(run.instruments["feed"], of_feed)
    concerned[slots[slots >= 0]] = True
    for slot in np.flatnonzero(concerned).tolist():
        found = of.of(run.instruments[slot])
        steps[slot] = found.steps
        if state["on"][slot] != found.on:
            switch(state[slot], found.on)
    return steps


def _stages() -> Records:
    """Scratch space of a kernel call; its last record's numbers never reach another call."""
    return np.zeros(1, STAGE)


def _bars(out: Out, count: int) -> list[Emit]:
    if count == 0:
        return []
    return [Emit("activity_bar", out.slots[:count], out.specs[:count], out.bars[:count])]


def _dead_letters(refused: Records) -> list[Emit]:
    if len(refused) == 0:
        return []
    specs = np.zeros(len(refused), np.uint8)
    events = tuple(_dead_letter(refusal) for refusal in refused)
    return [Emit("dead_letter", refused["slot"].copy(), specs, ACTIVITY_BAR.empty(0), events)]


def _dead_letter(refusal: np.void) -> Derived:
    """Subject and payload are those of the LOG record, which the runtime has and a step has not."""
    reason = int(refusal["reason"])
    what = "a gap" if reason == GAP_TOO_OLD else f"trade {refusal['trade_id']}"
    return DeadLetter(
        at_r=int(refusal["at_r"]),
        at_i=int(refusal["at_i"]),
        processor="activity_bars",
        subject="",
        reason=f"{what} is not in activity bars: {REFUSALS[reason]}",
        policy="skip",
        payload="",
    )


def _event(state: Records, run: Run, index: int) -> Iterator[Emit]:
    """Step one event of an instrument or of a feed; those that say nothing of bars are passed."""
    from tidemill.processors.kernels import activity_bars as kernel

    event, frame = run.events[index], run.frames[index]
    slots = [slot for slot in run.slots(index) if state["on"][slot]]
    match event:
        case FeedConnected() | FeedDisconnected():
            for slot in slots:
                kernel.mark_lapse(state, slot, isinstance(event, FeedConnected))
        case TradeGapDeclared() | TradeGapSuspected() | RecordsGivenUp():
            for slot in slots:
                times = event.ts_from, event.ts_to
                where = np.uint64(frame["r"]), np.uint32(frame["i"]), np.int32(slot)
                out, count, lost = kernel.declare_gap(state, _stages(), kernel.Gap(*where, *times))
                yield from _bars(out, count)
                if lost:
                    yield from _dead_letters(np.array([(*where, 0, GAP_TOO_OLD)], REFUSED))


ACTIVITY_BARS = Processor(
    name="activity_bars",
    version=1,
    scope="pair",
    reads=("trade", "status", "event"),
    emits=("activity_bar", "dead_letter"),
    state=STATE,
    step=step,
    specs=SPECS,
    settings=("activity_bars",),
    poison="park",
    check=check,
)
