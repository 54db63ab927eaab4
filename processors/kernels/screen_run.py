"""Screens over bars of many instruments at once: one call a step, not one an instrument."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tidemill.processors.kernels import screen_score
from tidemill.processors.kernels.bar_columns import Ints, closing, columns, keys_of
from tidemill.processors.kernels.indicator import BAR_INPUTS, Values
from tidemill.processors.kernels.indicator_state import SPECS
from tidemill.processors.kernels.screen_bars import OLDER, Modes, admit, at_close, flags_within
from tidemill.processors.kernels.screen_plan import SCORED, Kept, Made, Screens, Watched
from tidemill.processors.kernels.screen_state import WORDS_MAX, words_of
from tidemill.processors.kernels.screen_windows import NOTHING, Block, Statuses, rise, take
from tidemill.schemas.enums import SignalStatus
from tidemill.schemas.kinds.signal import INDICATORS, POINTS, SIGNAL
from tidemill.schemas.run import Records

_NUMBERS = ("score", "close", *POINTS, *INDICATORS)


class Part(NamedTuple):
    """Signals (N,) of one screen, which bar of the run each is of, and the screen."""

    records: Records
    bars: Ints
    screens: Ints


def by_plan(
    screens: Screens, instruments: Records, slots: Ints
) -> Iterator[tuple[tuple[int, ...], Ints]]:
    """Return which screens watch the bars (N,) of which slots: by screens, indices of bars."""
    present, of_bar = np.unique(slots, return_inverse=True)
    named = instruments[["symbol", "venue"]][present].tolist()
    groups: dict[tuple[int, ...], int] = {}
    group = np.array([groups.setdefault(screens.of(*name), len(groups)) for name in named])
    for wanted, number in groups.items():
        yield wanted, np.flatnonzero(group[of_bar] == number)


def watch(
    state: Records, watched: Watched, spec: int, bars: Records, frames: Records, at: Ints
) -> list[Part]:
    """Take bars (N,) of one spec into rows of `state`; return what each screen says.

    `frames` (N,) are the bars', `at` (N,) their places in the run.
    """
    slots = frames["slot"].astype(np.int64)
    modes, since = admit(state, slots, spec, keys_of(bars), bars["flags"])
    taken = modes != OLDER
    if not taken.all():
        bars, frames, at = bars[taken], frames[taken], at[taken]
        slots, modes, since = slots[taken], modes[taken], since[taken]
    read = columns(bars, frames)
    values = [read[name] for name in BAR_INPUTS] + at_close(state, slots, spec, modes)
    risen = _computed(words_of(state), watched, slots, modes, values)
    parts = []
    for told in watched.told:
        if told.rises < 0:
            known = ~np.isnan(values[watched.score["score"]])
            says = np.where(known, int(SignalStatus.SCORED), NOTHING).astype(np.int8)
        else:
            says = risen[told.rises]
        some = np.flatnonzero(says != NOTHING)
        if len(some):
            flags = flags_within(since[some], told.reach)
            numbers = {name: values[watched.score[name]][some] for name in _NUMBERS}
            records = _signals(bars[some], spec, says[some], flags, numbers)
            parts.append(Part(records, at[some], np.full(len(some), told.screen)))
    return parts


def _computed(
    rows: Block, watched: Watched, slots: Ints, modes: Modes, values: list[Values]
) -> list[Statuses]:
    """Add to `values` what steps give; return what each screen's condition does, in order."""
    risen: list[Statuses] = []
    for step in watched.steps:
        if isinstance(step, Made):
            values.append(step.function(*(values[place] for place in step.inputs)))
        elif not isinstance(step, Kept):
            found = screen_score.points({name: values[p] for name, p in step.inputs.items()})
            values += [found[name] for name in SCORED]
        elif step.kernel is None:
            out = np.empty(len(slots), np.int8)
            (condition,) = (np.ascontiguousarray(values[place]) for place in step.inputs)
            rise(rows, slots, modes, step.start, WORDS_MAX + step.start, condition, out)
            risen.append(out)
        else:
            inputs = np.stack([values[place] for place in step.inputs], axis=1)[:, :, np.newaxis]
            outputs = np.empty((len(slots), step.outputs, 1))
            take(
                step.kernel, rows, slots, modes, step.start, WORDS_MAX + step.start, step.words,
                step.parameters, np.ascontiguousarray(inputs), outputs,
            )  # fmt: skip
            values += list(np.ascontiguousarray(outputs[:, :, 0].T))
    return risen


def _signals(
    bars: Records, spec: int, says: Statuses, flags: Any, numbers: dict[str, Values]
) -> Records:
    records = SIGNAL.empty(len(bars))
    for name in ("at_r", "at_i", "ts_open", "revision"):
        records[name] = bars[name]
    records["ts_close"] = closing(bars)
    if "sequence" in (bars.dtype.names or ()):
        records["sequence"] = bars["sequence"]
    records["flags"], records["bars"], records["status"] = flags, SPECS[spec].encode(), says
    for name, found in numbers.items():
        # One NaN, and no -0.0, whatever made them.
        records[name] = np.where(np.isnan(found), np.nan, found + 0.0)
    for name, codes in screen_score.classes(records).items():
        records[name] = codes
    return records
