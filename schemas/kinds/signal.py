"""Signals of screens."""

from tidemill.schemas.frame import Field, Kind
from tidemill.schemas.kinds.position import AT

POINTS = ("rsi_points", "macd_points", "average_points", "band_points", "stochastic_points")
"""The terms of a score: what each adds to 50."""
INDICATORS = (
    *("rsi", "macd", "macd_signal", "ema_20", "ema_50", "ema_200", "upper", "lower"),
    *("stochastic_k", "stochastic_d", "adx", "atr_percent"),
)
"""What the terms, momentum and volatility are made of."""

SIGNAL = Kind(
    "signal",
    20,
    "A screen's condition came true at a bar that closed, or was taken back by its revision; or, of"
    " a screen without a condition, the score of every bar. The screen's name is in the subject."
    " A number that is not known yet is NaN.",
    (
        *AT,
        Field("ts_open", "int64", "when the bar began", "ns"),
        Field("ts_close", "int64", "when the bar ended", "ns"),
        Field("revision", "uint32", "that of the bar"),
        Field("flags", "uint16", "of the bars that the screen looks back on", enum="BarFlag"),
        Field("sequence", "uint64", "of a bar that closes by what was traded its number, else 0"),
        Field("bars", "char16", "spec of its bars, as 15m"),
        Field("status", "uint8", "what it says", enum="SignalStatus"),
        Field("recommendation", "uint8", "class of the score", enum="Recommendation"),
        Field("trend", "uint8", "where the score points", enum="ScreenTrend"),
        Field("momentum", "uint8", "by ADX", enum="Momentum"),
        Field("volatility", "uint8", "by ATR", enum="Volatility"),
        Field("score", "double", "0 to 100: 50 and its points"),
        Field("rsi_points", "double", "+15 for RSI below 30, -15 above 70"),
        Field("macd_points", "double", "+10 for MACD above its signal, else -10"),
        Field(
            "average_points",
            "double",
            "+20 for close > EMA 20 > 50 > 200, -20 for the inverse, else +10 above EMA 50,"
            " -10 below",
        ),
        Field("band_points", "double", "+10 below the lower Bollinger band, -10 above the upper"),
        Field("stochastic_points", "double", "+5 for k and d below 20, -5 for both above 80"),
        Field("close", "double", "last price of the bar"),
        Field("rsi", "double", "rsi(14)"),
        Field("macd", "double", "macd(12,26,9)"),
        Field("macd_signal", "double", "macd(12,26,9), its signal"),
        Field("ema_20", "double", "ema(20)"),
        Field("ema_50", "double", "ema(50)"),
        Field("ema_200", "double", "ema(200)"),
        Field("upper", "double", "bollinger(20,2), upper band"),
        Field("lower", "double", "bollinger(20,2), lower band"),
        Field("stochastic_k", "double", "stochastic(14,1,3), k"),
        Field("stochastic_d", "double", "stochastic(14,1,3), d"),
        Field("adx", "double", "adx(14)"),
        Field("atr_percent", "double", "natr(14): ATR in % of the close"),
    ),
)
