"""What an indicator is: inputs, parameters and outputs by name, and one kernel for one record and
for millions.

A kernel is called as `run(state, parameters, inputs, outputs)`. `state` (words,) float64 begins as
zeros and is changed in place: counts, sums and rings of the last values. `parameters` (P,) float64
stand in declared order; `inputs` (C, N) float64 are the columns that the indicator names; `outputs`
(K, N) float64 are written whole, NaN until there is a value. A record is worked through by the same
operations in the same order however the records are split into calls, so one call over all of
history and a call for each record as it comes end in the same bits.

Only + - * / and square roots of hardware are used, in one order, without contraction. A sum over a
window is kept by adding what comes and taking off what goes, and is added up anew each time that
its ring is full: what rounding leaves behind lives for one window at most.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numba
import numpy as np

Values = np.ndarray[Any, np.dtype[np.float64]]
Kernel = Callable[[Values, Values, Values, Values], None]
Given = tuple[float, ...]

SIGNATURE = numba.void(
    numba.float64[::1], numba.float64[::1], numba.float64[:, ::1], numba.float64[:, ::1]
)
"""Of every kernel."""
OUTPUTS_MAX = 5

BAR_INPUTS = (
    *("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume"),
    *("trade_count", "ts_open"),
)
QUOTE_INPUTS = ("bid", "ask", "bid_size", "ask_size")


class Parameter(NamedTuple):
    """A number that an indicator is made with, `low` to `high`, both allowed; `whole` of them."""

    name: str
    default: float
    low: float
    high: float
    whole: bool = True

    def checked(self, value: float) -> float:
        """Return a value that it may have. Raises ValueError that says which it may."""
        value = float(value)
        if not self.low <= value <= self.high or (self.whole and value != int(value)):
            what = "a whole number" if self.whole else "a number"
            raise ValueError(f"{self.name} is {what} from {self.low:g} to {self.high:g}")
        return value


@dataclass(frozen=True)
class Indicator:
    """One indicator: its names, and its kernel.

    `words(parameters)` is the length of its state, `warm_up(parameters)` the number of records
    before the first for which every output has a value; None where that is not a matter of records.
    """

    name: str
    inputs: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    outputs: tuple[str, ...]
    words: Callable[[Given], int]
    warm_up: Callable[[Given], int | None]
    run: Kernel
    source: Literal["bar", "quote"] = "bar"
    valid: Callable[[Given], str] = lambda parameters: ""
    """What is wrong with parameters that are each allowed, but not together; empty: nothing."""

    def checked(self, **given: float) -> Given:
        """Return the parameters in declared order, defaults filled in. Raises ValueError."""
        names = [parameter.name for parameter in self.parameters]
        if unknown := sorted(set(given) - set(names)):
            raise ValueError(
                f"{self.name} has no {', '.join(unknown)}; it has {', '.join(names) or 'none'}"
            )
        try:
            found = tuple(p.checked(given.get(p.name, p.default)) for p in self.parameters)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{self.name}: {error}") from error
        if wrong := self.valid(found):
            raise ValueError(f"{self.name}: {wrong}")
        return found

    def instance(self, parameters: Given) -> str:
        """Return its one name with these parameters, as ``macd(12,26,9)``."""
        return f"{self.name}({','.join(map(_exact, parameters))})"

    def empty(self, parameters: Given) -> Values:
        """Return the state before the first record."""
        return np.zeros(self.words(parameters))


def _exact(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def computed(indicator: Indicator, parameters: Given, inputs: Values) -> Values:
    """Return the outputs (K, N) of an indicator over columns (C, N) from its first record on."""
    outputs = np.empty((len(indicator.outputs), inputs.shape[1]))
    given = np.array(parameters, np.float64)
    indicator.run(indicator.empty(parameters), given, np.ascontiguousarray(inputs), outputs)
    return outputs
