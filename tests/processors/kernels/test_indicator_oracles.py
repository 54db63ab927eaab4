"""Indicators against their formulas, each window computed anew in plain Python."""

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from tidemill.processors.kernels.indicator import Values, computed
from tidemill.processors.kernels.indicator_catalog import INDICATORS
from tidemill.tests.processors.kernels import oracle_anomalies
from tidemill.tests.processors.kernels.klines import Columns, walk

Series = list[float]
BARS = walk(7, 300)
BARS["ts_open"] += 20 * 3_600e9  # a day ends within
C, H, L, OPEN = (BARS[name].tolist() for name in ("close", "high", "low", "open"))
V, Q, B = (BARS[name].tolist() for name in ("volume", "quote_volume", "taker_buy_volume"))
TS = BARS["ts_open"].tolist()
NAN = math.nan


def rolled(count: int, window: int, one: Callable[[int, int], float]) -> Series:
    """`one(first, end)` of every full window of `window` records."""
    return [one(k + 1 - window, k + 1) if k + 1 >= window else NAN for k in range(count)]


def mean(values: Series) -> float:
    return math.fsum(values) / len(values)


def after(values: Series, average: Callable[[Series], Series]) -> Series:
    """An average over what has values."""
    first = next(k for k, value in enumerate(values) if not math.isnan(value))
    return [NAN] * first + average(values[first:])


def ema(values: Series, length: int) -> Series:
    found, last = [NAN] * (length - 1), mean(values[:length])
    found.append(last)
    for value in values[length:]:
        last += (value - last) * 2 / (length + 1)
        found.append(last)
    return found


def wilder(values: Series, length: int) -> Series:
    found, last = [NAN] * (length - 1), mean(values[:length])
    found.append(last)
    for value in values[length:]:
        last += (value - last) / length
        found.append(last)
    return found


def wma(values: Series, length: int) -> Series:
    weights = range(1, length + 1)

    def one(a: int, b: int) -> float:
        return math.fsum(w * v for w, v in zip(weights, values[a:b], strict=True)) / sum(weights)

    return rolled(len(values), length, one)


def true_range() -> Series:
    return [max(h, c) - min(low, c) for h, low, c in zip(H[1:], L[1:], C, strict=False)]


def atr(length: int) -> Series:
    return [NAN, *wilder(true_range(), length)]


def minus(one: Series, other: Series) -> Series:
    return [a - b for a, b in zip(one, other, strict=True)]


def dema() -> Series:
    once = ema(C, 20)
    return [2 * a - b for a, b in zip(once, after(once, lambda x: ema(x, 20)), strict=True)]


def tema() -> Series:
    once = ema(C, 20)
    twice = after(once, lambda x: ema(x, 20))
    thrice = after(twice, lambda x: ema(x, 20))
    return [3 * a - 3 * b + c for a, b, c in zip(once, twice, thrice, strict=True)]


def hma() -> Series:
    raw = [2 * a - b for a, b in zip(wma(C, 10), wma(C, 20), strict=True)]
    return after(raw, lambda x: wma(x, 4))


def vwma() -> Series:
    def one(a: int, b: int) -> float:
        return math.fsum(c * v for c, v in zip(C[a:b], V[a:b], strict=True)) / math.fsum(V[a:b])

    return rolled(len(C), 20, one)


def rsi(length: int) -> Series:
    changes = [b - a for a, b in pairwise(C)]
    gains = wilder([max(x, 0) for x in changes], length)
    losses = wilder([max(-x, 0) for x in changes], length)
    return [NAN, *(100 * g / (g + f) for g, f in zip(gains, losses, strict=True))]


def stochrsi() -> tuple[Series, Series]:
    values = rsi(14)
    raw = rolled(
        len(values),
        14,
        lambda a, b: (
            100 * (values[b - 1] - min(values[a:b])) / (max(values[a:b]) - min(values[a:b]))
        ),
    )
    raw[: 14 + 13] = [NAN] * 27
    k = after(raw, lambda x: rolled(len(x), 3, lambda a, b: mean(x[a:b])))
    return k, after(k, lambda x: rolled(len(x), 3, lambda a, b: mean(x[a:b])))


def ichimoku() -> tuple[Series, ...]:
    def middle(window: int) -> Series:
        return rolled(len(C), window, lambda a, b: (max(H[a:b]) + min(L[a:b])) / 2)

    conversion, base = middle(9), middle(26)
    span = [(a + b) / 2 for a, b in zip(conversion, base, strict=True)]
    return conversion, base, span, middle(52), C


