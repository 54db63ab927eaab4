"""Funding, open interest and basis of contracts: what they are, were, and say.

Each value is the last one that the venue gave. `funding_24h` and `funding_7d` are means of the last
rates of the hours (of receipt) that had one. Open interest and price, the last trade's or, before
one, the mark, are compared with the first of the five minutes of 24 hours ago that had both, or of
the nearest between 25 and 23; without one nothing has changed: PARTIAL_24H. `volume` sums the
trades of 24 hours in buckets of five minutes by event time.

Told at the first `time` of a minute if anything changed, at the next `time` if a signal changed,
and in every hour. Instruments without any record of kind derivative are not told.
"""

import numpy as np

from tidemill.processors.kernels import derivatives as kernel
from tidemill.processors.kernels.derivative_state import STATE
from tidemill.processors.processor import Emit, Processor, Records, Run
from tidemill.schemas.events.feed import RecordsGivenUp, TradeGapDeclared, TradeGapSuspected


def step(state: Records, run: Run) -> list[Emit]:
    """Take one run of derivative records, trades, events or times; `state` (S,) changes."""
    match run.kind:
        case "derivative":
            kernel.take_derivatives(state, run.frames, run.records)
        case "trade":
            kernel.count_trades(state, run.frames, run.records, run.instruments)
        case "event":
            _note_gaps(state, run)
        case "time":
            out, count = kernel.tell_derivatives(state, run.frames, run.records, run.instruments)
            if count:
                specs = np.zeros(count, np.uint8)
                return [Emit("derivative_metrics", out.slots[:count], specs, out.records[:count])]
        case _:
            raise ValueError(f"derivatives does not read {run.kind}")
    return []


def _note_gaps(state: Records, run: Run) -> None:
    for frame, event in zip(run.frames, run.events, strict=True):
        match event:
            case TradeGapDeclared() | TradeGapSuspected() if frame["slot"] >= 0:
                kernel.note_gap(state, int(frame["slot"]), event.ts_to)
            case RecordsGivenUp():
                for slot in np.flatnonzero(run.instruments["feed"] == frame["feed"]):
                    kernel.note_gap(state, int(slot), event.ts_to)


DERIVATIVES = Processor(
    name="derivatives",
    version=1,
    scope="pair",
    reads=("derivative", "trade", "event", "time"),
    emits=("derivative_metrics",),
    state=STATE,
    step=step,
    specs=("1m",),
    poison="skip",
)
