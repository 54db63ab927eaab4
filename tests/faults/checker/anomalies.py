"""Anomalies of bars, computed again one bar after another in plain Python.

Of the detectors those in SCORED; in a LOG that asks for others none can be judged, nor where a
severity hangs on how a sum was rounded. Numbers are compared to 1e-9.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from math import inf, isclose, nan
from typing import Any

from tidemill.tests.faults.checker.indicators import SECOND, Values
from tidemill.tests.faults.checker.messages import BARS
from tidemill.tests.faults.checker.more_indicators import KNOWN, banded
from tidemill.tests.faults.checker.sbe import KINDS
from tidemill.tests.faults.checker.screens import (
    IN_ORDER,
    UnknownError,
    Watched,
    market_of,
    numbers_of,
)
from tidemill.tests.faults.checker.world import Instrument, Made, Row, World

POINTS = (50.0, 60.0, 70.0, 80.0)
Z = {"score": "z", "median": "median", "deviation": "deviation"}
SCORED: dict[str, tuple[tuple[float, ...], dict[str, str]]] = {
    "return_z": ((3.0, 6.0, 12.0, 24.0), Z),
    "volume_z": ((3.0, 6.0, 12.0, 24.0), Z),
    "range_z": ((2.5, 5.0, 10.0, 20.0), Z),
    "pump_and_dump": (
        POINTS,
        {"score": "score"}
        | {f"{one}_points": one for one in ("volume", "price", "rapidity", "lost")},
    ),
    "flash_crash": (POINTS, {}),
}
"""By name: from which scores on it is worse, and the fields that say what of."""
UNKNOWN = dict.fromkeys(("depth_1pct", "imbalance"))
DOLLARS = ("USD", "USDT", "USDC", "FDUSD", "TUSD", "USDE", "USD1", "PYUSD", "DAI", "BUSD")
_NAMES = KINDS["anomaly"].newest.names or ()
EVIDENCE = _NAMES[_NAMES.index("close") + 1 :]


class Detecting:
    """One detector of one set, over bars from the first that it saw."""

    def __init__(self, text: str, begin: int) -> None:
        name, *numbers = re.split(r"[(),]", text.removesuffix(")"))
        if name not in SCORED:
            raise UnknownError(name)
        self.name, self.begin = name, begin
        of = KNOWN["natr" if name == "flash_crash" else name]
        self.given = tuple(int(number) for number in numbers if number)
        self.given += of[1][len(self.given) :]
        self.compute, self.reach = of[0], of[2](*self.given) + 2
        self.full = f"{name}({','.join(map(str, self.given))})"
        self.history: list[tuple[int, bool]] = []

    def judge(self, bars: list[Values], one: Instrument, again: bool) -> tuple[int, Row] | None:
        """What it says of the newest bar: a severity, 0 where it takes one back, and its fields."""
        was_told = self.history.pop()[1] if again and self.history else False
        self.begin = min(self.begin, len(bars) - 1)
        found = self.compute(bars[self.begin :], *self.given)
        bounds, fields = SCORED[self.name]
        row = {field: found.get(output, nan) for field, output in fields.items()}
        if self.name == "flash_crash":
            row = flash_crash(found.get("natr", nan), bars[-1], one)
        score = abs(row["score"]) if self.name == "return_z" else row["score"]
        if any(score != bound and isclose(score, bound, rel_tol=1e-11) for bound in bounds):
            raise UnknownError(f"{score} is too near a bound")
        severity = sum(score >= bound for bound in bounds)
        worse = severity > (self.history[-1][0] if self.history else 0)
        self.history.append((severity, worse))
        return (severity, row) if worse else (0, row) if was_told else None


def flash_crash(volatility: float, bar: Values, one: Instrument) -> Row:
    """Points for volatility over depth, asks over bids, and little depth."""
    depth, imbalance = bar["depth_1pct"], bar["imbalance"]
    if depth is None or one.pair.partition("/")[2] not in DOLLARS:
        depth = nan
    else:
        deep = Decimal(depth) / Decimal(bar["close"]) if one.inverse else Decimal(depth)
        depth = float(deep * one.multiplier)
    over = (
        nan if imbalance is None else (1 - imbalance) / (1 + imbalance) if imbalance > -1 else inf
    )
    row = {"volatility": volatility, "depth": depth, "asks_over_bids": over}
    for bound in (1e5, 5e5, 1e6):
        if depth != bound and isclose(depth, bound, rel_tol=1e-11):
            raise UnknownError(f"{depth} is too near a bound")
    known = volatility == volatility and depth == depth
    risk = volatility / (depth / 1e5) if depth else inf * volatility
    risk = (min(risk, 40.0) if risk == risk else 0.0) if known else nan
    row["liquidation_points"] = risk
    row["imbalance_points"] = banded(over, (1.2, 1.5, 2.0), 10.0, 10.0) if over == over else nan
    row["depth_points"] = banded(-depth, (-1e6, -5e5, -1e5), 10.0, 10.0) if depth == depth else nan
    row["cascade"] = 0.6 * risk + 40.0 * (over > 1.5) if over == over else nan
    row["score"] = sum(row[f"{part}_points"] for part in ("liquidation", "imbalance", "depth"))
    return row


class Detected(Watched):
    """The bars of one instrument and spec, and what looks at them, by set and name."""

    def __init__(self) -> None:
        super().__init__()
        self.detecting: dict[tuple[str, str], Detecting] = {}

    def detect(self, sets: list[Mapping[str, Any]]) -> None:
        """Have the detectors of these sets: a new one begins with the next bar."""
        before, self.detecting = self.detecting, {}
        for one in sets:
            for text in one["detectors"]:
                made = Detecting(text, len(self.bars))
                key = (one["name"], made.full)
                self.detecting[key] = before.get(key) or made


class Anomalies:
    """The detectors of every instrument, by what LOG says."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._held: dict[int, dict[str, Detected]] = {}
        self._market: dict[int, dict[str, float | None]] = {}
        self.judged = True
        """Whether every detector so far could be computed here."""

    def step(self, r: int, made: Iterable[Made]) -> Iterator[Made]:
        """Take the bars that one fact gave, and what it gave of books."""
        ones = [one for one in made if one.kind in (*BARS, "book_metrics")]
        for one in sorted(ones, key=lambda one: (one.i, IN_ORDER.index(one.kind))):
            if one.kind not in BARS:
                slot = self._world.slots[one.name[2], one.name[3]]
                told = market_of(one, self._world.instruments[slot].exponents)
                self._market[slot] = {name: told[name] for name in UNKNOWN}
            elif self.judged:
                try:
                    yield from self._bar(r, one)
                except UnknownError:
                    self.judged = False

    def _bar(self, r: int, bar: Made) -> Iterator[Made]:
        root, spec, venue, symbol, partition = bar.name
        slot = self._world.slots[venue, symbol]
        instrument = self._world.instruments[slot]
        patterns = {f"{symbol}.{venue}", f"*.{venue}", "*"}
        sets: dict[str, Mapping[str, Any]] = self._world.anomaly_sets
        mine = [one for _, one in sorted(sets.items()) if patterns & set(one["instruments"])]
        specs = {one["bars"] for one in mine}
        held = self._held.get(slot, {})
        self._held[slot] = held = {of: held.get(of) or Detected() for of in sorted(specs)}
        for of, watched in held.items():
            watched.detect([one for one in mine if one["bars"] == of])
        if spec not in held:
            return
        one, key = held[spec], bar.values["sequence" if root == "activity_bars" else "ts_open"]
        again = bool(one.bars) and key == one.newest
        market: dict[str, Any] = UNKNOWN | self._market.get(slot, {})
        if again:  # as it was when the bar closed
            market = {name: one.bars[-1][name] for name in UNKNOWN}
        found = numbers_of(bar.values, instrument.exponents)
        if not one.take(key, found | market, bar.values.get("flags", 0)):
            return
        row: Row = {
            name: bar.values[name]
            for name in ("ts_open", "sequence", "revision")
            if name in bar.values
        }
        row["ts_close"] = bar.values.get("ts_close") or (
            bar.values["ts_open"] + bar.values["interval_s"] * SECOND
        )
        row |= {"bars": spec.encode(), "close": found["close"]} | dict.fromkeys(EVIDENCE, nan)
        for (name, _), detecting in one.detecting.items():
            said = detecting.judge(one.bars, instrument, again)
            if said is not None:
                severity, fields = said
                told = row | fields | {
                    "severity": severity, "detector": detecting.full.encode(),
                    "threshold": SCORED[detecting.name][0][0], "flags": one.told(detecting.reach),
                }  # fmt: skip
                yield Made("anomaly", ("anomalies", name, venue, symbol, partition), r, bar.i, told)