def aroon() -> tuple[Series, Series]:
    def since(values: Series, best: Callable[[Series], float]) -> Callable[[int, int], float]:
        def one(a: int, b: int) -> float:
            window = values[a:b]
            newest = len(window) - 1 - window[::-1].index(best(window))
            return 100 * newest / 25

        return one

    return rolled(len(C), 26, since(H, max)), rolled(len(C), 26, since(L, min))


def keltner() -> tuple[Series, ...]:
    middle, reach = ema(C, 20), atr(10)
    return (
        [m + 2 * r for m, r in zip(middle, reach, strict=True)],
        middle,
        [m - 2 * r for m, r in zip(middle, reach, strict=True)],
    )


def supertrend() -> tuple[Series, Series]:
    line: Series = [NAN] * 10
    side: Series = [NAN] * 10
    upper = lower = 0.0
    for k, reach in enumerate(atr(10)):
        if k < 10:
            continue
        top, bottom = (H[k] + L[k]) / 2 + 3 * reach, (H[k] + L[k]) / 2 - 3 * reach
        if k > 10:
            top = top if top < upper or C[k - 1] > upper else upper
            bottom = bottom if bottom > lower or C[k - 1] < lower else lower
        upper, lower = top, bottom
        before = side[-1] if k > 10 else -1
        side.append(1 if C[k] > upper else -1 if k > 10 and C[k] < lower else before)
        line.append(lower if side[-1] > 0 else upper)
    return line, side


def psar() -> Series:
    """As told in J. W. Wilder's book, for one side at a time."""
    rising = not (L[0] - L[1] > 0 and H[1] - H[0] < L[0] - L[1])
    sar, extreme, pace = (L[0], H[1], 0.02) if rising else (H[0], L[1], 0.02)
    found = [NAN]
    for k in range(1, len(C)):
        highs, lows = H[max(k - 1, 1) : k + 1], L[max(k - 1, 1) : k + 1]
        if L[k] <= sar if rising else H[k] >= sar:
            rising = not rising
            sar = min(extreme, *lows, L[k]) if rising else max(extreme, *highs, H[k])
            found.append(sar)
            extreme, pace = (H[k] if rising else L[k]), 0.02
        else:
            found.append(sar)
            if (H[k] > extreme) if rising else (L[k] < extreme):
                extreme, pace = (H[k] if rising else L[k]), min(pace + 0.02, 0.2)
        sar += pace * (extreme - sar)
        sar = min(sar, *lows, L[k]) if rising else max(sar, *highs, H[k])
    return found


def logs(one: Series, other: Series) -> Series:
    return [math.log(a / b) for a, b in zip(one, other, strict=True)]


def variance(values: Series) -> float:
    middle = mean(values)
    return math.fsum((v - middle) ** 2 for v in values) / (len(values) - 1)


def realised() -> Series:
    moves = [NAN, *logs(C[1:], C[:-1])]
    return rolled(len(C), 21, lambda a, b: math.sqrt(365 * variance(moves[a + 1 : b])))


def parkinson() -> Series:
    squares = [x * x for x in logs(H, L)]
    return rolled(len(C), 20, lambda a, b: math.sqrt(365 * mean(squares[a:b]) / (4 * math.log(2))))


def garman_klass() -> Series:
    ranges, moves = logs(H, L), logs(C, OPEN)
    one = [r * r / 2 - (2 * math.log(2) - 1) * m * m for r, m in zip(ranges, moves, strict=True)]
    return rolled(len(C), 20, lambda a, b: math.sqrt(365 * mean(one[a:b])))


def yang_zhang() -> Series:
    gaps, moves = [NAN, *logs(OPEN[1:], C[:-1])], logs(C, OPEN)
    up, down = logs(H, OPEN), logs(L, OPEN)
    inside = [u * (u - c) + d * (d - c) for u, d, c in zip(up, down, moves, strict=True)]
    weight = 0.34 / (1.34 + 21 / 19)

    def one(a: int, b: int) -> float:
        a += 1
        both = variance(gaps[a:b]) + weight * variance(moves[a:b])
        return math.sqrt(365 * (both + (1 - weight) * mean(inside[a:b])))

    return rolled(len(C), 21, one)


def flows() -> Series:
    return [((c - low) - (h - c)) / (h - low) * v for h, low, c, v in zip(H, L, C, V, strict=True)]


