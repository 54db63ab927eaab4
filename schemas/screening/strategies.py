"""The strategies that are known by name, as conditions; a user's own is one more of these."""

from typing import NamedTuple


class Strategy(NamedTuple):
    """A condition, what it says in words, and the bars that it is meant for, empty for any."""

    condition: str
    says: str
    bars: str = ""


STRATEGIES: dict[str, Strategy] = {
    "rsi_oversold": Strategy("rsi(14) < 30", "RSI comes below 30"),
    "rsi_overbought": Strategy("rsi(14) > 70", "RSI comes above 70"),
    "macd_bull_cross": Strategy(
        "crosses_above(macd(12,26,9).macd, macd(12,26,9).signal)", "MACD comes above its signal"
    ),
    "macd_bear_cross": Strategy(
        "crosses_below(macd(12,26,9).macd, macd(12,26,9).signal)", "MACD comes below its signal"
    ),
    "bollinger_breakout": Strategy(
        "close > bollinger(20,2).upper or close < bollinger(20,2).lower",
        "the close leaves the bands of 20 bars and two standard deviations",
    ),
    "volume_spike": Strategy(
        "volume > 2 * prev(average(volume, 20), 1)",
        "volume over 200 % of the mean of the 20 bars before",
    ),
    "price_breakout": Strategy(
        "close > prev(highest(high, 364), 1)",
        "the close is above the highest price of the 364 bars before: of daily bars, 52 weeks",
        bars="1d",
    ),
    "ema_cross": Strategy(
        "crosses_above(ema(20), ema(50)) or crosses_below(ema(20), ema(50))",
        "the average of 20 bars crosses the one of 50",
    ),
    "support_resistance": Strategy(
        "close > prev(highest(high, 50), 1) or close < prev(lowest(low, 50), 1)",
        "the close leaves what the 50 bars before lay within",
    ),
    "gap": Strategy(
        "open > prev(high, 1) or open < prev(low, 1)",
        "a bar opens beyond the whole of the bar before",
    ),
    "price_anomaly": Strategy(
        "return_z(60).z > 3 or return_z(60).z < -3",
        "the change of the close is over 3 robust deviations from the median of 60",
    ),
    "volume_anomaly": Strategy(
        "volume_z(60).z > 3", "volume is over 3 robust deviations above the median of 60 bars"
    ),
    "volatility_anomaly": Strategy(
        "range_z(60).z > 2.5",
        "high - low, over the close, is over 2.5 robust deviations above the median of 60 bars",
    ),
    "pump_and_dump": Strategy(
        "pump_and_dump(60).score >= 50",
        "volume, the rise, its speed and what is lost of it score 50 of 100 or more",
    ),
    "isolated": Strategy(
        "half_space_trees(8,250,1).score > 0.97",
        "hardly any of the bars before had such a change, volume and range: half-space trees",
    ),
    "custom": Strategy(
        "adx(14).adx > 25 and close > sma(200) and rsi(14) > 50",
        "any condition; this one: a strong trend, upwards, with momentum",
    ),
}
