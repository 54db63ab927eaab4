"""Activity bars, computed again: running sums of a frame, and where in them each bar ends.

Every aggregation goes over a frame by itself: sums are lists of Python integers, in which the end
of a bar is searched; so a frame costs a few microseconds a trade, however few bars end in it.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from math import ceil, sqrt
from typing import Any

import numpy as np

from tidemill.tests.faults.checker.sbe import Records
from tidemill.tests.faults.checker.world import (
    AGGREGATIONS,
    HOUR,
    WORD,
    Fact,
    Letter,
    Made,
    Row,
    World,
    words,
)

SPECS = tuple(name.lower() for name in AGGREGATIONS)
NUMBERS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 18, 100)
GAP, PARTIAL = 1, 4
TICKS, KEPT, BRICKS_MAX = 1_000, 8, 64
WEIGHT = 2.0 / 21
HIGHEST = 10**38 - 1
FULL = 1 << 61
Sums = list[int]


class Run:
    """Trades of a frame that follow each other, with running sums: `sums[name][t]` is of all trades
    of the instrument up to the t-th of these, so that [0] is of those before."""

    def __init__(self, records: Records, at: Any, bought: Any, base: dict[str, int]) -> None:
        self.at = at
        self.ids, self.ts = records["trade_id"].tolist(), records["ts_event"].tolist()
        self.prices = np.ascontiguousarray(records["price"])
        price, quantity = self.prices.tolist(), records["quantity"].tolist()
        notional = [p * q for p, q in zip(price, quantity, strict=True)]
        up, taken = bought.tolist(), (records["aggressor_side"] == 1).tolist()
        each = {
            "trades": [1] * len(price), "trades_up": [int(b) for b in up],
            "quantity": quantity, "quantity_up": [q * b for q, b in zip(quantity, up, strict=True)],
            "notional": notional, "notional_up": [n * b for n, b in zip(notional, up, strict=True)],
            "taken": [q * t for q, t in zip(quantity, taken, strict=True)],
        }  # fmt: skip
        self.sums = {k: list(accumulate(v, initial=base[k])) for k, v in each.items()}

    def __len__(self) -> int:
        return len(self.ids)

    def last(self) -> dict[str, int]:
        """The sums with all of them."""
        return {name: values[-1] for name, values in self.sums.items()}


NOTHING = dict.fromkeys(
    ("trades", "trades_up", "quantity", "quantity_up", "notional", "notional_up", "taken"), 0
)


def one_two_five(value: int) -> int:
    """The largest 1, 2 or 5 times a power of ten up to a number; at least 1."""
    zeros = "0" * (len(str(value)) - 1)
    return next((int(d + zeros) for d in "521" if int(d + zeros) <= value), 1)


def floating(value: int) -> float:
    """The sum of its two words, each as a float."""
    return float(value // WORD) * 2.0**64 + float(value % WORD)


def told(value: int, exponent: int) -> int:
    """In 1e-18, if that has 38 digits."""
    return min(value * 10 ** (exponent + 18), HIGHEST)


@dataclass
class Aggregation:
    """The bars of one aggregation of an instrument. `since` are the sums before the open one."""

    k: int
    inverse: bool
    exponents: tuple[int, int]
    flags: int = 0
    sequence: int = 0
    wanted: int = 0
    given: int | None = None
    step: int = 0
    threshold: int = 0
    since: dict[str, int] | None = None
    first: tuple[int, int, int] = (0, 0, 0)
    high: int = 0
    low: int = 0
    expected: dict[str, float] = field(default_factory=dict)
    kept: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        names = ("trades", "quantity", "quantity" if self.inverse else "notional")
        self.measure = names[self.k // 3] if self.k < 9 else ""
        self.form = self.k % 3 if self.k < 9 else 3

    @property
    def exponent(self) -> int:
        """Of a threshold."""
        price, quantity = self.exponents
        return {"": price, "trades": 0, "quantity": quantity}.get(self.measure, price + quantity)

    def open(self, run: Run, t: int, gap_to: int) -> None:
        """Begin a bar with the t-th trade."""
        price = int(run.prices[t])
        self.since = {name: values[t] for name, values in run.sums.items()}
        self.first = run.ts[t], run.ids[t], price
        if self.given is None:
            self.flags |= PARTIAL
        if self.given != self.wanted:
            self._begin(price)
        if run.ts[t] <= gap_to:
            self.flags |= GAP
        if self.k != 9:
            self.high = self.low = price

    def _begin(self, price: int) -> None:
        self.given = self.step = self.wanted
        self.expected = {}
        if not self.step:
            own = TICKS if self.form or self.k == 0 else 0
            self.step = one_two_five(abs(price) // 1_000) if self.k >= 9 else own
        self.threshold = 0 if self.form in (1, 2) else self.step
        if self.k == 9:
            self.high = self.low = price // self.step * self.step

    def end(self, run: Run, t: int) -> int:
        """The first trade from the t-th on that makes the bar due; len(run) if none does."""
        assert self.since is not None
        if self.k == 10:
            highs = np.maximum.accumulate(np.maximum(run.prices[t:], self.high))
            lows = np.minimum.accumulate(np.minimum(run.prices[t:], self.low))
            return t + _first(highs - lows >= self.step)
        if self.k == 9:
            above, below = self.high + self.step, self.low - self.step
            return t + _first((run.prices[t:] >= above) | (run.prices[t:] <= below))
        if not self.threshold:
            due = self.since["trades"] + (self.step or TICKS)
            return max(t, bisect_left(run.sums["trades"], due) - 1)
        return self._end_of_measure(run, t)

    def _end_of_measure(self, run: Run, t: int) -> int:
        assert self.since is not None
        whole, up = run.sums[self.measure], run.sums[f"{self.measure}_up"]
        whole_0, up_0 = self.since[self.measure], self.since[f"{self.measure}_up"]
        for j in range(t, len(run)):
            bought = up[j + 1] - up_0
            sold = whole[j + 1] - whole_0 - bought
            reached = (bought + sold, abs(bought - sold), max(bought, sold))[self.form]
            if reached >= self.threshold:
                return j
        return len(run)

    def stretch(self, run: Run, t: int, end: int) -> None:
        """Take the prices of the trades from the t-th to before `end`."""
        if self.k != 9 and end > t:
            self.high = max(self.high, int(run.prices[t:end].max()))
            self.low = min(self.low, int(run.prices[t:end].min()))

    def close(self, run: Run, j: int) -> list[Row]:
        """The records of what the j-th trade closes."""
        assert self.since is not None
        now = {name: values[j + 1] for name, values in run.sums.items()}
        grown = {name: now[name] - self.since[name] for name in now}
        last = int(run.prices[j])
        if self.k == 9:
            made = self._bricks(run, j, grown)
        else:
            made = [self._record(run, j, grown, (self.first[2], self.high, self.low, last))]
        if self.form < 3:
            self._learn(grown)
        self.since, self.flags = None, 0
        return made

    def _record(self, run: Run, j: int, grown: dict[str, int], prices: tuple[int, ...]) -> Row:
        ts, first_id, _ = self.first if grown["trades"] else (run.ts[j], run.ids[j], 0)
        counted = self.form in (1, 2)
        made = {
            "ts_open": ts, "ts_close": run.ts[j], "sequence": self.sequence, "revision": 0,
            "aggregation": NUMBERS[self.k],
            **words("step", told(self.step, 0 if counted else self.exponent)),
            **words("threshold", told(self.threshold, self.exponent)),
            **dict(zip(("open", "high", "low", "close"), prices, strict=True)),
            **words("volume", grown["quantity"]), **words("quote_volume", grown["notional"]),
            **words("taker_buy_volume", grown["taken"]), "trade_count": grown["trades"],
            "first_trade_id": first_id, "last_trade_id": run.ids[j], "flags": self.flags,
        }  # fmt: skip
        self.sequence += 1
        self.kept = [*self.kept, made][-KEPT:]
        return made

    def _bricks(self, run: Run, j: int, grown: dict[str, int]) -> list[Row]:
        price = int(run.prices[j])
        up = price >= self.high + self.step
        sign, begin = (1, self.high) if up else (-1, self.low)
        count = abs(price - begin) // self.step
        ends = [begin + sign * self.step * n for n in range(min(count, BRICKS_MAX))]
        ends.append(begin + sign * self.step * count)
        made = []
        for one, other in pairwise(ends):
            prices = one, max(one, other), min(one, other), other
            made.append(self._record(run, j, grown, prices))
            grown = dict.fromkeys(grown, 0)
        inner = ends[-1] - sign * self.step
        self.high, self.low = max(inner, ends[-1]), min(inner, ends[-1])
        return made

    def _mean(self, name: str, value: float, first: bool) -> float:
        known = self.expected.get(name, 0.0)
        self.expected[name] = value if first else known + WEIGHT * (value - known)
        return self.expected[name]

    def _learn(self, grown: dict[str, int]) -> None:
        first, whole, up = not self.threshold, grown[self.measure], grown[f"{self.measure}_up"]
        if self.form == 0:
            if first:
                self.step = self.threshold = one_two_five(whole)
            return
        trades, ups = grown["trades"], grown["trades_up"]
        length = min(max(self._mean("T", float(trades), first), self.step / 10.0), self.step * 10.0)
        self.expected["T"] = length
        bought, sold = floating(up), floating(whole - up)
        if self.form == 1:
            signed = self._mean("b v", (bought - sold) / trades, first)
            size = self._mean("v", (bought + sold) / trades, first)
            wanted = max(length * abs(signed), sqrt(length) * size)
        else:
            part = self._mean("P", ups / trades, first)
            if ups:
                self._mean("v+", bought / ups, first or not self.expected.get("v+"))
            if ups < trades:
                self._mean("v-", sold / (trades - ups), first or not self.expected.get("v-"))
            run_up = part * self.expected.get("v+", 0.0)
            wanted = length * max(run_up, (1.0 - part) * self.expected.get("v-", 0.0))
        self.threshold = int(min(max(ceil(wanted), 1), 1 << 124))


def _first(mask: Any) -> int:
    """The place of the first true value, or the length."""
    return int(mask.argmax()) if mask.any() else len(mask)


class InstrumentActivity:
    """One instrument's. `emitted` are (i, k, values); `refused` the i of what no bar could take."""

    def __init__(self, inverse: bool, exponents: tuple[int, int]) -> None:
        self._known = inverse, exponents
        self._sequences: dict[int, int] = {}
        self.bars: list[Aggregation] = []
        self.emitted: list[tuple[int, int, Row]] = []
        self.refused: list[int] = []
        self._forget()

    def _forget(self) -> None:
        self.next_id: int | None = None
        self.last_price = self.gap_to = 0
        self.bought = True
        self.lapsed = False
        self.holds: set[str] = set()
        self.base = dict(NOTHING)

    def arrange(self, steps: Mapping[int, int]) -> None:
        """Have bars of these aggregations, with these steps."""
        held = {bar.k: bar for bar in self.bars}
        self._sequences |= {k: bar.sequence for k, bar in held.items()}
        self.bars = [
            held.get(k) or Aggregation(k, *self._known, sequence=self._sequences.get(k, 0))
            for k in sorted(steps)
        ]
        for bar in self.bars:
            bar.wanted = steps[bar.k]
        if not steps:
            self._forget()

    def trades(self, records: Records) -> None:
        """A frame of them."""
        price, quantity, ts = records["price"], records["quantity"], records["ts_event"]
        good = (price > -(1 << 61)) & (price < 1 << 61) & (quantity >= 0) & (quantity < 1 << 61)
        good &= (ts >= 0) & (ts - HOUR <= records["ts_recv"])
        rough = np.abs(price.astype(float)) * quantity.astype(float)
        for i in np.flatnonzero(good & (rough > 2.0**100)).tolist():
            good[i] = -(1 << 106) <= int(price[i]) * int(quantity[i]) < 1 << 106
        self.refused += np.flatnonzero(~good).tolist()
        at = np.flatnonzero(good)
        while len(at):
            self._notice(int(records["trade_id"][at[0]]))
            run = Run(records[at], at, self._counted_as_bought(records[at]), self.base)
            taken = self._full(run)
            if taken < len(run):
                run = Run(records[at[:taken]], at[:taken], self._taken[:taken], self.base)
            self._take(run)
            at = at[taken:]

    def _notice(self, trade_id: int) -> None:
        follows = self.next_id is None or trade_id == self.next_id
        if self.lapsed and not follows and not self.holds:
            for bar in self.bars:
                bar.flags |= PARTIAL
        self.lapsed = False

    def _counted_as_bought(self, records: Records) -> Any:
        sides, bought = records["aggressor_side"], self.bought
        self._taken = sides == 1
        if not (sides == 0).any():
            return self._taken
        known, last = self.next_id is not None, self.last_price
        for j, (side, price) in enumerate(
            zip(sides.tolist(), records["price"].tolist(), strict=True)
        ):
            if side:
                bought = side == 1
            elif known and price != last:
                bought = price > last
            known, last = True, price
            self._taken[j] = bought
        return self._taken

    def _full(self, run: Run) -> int:
        """How many trades there are up to the first with which sums near 128 bits."""
        both = zip(run.sums["notional"][1:], run.sums["notional_up"][1:], strict=True)
        for j, sums in enumerate(both, 1):
            if max(abs(value // WORD) for value in sums) >= FULL:
                return j
        return len(run)

    def _take(self, run: Run) -> None:
        last = run.last()
        words_of = (abs(last[name] // WORD) for name in ("notional", "notional_up"))
        full = max(words_of) >= FULL
        made: list[tuple[int, int, Row]] = []
        for bar in self.bars:
            made += self._walk(bar, run, full)
        self.emitted += sorted(made, key=lambda one: one[:2])
        self.base = dict(NOTHING) if full else last
        self.last_price, self.bought = int(run.prices[-1]), bool(self._taken[len(run) - 1])
        newest = max((trade_id + 1) % WORD for trade_id in run.ids)
        self.next_id = max(self.next_id or 0, newest)

    def _walk(self, bar: Aggregation, run: Run, full: bool) -> Iterator[tuple[int, int, Row]]:
        """The bars of one aggregation that end in a run; `full`: all end with its last trade."""
        t, most = 0, len(run) - 1 if full else len(run)
        while t < len(run):
            if bar.since is None:
                bar.open(run, t, self.gap_to)
            j = min(bar.end(run, t), most)
            bar.stretch(run, t, j + 1 if j < len(run) else j)
            if j == len(run):
                return
            if full and j == most:
                bar.flags |= GAP
                if bar.k == 9:
                    bar.since = None
                    return
            for row in bar.close(run, j):
                yield int(run.at[j]), bar.k, row
            t = j + 1

    def declared(self, ts_from: int, ts_to: int) -> None:
        """A hole that was declared or suspected."""
        self.gap_to = max(self.gap_to, ts_to)
        lost = False
        for bar in self.bars:
            for age, row in enumerate(bar.kept):
                begin, end = sorted((row["ts_open"], row["ts_close"]))
                oldest = age == 0 and len(bar.kept) == KEPT and row["sequence"] > 0
                lost |= oldest and ts_from < begin
                if not row["flags"] & GAP and begin <= ts_to and end >= ts_from:
                    row["flags"] |= GAP
                    row["revision"] += 1
                    self.emitted.append((0, bar.k, dict(row)))
            if self.next_id is not None:
                closed = bar.kept[-1]["ts_close"] if bar.kept else 0
                since = bar.first[0] if bar.since is not None else closed
                bar.flags |= GAP if since <= ts_to else 0
        self.refused += [0] if lost else []


class ActivityBars:
    """All instruments'."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._of: dict[int, InstrumentActivity] = {}

    def step(self, fact: Fact, letters: list[Letter]) -> list[Made]:
        """What one fact makes, in order."""
        if fact.kind not in ("trade", "status", "event"):
            return []
        if not self._world.stepped("activity_bars", fact, letters):
            return []
        return sorted(self._made(fact, letters), key=lambda one: one.i)

    def _made(self, fact: Fact, letters: list[Letter]) -> Iterator[Made]:
        for slot in self._world.of(fact):
            known = self._world.instruments[slot]
            if slot not in self._of:
                self._of[slot] = InstrumentActivity(known.inverse, known.exponents)
            one = self._of[slot]
            one.arrange(self._world.activity_steps(slot))
            if one.bars:
                self._step(one, fact)
            for i, k, values in one.emitted:
                name = ("activity_bars", SPECS[k], known.venue, known.symbol, known.partition)
                yield Made("activity_bar", name, fact.r, i, values)
            letters += [Letter("activity_bars", fact.r, i, known.partition) for i in one.refused]
            one.emitted, one.refused = [], []

    def _step(self, one: InstrumentActivity, fact: Fact) -> None:
        event = fact.event
        if fact.kind == "trade":
            one.trades(fact.records)
        elif fact.kind == "status":
            who = "feed" if fact.slot < 0 else "instrument"
            held = bool(fact.records["hold"][-1])
            one.holds = one.holds | {who} if held else one.holds - {who}
        elif fact.told("FeedConnected", "FeedDisconnected"):
            one.lapsed = True
        elif fact.told("TradeGapDeclared", "RecordsGivenUp", "TradeGapSuspected"):
            one.declared(event["ts_from"], event["ts_to"])
