"""What came of a run: decisions, and the exact rows of account, fills, trips and equity."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill.processors.kernels.backtest.market import Ints, Market
from tidemill.processors.kernels.backtest.money import MILLION
from tidemill.processors.kernels.backtest.rules import Rules
from tidemill.schemas.decimals import decimal_of
from tidemill.schemas.exact import to_int

Rows = NDArray[np.void]
Decision = tuple[int, str, str, float, float]
"""When (ns), of which instrument, what (target, buy, sell, close, cancel), how much, at what."""


@dataclass(frozen=True)
class Decided:
    """What was decided: one by one as it was told, and by columns of targets: an instrument, when
    (D,) ns and what (D,) millionths."""

    told: list[Decision]
    columns: list[tuple[str, Ints, Ints]]

    def listed(self) -> tuple[Decision, ...]:
        """Return all of it in order of time."""
        found = list(self.told)
        for name, ts, targets in self.columns:
            parts = (targets / MILLION).tolist()
            found += [
                (at, name, "target", part, 0.0) for at, part in zip(ts.tolist(), parts, strict=True)
            ]
        return tuple(sorted(found, key=lambda one: one[0]))


@dataclass(frozen=True)
class Ran:
    """What came of it, from `start` (ns) on. Money in `account`, `trips` and `points` is in
    10^`exponent` of the quote."""

    markets: tuple[Market, ...]
    rules: Rules
    exponent: int
    account: Rows
    fills: Rows
    trips: Rows
    points: Rows
    decided: Decided
    start: int = 0

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Everything that was decided, in order of time."""
        return self.decided.listed()

    @property
    def equity(self) -> NDArray[np.float64]:
        """Equity (P,) at the end of every bar."""
        high = self.points["equity_hi"].astype(np.float64) * 2.0**64
        found: NDArray[np.float64] = (high + self.points["equity_lo"]) / 10.0**-self.exponent
        return found

    def money(self, row: Any, name: str) -> Decimal:
        """Return the exact sum `name` of a row."""
        return decimal_of(to_int(row[f"{name}_hi"], row[f"{name}_lo"]), self.exponent)

    @property
    def final(self) -> Decimal:
        """Equity at the end, exact."""
        if not len(self.points):
            return self.rules.initial
        return self.money(self.points[-1], "equity")
