"""The built-in score of a bar, 0 to 100, its terms, and the classes that follow from it.

50, and the points of five terms; none before each of its indicators has a value (200 bars).
"""

from typing import Any

import numpy as np

from tidemill.processors.kernels.indicator import Values
from tidemill.schemas.enums import Momentum, Recommendation, ScreenTrend, Volatility
from tidemill.schemas.run import Records

MADE_OF = {
    "rsi": "rsi(14).rsi",
    "macd": "macd(12,26,9).macd",
    "macd_signal": "macd(12,26,9).signal",
    "ema_20": "ema(20).ema",
    "ema_50": "ema(50).ema",
    "ema_200": "ema(200).ema",
    "upper": "bollinger(20,2).upper",
    "lower": "bollinger(20,2).lower",
    "stochastic_k": "stochastic(14,1,3).k",
    "stochastic_d": "stochastic(14,1,3).d",
    "adx": "adx(14).adx",
    "atr_percent": "natr(14).natr",
}
"""Fields of a signal to what they are. Of the stochastic k is not smoothed, and d its mean of 3."""
REACH = 200
Names = dict[str, Values]
Codes = np.ndarray[Any, np.dtype[np.uint8]]


def points(of: Names) -> Names:
    """Return the terms of bars (N,) by name, and `score`; NaN where there is none yet.

    `of` has the fields of MADE_OF, and `close`.
    """
    close, fast, middle, slow = of["close"], of["ema_20"], of["ema_50"], of["ema_200"]
    k, d = of["stochastic_k"], of["stochastic_d"]
    rising = (close > fast) & (fast > middle) & (middle > slow)
    falling = (close < fast) & (fast < middle) & (middle < slow)
    near = np.where(close > middle, 10.0, np.where(close < middle, -10.0, 0.0))
    found = {
        "rsi_points": _either(of["rsi"] < 30.0, of["rsi"] > 70.0, 15.0),
        "macd_points": np.where(of["macd"] > of["macd_signal"], 10.0, -10.0),
        "average_points": np.where(rising, 20.0, np.where(falling, -20.0, near)),
        "band_points": _either(close < of["lower"], close > of["upper"], 10.0),
        "stochastic_points": _either((k < 20.0) & (d < 20.0), (k > 80.0) & (d > 80.0), 5.0),
    }
    score = np.full(len(close), 50.0)
    known = np.ones(len(close), np.bool_)
    for term in found.values():
        score = score + term
    for name in MADE_OF:
        known &= ~np.isnan(of[name])
    found["score"] = np.minimum(np.maximum(score, 0.0), 100.0)
    return {name: np.where(known, values, np.nan) for name, values in found.items()}


def _either(up: Any, down: Any, most: float) -> Values:
    return np.where(up, most, np.where(down, -most, 0.0))


def classes(of: Records) -> dict[str, Codes]:
    """Return what signals (N,) are called by their score, ADX and ATR."""
    score, adx, atr = of["score"], of["adx"], of["atr_percent"]
    bounds = (
        (Recommendation.STRONG_BUY, score >= 70.0),
        (Recommendation.BUY, score >= 60.0),
        (Recommendation.HOLD, score >= 40.0),
        (Recommendation.SELL, score >= 30.0),
        (Recommendation.STRONG_SELL, score < 30.0),
    )
    trends = (
        (ScreenTrend.BULLISH, score >= 60.0),
        (ScreenTrend.BEARISH, score <= 40.0),
        (ScreenTrend.NEUTRAL, ~np.isnan(score)),
    )
    momenta = (
        (Momentum.STRONG, adx > 25.0),
        (Momentum.MODERATE, adx > 15.0),
        (Momentum.WEAK, adx <= 15.0),
    )
    volatilities = (
        (Volatility.HIGH, atr > 3.0),
        (Volatility.MEDIUM, atr > 1.5),
        (Volatility.LOW, atr <= 1.5),
    )
    return {
        "recommendation": _first(bounds),
        "trend": _first(trends),
        "momentum": _first(momenta),
        "volatility": _first(volatilities),
    }


def _first(cases: tuple[tuple[int, Any], ...]) -> Codes:
    """Return of each row the code of the first case that holds, 0 where none does."""
    found = np.zeros(len(cases[0][1]), np.uint8)
    for code, holds in reversed(cases):
        found[holds] = code
    return found
