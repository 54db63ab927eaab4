"""Indicators of screens over a list of bars, in plain Python: what `KNOWN` names.

Each gives its outputs by name for the newest bar, none of those that are not known yet.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import pi, sqrt
from statistics import NormalDist, median

from tidemill.tests.faults.checker import indicators as plain
from tidemill.tests.faults.checker.indicators import Values, emas_of, mean


def macd(bars: list[Values], fast: int, slow: int, last: int) -> Values:
    """The fast average begins with the newest of the slow one's first closes."""
    closes = [bar["close"] for bar in plain.felt(bars, slow + last)]
    if len(closes) < slow:
        return {}
    both = (emas_of(closes[slow - fast :], fast), emas_of(closes, slow))
    apart = [a - b for a, b in zip(*both, strict=True)]
    found = {"macd": apart[-1]}
    if len(apart) >= last:
        found["signal"] = emas_of(apart, last)[-1]
        found["histogram"] = found["macd"] - found["signal"]
    return found


def bollinger(bars: list[Values], period: int, times: int) -> Values:
    closes = [bar["close"] for bar in bars[-period:]]
    if len(closes) < period:
        return {}
    middle = mean(closes)
    reach = times * sqrt(mean([(close - middle) ** 2 for close in closes]))
    return {"upper": middle + reach, "middle": middle, "lower": middle - reach}


def stochastic(bars: list[Values], period: int, smoothing: int, last: int) -> Values:
    def raw(end: int) -> float:
        window = bars[end - period : end]
        high, low = max(b["high"] for b in window), min(b["low"] for b in window)
        return 100.0 * (window[-1]["close"] - low) / (high - low) if high > low else 50.0

    bars = bars[-(period + smoothing + last) :]
    raws = [raw(end) for end in range(period, len(bars) + 1)]
    ks = [mean(raws[end - smoothing : end]) for end in range(smoothing, len(raws) + 1)]
    found = {"k": ks[-1]} if ks else {}
    return found | ({"d": mean(ks[-last:])} if len(ks) >= last else {})


def natr(bars: list[Values], period: int) -> Values:
    found = plain.atr(bars, period)
    return {"natr": 100.0 * found["atr"] / bars[-1]["close"]} if found else {}


def adx(bars: list[Values], period: int) -> Values:
    """Sums of directional movement over that of true range, each s += x - s / period once there
    were period - 1 of them; DX's Wilder average."""
    bars = plain.felt(bars, 2 * period)
    sums, moved = [0.0, 0.0, 0.0], []
    for k in range(1, len(bars)):
        before, bar = bars[k - 1], bars[k]
        up, down = bar["high"] - before["high"], before["low"] - bar["low"]
        reach = max(bar["high"], before["close"]) - min(bar["low"], before["close"])
        new = (up if up > max(down, 0) else 0.0, down if down > max(up, 0) else 0.0, reach)
        if k >= period:
            sums = [s - s / period for s in sums]
        sums = [s + x for s, x in zip(sums, new, strict=True)]
        if k >= period:
            plus, minus = (100.0 * s / sums[2] if sums[2] > 0 else 0.0 for s in sums[:2])
            both = plus + minus
            moved.append(100.0 * abs(plus - minus) / both if both > 0 else 0.0)
    if len(moved) < period:
        return {}
    found = mean(moved[:period])
    for one in moved[period:]:
        found = (found * (period - 1) + one) / period
    return {"adx": found}


def robust(values: list[float]) -> Values:
    """How far the newest is from the median of all, in deviations of a normal distribution."""
    middle = median(values)
    apart = [abs(value - middle) for value in values]
    deviation = median(apart) / NormalDist().inv_cdf(0.75) or mean(apart) * sqrt(pi / 2.0)
    z = (values[-1] - middle) / deviation if deviation else 0.0
    return {"z": z, "median": middle, "deviation": deviation}


def _change(a: float, b: float) -> float:
    return b / a - 1.0 if a else 0.0


def return_z(bars: list[Values], period: int) -> Values:
    closes = [bar["close"] for bar in bars[-period - 1 :]]
    if len(closes) <= period:
        return {}
    return robust([_change(a, b) for a, b in pairwise(closes)])


def volume_z(bars: list[Values], period: int) -> Values:
    volumes = [bar["volume"] for bar in bars[-period:]]
    return robust(volumes) if len(volumes) == period else {}


def range_z(bars: list[Values], period: int) -> Values:
    last = bars[-period:]
    wide = [(b["high"] - b["low"]) / b["close"] if b["close"] else 0.0 for b in last]
    return robust(wide) if len(wide) == period else {}


def pump_and_dump(bars: list[Values], period: int) -> Values:
    """Volume above the mean before, the rise, its largest step, and what of it is lost again."""
    window = bars[-period - 1 :]
    if len(window) <= period:
        return {}
    closes, now = [bar["close"] for bar in window], window[-1]["volume"]
    usual = mean([bar["volume"] for bar in window[:-1]])
    excess = 100.0 * _change(usual, now) if usual else 1e9 * (now > 0)
    rise = 100.0 * _change(closes[0], max(closes))
    leap = max(0.0, *(_change(a, b) for a, b in pairwise(closes)))
    found = {
        "volume": banded(excess, (100, 200, 300, 500), 15.0, 5.0),
        "price": banded(rise, (10, 20, 30, 50), 15.0, 5.0),
        "rapidity": 20.0 * min(10.0 * leap, 1.0),
    }
    high = max(closes)
    lost = min((high - closes[-1]) / (high - closes[0]), 1.0) if found["price"] else 0.0
    found["lost"] = 20.0 * lost
    return {"score": sum(found.values()), **found}


def banded(number: float, bounds: Sequence[float], least: float, more: float) -> float:
    """0 up to the first bound, then `least`, and `more` above each one that follows."""
    over = sum(number > bound for bound in bounds)
    return least + more * (over - 1) if over else 0.0


Compute = Callable[..., Values]
KNOWN: dict[str, tuple[Compute, tuple[int, ...], Callable[..., int]]] = {
    "sma": (plain.sma, (20,), lambda n: n - 1),
    "ema": (plain.ema, (20,), lambda n: n - 1),
    "rsi": (plain.rsi, (14,), lambda n: n),
    "atr": (plain.atr, (14,), lambda n: n),
    "obv": (plain.obv, (), lambda: 0),
    "macd": (macd, (12, 26, 9), lambda fast, slow, last: slow + last - 2),
    "bollinger": (bollinger, (20, 2), lambda n, times: n - 1),
    "stochastic": (stochastic, (14, 3, 3), lambda n, k, d: n + k + d - 3),
    "natr": (natr, (14,), lambda n: n),
    "adx": (adx, (14,), lambda n: 2 * n - 1),
    "return_z": (return_z, (60,), lambda n: n),
    "volume_z": (volume_z, (60,), lambda n: n - 1),
    "range_z": (range_z, (60,), lambda n: n - 1),
    "pump_and_dump": (pump_and_dump, (60,), lambda n: n),
}
"""By name: what computes it, its parameters' defaults, and its warm-up."""
