"""What a strategy is tested on: bars of one instrument, or its trades and the bars made of them."""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tidemill.processors.kernels.backtest.time_bars import (
    CLOSED,
    END,
    HIGH,
    LAST,
    LOW,
    OPEN,
    OPENED,
    fold,
    most_bars,
)
from tidemill.processors.kernels.indicator import Values

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Prices:
    """Columns of bars (B,): prices as mantissas, volume as a number, times in ns UTC."""

    ts_open: Ints
    ts_close: Ints
    open: Ints
    high: Ints
    low: Ints
    close: Ints
    volume: Values


@dataclass(frozen=True)
class Market:
    """One instrument: `bars` (B,), and the trades (R,) that fill orders where there are any.

    Trades `ts` and `price` of bar k end at `ends[k]` (B,). Prices are mantissas at
    `price_exponent`; orders are whole multiples of `lot` at `quantity_exponent`.
    """

    instrument: str
    price_exponent: int
    quantity_exponent: int
    bars: Prices
    ts: Ints | None = None
    price: Ints | None = None
    ends: Ints | None = None
    lot: int = 1

    def __post_init__(self) -> None:
        bars = self.bars
        counts = {len(getattr(bars, field.name)) for field in fields(bars)}
        if len(counts) != 1:
            raise ValueError(f"{self.instrument}: columns of bars differ in length: {counts}")
        wrong = (bars.ts_close <= bars.ts_open) | (bars.low > np.minimum(bars.open, bars.close))
        wrong |= (bars.high < np.maximum(bars.open, bars.close)) | (bars.low <= 0)
        wrong[1:] |= bars.ts_open[1:] < bars.ts_close[:-1]
        if wrong.any():
            k = int(wrong.argmax())
            raise ValueError(
                f"{self.instrument}: bar {k} is no bar, or begins before the one before it ends"
            )

    @classmethod
    def of_trades(
        cls,
        instrument: str,
        exponents: tuple[int, int],
        ts: Ints,
        price: Ints,
        quantity: Values,
        interval_ns: int,
        lot: int = 1,
    ) -> Self:
        """Return trades (R,), in order of time, with the bars of an interval that they make.
        Prices are mantissas, quantities numbers: they make volumes only.

        Raises ValueError where they are not in order, or a price is not above zero.
        """
        rows = np.zeros((7, most_bars(ts, interval_ns)), np.int64)
        volume = np.zeros(rows.shape[1])
        count = fold(ts, price, quantity, interval_ns, rows, volume)
        if count < 0:
            raise ValueError(f"{instrument}: trade {-1 - count} is earlier than the one before it")
        rows = rows[:, :count]
        taken = {name: rows[k].copy() for name, k in _ROWS.items()}
        bars = Prices(**taken, volume=volume[:count])
        return cls(instrument, *exponents, bars, ts, price, rows[END].copy(), lot)

    @cached_property
    def columns(self) -> "Columns":
        """The bars (B,) as indicators and strategies read them, float64, made when asked for."""
        return Columns(self.bars, self.price_exponent)

    def part(self, start: int, end: int) -> "Market":
        """Return the bars from `start` to before `end`, and their trades."""
        columns = [getattr(self.bars, field.name) for field in fields(self.bars)]
        bars = Prices(*(column[start:end] for column in columns))
        if self.ts is None or self.price is None or self.ends is None:
            return replace(self, bars=bars)
        first = int(self.ends[start - 1]) if start else 0
        ends = self.ends[start:end]
        last = int(ends[-1]) if len(ends) else first
        trades = self.ts[first:last], self.price[first:last], ends - first
        return replace(self, bars=bars, ts=trades[0], price=trades[1], ends=trades[2])


class Columns(dict[str, Values]):
    """Columns of bars (B,) as float64: open, high, low, close, volume, ts_open. Each is made the
    first time that it is asked for."""

    def __init__(self, bars: Prices, price_exponent: int) -> None:
        super().__init__()
        self._bars, self._divisor = bars, 10.0**-price_exponent

    def __missing__(self, name: str) -> Values:
        column: Values
        if name in ("open", "high", "low", "close"):
            column = getattr(self._bars, name) / self._divisor
        elif name in ("volume", "ts_open"):
            column = getattr(self._bars, name).astype(np.float64)
        else:
            raise KeyError(name)
        self[name] = column
        return column


_ROWS = {
    **{"ts_open": OPENED, "ts_close": CLOSED},
    **{"open": OPEN, "high": HIGH, "low": LOW, "close": LAST},
}
