"""An indicator that follows bars one by one: the kernels that also go over whole columns."""

import numpy as np

from tidemill.processors.kernels.backtest.strategy import Bar
from tidemill.processors.kernels.indicator import Indicator, Values, computed


class Following:
    """One indicator of one instrument; called with a bar, it returns its outputs, NaN until warm.

    Raises ValueError, when made, for parameters that the indicator does not have, or for one that
    reads what a strategy's bar does not have.
    """

    def __init__(self, indicator: Indicator, **given: float) -> None:
        if lacking := sorted(set(indicator.inputs) - set(Bar._fields)):
            raise ValueError(f"{indicator.name} reads {', '.join(lacking)}, which bars here lack")
        self._parameters = indicator.checked(**given)
        self._run = indicator.run
        self._names = indicator.inputs
        self._state = indicator.empty(self._parameters)
        self._given = np.array(self._parameters, np.float64)
        self._inputs = np.empty((len(indicator.inputs), 1))
        self._outputs = np.empty((len(indicator.outputs), 1))

    def __call__(self, bar: Bar) -> tuple[float, ...]:
        """Return the outputs after a bar."""
        for k, name in enumerate(self._names):
            self._inputs[k, 0] = getattr(bar, name)
        self._run(self._state, self._given, self._inputs, self._outputs)
        return tuple(self._outputs[:, 0].tolist())


def over(indicator: Indicator, columns: dict[str, Values], **given: float) -> Values:
    """Return the outputs (K, B) of an indicator over columns (B,) from their first on."""
    inputs = np.array([columns[name] for name in indicator.inputs])
    return computed(indicator, indicator.checked(**given), inputs)
