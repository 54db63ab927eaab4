"""Indicators over bars, computed again one bar after another in plain Python.

Only of the indicators named in KNOWN; in a LOG that asks for others none can be judged, for the
numbers of all that is derived from a bar depend on each other. Values are compared to 1e-9.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from tidemill.tests.faults.checker.messages import BARS
from tidemill.tests.faults.checker.world import WORD, Made, Row, World

SECOND = 1_000_000_000
FLAGS, LATE = 4, 1
Values = dict[str, float]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def sma(bars: list[Values], period: int) -> Values:
    closes = [bar["close"] for bar in bars[-period:]]
    return {"sma": mean(closes)} if len(closes) == period else {}


def emas_of(values: list[float], period: int) -> list[float]:
    """The mean of the first ones, then each new one in parts of 2 of period + 1."""
    found = [mean(values[:period])]
    for value in values[period:]:
        found.append(found[-1] + (value - found[-1]) * 2.0 / (period + 1))
    return found


def felt(bars: list[Values], period: int) -> list[Values]:
    """The bars that an average which forgets at least a part of `period` a bar still has of all:
    what was before weighs e**-40, less than a number of 64 bits can tell."""
    return bars[-40 * period :]


def ema(bars: list[Values], period: int) -> Values:
    closes = [bar["close"] for bar in felt(bars, period)]
    return {"ema": emas_of(closes, period)[-1]} if len(closes) >= period else {}


def rsi(bars: list[Values], period: int) -> Values:
    """Wilder's means of rises and falls; 50 where nothing moved."""
    bars = felt(bars, period)
    if len(bars) <= period:
        return {}
    moves = [b["close"] - a["close"] for a, b in pairwise(bars)]
    up, down = (mean([max(s * m, 0.0) for m in moves[:period]]) for s in (1, -1))
    for move in moves[period:]:
        up = (up * (period - 1) + max(move, 0.0)) / period
        down = (down * (period - 1) + max(-move, 0.0)) / period
    return {"rsi": 100.0 * up / (up + down) if up + down else 50.0}


def atr(bars: list[Values], period: int) -> Values:
    bars = felt(bars, period)
    if len(bars) <= period:
        return {}
    ranges = [max(b["high"], a["close"]) - min(b["low"], a["close"]) for a, b in pairwise(bars)]
    found = mean(ranges[:period])
    for one in ranges[period:]:
        found = (found * (period - 1) + one) / period
    return {"atr": found}


def obv(bars: list[Values]) -> Values:
    found = bars[0]["volume"]
    for a, b in pairwise(bars):
        found += b["volume"] * ((b["close"] > a["close"]) - (b["close"] < a["close"]))
    return {"obv": found}


KNOWN: dict[str, tuple[Callable[..., Values], tuple[int, ...], int]] = {
    "sma": (sma, (20,), -1), "ema": (ema, (20,), -1), "rsi": (rsi, (14,), 0),
    "atr": (atr, (14,), 0), "obv": (obv, (), 0),
}  # fmt: skip
"""By name: what computes it, its parameters' defaults, and by how much its warm-up is more than the
first parameter."""


class Followed:
    """One indicator over one instrument's bars of one spec."""

    def __init__(self, name: str, given: tuple[int, ...]) -> None:
        self.compute, _, more = KNOWN[name]
        self.given = given
        self.reach = 1 + (given[0] + more if given else 0)
        self.bars: list[Values] = []
        self.newest = -1
        self.since: list[int | None] = [None] * FLAGS
        self.before = list(self.since)

    def take(self, key: int, bar: Values, flags: int) -> tuple[Values, int]:
        """Take a bar; return what it gives, and the flags of its window."""
        if self.bars and key < self.newest:
            self.since[LATE] = self.before[LATE] = 0
            return {}, 0
        if self.bars and key == self.newest:
            self.bars.pop()
            self.since = list(self.before)
        self.newest, self.before = key, list(self.since)
        self.bars.append(bar)
        told = 0
        for k in range(FLAGS):
            known = self.since[k]
            self.since[k] = 0 if flags >> k & 1 else None if known is None else known + 1
            now = self.since[k]
            told |= (now is not None and now < self.reach) << k
        return self.compute(self.bars, *self.given), told


class Indicators:
    """The indicators of every instrument, by what LOG's sets say."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._held: dict[int, dict[tuple[str, str], Followed]] = {}
        self.judged = True
        """Whether every indicator asked for so far is known here."""

    def step(self, r: int, made: Iterable[Made]) -> Iterator[Made]:
        """Take the bars that one fact gave."""
        bars = [one for one in made if one.kind in BARS]
        for bar in sorted(bars, key=lambda one: (one.i, one.kind)):
            root, spec, venue, symbol, partition = bar.name
            slot = self._world.slots[venue, symbol]
            held = self._arrange(slot, f"{symbol}.{venue}", f"*.{venue}")
            values = self._values(bar.values, self._world.instruments[slot].exponents)
            time = {
                name: bar.values[name] for name in ("ts_open", "revision") if name in bar.values
            }
            time["ts_close"] = bar.values.get("ts_close") or (
                bar.values["ts_open"] + bar.values["interval_s"] * SECOND
            )
            key = bar.values["sequence" if root == "activity_bars" else "ts_open"]
            for (of, name), one in held.items():
                if of != spec:
                    continue
                outputs, flags = one.take(key, values, bar.values.get("flags", 0))
                for output, value in outputs.items():
                    row: Row = {
                        **time, "flags": flags, "indicator": name.encode(),
                        "output": output.encode(), "value": value,
                    }  # fmt: skip
                    at = ("indicators", spec, venue, symbol, partition)
                    yield Made("indicator", at, r, bar.i, row)

    def _values(self, bar: Row, exponents: tuple[int, int]) -> Values:
        price, quantity = exponents
        found = {name: bar[name] / 10.0**-price for name in ("high", "low", "close")}
        volume = bar["volume_hi"] * WORD + bar["volume_lo"]
        return found | {"volume": volume / 10.0**-quantity}

    def _arrange(self, slot: int, *patterns: str) -> dict[tuple[str, str], Followed]:
        """Those that the sets ask for, in their order; the ones that there are go on."""
        held = self._held.get(slot, {})
        wanted: dict[tuple[str, str], Followed] = {}
        sets: dict[str, Mapping[str, Any]] = self._world.indicator_sets
        for subject in sorted(sets):
            one = sets[subject]
            if not {*patterns, "*"} & set(one["instruments"]):
                continue
            for spec in one["bars"]:
                for text in one["indicators"]:
                    name, given = self._asked(text)
                    full = f"{name}({','.join(map(str, given))})"
                    if name in KNOWN and (spec, full) not in wanted:
                        wanted[spec, full] = held.get((spec, full)) or Followed(name, given)
        self._held[slot] = wanted
        return wanted

    def _asked(self, text: str) -> tuple[str, tuple[int, ...]]:
        name, *numbers = re.split(r"[(),]", text.removesuffix(")"))
        if name not in KNOWN:
            self.judged = False
            return name, ()
        given = tuple(int(number) for number in numbers if number)
        return name, given + KNOWN[name][1][len(given) :]
