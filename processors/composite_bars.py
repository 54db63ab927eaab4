"""Bars of several venues to bars of their pair: 1s 1m 5m 15m 1h 4h 1d, where LOG asks for them.

A composite (CompositeDefined) is an instrument of its own, as ``BTCUSDT.COMPOSITE``, that LOG
defines like any other; its members are instruments of the same pair, contract and unit, at most
eight, each of another venue. One that is not (yet) so is missing.

Each bar is made of the members' built bars of the same interval. Sums are exact, at the composite's
exponents; high and low are the extremes. Built bars do not say when their first and last trades
were: so open and close are those of one venue, of the first member in order of precedence that has
a bar. Volume-weighted is quote volume over volume.

A bar closes when the bars of every member up to its end are known: by a bar of that end or a later
one, or, where a member did not trade, by the venue's time (at the first `time` after the status
that let the member's bars close). No member is waited for longer than the composite's hold, counted
in `time` from the bar's end. `venues` are in it; of `missing` ones it is not known whether they
traded (STALE); of members in neither it is known that they did not.

A member's bar that comes after that, or is revised, revises the bar, revision + 1, wherever that
changes it; where the bar had closed empty that is revision 1. Venues that came so are `late`
(LATE). Flags are those of the parts, and GAP where a part had to be left out: one that the
composite's exponents cannot express is a dead letter. A bar that was told stays as it was, with
GAP, where all its parts became so.

A composite begins with the first interval that ends after the first `time` since its definition; a
changed one begins anew. Revisions of what ended before are not its own.
"""

from typing import Any

import numpy as np

from tidemill.processors.kernels.composite_plan import Plan, plan
from tidemill.processors.kernels.composite_state import BAR, LENGTHS_NS, REFUSALS, SPECS, STATE
from tidemill.processors.processor import Emit, Processor, Records, Run
from tidemill.schemas.events.composites import CompositeDefined
from tidemill.schemas.events.dead_letter import DeadLetter
from tidemill.schemas.events.event import Derived
from tidemill.schemas.kinds.composite_bar import COMPOSITE_BAR

_MASKS = {"venues": "inside", "missing": "missing", "late": "late"}
_SAME = tuple(name for name in BAR.names or () if name in (COMPOSITE_BAR.dtype.names or ()))
_SECONDS = np.array(LENGTHS_NS) // 1_000_000_000


def step(state: Records, run: Run) -> list[Emit]:
    """Fold one run of bars, statuses or times into the composites; `state` (S,) STATE changes.

    Emits kind `composite_bar` and, rarely, `dead_letter`.
    """
    if not any(isinstance(one, CompositeDefined) for one in run.settings):
        return []
    # Where LOG asks for no composites, none of these kernels is compiled or loaded.
    from tidemill.processors.kernels import composite_bars as kernel

    found = plan(run.settings, run.instruments)
    _arrange(state, run, found)
    match run.kind:
        case "bar":
            out = kernel.fold_bars(state, _scratch(), run.frames, run.records, found.of)
        case "status":
            kernel.fold_status(state, run.frames, run.records, run.instruments)
            return []
        case "time":
            out = kernel.fold_time(state, _scratch(), run.frames, run.records, found.of)
        case _:
            raise ValueError(f"composite_bars does not read {run.kind}")
    told, refused = (some[:count] for some, count in zip(out[:2], out.counts, strict=True))
    return [*_bars(told, found), *_dead_letters(refused, found)]


def _scratch() -> Records:
    """A bar in the making; its numbers never reach another call."""
    return np.zeros(1, BAR)


def _arrange(state: Records, run: Run, found: Plan) -> None:
    """Make the rows of the pairs that a run concerns what LOG asks for: others begin anew."""
    pairs = run.instruments["pair"]
    if run.kind == "time":
        concerned = np.ones(len(pairs), np.bool_)
    else:
        slots, of_feed = run.frames["slot"], run.frames["feed"][run.frames["slot"] < 0]
        mine = np.isin(run.instruments["feed"], of_feed)
        mine[slots[slots >= 0]] = True
        concerned = np.isin(pairs, pairs[mine])
    for slot in np.flatnonzero(concerned & (state["key"] != found.keys)).tolist():
        state[slot] = np.zeros((), STATE)
        state["key"][slot] = found.keys[slot]


def _bars(told: Records, found: Plan) -> list[Emit]:
    if len(told) == 0:
        return []
    records, bars = COMPOSITE_BAR.empty(len(told)), told["bar"]
    for name in ("at_r", "at_i"):
        records[name] = told[name]
    for name in _SAME:
        if name not in _MASKS:
            records[name] = bars[name]
    records["interval_s"] = _SECONDS[told["spec"]]
    for c in np.unique(told["composite"]).tolist():
        mine = told["composite"] == c
        for name, mask in _MASKS.items():
            records[name][mine] = found.names[c][bars[mask][mine]]
    slots = found.of.slots[told["composite"]].astype(np.int32)
    return [Emit("composite_bar", slots, told["spec"].copy(), records)]


def _dead_letters(refused: Records, found: Plan) -> list[Emit]:
    if len(refused) == 0:
        return []
    specs = np.zeros(len(refused), np.uint8)
    events = tuple(_dead_letter(refusal, found) for refusal in refused)
    return [Emit("dead_letter", refused["slot"].copy(), specs, COMPOSITE_BAR.empty(0), events)]


def _dead_letter(refusal: Any, found: Plan) -> Derived:
    """Subject and payload are those of the LOG record, which the runtime has and a step has not."""
    bar = f"bar {SPECS[int(refusal['spec'])]} of {int(refusal['ts_open'])}"
    composite = found.ids[int(refusal["composite"])]
    return DeadLetter(
        at_r=int(refusal["at_r"]),
        at_i=int(refusal["at_i"]),
        processor="composite_bars",
        subject="",
        reason=f"a member's {bar} is not in {composite}: {REFUSALS[int(refusal['reason'])]}",
        policy="skip",
        payload="",
    )


COMPOSITE_BARS = Processor(
    name="composite_bars",
    version=1,
    scope="pair",
    reads=("bar", "status", "time"),
    emits=("composite_bar", "dead_letter"),
    state=STATE,
    step=step,
    specs=SPECS,
    settings=("composites",),
    poison="skip",
)
