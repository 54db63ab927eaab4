"""Indicators over bars as they close: which ones, on what, is what LOG says (IndicatorSetDefined).

A set counts from its own position on: an indicator begins with the first bar that closes after it,
and has a value when it has seen as many as its warm-up asks. One that a set no longer names ends;
one that stays, whichever set names it, goes on.

A revision of the newest bar that was taken is taken in its place, and its values are told again
with the bar's revision. A revision of an older bar cannot be undone: values carry LATE until as
many bars have closed as the indicator looks back on; and so for each flag of a bar.
"""

from typing import Any

import numpy as np

from tidemill.processors.kernels.bar_columns import Ints, closing, columns, keys_of, specs_of
from tidemill.processors.kernels.indicator import Values
from tidemill.processors.kernels.indicator_state import (
    LATE,
    SPECS,
    STATE,
    Plan,
    Row,
    Wanted,
    arrange,
    flag,
    plan,
)
from tidemill.processors.processor import Emit, Processor, Records, Run
from tidemill.schemas.events.indicators import IndicatorSetDefined
from tidemill.schemas.kinds.indicator import INDICATOR

Part = tuple[Records, Ints, Ints]
"""Records (N,) of kind `indicator`, the bar of each in the run, and its place at that bar."""


def step(state: Records, run: Run) -> list[Emit]:
    """Take one run of bars into the indicators of their instruments; `state` (S,) changes."""
    if not run.settings:
        return []
    sets = tuple(one for one in run.settings if isinstance(one, IndicatorSetDefined))
    slots, specs = run.frames["slot"], specs_of(run)
    parts: list[Part] = []
    for slot in np.unique(slots).tolist():
        of = run.instruments[slot]
        found = plan(sets, of["symbol"].decode(), of["venue"].decode())
        row = state[slot]
        arrange(row, found)
        mine = np.flatnonzero(slots == slot)
        for spec in sorted({wanted.spec for wanted in found.wanted}):
            bars = mine[specs[mine] == spec]
            if len(bars):
                parts += _told(row, found, spec, run, bars)
    return _emitted(run, specs, parts)


def _told(row: Row, found: Plan, spec: int, run: Run, bars: Ints) -> list[Part]:
    """Take an instrument's bars of one spec; return what each of its indicators says."""
    records = run.records[run.frames["start"][bars]]
    read, keys = columns(records, run.frames[bars]), keys_of(records)
    parts = []
    for place, wanted in enumerate(found.wanted):
        if wanted.spec == spec:
            values, flags = _run(row, place, wanted, read, keys, records["flags"])
            parts.append(_records(wanted, place, records, values, flags, bars))
    return parts


def _run(
    row: Row,
    place: int,
    wanted: Wanted,
    read: dict[str, Values],
    keys: Ints,
    flags: Any,
) -> tuple[Values, Any]:
    """Run an indicator over bars (N,) of these keys; return its outputs (K, N), NaN for bars that
    it does not take, and flags (N,)."""
    instance = row["instances"][place]
    words = slice(int(instance["start"]), int(instance["start"] + instance["words"]))
    now, before = row["words"][words], row["before"][words]
    inputs = np.ascontiguousarray([read[name] for name in wanted.indicator.inputs])
    values = np.full((len(wanted.indicator.outputs), len(keys)), np.nan)
    told = np.zeros(len(keys), np.uint16)
    begin = 0
    while begin < len(keys):
        key = int(keys[begin])
        if instance["bars"] and key < instance["newest"]:
            instance["since"][LATE] = instance["since_before"][LATE] = 0
            begin += 1
            continue
        if instance["bars"] and key == instance["newest"]:
            now[:], instance["since"] = before, instance["since_before"]
            instance["bars"] -= 1
            end = begin + 1
        else:
            falls = np.flatnonzero(keys[begin + 1 :] <= keys[begin:-1])
            end = begin + 1 + (int(falls[0]) if len(falls) else len(keys) - begin - 1)
        for part in (slice(begin, end - 1), slice(end - 1, end)):  # the newest bar by itself
            before[:], instance["since_before"] = now, instance["since"]
            made = np.empty((len(values), part.stop - part.start))
            if made.size:
                wanted.indicator.run(
                    now, wanted.parameters, np.ascontiguousarray(inputs[:, part]), made
                )
                values[:, part] = made
                flag(flags[part].astype(np.uint16), instance["since"], wanted.reach, told[part])
        instance["newest"] = keys[end - 1]
        instance["bars"] += np.uint64(end - begin)
        begin = end
    return values, told


def _records(
    wanted: Wanted, place: int, bars: Records, values: Values, flags: Any, at: Ints
) -> Part:
    """Return a record for every value that there is."""
    bar, output = np.nonzero(np.isfinite(values).T)
    records = INDICATOR.empty(len(bar))
    for name in ("at_r", "at_i", "ts_open", "revision"):
        records[name] = bars[name][bar]
    records["ts_close"] = closing(bars)[bar]
    records["flags"] = flags[bar]
    records["indicator"] = wanted.name.encode()
    records["output"] = np.array([o.encode() for o in wanted.indicator.outputs], "S16")[output]
    records["value"] = values[output, bar] + 0.0  # there is no -0.0 in an output
    return records, at[bar], np.full(len(bar), place)


def _emitted(run: Run, specs: Ints, parts: list[Part]) -> list[Emit]:
    """Return what was told, in the order of the bars, then of the plan, then of its outputs."""
    records = np.concatenate([part[0] for part in parts]) if parts else INDICATOR.empty(0)
    if not len(records):
        return []
    bars = np.concatenate([part[1] for part in parts])
    places = np.concatenate([part[2] for part in parts])
    order = np.lexsort((places, bars))  # stable: outputs of one indicator stand as they were made
    slots = run.frames["slot"][bars[order]].astype(np.int32)
    return [Emit("indicator", slots, specs[bars[order]].astype(np.uint8), records[order])]


INDICATORS = Processor(
    name="indicators",
    version=1,
    scope="pair",
    reads=("activity_bar", "bar", "composite_bar", "resampled_bar"),
    emits=("indicator",),
    state=STATE,
    step=step,
    specs=SPECS,
    exponents=(0, 0),
    settings=("indicators",),
    poison="skip",
)
