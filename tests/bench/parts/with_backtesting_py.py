"""backtesting.py on the same bars: a program for an environment of its own.

    python with_backtesting_py.py BARS.npz

BARS.npz has `ts` (ns) and open, high, low, close (float64). For each line on standard input both
strategies run once over all of it: EMA(12) across EMA(26), and RSI(14) below 30 and above 70, in
and out with 10 units at the next open, 0.1 % commission. The answer is one line of JSON: for each
the seconds of the run alone, its fills and the final equity. Indicators are TA-Lib's, once an
array, and are not part of what is measured by bar: they are a thousandth of it.
"""

import json
import sys
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd
import talib as ta
from backtesting import Backtest, Strategy

warnings.filterwarnings("ignore")
UNITS = 10


class EmaCross(Strategy):
    """In when the fast average comes above the slow one, out when below."""

    def init(self) -> None:
        self.fast = self.I(ta.EMA, self.data.Close, 12)
        self.slow = self.I(ta.EMA, self.data.Close, 26)
        self.side = 0

    def next(self) -> None:
        fast, slow = self.fast[-1], self.slow[-1]
        side = 1 if fast > slow else -1 if fast < slow else self.side
        if self.side and side != self.side:
            if side > 0:
                self.buy(size=UNITS)
            else:
                self.position.close()
        self.side = side


class Rsi(Strategy):
    """In below 30, out above 70."""

    def init(self) -> None:
        self.rsi = self.I(ta.RSI, self.data.Close, 14)
        self.side = 0

    def next(self) -> None:
        value = self.rsi[-1]
        if value < 30 and self.side <= 0:
            self.side = 1
            self.buy(size=UNITS)
        elif value > 70 and self.side >= 0:
            if self.side > 0:
                self.position.close()
            self.side = -1


def main(path: str) -> None:
    """Load once, then run for every line."""
    stored = np.load(path)
    columns = {name.capitalize(): stored[name] for name in ("open", "high", "low", "close")}
    data = pd.DataFrame(columns, index=pd.to_datetime(stored["ts"]))
    for _ in sys.stdin:
        found: dict[str, Any] = {}
        for name, strategy in (("ema_cross", EmaCross), ("rsi", Rsi)):
            test = Backtest(data, strategy, cash=10_000_000, commission=0.001)
            began = time.perf_counter()
            result = test.run()
            seconds = time.perf_counter() - began
            closed = len(result["_trades"])
            found[name] = {
                "seconds": seconds,
                "trades": closed,
                "equity": float(result["_equity_curve"]["Equity"].iloc[-1]),
            }
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
