"""The built-in strategies: crossings of averages, MACD, and reversals by RSI and Bollinger's bands.

Each is written twice: bar by bar, and over columns with the same kernels for what it computes. Both
come to the same decisions; tests hold them to it.
"""

from abc import abstractmethod
from collections.abc import Callable

import numpy as np

from tidemill.processors.kernels.backtest.following import Following, over
from tidemill.processors.kernels.backtest.strategy import (
    Bar,
    Compiled,
    Context,
    Parameter,
    Strategy,
)
from tidemill.processors.kernels.bands import BOLLINGER
from tidemill.processors.kernels.indicator import Values
from tidemill.processors.kernels.moving_averages import EMA, SMA
from tidemill.processors.kernels.oscillators import MACD, RSI
from tidemill.processors.kernels.signals import Targets, cross, reverse

Lines = tuple[float, float]
PERIOD_MAX = 1_000


def _period(name: str, default: float) -> Parameter:
    return Parameter(name, default, 2, PERIOD_MAX)


class Crossing(Compiled):
    """Long once a fast line comes above a slow one, out (or short) once it comes below."""

    def on_start(self) -> None:
        self._lines: dict[str, Callable[[Bar], Lines]] = {}
        self._sides: dict[str, float] = {}

    def on_bar(self, context: Context, bar: Bar) -> None:
        """Compare the lines after this bar with how they stood before it."""
        name = bar.instrument
        if name not in self._lines:
            self._lines[name], self._sides[name] = self.lines(), 0.0
        fast, slow = self._lines[name](bar)
        before = self._sides[name]
        side = 1.0 if fast > slow else -1.0 if fast < slow else before
        if before != 0.0 and side != before:
            context.target(name, 1.0 if side > 0 else -1.0 if self.short else 0.0)
        self._sides[name] = side

    @abstractmethod
    def lines(self) -> Callable[[Bar], Lines]:
        """Return what makes (fast, slow) of each bar of one instrument."""

    @abstractmethod
    def columns(self, columns: dict[str, Values]) -> tuple[Values, Values]:
        """Return (fast, slow), each (B,)."""

    def targets(self, columns: dict[str, Values]) -> Targets:
        """As `on_bar`, of all bars."""
        fast, slow = self.columns(columns)
        found = np.empty(len(fast), np.int64)
        cross(np.zeros(1), fast, slow, self.short, found)
        return found


class _Averages(Crossing):
    def valid(self) -> str:
        return "" if self["fast"] < self["slow"] else "fast must be below slow"


class EmaCross(_Averages):
    """EMA(fast) against EMA(slow) of closes."""

    name = "ema_cross"
    parameters = (_period("fast", 12), _period("slow", 26))

    def warm_up(self) -> int:
        # A first value's part in the average is e^-8 after so many.
        return int(4 * self["slow"]) + 1

    def lines(self) -> Callable[[Bar], Lines]:
        fast, slow = Following(EMA, period=self["fast"]), Following(EMA, period=self["slow"])
        return lambda bar: (fast(bar)[0], slow(bar)[0])

    def columns(self, columns: dict[str, Values]) -> tuple[Values, Values]:
        fast = over(EMA, columns, period=self["fast"])[0]
        return fast, over(EMA, columns, period=self["slow"])[0]


class SmaCross(_Averages):
    """SMA(fast) against SMA(slow) of closes."""

    name = "sma_cross"
    parameters = (_period("fast", 20), _period("slow", 50))

    def warm_up(self) -> int:
        return int(self["slow"]) + 1

    def lines(self) -> Callable[[Bar], Lines]:
        fast, slow = Following(SMA, period=self["fast"]), Following(SMA, period=self["slow"])
        return lambda bar: (fast(bar)[0], slow(bar)[0])

    def columns(self, columns: dict[str, Values]) -> tuple[Values, Values]:
        fast = over(SMA, columns, period=self["fast"])[0]
        return fast, over(SMA, columns, period=self["slow"])[0]


