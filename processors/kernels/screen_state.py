"""The state of an instrument's screens: what their conditions keep, and which bars they have seen.

A row is packed and begins as zeros: no screens. Like a row of indicators it names what it holds, so
that what stays when screens change keeps what it has seen; and it has all of it twice, after the
newest bar and before it, so that a revision of the newest bar is taken in its place.
"""

from typing import Any

import numpy as np

from tidemill.processors.kernels.indicator_state import FLAGS, NEVER, SPECS
from tidemill.schemas.run import Records
from tidemill.schemas.screening.language import MARKET_FIELDS

WORDS_MAX = 4_096
"""Words of state of one instrument's screens together."""
HELD_MAX = 256
"""Indicators, windows and conditions that are kept for one instrument."""

HELD = np.dtype(
    [
        ("key", "<u8", (2,)),  # what it is, and of which bars: a digest of its text
        ("start", "<u4"),  # its first word
        ("words", "<u4"),
    ]
)
TRACK = np.dtype(
    [
        ("newest", "<i8"),  # key of the newest bar taken: its ts_open, or its sequence
        ("bars", "<u8"),  # bars taken
        ("since", "<u4", (len(FLAGS),)),  # bars since one with this flag, NEVER for none
        ("since_before", "<u4", (len(FLAGS),)),  # the same before the newest bar
        ("used", "<u8"),  # 1 while a screen watches bars of this spec
        ("market", "<f8", (len(MARKET_FIELDS),)),  # when the newest bar closed, NaN not known
    ]
)
"""What was seen of an instrument's bars of one spec."""

STATE = np.dtype(
    [
        ("words", "<f8", (WORDS_MAX,)),
        ("before", "<f8", (WORDS_MAX,)),
        ("plan", "<u8", (2,)),  # digest of all that it holds, zero for nothing
        ("count", "<u8"),
        ("held", HELD, (HELD_MAX,)),
        ("tracks", TRACK, (len(SPECS),)),
        ("market", "<f8", (len(MARKET_FIELDS),)),  # as its book and contract were told last
        ("known", "<u8", (len(MARKET_FIELDS),)),  # 1 where that is known, else it is 0
    ]
)
"""One row of the processor's state: one instrument. Its size is a multiple of eight bytes, so that
kernels may see rows as numbers (`words_of`)."""

Ints = np.ndarray[Any, np.dtype[np.int64]]
_CLEAN: Any = np.zeros((), TRACK)
_CLEAN["since"] = _CLEAN["since_before"] = NEVER
_CLEAN["used"] = 1


def words_of(state: Records) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return rows (S,) as float64 (S, W): WORDS_MAX of `words`, as many of `before`, the rest."""
    return state.view(np.float64).reshape(len(state), STATE.itemsize // 8)


def arrange(state: Records, slots: Ints, plan: Records, specs: tuple[int, ...]) -> None:
    """Make rows hold what `plan`, a row of STATE, names: what stays as it is, the rest empty.

    `specs` are those of the bars that it watches. Rows that held the same are arranged together.
    """
    other = slots[(state["plan"][slots] != plan["plan"]).any(axis=1)]
    while len(other):
        like = (state["plan"][other] == state["plan"][other[0]]).all(axis=1)
        _arrange(state, other[like], plan, specs)
        other = other[~like]


def _arrange(state: Records, slots: Ints, plan: Records, specs: tuple[int, ...]) -> None:
    first = state[slots[0]]
    held = first["held"][: int(first["count"])].copy()
    places = {one["key"].tobytes(): one for one in held}
    old = {name: state[name][slots] for name in ("words", "before")}
    for name in old:
        state[name][slots] = 0.0
    for one in plan["held"][: int(plan["count"])]:
        was = places.get(one["key"].tobytes())
        if was is not None:
            begin, start, words = int(was["start"]), int(one["start"]), int(one["words"])
            for name, values in old.items():
                state[name][slots, start : start + words] = values[:, begin : begin + words]
    for name in ("plan", "count", "held"):
        state[name][slots] = plan[name]
    for spec in range(len(SPECS)):
        if spec not in specs:
            state["tracks"][slots, spec] = np.zeros((), TRACK)
        elif not first["tracks"][spec]["used"]:
            state["tracks"][slots, spec] = _CLEAN
