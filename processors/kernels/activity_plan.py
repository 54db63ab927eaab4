"""Which activity bars an instrument has, and their steps, by what LOG's sets say."""

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from tidemill.processors.kernels.activity_state import (
    AGGREGATIONS,
    BARS,
    IMBALANCE,
    MEASURED,
    NEVER,
    NOTIONAL,
    OPEN,
    PLAIN,
    RENKO,
    RING,
    STATE,
)
from tidemill.schemas.events.activity_bars import ActivityBarsDefined
from tidemill.schemas.events.event import Event
from tidemill.schemas.events.selection import overlap, selects
from tidemill.schemas.exact import INT128, from_ints

STEP_MAX = 1 << 60
"""A step of trades or of price, as a mantissa; of a measure its square."""
_PLACES = {one.name: k for k, one in enumerate(AGGREGATIONS)}


class Plan(NamedTuple):
    """The bars of one instrument."""

    on: int
    """Bit k is set where there are bars of aggregation k."""
    steps: np.ndarray[Any, np.dtype[np.void]]
    """(BARS,) INT128 mantissas, 0 where the step is the processor's own."""


NONE = Plan(0, np.zeros(BARS, INT128))


class Plans:
    """What sets ask for, by instrument; of two that ask for one aggregation the first counts."""

    def __init__(self, sets: Sequence[Event]) -> None:
        self._sets = [one for one in sets if isinstance(one, ActivityBarsDefined)]
        self._known: dict[tuple[Any, ...], Plan] = {}

    def of(self, instrument: Any) -> Plan:
        """Return the bars of an instrument, a record of INSTRUMENTS."""
        exponents = int(instrument["price_exponent"]), int(instrument["quantity_exponent"])
        key = (
            instrument["symbol"],
            instrument["venue"],
            *exponents,
            bool(instrument["inverse"]),
        )
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._made(key[0].decode(), key[1].decode(), *key[2:])
        return found

    def _made(self, symbol: str, venue: str, *known: Any) -> Plan:
        steps: dict[int, int] = {}
        for one in self._sets:
            if selects(one.instruments, symbol, venue):
                for text in one.bars:
                    step, _, unit = text.rpartition("-")
                    mantissa = _mantissa(_PLACES[unit], step, *known)
                    if mantissa is not None:
                        steps.setdefault(_PLACES[unit], mantissa)
        if not steps:
            return NONE
        return Plan(sum(1 << k for k in steps), from_ints([steps.get(k, 0) for k in range(BARS)]))


plans = lru_cache(maxsize=16)(Plans)


def _mantissa(k: int, step: str, price: int, quantity: int, inverse: bool) -> int | None:
    """Return a step in mantissas, 0 for none; None where the instrument cannot express it."""
    if not step:
        return 0
    measure, exponent, most = k // 3, 0, STEP_MAX
    if k >= MEASURED:
        exponent = price
    elif k % 3 == PLAIN and measure:
        exponent = price + quantity if measure == NOTIONAL and not inverse else quantity
        most = STEP_MAX**2
    exact = Decimal(step).scaleb(-exponent)
    return int(exact) if exact == int(exact) and exact < most else None


def switch(row: Any, on: int) -> None:
    """Make a row of STATE have bars of these aggregations: what goes on is as it was, what was off
    begins with the next trade. A row without any is zero, but for the number of each one's next
    bar: (aggregation, sequence) is a name."""
    bars, rings, numbers = row["bars"], row["rings"], row["bars"]["sequence"].copy()
    if on == 0:
        blank = np.zeros((), STATE)
        for name in STATE.names or ():
            row[name] = blank[name]
    stays = int(row["on"]) & on
    for k in range(BARS):
        bar = bars[k]
        if stays >> k & 1:
            if bar["open"] and k != RENKO:  # the next trade begins extremes anew
                bar["high"], bar["low"] = max(bar["high"], row["high"]), min(bar["low"], row["low"])
            continue
        if on == 0:
            break
        bars[k], rings[k] = np.zeros((), OPEN), np.zeros((), RING)
        bar["trades_due"] = bar["above_hi"] = bar["below_hi"] = NEVER
        if k >= MEASURED:
            bar["step_lo"] = NEVER
        elif k % 3 == IMBALANCE:
            bar["below_hi"] = -NEVER
    bars["sequence"] = numbers
    row["unopened"] = row["seen"]
    row["on"] = on


def problems(sets: Sequence[ActivityBarsDefined]) -> list[str]:
    """Say where sets ask for two steps of one aggregation on one instrument; what a command
    refuses."""
    found = []
    for index, one in enumerate(sets):
        for other in (*sets[:index], one):
            if other is one or overlap(one.instruments, other.instruments):
                found += [
                    f"{one.name}: {mine} and {theirs} of {other.name} cannot both be made of one"
                    " instrument"
                    for mine in one.bars
                    for theirs in other.bars
                    if mine != theirs and mine.rpartition("-")[2] == theirs.rpartition("-")[2]
                ]
    return found
