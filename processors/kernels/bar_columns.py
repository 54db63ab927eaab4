"""Closed bars as columns of numbers: what indicators and screens read of them."""

from typing import Any

import numpy as np

from tidemill.processors.kernels.indicator import BAR_INPUTS, Values
from tidemill.processors.kernels.indicator_state import SPECS
from tidemill.schemas.bar_type import SPEC_OF_INTERVAL_S
from tidemill.schemas.enums import BarAggregation
from tidemill.schemas.run import Records, Run

_SPEC_OF_SECONDS = {s: SPECS.index(spec) for s, spec in SPEC_OF_INTERVAL_S.items() if spec in SPECS}
_SPEC_OF_SECONDS[0] = SPECS.index("1M")
"""Places in SPECS of bars of so many seconds; 0 stands for the calendar's month."""
_SPEC_OF_AGGREGATION = {int(a): SPECS.index(a.name.lower()) for a in BarAggregation}
_PRICES = ("open", "high", "low", "close")
_AMOUNTS = ("volume", "quote_volume", "taker_buy_volume")
_POWERS = np.array([10.0**k for k in range(64)])
Ints = np.ndarray[Any, np.dtype[np.int64]]


def specs_of(run: Run) -> Ints:
    """Return of each frame (F,), which is one bar, the index of its spec in SPECS, -1 for none.

    Raises ValueError for a run that is not of bars.
    """
    if run.kind in ("bar", "composite_bar", "resampled_bar"):
        numbers, known = run.records["interval_s"], _SPEC_OF_SECONDS
    elif run.kind == "activity_bar":
        numbers, known = run.records["aggregation"], _SPEC_OF_AGGREGATION
    else:
        raise ValueError(f"{run.kind} are no bars")
    of_bars = numbers[run.frames["start"]]
    specs = np.full(len(of_bars), -1, np.int64)
    for number, spec in known.items():
        specs[of_bars == number] = spec
    return specs


def columns(bars: Records, frames: Records) -> dict[str, Values]:
    """Return BAR_INPUTS of bars (N,), float64 each, in units of price and quantity; `frames` (N,)
    have their exponents."""
    price = frames["price_exponent"].astype(np.int64)
    quantity = frames["quantity_exponent"].astype(np.int64)
    found: dict[str, Values] = {}
    for name in _PRICES:
        found[name] = scaled(bars[name].astype(np.float64), price)
    for name in _AMOUNTS:
        high = bars[f"{name}_hi"].astype(np.float64) * 2.0**64
        exponents = price + quantity if name == "quote_volume" else quantity
        found[name] = scaled(high + bars[f"{name}_lo"].astype(np.float64), exponents)
    for name in BAR_INPUTS[len(found) :]:
        found[name] = bars[name].astype(np.float64)
    return found


def scaled(mantissas: Values, exponents: Ints) -> Values:
    """Return mantissas (N,) times 10 to the power of exponents (N,), rounded once."""
    powers = _POWERS[np.abs(exponents)]
    found: Values = np.where(exponents < 0, mantissas / powers, mantissas * powers)
    return found


def keys_of(bars: Records) -> Ints:
    """Return what the revisions of one bar share, and later bars are above: (N,) int64."""
    names = bars.dtype.names or ()
    return (bars["sequence"] if "sequence" in names else bars["ts_open"]).astype(np.int64)


def closing(bars: Records) -> Ints:
    """Return when bars (N,) ended, ns."""
    if "ts_close" in (bars.dtype.names or ()):
        return bars["ts_close"].astype(np.int64)
    ends: Ints = bars["ts_open"] + bars["interval_s"].astype(np.int64) * 1_000_000_000
    return ends