class Macd(Crossing):
    """MACD against its signal line."""

    name = "macd"
    parameters = (_period("fast", 12), _period("slow", 26), _period("signal", 9))

    def valid(self) -> str:
        return "" if self["fast"] < self["slow"] else "fast must be below slow"

    def warm_up(self) -> int:
        return int(4 * (self["slow"] + self["signal"]))

    def lines(self) -> Callable[[Bar], Lines]:
        macd = Following(MACD, **self.given)

        def both(bar: Bar) -> Lines:
            line, signal, _ = macd(bar)
            return line, signal

        return both

    def columns(self, columns: dict[str, Values]) -> tuple[Values, Values]:
        found = over(MACD, columns, **self.given)
        return found[0], found[1]


class Reversal(Compiled):
    """Long once a value comes below a low threshold, out (or short) once it is above a high one."""

    def on_start(self) -> None:
        self._values: dict[str, Callable[[Bar], float]] = {}
        self._sides: dict[str, int] = {}

    def on_bar(self, context: Context, bar: Bar) -> None:
        """Compare the value after this bar with both thresholds."""
        name = bar.instrument
        if name not in self._values:
            self._values[name], self._sides[name] = self.value(), 0
        value, side = self._values[name](bar), self._sides[name]
        low, high = self.thresholds()
        if value < low and side <= 0:
            self._sides[name] = 1
            context.target(name, 1.0)
        elif value > high and side >= 0:
            self._sides[name] = -1
            if side > 0 or self.short:
                context.target(name, -1.0 if self.short else 0.0)

    @abstractmethod
    def value(self) -> Callable[[Bar], float]:
        """Return what makes a value of each bar of one instrument."""

    @abstractmethod
    def column(self, columns: dict[str, Values]) -> Values:
        """Return the values (B,)."""

    @abstractmethod
    def thresholds(self) -> Lines:
        """Return (low, high)."""

    def targets(self, columns: dict[str, Values]) -> Targets:
        """As `on_bar`, of all bars."""
        values = self.column(columns)
        found = np.empty(len(values), np.int64)
        low, high = self.thresholds()
        reverse(np.zeros(1), values, low, high, self.short, found)
        return found


class Rsi(Reversal):
    """Wilder's RSI below `oversold`, above `overbought`."""

    name = "rsi"
    parameters = (
        _period("period", 14),
        Parameter("oversold", 30, 0, 100, False),
        Parameter("overbought", 70, 0, 100, False),
    )

    def valid(self) -> str:
        return "" if self["oversold"] < self["overbought"] else "oversold must be below overbought"

    def warm_up(self) -> int:
        # Wilder's average forgets half as fast as an exponential one of the same period.
        return int(8 * self["period"])

    def value(self) -> Callable[[Bar], float]:
        rsi = Following(RSI, period=self["period"])
        return lambda bar: rsi(bar)[0]

    def column(self, columns: dict[str, Values]) -> Values:
        found: Values = over(RSI, columns, period=self["period"])[0]
        return found

    def thresholds(self) -> Lines:
        return self["oversold"], self["overbought"]


class Bollinger(Reversal):
    """The close below the lower band, above the upper one."""

    name = "bollinger"
    parameters = (_period("period", 20), Parameter("deviations", 2, 0.01, 100, False))

    def warm_up(self) -> int:
        return int(self["period"])

    def value(self) -> Callable[[Bar], float]:
        bands = Following(BOLLINGER, **self.given)
        return lambda bar: bands(bar)[3]

    def column(self, columns: dict[str, Values]) -> Values:
        found: Values = over(BOLLINGER, columns, **self.given)[3]
        return found

    def thresholds(self) -> Lines:
        return 0.0, 1.0


BUILT_IN: dict[str, type[Strategy]] = {
    one.name: one for one in (Rsi, Macd, Bollinger, EmaCross, SmaCross)
}
