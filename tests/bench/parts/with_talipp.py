"""talipp on the same bars: a program for an environment of its own.

    python with_talipp.py BARS.npz COUNT

For each line on standard input each indicator is given the first COUNT bars, one by one, from
empty, and forgets what it need not keep; the answer is one line of JSON: CPU seconds by our names.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import talipp.indicators as tp
from talipp.ohlcv import OHLCV

COUNT = int(sys.argv[2])
BARS = {name: values[:COUNT].tolist() for name, values in np.load(sys.argv[1]).items()}
CLOSES = BARS["close"]
CANDLES = [
    OHLCV(*row)
    for row in zip(*(BARS[n] for n in ("open", "high", "low", "close", "volume")), strict=True)
]
KEPT = 500

OF_CLOSES: dict[str, Callable[[], Any]] = {
    "sma": lambda: tp.SMA(20),
    "ema": lambda: tp.EMA(20),
    "wma": lambda: tp.WMA(20),
    "dema": lambda: tp.DEMA(20),
    "tema": lambda: tp.TEMA(20),
    "hma": lambda: tp.HMA(20),
    "kama": lambda: tp.KAMA(10, 2, 30),
    "rsi": lambda: tp.RSI(14),
    "stochrsi": lambda: tp.StochRSI(14, 14, 3, 3),
    "macd": lambda: tp.MACD(12, 26, 9),
    "roc": lambda: tp.ROC(10),
    "stddev": lambda: tp.StdDev(20),
    "bollinger": lambda: tp.BB(20, 2),
}
OF_CANDLES: dict[str, Callable[[], Any]] = {
    "vwma": lambda: tp.VWMA(20),
    "stochastic": lambda: tp.Stoch(14, 3),
    "williams_r": lambda: tp.Williams(14),
    "cci": lambda: tp.CCI(20),
    "ultimate": lambda: tp.UO(7, 14, 28),
    "aroon": lambda: tp.Aroon(25),
    "adx": lambda: tp.ADX(14, 14),
    "psar": lambda: tp.ParabolicSAR(0.02, 0.02, 0.2),
    "supertrend": lambda: tp.SuperTrend(10, 3),
    "keltner": lambda: tp.KeltnerChannels(20, 10, 2, 2),
    "donchian": lambda: tp.DonchianChannels(20),
    "atr": lambda: tp.ATR(14),
    "natr": lambda: tp.NATR(14),
    "obv": lambda: tp.OBV(),
    "adl": lambda: tp.AccuDist(),
    "chaikin": lambda: tp.ChaikinOsc(3, 10),
    "force": lambda: tp.ForceIndex(13),
}


def run() -> dict[str, Any]:
    """Run them all; CPU seconds by indicator."""
    used = {}
    for made, records in ((OF_CLOSES, CLOSES), (OF_CANDLES, CANDLES)):
        for name, make in made.items():
            indicator = make()
            began = time.process_time()
            for k, record in enumerate(records):
                indicator.add(record)
                if k % KEPT == 0 and k:
                    indicator.purge_oldest(max(len(indicator) - KEPT, 0))
            used[name] = time.process_time() - began
    return {"cpu_s": used, "bars": COUNT}


for _ in sys.stdin:
    print(json.dumps(run()), flush=True)
