"""A strategy run over markets in a simulated account."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tidemill.processors.kernels.backtest.arrays import grown, series_of
from tidemill.processors.kernels.backtest.market import Columns, Ints, Market
from tidemill.processors.kernels.backtest.ran import Ran
from tidemill.processors.kernels.backtest.rules import Rules
from tidemill.processors.kernels.backtest.state import (
    DECIDE,
    HOLD,
    INT64_MAX,
    PAUSE_BAR,
    PAUSE_FILL,
    PAUSE_RECORD,
    POINT,
)
from tidemill.processors.kernels.backtest.strategy import Bar, Compiled, Fill, Strategy, Trade
from tidemill.processors.kernels.backtest.together import Window, together
from tidemill.processors.kernels.backtest.trading import Trading
from tidemill.processors.kernels.backtest.walk import Series, begin, walk
from tidemill.schemas.decimals import decimal_of
from tidemill.schemas.exact import to_int


class Simulation(Trading):
    """An account over markets; a `Context` for one strategy.

    What is decided before `start` (ns) is not done: bars before it only warm up. Raises ValueError
    for markets or rules whose money does not fit 128 bits.
    """

    def __init__(self, markets: Sequence[Market], rules: Rules, start: int = 0) -> None:
        super().__init__(markets, rules, start)
        self._trades = markets[0].ts is not None
        self._points = np.zeros(sum(len(one.bars.close) for one in markets), POINT)

    def run(self, strategy: Strategy, in_python: bool = False) -> Ran:
        """Run a strategy over everything, once. Raises OverflowError past 128 bits, ValueError for
        inputs that these markets do not have."""
        if lacking := [name for name in strategy.inputs if not self._has(name)]:
            raise ValueError(f"{strategy.name} asks for {', '.join(lacking)}: not in this data")
        if strategy.short and not self.rules.short:
            raise ValueError(f"{strategy.name} sells short, which the rules do not allow")
        if isinstance(strategy, Compiled) and not in_python:
            targets = [self._targets(strategy, one) for one in self.markets]
            if len(targets) == 1 or self._trades:
                self._walk_all(np.concatenate(targets))
            else:
                self._walk_together(targets)
        else:
            self._walk_with(strategy)
        account = self._books[1]
        if account["overflow"][0]:
            raise OverflowError("money left 128 bits: use less of it, or coarser exponents")
        points = self._points[: account["points"][0]]
        taken = (
            self._books[4][: account["fills"][0]],
            self._books[5][: account["trips"][0]],
            points[np.searchsorted(points["ts"], self._start) :],
        )
        decided = self._decided
        return Ran(self.markets, self.rules, self.exponent, account, *taken, decided, self._start)

    def _targets(self, strategy: Compiled, one: Market) -> Ints:
        """Return the targets of one market's bars: as what is told bar by bar would be done."""
        # Of many instruments, columns are not kept: each would be memory that is used once.
        alone = len(self.markets) == 1
        columns = one.columns if alone else Columns(one.bars, one.price_exponent)
        targets = np.array(strategy.targets(columns), np.int64)
        if targets.shape != one.bars.close.shape:
            raise ValueError(f"{strategy.name} gives {len(targets)} targets, not one a bar")
        targets[one.bars.ts_close < self._start] = HOLD
        at = np.flatnonzero(targets != HOLD)
        now = targets[at]
        at = at[now != np.concatenate([[0], now[:-1]])]
        self._decided.columns.append((one.instrument, one.bars.ts_close[at], targets[at]))
        return targets

    def _has(self, name: str) -> bool:
        return name in ("bars", "fills") or (name == "trades" and self._trades)

    def _walk_all(self, targets: Ints) -> None:
        series = series_of(self.markets, targets)
        begin(self._books, series)
        while walk(self._books, series, self._points, 0):
            self._books = grown(self._books)

    def _walk_together(self, targets: list[Ints]) -> None:
        window = Window(self.markets, targets)
        for row, one in zip(self._books[2], self.markets, strict=True):
            row["next_ts"] = one.bars.ts_open[0] if len(one.bars.close) else INT64_MAX
        going = True
        while going:
            self._books = grown(self._books)
            window.move(self._books[2])
            going = together(self._books, window.rows, window.first, window.have, self._points)

    def _walk_with(self, strategy: Strategy) -> None:
        series = series_of(self.markets, np.empty(0, np.int64))
        pause = PAUSE_BAR | PAUSE_FILL | (PAUSE_RECORD if "trades" in strategy.inputs else 0)
        strategy.on_start()
        begin(self._books, series)
        told, going = 0, True
        while going:
            self._books = grown(self._books)
            going = walk(self._books, series, self._points, pause)
            account = self._books[1][0]
            while told < account["fills"]:
                strategy.on_fill(self, self._fill(self._books[4][told]))
                told += 1
            if account["look"]:
                self._on_trade(strategy, series, int(account["look"]) - 1)
                account["look"] = 0
            if account["phase"] == DECIDE and account["ended"]:
                for j in np.flatnonzero(self._books[2]["ended"]).tolist():
                    strategy.on_bar(self, self._bar(j))

    # What a strategy is told.

    def _bar(self, j: int) -> Bar:
        one, row = self.markets[j], self._books[2][j]
        k = int(row["bar"] - self._first_bar(j))
        of = one.columns
        prices = (float(of[name][k]) for name in ("open", "high", "low", "close", "volume"))
        times = int(one.bars.ts_open[k]), int(one.bars.ts_close[k])
        return Bar(one.instrument, *times, *prices)

    def _first_bar(self, j: int) -> int:
        return int(self._books[2]["bar_end"][j]) - len(self.markets[j].bars.close)

    def _on_trade(self, strategy: Strategy, series: Series, j: int) -> None:
        one, record = self.markets[j], int(self._books[2]["record"][j]) - 1
        price = float(series.close[record]) / 10.0**-one.price_exponent
        strategy.on_trade(self, Trade(one.instrument, int(series.ts[record]), price))

    def _fill(self, row: Any) -> Fill:
        one = self.markets[row["market"]]
        return Fill(
            one.instrument,
            int(row["order"]),
            int(row["ts"]),
            int(row["side"]),
            decimal_of(int(row["price"]), one.price_exponent),
            decimal_of(int(row["quantity"]), one.quantity_exponent),
            decimal_of(to_int(row["fee_hi"], row["fee_lo"]), self.exponent),
            bool(row["maker"]),
        )
