"""Detectors of anomalies over bars of many instruments at once."""

from typing import Any

import numpy as np

from tidemill.processors.kernels.bar_columns import Ints, scaled
from tidemill.processors.kernels.indicator import Values
from tidemill.processors.kernels.screen_plan import GIVEN, Watched
from tidemill.processors.kernels.screen_run import Part, admitted, computed, outputs
from tidemill.processors.kernels.screen_state import words_of
from tidemill.processors.kernels.screen_windows import NOTHING
from tidemill.schemas.kinds.anomaly import ANOMALY, EVIDENCE
from tidemill.schemas.run import Records, Run

DOLLARS = (b"USD", b"USDT", b"USDC", b"FDUSD", b"TUSD", b"USDE", b"USD1", b"PYUSD", b"DAI", b"BUSD")
"""Currencies that are a dollar, or a token for one."""
_READ = ("close", "depth_1pct", "imbalance")
_UNKNOWN: Any = np.nan


def watch(state: Records, watched: Watched, spec: int, run: Run, at: Ints) -> list[Part]:
    """Take bars of one spec into rows of `state`; return what each detector says."""
    taken = admitted(state, spec, run, at)
    close, depth, imbalance = (taken.values[GIVEN.index(name)] for name in _READ)
    taken.values.append(in_dollars(depth, close, run.instruments[taken.slots]))
    with np.errstate(all="ignore"):
        taken.values.append((1.0 - imbalance) / (1.0 + imbalance))
    news = computed(words_of(state), watched, taken)
    parts = []
    for told in watched.told:
        says = news[told.news]
        some = np.flatnonzero(says != NOTHING)
        if len(some):
            numbers = dict.fromkeys((field.name for field in EVIDENCE), _UNKNOWN)
            numbers |= {name: taken.values[place][some] for name, place in told.numbers.items()}
            numbers["close"] = close[some]
            records = outputs(ANOMALY, taken, some, spec, told.reach, numbers)
            records["severity"], records["threshold"] = says[some], told.threshold
            records["detector"] = told.detector.encode()
            parts.append(Part(records, taken.at[some], np.full(len(some), told.of)))
    return parts


def in_dollars(depth: Values, close: Values, of: Records) -> Values:
    """Return depths (N,), told as price x quantity, in dollars; NaN where they are in none.

    `of` (N,) are the instruments: a quantity is `multiplier` of their base, or, inverse, of quote.
    """
    multiplier = of["multiplier"].astype(np.float64)
    worth = scaled(multiplier, of["multiplier_exponent"].astype(np.int64))
    with np.errstate(all="ignore"):
        found = np.where(of["inverse"] > 0, depth / close, depth) * worth
    return np.where(np.isin(of["quote"], DOLLARS) & np.isfinite(found), found, np.nan)
