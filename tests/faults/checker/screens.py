"""Screens over bars, computed again one bar after another in plain Python.

Conditions are read by Python's own parser, whose signs and names they share. Of indicators those in
KNOWN; in a LOG whose screens ask for others none can be judged, nor where a comparison hangs on how
a sum was rounded. Numbers are compared to 1e-9.
"""

import ast
import operator
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import pairwise
from math import isclose, nan
from typing import Any

from tidemill.tests.faults.checker.indicators import FLAGS, LATE, SECOND, Values, mean
from tidemill.tests.faults.checker.messages import BARS
from tidemill.tests.faults.checker.more_indicators import KNOWN
from tidemill.tests.faults.checker.world import WORD, Made, Row, World

SCORED = {
    "rsi": "rsi(14)", "macd": "macd(12,26,9).macd", "macd_signal": "macd(12,26,9).signal",
    "ema_20": "ema(20)", "ema_50": "ema(50)", "ema_200": "ema(200)",
    "upper": "bollinger(20,2).upper", "lower": "bollinger(20,2).lower",
    "stochastic_k": "stochastic(14,1,3).k", "stochastic_d": "stochastic(14,1,3).d",
    "adx": "adx(14)", "atr_percent": "natr(14)",
}  # fmt: skip
POINTS = ("rsi_points", "macd_points", "average_points", "band_points", "stochastic_points")
WITHDRAWN, RAISED, SCORE = 0, 1, 2
COMPARED: dict[type, Callable[[float, float], bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip
CALCULATED: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip


class UnknownError(Exception):
    """What this cannot judge."""


def read(text: str) -> ast.expr:
    return ast.parse(" ".join(text.split()), mode="eval").body


def indicator(node: ast.expr) -> tuple[str, tuple[int, ...], str] | None:
    """(name, parameters, output) of an indicator, None for another part of a condition."""
    output = ""
    if isinstance(node, ast.Attribute):
        node, output = node.value, node.attr
    given: tuple[Any, ...] = ()
    if isinstance(node, ast.Call):
        given = tuple(one.value if isinstance(one, ast.Constant) else None for one in node.args)
        node = node.func
    if not isinstance(node, ast.Name) or node.id in (*WINDOWS, *CROSSES, *FIELDS):
        return None
    if node.id not in KNOWN:
        raise UnknownError(node.id)
    return node.id, given + KNOWN[node.id][1][len(given) :], output


WINDOWS = ("prev", "highest", "lowest", "average")
CROSSES = ("crosses_above", "crosses_below")
BOOK = ("spread", "depth_1pct", "depth_5pct", "imbalance", "liquidity_score")
CONTRACT = ("funding_rate", "open_interest", "basis")
FIELDS = (
    *("open", "high", "low", "close", "volume", "trade_count", "score"),
    *(*BOOK, *CONTRACT),
)
IN_ORDER = ("activity_bar", "bar", "book_metrics", "derivative_metrics", "composite_bar",
            "resampled_bar")  # fmt: skip
"""Of what one record gives, that of processors that read LOG alone first, each by its name."""


def market_of(one: Made, exponents: tuple[int, int]) -> dict[str, float | None]:
    """What a record says of a book or a contract, None where it says nothing."""
    price, quantity = (Decimal(1).scaleb(exponent) for exponent in exponents)
    row, found = defaultdict(int, one.values), dict[str, float | None]()
    if one.kind == "book_metrics":
        if row["state"] != 1 or not (row["bid_quantity"] > 0 and row["ask_quantity"] > 0):
            return dict.fromkeys(BOOK)
        found["spread"] = float(row["spread"] * price)
        for share in "15":
            deep = sum(
                (row[f"{side}_depth_{share}_hi"] * WORD + row[f"{side}_depth_{share}_lo"])
                for side in ("bid", "ask")
            )
            found[f"depth_{share}pct"] = float(deep * price * quantity)
        found["imbalance"] = row["imbalance"] / 10**9
        found["liquidity_score"] = float(row["liquidity_score"])
        return found
    given = [bool(row["fields"] >> k & 1) for k in range(6)]
    found["funding_rate"] = row["funding_rate"] / 10**12 if given[2] else None
    found["open_interest"] = float(row["open_interest"] * quantity) if given[5] else None
    found["basis"] = float(row["basis"] * price) if given[0] and given[1] else None
    return found


def crossing(node: ast.Call) -> ast.expr:
    """A crossing as what it stands for."""
    a, b = (ast.unparse(one) for one in node.args)
    assert isinstance(node.func, ast.Name)
    now, before = (">", "<=") if node.func.id == "crosses_above" else ("<", ">=")
    return read(f"(({a}) {now} ({b})) and (prev({a}) {before} prev({b}))")


def window(node: ast.Call) -> tuple[str, ast.expr, int]:
    assert isinstance(node.func, ast.Name)
    length = node.args[1].value if len(node.args) > 1 else 1  # type: ignore[attr-defined]
    return node.func.id, node.args[0], int(length)


class Watched:
    """The screens over one instrument's bars of one spec."""

    def __init__(self) -> None:
        self.bars: list[Values] = []
        self.newest = -1
        self.since: list[int | None] = [None] * FLAGS
        self.before = list(self.since)
        self.begins: dict[str, int] = {}
        self.truths: dict[str, list[tuple[bool, bool]]] = {}
        self._wanted: set[str] = set()

    def arrange(self, screens: Mapping[str, str]) -> None:
        """Have these screens, conditions by name: what is new in them begins with the next bar."""
        self._wanted = set()
        for text in SCORED.values():
            self._note(read(text))
        rises = {}
        for name, condition in screens.items():
            if condition:
                tree = read(condition)
                self._note(tree)
                rises[f"{name}: {ast.unparse(tree)}"] = condition
        self.begins = {key: self.begins.get(key, len(self.bars)) for key in sorted(self._wanted)}
        self.truths = {key: self.truths.get(key, []) for key in rises}

    def _note(self, node: ast.expr) -> None:
        found = indicator(node)
        if found is not None:
            self._wanted.add(f"{found[0]}{found[1]}")
            return
        if isinstance(node, ast.Call):
            assert isinstance(node.func, ast.Name)
            if node.func.id in CROSSES:
                self._note(crossing(node))
                return
            self._wanted.add(str(ast.unparse(node)))
            self._note(node.args[0])
            return
        for part in ast.iter_child_nodes(node):
            if isinstance(part, ast.expr):
                self._note(part)

    def take(self, key: int, bar: Values, flags: int) -> bool:
        """Take a bar; return whether it is taken: an older one is not."""
        if self.bars and key < self.newest:
            self.since[LATE] = self.before[LATE] = 0
            return False
        if self.bars and key == self.newest:
            self.bars.pop()
            self.since = list(self.before)
            self.begins = {k: min(begin, len(self.bars)) for k, begin in self.begins.items()}
        self.newest, self.before = key, list(self.since)
        self.bars.append(bar)
        for k in range(FLAGS):
            known = self.since[k]
            self.since[k] = 0 if flags >> k & 1 else None if known is None else known + 1
        return True

    def told(self, reach: int) -> int:
        """The flags of the newest `reach` bars."""
        return sum(1 << k for k, at in enumerate(self.since) if at is not None and at < reach)

    def rises(self, name: str, condition: str, again: bool) -> int | None:
        """What a screen says of the bar that was just taken."""
        tree = read(condition)
        history = self.truths[f"{name}: {ast.unparse(tree)}"]
        was_told = history.pop()[1] if again and history else False
        true = self.value(tree, len(self.bars) - 1) is True
        comes = true and not (history and history[-1][0])
        history.append((true, comes))
        return RAISED if comes else WITHDRAWN if was_told else None

    def value(self, node: ast.expr, k: int) -> Any:
        """A number, a truth, or None for what is not known, at bar `k`."""
        found = indicator(node)
        if found is not None:
            return self._indicator(*found, k)
        match node:
            case ast.Constant(value):
                return float(value)  # type: ignore[arg-type]
            case ast.Name("score"):
                score = self.score(k)["score"]
                return None if score != score else score
            case ast.Name(name):
                return self.bars[k].get(name)
            case ast.Call(ast.Name(name)) if name in CROSSES:
                return self.value(crossing(node), k)
            case ast.Call():
                return self._window(node, k)
        return self._signed(node, k)

    def _signed(self, node: ast.expr, k: int) -> Any:
        match node:
            case ast.UnaryOp(ast.USub(), of):
                number = self.value(of, k)
                return None if number is None else -number
            case ast.UnaryOp(ast.Not(), of):
                truth = self.value(of, k)
                return None if truth is None else not truth
            case ast.BinOp(left, sign, right):
                return self._calculated(sign, self.value(left, k), self.value(right, k))
            case ast.Compare(left, [sign], [right]):
                return self._compared(sign, self.value(left, k), self.value(right, k))
            case ast.BoolOp(sign, parts):
                truths = [self.value(part, k) for part in parts]
                decisive = isinstance(sign, ast.Or)
                if decisive in truths:
                    return decisive
                return None if None in truths else not decisive
        raise UnknownError(ast.dump(node))

    def _indicator(self, name: str, given: tuple[int, ...], output: str, k: int) -> float | None:
        begin = self.begins[f"{name}{given}"]
        if k < begin:
            return None
        found = KNOWN[name][0](self.bars[begin : k + 1], *given)
        return found.get(output or name)

    def _window(self, node: ast.Call, k: int) -> float | None:
        function, of, length = window(node)
        begin = self.begins[ast.unparse(node)]
        first = k - length if function == "prev" else k - length + 1
        if first < begin:
            return None
        if function == "prev":
            return self.value(of, first)  # type: ignore[no-any-return]
        values = [self.value(of, j) for j in range(first, k + 1)]
        if None in values:
            return None
        return {"highest": max, "lowest": min, "average": mean}[function](values)

    def _calculated(self, sign: ast.operator, left: Any, right: Any) -> float | None:
        if left is None or right is None or (isinstance(sign, ast.Div) and right == 0):
            return None
        return CALCULATED[type(sign)](left, right)

    def _compared(self, sign: ast.cmpop, left: Any, right: Any) -> bool | None:
        if left is None or right is None:
            return None
        if left != right and isclose(left, right, rel_tol=1e-11):
            raise UnknownError(f"{left} and {right} are too near")
        return COMPARED[type(sign)](left, right)

    def score(self, k: int) -> Values:
        """The fields of a signal that say what a bar is worth."""
        of = {name: self.value(read(text), k) for name, text in SCORED.items()}
        row = {name: nan if value is None else value for name, value in of.items()}
        close = self.bars[k]["close"]
        row |= {"close": close, "score": nan} | dict.fromkeys(POINTS, nan)
        adx_, atr = of["adx"], of["atr_percent"]
        row["momentum"] = 0 if adx_ is None else 1 + (adx_ > 15) + (adx_ > 25)
        row["volatility"] = 0 if atr is None else 1 + (atr > 1.5) + (atr > 3)
        row["recommendation"] = row["trend"] = 0
        if None in of.values():
            return row
        line = [close, row["ema_20"], row["ema_50"], row["ema_200"]]
        falls = [a > b for a, b in pairwise(line)]
        rises = [a < b for a, b in pairwise(line)]
        near = 10 * ((close > line[2]) - (close < line[2]))
        k_, d = row["stochastic_k"], row["stochastic_d"]
        row |= {
            "rsi_points": 15.0 * ((row["rsi"] < 30) - (row["rsi"] > 70)),
            "macd_points": 10.0 if row["macd"] > row["macd_signal"] else -10.0,
            "average_points": 20.0 if all(falls) else -20.0 if all(rises) else float(near),
            "band_points": 10.0 * ((close < row["lower"]) - (close > row["upper"])),
            "stochastic_points": 5.0 * ((max(k_, d) < 20) - (min(k_, d) > 80)),
        }
        score = min(100.0, max(0.0, 50.0 + sum(row[name] for name in POINTS)))
        row["score"] = score
        row["recommendation"] = 1 + sum(score >= least for least in (30, 40, 60, 70))
        row["trend"] = 3 if score >= 60 else 1 if score <= 40 else 2
        return row


def reach(node: ast.expr) -> int:
    """How many bars a part of a condition looks back on, the newest counted."""
    found = indicator(node)
    if found is not None:
        return 1 + KNOWN[found[0]][2](*found[1])
    if isinstance(node, ast.Name):
        return 200 if node.id == "score" else 1
    if isinstance(node, ast.Call):
        assert isinstance(node.func, ast.Name)
        if node.func.id in CROSSES:
            return reach(crossing(node))
        function, of, length = window(node)
        return reach(of) + length - (function != "prev")
    parts = [reach(part) for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)]
    return max(parts, default=1)


class Screens:
    """The screens of every instrument, by what LOG says."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._held: dict[int, dict[str, Watched]] = {}
        self._market: dict[int, dict[str, float | None]] = {}
        self.judged = True
        """Whether every screen so far could be computed here."""

    def step(self, r: int, made: Iterable[Made]) -> Iterator[Made]:
        """Take the bars that one fact gave, and what it gave of books and contracts."""
        bars = [one for one in made if one.kind in IN_ORDER]
        for bar in sorted(bars, key=lambda one: (one.i, IN_ORDER.index(one.kind))):
            if bar.kind not in BARS:
                slot = self._world.slots[bar.name[2], bar.name[3]]
                told = market_of(bar, self._world.instruments[slot].exponents)
                self._market[slot] = self._market.get(slot, {}) | told
            elif self.judged and self._world.screens:
                try:
                    yield from self._bar(r, bar)
                except UnknownError:
                    self.judged = False
            elif not self._world.screens:
                self._held.clear()

    def _bar(self, r: int, bar: Made) -> Iterator[Made]:
        root, spec, venue, symbol, partition = bar.name
        slot = self._world.slots[venue, symbol]
        patterns = {f"{symbol}.{venue}", f"*.{venue}", "*"}
        mine = {
            one["name"]: one for _, one in sorted(self._world.screens.items())
            if patterns & set(one["instruments"])
        }  # fmt: skip
        held = self._held.get(slot, {})
        specs = dict.fromkeys(one["bars"] for one in mine.values())
        self._held[slot] = held = {of: held.get(of) or Watched() for of in specs}
        for of, watched in held.items():
            watched.arrange({n: one["condition"] for n, one in mine.items() if one["bars"] == of})
        if spec not in held:
            return
        one, key = held[spec], bar.values["sequence" if root == "activity_bars" else "ts_open"]
        again = bool(one.bars) and key == one.newest
        exponents = self._world.instruments[slot].exponents
        market = self._market.get(slot, {})
        if again:  # as it was when the bar closed
            market = {name: one.bars[-1].get(name) for name in (*BOOK, *CONTRACT)}
        values = numbers_of(bar.values, exponents) | market
        if not one.take(key, values, bar.values.get("flags", 0)):
            return
        row: Row = {
            name: bar.values[name]
            for name in ("ts_open", "sequence", "revision")
            if name in bar.values
        }
        row["ts_close"] = bar.values.get("ts_close") or (
            bar.values["ts_open"] + bar.values["interval_s"] * SECOND
        )
        row |= {"bars": spec.encode(), **one.score(len(one.bars) - 1)}
        for name, screen in mine.items():
            condition = screen["condition"]
            if screen["bars"] != spec:
                continue
            if not condition:
                says, back = None if row["score"] != row["score"] else SCORE, 200
            else:
                says, back = one.rises(name, condition, again), reach(read(condition)) + 1
            if says is not None:
                told = row | {"status": says, "flags": one.told(back)}
                yield Made("signal", ("signals", name, venue, symbol, partition), r, bar.i, told)


def numbers_of(bar: Row, exponents: tuple[int, int]) -> Values:
    found = {name: bar[name] / 10.0 ** -exponents[0] for name in ("open", "high", "low", "close")}
    volume = (bar["volume_hi"] * WORD + bar["volume_lo"]) / 10.0 ** -exponents[1]
    return found | {"volume": volume, "trade_count": float(bar["trade_count"])}
