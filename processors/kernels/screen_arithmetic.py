"""Numbers and conditions of screens, a column (N,) float64 at a time.

NaN is what is not known. A condition is 1, 0 or NaN, by Kleene's logic: what is not known decides
nothing, and what the rest decides is known.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tidemill.processors.kernels.indicator import Values


def _number(operator: Callable[[Values, Values], Values]) -> Callable[[Values, Values], Values]:
    def calculated(left: Values, right: Values) -> Values:
        """Return what is no finite number, as of a division by zero, as NaN."""
        with np.errstate(all="ignore"):
            found = operator(left, right)
        return np.where(np.isfinite(found), found, np.nan)

    return calculated


def _comparison(operator: Callable[[Values, Values], Any]) -> Callable[[Values, Values], Values]:
    def compared(left: Values, right: Values) -> Values:
        known = ~(np.isnan(left) | np.isnan(right))
        return np.where(known, np.where(operator(left, right), 1.0, 0.0), np.nan)

    return compared


def _and(left: Values, right: Values) -> Values:
    return np.where((left == 0.0) | (right == 0.0), 0.0, left * right)


def _or(left: Values, right: Values) -> Values:
    return np.where((left == 1.0) | (right == 1.0), 1.0, left + right)


BINARY: dict[str, Callable[[Values, Values], Values]] = {
    "+": _number(np.add),
    "-": _number(np.subtract),
    "*": _number(np.multiply),
    "/": _number(np.divide),
    "<": _comparison(np.less),
    "<=": _comparison(np.less_equal),
    ">": _comparison(np.greater),
    ">=": _comparison(np.greater_equal),
    "==": _comparison(np.equal),
    "!=": _comparison(np.not_equal),
    "and": _and,
    "or": _or,
}
UNARY: dict[str, Callable[[Values], Values]] = {
    "-": lambda number: -number,
    "not": lambda condition: 1.0 - condition,
}
