"""TA-Lib on the same bars: a program for an environment of its own.

    python with_talib.py BARS.npz TIMES

BARS.npz has float64 arrays open, high, low, close, volume. For each line on standard input every
function runs TIMES times over all of it; the answer is one line of JSON: CPU seconds and the last
values, by our names of the indicators.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import talib as ta

BARS = dict(np.load(sys.argv[1]))
TIMES = int(sys.argv[2])
H, L, C, V = (BARS[name] for name in ("high", "low", "close", "volume"))

FUNCTIONS: dict[str, Callable[[], tuple[Any, ...]]] = {
    "sma": lambda: (ta.SMA(C, 20),),
    "ema": lambda: (ta.EMA(C, 20),),
    "wma": lambda: (ta.WMA(C, 20),),
    "dema": lambda: (ta.DEMA(C, 20),),
    "tema": lambda: (ta.TEMA(C, 20),),
    "hma": lambda: (ta.HMA(C, 20),),
    "kama": lambda: (ta.KAMA(C, 10),),
    "vwma": lambda: (ta.VWMA(C, V, 20),),
    "rsi": lambda: (ta.RSI(C, 14),),
    "stochrsi": lambda: ta.STOCHRSI(C, 14, 14, 3),
    "stochastic": lambda: ta.STOCH(H, L, C, 14, 3, 0, 3, 0),
    "williams_r": lambda: (ta.WILLR(H, L, C, 14),),
    "macd": lambda: ta.MACD(C, 12, 26, 9),
    "ppo": lambda: (ta.PPO(C, 12, 26, 1),),
    "roc": lambda: (ta.ROC(C, 10),),
    "momentum": lambda: (ta.MOM(C, 10),),
    "cci": lambda: (ta.CCI(H, L, C, 20),),
    "ultimate": lambda: (ta.ULTOSC(H, L, C, 7, 14, 28),),
    "aroon": lambda: (*ta.AROON(H, L, 25)[::-1], ta.AROONOSC(H, L, 25)),
    "adx": lambda: (ta.ADX(H, L, C, 14), ta.PLUS_DI(H, L, C, 14), ta.MINUS_DI(H, L, C, 14)),
    "psar": lambda: (ta.SAR(H, L, 0.02, 0.2),),
    "supertrend": lambda: ta.SUPERTREND(H, L, C, 10, 3.0),
    "stddev": lambda: (ta.STDDEV(C, 20),),
    "bollinger": lambda: ta.BBANDS(C, 20, 2.0, 2.0),
    "donchian": lambda: ta.DONCHIAN(H, L, 20),
    "atr": lambda: (ta.ATR(H, L, C, 14),),
    "natr": lambda: (ta.NATR(H, L, C, 14),),
    "obv": lambda: (ta.OBV(C, V),),
    "adl": lambda: (ta.AD(H, L, C, V),),
    "chaikin": lambda: (ta.ADOSC(H, L, C, V, 3, 10),),
    "cmf": lambda: (ta.CMF(H, L, C, V, 20),),
    "mfi": lambda: (ta.MFI(H, L, C, V, 14),),
    "force": lambda: (ta.EFI(C, V, 13),),
}


def run() -> dict[str, Any]:
    """Run them all; CPU seconds and last values by indicator."""
    used, last = {}, {}
    for name, function in FUNCTIONS.items():
        began = time.process_time()
        for _ in range(TIMES):
            found = function()
        used[name] = time.process_time() - began
        last[name] = [float(values[-1]) for values in found]
    return {"cpu_s": used, "last": last}


for _ in sys.stdin:
    print(json.dumps(run()), flush=True)
