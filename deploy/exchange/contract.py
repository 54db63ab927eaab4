"""What a perpetual contract has besides a book: index, mark price, funding rate, open interest.

The index is the fundamental value; the mark price is the index with the smoothed premium of the
book's mid over it; the funding rate is that premium with the interest, as the venues document it:
F = P + clamp(0.01 % - P, -0.05 %, 0.05 %), here capped at 0.75 %, paid every eight hours. Open
interest wanders with what is traded. A contract steps with the fundamental, so seed, venue, symbol
and rate decide its values; only the time of the next payment is the clock's.
"""

from dataclasses import dataclass

import numpy as np

from tidemill.deploy.exchange.symbols import Symbol

FUNDING_US = 8 * 3_600_000_000
INTEREST = 1e-4
CLAMP = 5e-4
RATE_MAX = 7.5e-3
PREMIUM_KEEP = 0.98  # of the smoothed premium, a step of the fundamental
OPEN_ORDERS = 20_000  # open interest to begin with, in median orders


@dataclass(frozen=True)
class Derivative:
    """A contract's values: prices as mantissas with eight decimals, the rate too; lots open."""

    index: int
    mark: int
    funding_rate: int
    open_interest: int


def next_funding_us(time_us: int) -> int:
    """When funding is paid next after `time_us`."""
    return (time_us // FUNDING_US + 1) * FUNDING_US


class Contract:
    """The state of one contract; `values` are the latest."""

    def __init__(self, symbol: Symbol, rng: np.random.Generator) -> None:
        self._tick = symbol.tick
        self._rng = rng
        self._premium = 0.0
        self._open = int(symbol.order_lots * OPEN_ORDERS)
        self._least = max(1, self._open // 10)
        self._step = -1
        self._traded = 0
        self.values = Derivative(0, 0, 0, self._open)

    def traded(self, lots: int) -> None:
        """Count what was traded since the last step."""
        self._traded += lots

    def at(self, step: int, value: float, mid: float) -> None:
        """Step to a later step of the fundamental: `value` and the book's `mid` in ticks."""
        if step == self._step:
            return
        self._step = step
        self._premium = PREMIUM_KEEP * self._premium + (1.0 - PREMIUM_KEEP) * (mid / value - 1.0)
        moved = int(self._traded * (self._rng.random() - 0.5))
        self._open = max(self._least, self._open + moved)
        self._traded = 0
        rate = self._premium + min(CLAMP, max(-CLAMP, INTEREST - self._premium))
        self.values = Derivative(
            index=round(value * self._tick),
            mark=round(value * (1.0 + self._premium) * self._tick),
            funding_rate=round(min(RATE_MAX, max(-RATE_MAX, rate)) * 1e8),
            open_interest=self._open,
        )
