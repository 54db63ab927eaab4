"""The state of an instrument's indicators, and which of them a row holds where.

A row is packed and begins as zeros: no indicators. It names those that it holds, so that when the
sets change those that stay keep what they have seen. Of each there are two states: after the newest
bar, and before it, so that a revision of the newest bar is taken in its place.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from tidemill.processors.kernels.indicator import Given, Indicator, Values
from tidemill.schemas.bar_type import ACTIVITY_SPECS, BUILT_SPECS, RESAMPLED_SPECS
from tidemill.schemas.enums import BarFlag
from tidemill.schemas.events.indicators import IndicatorSetDefined
from tidemill.schemas.events.selection import selects

SPECS = (*BUILT_SPECS, *ACTIVITY_SPECS, *RESAMPLED_SPECS)
"""Bars that indicators run on."""
INSTANCES_MAX = 160
"""Indicators of one instrument, those of every spec counted."""
WORDS_MAX = 4_096
"""Words of state that those of one instrument have together."""
NAME_CHARS_MAX = 48

FLAGS = tuple(int(flag) for flag in BarFlag if flag)
LATE = FLAGS.index(int(BarFlag.LATE))
NEVER = np.uint32(2**32 - 1)

INSTANCE = np.dtype(
    [
        ("name", f"S{NAME_CHARS_MAX}"),
        ("spec", "<u8"),  # index in SPECS
        ("start", "<u4"),  # its first word
        ("words", "<u4"),
        ("newest", "<i8"),  # key of the newest bar taken: its ts_open, or its sequence
        ("bars", "<u8"),  # bars taken
        ("since", "<u4", (len(FLAGS),)),  # bars since one with this flag, NEVER for none
        ("since_before", "<u4", (len(FLAGS),)),  # the same before the newest bar
    ]
)
"""One indicator over one instrument's bars of one spec. Kernels ask for numbers that are aligned,
so every field stands at a multiple of its size, here and in STATE."""

STATE = np.dtype(
    [
        ("words", "<f8", (WORDS_MAX,)),
        ("before", "<f8", (WORDS_MAX,)),
        ("count", "<u8"),
        ("instances", INSTANCE, (INSTANCES_MAX,)),
    ]
)
"""One row of the processor's state: one instrument."""

Row = Any
Names = np.ndarray[Any, np.dtype[np.bytes_]]
Flags = np.ndarray[Any, np.dtype[np.uint16]]
Counts = np.ndarray[Any, np.dtype[np.uint32]]


class Wanted(NamedTuple):
    """One indicator that is to run: its one name, what it is, and its parameters."""

    name: str
    spec: int
    indicator: Indicator
    parameters: Values
    reach: int
    """How many bars back its newest value is said to depend on: its warm-up and the bar itself."""


class Plan(NamedTuple):
    """What runs on one instrument; `key` names it as a row does."""

    wanted: tuple[Wanted, ...]
    key: bytes


@lru_cache(maxsize=4_096)
def plan(sets: tuple[IndicatorSetDefined, ...], symbol: str, venue: str) -> Plan:
    """Return what sets ask for on an instrument: each once, in order of the sets, as far as a row
    holds them."""
    found: dict[tuple[str, int], Wanted] = {}
    words = 0
    for one in sets:
        if not selects(one.instruments, symbol, venue):
            continue
        for spec in [SPECS.index(spec) for spec in one.bars if spec in SPECS]:
            for text in one.indicators:
                wanted = _wanted(text, spec)
                if wanted is None or (wanted.name, spec) in found:
                    continue
                words += wanted.indicator.words(tuple(wanted.parameters))
                if words > WORDS_MAX or len(found) == INSTANCES_MAX:
                    break
                found[wanted.name, spec] = wanted
    all_wanted = tuple(found.values())
    return Plan(all_wanted, _key((w.name.encode(), w.spec) for w in all_wanted))


def _on_bars(text: str) -> tuple[str, Indicator, Given]:
    """Read what a set asks for: its one name, what it is, its parameters. Raises ValueError where
    it cannot run on bars."""
    # Where no set asks for any, none of all those kernels is compiled or loaded.
    from tidemill.processors.kernels.indicator_catalog import asked

    indicator, given = asked(text)
    name = indicator.instance(given)
    if indicator.source != "bar":
        raise ValueError(f"{text} is made of quotes: sets run on bars")
    if len(name) > NAME_CHARS_MAX:
        raise ValueError(f"{text} has too many digits")
    return name, indicator, given


def _wanted(text: str, spec: int) -> Wanted | None:
    """Return what a text names; None for what this version does not know, or cannot run on bars."""
    try:
        name, indicator, given = _on_bars(text)
    except ValueError:
        return None
    reach = 1 + (indicator.warm_up(given) or 0)
    return Wanted(name, spec, indicator, np.array(given, np.float64), reach)


def problems(sets: Sequence[IndicatorSetDefined]) -> list[str]:
    """Say what of these sets would be left out, and why; what a command refuses."""
    found: list[str] = []
    asked_for: dict[tuple[str, str], None] = {}
    for one in sets:
        found += [f"{one.name}: there are no bars {spec}" for spec in one.bars if spec not in SPECS]
        for text in one.indicators:
            try:
                name, _, _ = _on_bars(text)
            except ValueError as error:
                found.append(f"{one.name}: {error}")
            else:
                asked_for |= dict.fromkeys((name, spec) for spec in one.bars)
    everywhere = tuple(one.model_copy(update={"instruments": ("*",)}) for one in sets)
    if not found and len(plan(everywhere, "", "").wanted) < len(asked_for):
        found.append(
            f"all sets together are over {INSTANCES_MAX} indicators, or {WORDS_MAX} words of state,"
            " of one instrument"
        )
    return found


def _key(named: Iterable[tuple[bytes, int]]) -> bytes:
    return b",".join(b"%s@%d" % one for one in named)


def arrange(row: Row, to: Plan) -> None:
    """Make a row hold what a plan says: those that stay as they are, new ones empty."""
    held = row["instances"][: row["count"]]
    named = list(zip(held["name"].tolist(), held["spec"].tolist(), strict=True))
    if _key(named) == to.key:
        return
    places = {one: k for k, one in enumerate(named)}
    old = row.copy()
    row["count"] = len(to.wanted)
    for name in ("words", "before", "instances"):
        row[name][...] = np.zeros((), row[name].dtype)
    start = 0
    for k, wanted in enumerate(to.wanted):
        instance = row["instances"][k]
        words = wanted.indicator.words(tuple(wanted.parameters))
        place = places.get((wanted.name.encode(), wanted.spec))
        if place is None:
            instance["name"], instance["spec"] = wanted.name.encode(), wanted.spec
            instance["since"] = instance["since_before"] = NEVER
        else:
            row["instances"][k] = old["instances"][place]
            begin = int(instance["start"])
            for name in ("words", "before"):
                row[name][start : start + words] = old[name][begin : begin + words]
        instance["start"], instance["words"] = start, words
        start += words


@njit("void(u2[::1], u4[::1], i8, u2[::1])", cache=True)
def flag(of_bars: Flags, since: Counts, reach: int, out: Flags) -> None:  # pragma: no cover
    """Set `out` (N,) to the flags of the newest `reach` bars; `since` (4,) changes in place."""
    for j in range(len(of_bars)):
        flags = 0
        for k in range(len(since)):
            if of_bars[j] >> k & 1:
                since[k] = 0
            elif since[k] < 4294967295:
                since[k] += 1
            if since[k] < reach:
                flags |= 1 << k
        out[j] = flags