def obv() -> Series:
    found = [V[0]]
    for (a, b), volume in zip(pairwise(C), V[1:], strict=True):
        found.append(found[-1] + (volume if b > a else -volume if b < a else 0))
    return found


def chaikin() -> Series:
    total, fast, slow, found = 0.0, None, None, []
    for k, flow in enumerate(flows()):
        total += flow
        fast = total if fast is None else fast + (total - fast) * 2 / 4
        slow = total if slow is None else slow + (total - slow) * 2 / 11
        found.append(fast - slow if k >= 9 else NAN)
    return found


def cmf() -> Series:
    return rolled(len(C), 20, lambda a, b: math.fsum(flows()[a:b]) / math.fsum(V[a:b]))


def force() -> Series:
    return [NAN, *ema([(b - a) * v for (a, b), v in zip(pairwise(C), V[1:], strict=True)], 13)]


def vwap(price: Series) -> Series:
    found, notional, volume, day = [], 0.0, 0.0, -1
    for paid, quantity, ts in zip(price, V, TS, strict=True):
        if int(ts // 86_400e9) != day:
            notional, volume, day = 0.0, 0.0, int(ts // 86_400e9)
        notional, volume = notional + paid * quantity, volume + quantity
        found.append(notional / volume)
    return found


def anchored(first: int) -> Series:
    found, notional, volume = [NAN] * first, 0.0, 0.0
    for paid, quantity in zip(Q[first:], V[first:], strict=True):
        notional, volume = notional + paid, volume + quantity
        found.append(notional / volume)
    return found


def ofi() -> Series:
    bid, ask, bids, asks = (BARS[n].tolist() for n in ("bid", "ask", "bid_size", "ask_size"))
    one = [NAN]
    for k in range(1, len(bid)):
        bought = bids[k] * (bid[k] >= bid[k - 1]) - bids[k - 1] * (bid[k] <= bid[k - 1])
        sold = asks[k] * (ask[k] <= ask[k - 1]) - asks[k - 1] * (ask[k] >= ask[k - 1])
        one.append(bought - sold)
    return rolled(len(C), 101, lambda a, b: math.fsum(one[a + 1 : b]))


def microprice() -> tuple[Series, Series]:
    bid, ask, bids, asks = (BARS[n].tolist() for n in ("bid", "ask", "bid_size", "ask_size"))
    pairs = list(zip(bid, ask, bids, asks, strict=True))
    return [(b * t + a * s) / (s + t) for b, a, s, t in pairs], [s / (s + t) for *_, s, t in pairs]


def vpin() -> Series:
    """Every unit of volume in its place: buckets of 60, the last 7."""
    found, buckets, filled, bought = [], [], 0.0, 0.0
    for volume, buys in zip(V, B, strict=True):
        share, rest = (buys / volume if volume else 0.5), volume
        while rest > 0 and filled + rest >= 60:
            bought += (60 - filled) * share
            rest -= 60 - filled
            buckets.append(abs(2 * bought - 60) / 60)
            filled = bought = 0.0
        filled, bought = filled + rest, bought + rest * share
        found.append(mean(buckets[-7:]) if len(buckets) >= 7 else NAN)
    return found


def kyle() -> Series:
    moves = [NAN, *(b - a for a, b in pairwise(C))]
    signed = [2 * b - v for b, v in zip(B, V, strict=True)]

    def one(a: int, b: int) -> float:
        xs, ys = signed[a + 1 : b], moves[a + 1 : b]
        x, y = mean(xs), mean(ys)
        slope = math.fsum((p - x) * (q - y) for p, q in zip(xs, ys, strict=True))
        return slope / math.fsum((p - x) ** 2 for p in xs)

    return rolled(len(C), 51, one)


def amihud() -> Series:
    one = [NAN, *(abs(b / a - 1) * 1e6 / q for (a, b), q in zip(pairwise(C), Q[1:], strict=True))]
    return rolled(len(C), 21, lambda a, b: mean(one[a + 1 : b]))


ORACLES: dict[str, Callable[[], Series | tuple[Series, ...]]] = {
    "dema": dema,
    "tema": tema,
    "hma": hma,
    "vwma": vwma,
    "stochrsi": stochrsi,
    "ichimoku": ichimoku,
    "aroon": lambda: (*aroon(), minus(*aroon())),
    "keltner": keltner,
    "supertrend": supertrend,
    "psar": psar,
    "atr": lambda: atr(14),
    "natr": lambda: [100 * r / c for r, c in zip(atr(14), C, strict=True)],
    "stddev": lambda: rolled(len(C), 20, lambda a, b: math.sqrt(variance(C[a:b]) * 19 / 20)),
    "momentum": lambda: rolled(len(C), 11, lambda a, b: C[b - 1] - C[a]),
    "ppo": lambda: ([100 * (a / b - 1) for a, b in zip(ema(C, 12), ema(C, 26), strict=True)],),
    "realised": realised,
    "parkinson": parkinson,
    "garman_klass": garman_klass,
    "yang_zhang": yang_zhang,
    "obv": obv,
    "chaikin": chaikin,
    "cmf": cmf,
    "force": force,
    "vwap": lambda: vwap([q / v for q, v in zip(Q, V, strict=True)]),
    "anchored_vwap": lambda: anchored(100),
    "vwap_typical": lambda: vwap([(h + low + c) / 3 for h, low, c in zip(H, L, C, strict=True)]),
    "ofi": ofi,
    "microprice": microprice,
    "vpin": vpin,
    "kyle": kyle,
    "amihud": amihud,
    "return_z": lambda: oracle_anomalies.return_z(BARS, 60),
    "volume_z": lambda: oracle_anomalies.volume_z(BARS, 60),
    "range_z": lambda: oracle_anomalies.range_z(BARS, 60),
    "pump_and_dump": lambda: oracle_anomalies.pump_and_dump(BARS, 60),
    "half_space_trees": lambda: oracle_anomalies.half_space_trees(BARS),
}
GIVEN: dict[str, dict[str, float]] = {
    "vpin": {"volume": 60, "buckets": 7},
    "anchored_vwap": {"anchor": TS[100] / 1e9},
}


def inputs_of(name: str, columns: Columns) -> Values:
    return np.array([columns[head] for head in INDICATORS[name].inputs])


@pytest.mark.parametrize("name", ORACLES)
def test_it_is_its_formula(name: str) -> None:
    indicator = INDICATORS[name]
    given = indicator.checked(**GIVEN.get(name, {}))
    ours = computed(indicator, given, inputs_of(name, BARS))
    theirs = ORACLES[name]()
    for values, expected in zip(
        ours, theirs if isinstance(theirs, tuple) else (theirs,), strict=False
    ):
        np.testing.assert_array_equal(np.isnan(values), np.isnan(expected))
        np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-12)


def test_a_record_larger_than_all_buckets_leaves_nothing_of_those_before() -> None:
    """One bucket is half full of buys; eight more come at once, as much bought as sold."""
    vpin = INDICATORS["vpin"]
    given = vpin.checked(volume=60, buckets=7)
    for volume in (480.0, 510.0, 540.0, 6e17):
        found = computed(vpin, given, np.array([[30.0, volume], [30.0, volume / 2]]))
        assert found[0, 1] == 0.0
    found = computed(vpin, given, np.array([[30.0, 420.0], [30.0, 210.0]]))
    assert found[0, 1] == pytest.approx(0.5 / 7)


def test_signed_volume_that_does_not_vary_tells_nothing_of_what_pressing_costs() -> None:
    kyle = INDICATORS["kyle"]
    same = np.full(len(C), 0.1)
    found = computed(kyle, kyle.checked(), np.array([BARS["close"], same, same * 0.7]))
    assert (found[0, 50:] == 0.0).all()


@pytest.mark.parametrize("start", [1e-9, 1.0, 1e9])
def test_a_deviation_a_million_times_smaller_than_the_price_is_exact_to_the_last(
    start: float,
) -> None:
    """Held against fractions without rounding, in windows that prices jump in and out of."""
    steps = np.random.default_rng(3).integers(-9, 10, 400) * 1e-6
    steps[100:160] += 1.0
    prices = start * (1.0 + steps)
    stddev = INDICATORS["stddev"]
    found = computed(stddev, stddev.checked(), prices[np.newaxis, :])[0]
    for k in (*range(19, 99), *range(200, 400)):
        window = [Fraction(value) for value in prices[k - 19 : k + 1]]
        middle = sum(window) / 20
        exact = math.sqrt(sum((value - middle) ** 2 for value in window) / 20)
        assert found[k] == pytest.approx(exact, rel=1e-8)


def test_every_indicator_has_a_published_result_or_an_oracle() -> None:
    published = {"sma", "ema", "wma", "kama", "rsi", "stochastic", "williams_r", "macd", "roc"}
    published |= {"cci", "ultimate", "adx", "bollinger", "donchian", "adl", "mfi", "eom"}
    assert published | set(ORACLES) == set(INDICATORS)
