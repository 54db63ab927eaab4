"""Screens over bars of many instruments at once, and what else watches bars as screens do: one call
a step, not one an instrument."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from tidemill.processors.kernels import screen_score
from tidemill.processors.kernels.bar_columns import Ints, closing, columns, keys_of, specs_of
from tidemill.processors.kernels.indicator import BAR_INPUTS, Values
from tidemill.processors.kernels.indicator_state import SPECS
from tidemill.processors.kernels.screen_bars import (
    OLDER,
    Counts,
    Modes,
    admit,
    at_close,
    flags_within,
)
from tidemill.processors.kernels.screen_plan import SCORED, Kept, Made, Watched, Watches
from tidemill.processors.kernels.screen_state import WORDS_MAX, arrange, words_of
from tidemill.processors.kernels.screen_windows import NOTHING, Block, Statuses, rise, take
from tidemill.schemas.enums import SignalStatus
from tidemill.schemas.frame import Kind
from tidemill.schemas.kinds.signal import INDICATORS, POINTS, SIGNAL
from tidemill.schemas.run import Emit, Records, Run

_NUMBERS = ("score", "close", *POINTS, *INDICATORS)


class Part(NamedTuple):
    """Outputs (N,) of one definition, which bar of the run each is of, and the definition."""

    records: Records
    bars: Ints
    definitions: Ints


class Taken(NamedTuple):
    """Bars (N,) of one spec that count, in order: their places in the run, what each is, how many
    bars ago there was one with each flag (N, 4), and the numbers of GIVEN."""

    bars: Records
    at: Ints
    slots: Ints
    modes: Modes
    since: Counts
    values: list[Values]


Watch = Callable[[Records, Watched, int, Run, Ints], list[Part]]


def told(state: Records, run: Run, watches: Watches, watch: Watch, kind: str) -> list[Emit]:
    """Take a run of bars into what watches their instruments; return what that says, in order.

    `state` (S,) changes. `watch` takes those of one spec that are watched alike.
    """
    slots, specs = run.frames["slot"].astype(np.int64), specs_of(run)
    parts: list[Part] = []
    for wanted, mine in _by_plan(watches, run.instruments, slots):
        plan = watches.plan(wanted)
        arrange(state, np.unique(slots[mine]), plan.row, tuple(plan.watched))
        for spec, watched in plan.watched.items():
            at = mine[specs[mine] == spec]
            if len(at):
                parts += watch(state, watched, spec, run, at)
    if not parts:
        return []
    bars, definitions = (np.concatenate([part[k] for part in parts]) for k in (1, 2))
    order = np.argsort(bars, kind="stable")  # of one bar, definitions stand in their order
    records = np.concatenate([part.records for part in parts])[order]
    of = run.frames["slot"][bars[order]].astype(np.int32)
    return [Emit(kind, of, definitions[order].astype(np.uint8), records, names=watches.names)]


def _by_plan(
    watches: Watches, instruments: Records, slots: Ints
) -> Iterator[tuple[tuple[int, ...], Ints]]:
    """Return which definitions watch the bars (N,) of which slots: by them, indices of bars."""
    present, of_bar = np.unique(slots, return_inverse=True)
    named = instruments[["symbol", "venue"]][present].tolist()
    groups: dict[tuple[int, ...], int] = {}
    group = np.array([groups.setdefault(watches.of(*name), len(groups)) for name in named])
    for wanted, number in groups.items():
        yield wanted, np.flatnonzero(group[of_bar] == number)


def admitted(state: Records, spec: int, run: Run, at: Ints) -> Taken:
    """Take note of the bars of one spec at these places of a run; revisions of older ones are left
    out."""
    frames = run.frames[at]
    slots, bars = frames["slot"].astype(np.int64), run.records[frames["start"]]
    modes, since = admit(state, slots, spec, keys_of(bars), bars["flags"])
    taken = modes != OLDER
    if not taken.all():
        bars, frames, at = bars[taken], frames[taken], at[taken]
        slots, modes, since = slots[taken], modes[taken], since[taken]
    read = columns(bars, frames)
    values = [read[name] for name in BAR_INPUTS] + at_close(state, slots, spec, modes)
    return Taken(bars, at, slots, modes, since, values)


def watch(state: Records, watched: Watched, spec: int, run: Run, at: Ints) -> list[Part]:
    """Take bars of one spec into rows of `state`; return what each screen says."""
    taken = admitted(state, spec, run, at)
    risen = computed(words_of(state), watched, taken)
    parts = []
    for told in watched.told:
        if told.rises < 0:
            known = ~np.isnan(taken.values[watched.score["score"]])
            says = np.where(known, int(SignalStatus.SCORED), NOTHING).astype(np.int8)
        else:
            says = risen[told.rises]
        some = np.flatnonzero(says != NOTHING)
        if len(some):
            numbers = {name: taken.values[watched.score[name]][some] for name in _NUMBERS}
            records = outputs(SIGNAL, taken, some, spec, told.reach, numbers)
            records["status"] = says[some]
            for name, codes in screen_score.classes(records).items():
                records[name] = codes
            parts.append(Part(records, taken.at[some], np.full(len(some), told.screen)))
    return parts


def computed(rows: Block, watched: Watched, taken: Taken) -> list[Statuses]:
    """Add to the numbers what steps give; return what is news, by each step that says so."""
    slots, modes, values = taken.slots, taken.modes, taken.values
    told: list[Statuses] = []
    for step in watched.steps:
        if isinstance(step, Made):
            values.append(step.function(*(values[place] for place in step.inputs)))
        elif not isinstance(step, Kept):
            found = screen_score.points({name: values[p] for name, p in step.inputs.items()})
            values += [found[name] for name in SCORED]
        elif step.kernel is None:
            out = np.empty(len(slots), np.int8)
            (number,) = (np.ascontiguousarray(values[place]) for place in step.inputs)
            rise(rows, slots, modes, step.start, WORDS_MAX + step.start, number, out)
            told.append(out)
        else:
            inputs = np.stack([values[place] for place in step.inputs], axis=1)[:, :, np.newaxis]
            made = np.empty((len(slots), step.outputs, 1))
            take(
                step.kernel, rows, slots, modes, step.start, WORDS_MAX + step.start, step.words,
                step.parameters, np.ascontiguousarray(inputs), made,
            )  # fmt: skip
            values += list(np.ascontiguousarray(made[:, :, 0].T))
    return told


def outputs(
    kind: Kind, taken: Taken, some: Ints, spec: int, reach: int, numbers: Mapping[str, Any]
) -> Records:
    """Return records of a kind at some of the bars, with the flags of the newest `reach` ones and
    these numbers."""
    bars = taken.bars[some]
    records = kind.empty(len(bars))
    for name in ("at_r", "at_i", "ts_open", "revision"):
        records[name] = bars[name]
    records["ts_close"] = closing(bars)
    if "sequence" in (bars.dtype.names or ()):
        records["sequence"] = bars["sequence"]
    records["flags"] = flags_within(taken.since[some], reach)
    records["bars"] = SPECS[spec].encode()
    for name, found in numbers.items():
        # One NaN, and no -0.0, whatever made them.
        records[name] = np.where(np.isnan(found), np.nan, found + 0.0)
    return records
