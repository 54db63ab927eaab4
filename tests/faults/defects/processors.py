"""Processors that break their rules: an order out of a set, a clock, a memory beside the state."""

import time
from collections import Counter
from dataclasses import replace

import numpy as np

from tidemill.processors.processor import Emit, Records, Run
from tidemill.tests.streams.runtime.graphs import BEAT, COUNT, FOLLOW


class _Place:
    """A place in an emit; a set has these in the order of their addresses."""

    def __init__(self, index: int) -> None:
        self.index = index


def _by_a_set(state: Records, run: Run) -> list[Emit]:
    made = BEAT.step(state, run)
    for at, emit in enumerate(made):
        order: list[int] = []
        roots = [event.at_r for event in emit.events]
        for root in sorted(set(roots)):
            places = {_Place(index) for index, one in enumerate(roots) if one == root}
            order += [place.index for place in places]
        events = [emit.events[index] for index in order]
        made[at] = emit._replace(slots=emit.slots[np.array(order)], events=events)
    return made


def _by_a_clock(state: Records, run: Run) -> list[Emit]:
    made = FOLLOW.step(state, run)
    for emit in made:
        emit.records["best_ask"] = time.perf_counter_ns() % 1_000
    return made


_counted: Counter[int] = Counter()


def _beside_its_state(state: Records, run: Run) -> list[Emit]:
    made = COUNT.step(state, run)
    for emit in made:
        for record, slot in zip(emit.records, emit.slots.tolist(), strict=True):
            _counted[slot] += 1
            record["high"] = _counted[slot]
    return made


BY_A_SET = replace(BEAT, step=_by_a_set)
BY_A_CLOCK = replace(FOLLOW, step=_by_a_clock)
BESIDE_ITS_STATE = replace(COUNT, step=_beside_its_state)
