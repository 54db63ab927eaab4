"""Activity bars as one would make them without hurry: every trade of a bar kept, all recomputed.

Python integers, floats and lists only; nothing is shared with the kernels but names, and the
constants that the processor's page promises. Trades are walked one by one through every rule.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

from tidemill.schemas.events.feed import (
    FeedConnected,
    FeedDisconnected,
    RecordsGivenUp,
    TradeGapDeclared,
    TradeGapSuspected,
)
from tidemill.tests.processors.runs import SECOND, Fact, Log

NUMBERS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 18, 100)
GAP, PARTIAL = 1, 4
TICKS, KEPT, BRICKS_MAX = 1_000, 8, 64
WEIGHT = 2.0 / 21
WORD = 1 << 64
HIGHEST = 10**38 - 1
FULL = 1 << 125


class Trade(NamedTuple):
    trade_id: int
    ts: int
    price: int
    quantity: int
    side: int
    bought: bool

    def measure(self, which: int, inverse: bool) -> int:
        if which == 0:
            return 1
        return self.quantity if which == 1 or inverse else self.price * self.quantity


def one_two_five(value: int) -> int:
    """The largest 1, 2 or 5 times a power of ten that is not above `value`; at least 1."""
    power = 10 ** (len(str(value)) - 1) if value > 0 else 1
    return max((m * power for m in (1, 2, 5) if m * power <= value), default=1)


def as_float(value: int) -> float:
    """Of its two words, as the kernel takes it."""
    return float(value // WORD) * 2.0**64 + float(value % WORD)


def told(value: int, exponent: int) -> int:
    made = value * 10 ** (exponent + 18)
    return made if abs(made) <= HIGHEST else HIGHEST


@dataclass
class Averages:
    """Expectations of one aggregation."""

    trades: float = 0.0
    first: float = 0.0
    signed: float = 0.0
    size: float = 0.0
    up: float = 0.0
    size_up: float = 0.0
    size_down: float = 0.0

    def average(self, name: str, value: float, first: bool) -> None:
        known = getattr(self, name)
        setattr(self, name, value if first else known + WEIGHT * (value - known))

    def imbalance(self, bought: int, sold: int, length: int, first: bool) -> float:
        up, down = as_float(bought), as_float(sold)
        self.average("signed", (up - down) / length, first)
        self.average("size", (up + down) / length, first)
        return max(self.trades * abs(self.signed), math.sqrt(self.trades) * self.size)

    def runs(self, bought: int, sold: int, ups: int, length: int, first: bool) -> float:
        self.average("up", ups / length, first)
        if ups:
            self.average("size_up", as_float(bought) / ups, first or not self.size_up)
        if ups < length:
            size = as_float(sold) / (length - ups)
            self.average("size_down", size, first or not self.size_down)
        return self.trades * max(self.up * self.size_up, (1.0 - self.up) * self.size_down)

    def length(self, trades: int, first: bool, begins: int) -> None:
        if first:
            self.first = float(begins)
        self.average("trades", float(trades), first)
        self.trades = min(max(self.trades, self.first / 10.0), self.first * 10.0)


@dataclass
class Bar:
    """The bar of one aggregation that is open or next."""

    k: int
    wanted: int = 0
    given: int | None = None
    inverse: bool = False
    trades: list[Trade] = field(default_factory=list)
    bought: int = 0
    sold: int = 0
    highest: int = 0
    lowest: int = 0
    flags: int = 0
    sequence: int = 0
    step: int = 0
    threshold: int = 0
    top: int = 0
    bottom: int = 0
    learned: Averages = field(default_factory=Averages)
    closed: list[dict[str, Any]] = field(default_factory=list)

    @property
    def measure(self) -> int:
        return self.k // 3

    @property
    def form(self) -> int:
        return self.k % 3

    def begin(self, price: int) -> None:
        if self.given is None:
            self.flags |= PARTIAL
        self.step = self.given = self.wanted
        self.threshold, self.learned = 0, Averages()
        if not self.step:
            if self.k >= 9:
                self.step = one_two_five(abs(price) // 1_000)
            elif self.k == 0 or self.form:
                self.step = TICKS
        if self.k >= 9 or not self.form:
            self.threshold = self.step
        if self.k == 9:
            self.top = self.bottom = price // self.step * self.step

    def add(self, trade: Trade) -> None:
        if not self.trades:
            self.highest = self.lowest = trade.price
        self.trades.append(trade)
        self.highest, self.lowest = max(self.highest, trade.price), min(self.lowest, trade.price)
        value = trade.measure(self.measure, self.inverse) if self.k < 9 else 0
        self.bought += value if trade.bought else 0
        self.sold += 0 if trade.bought else value

    def clear(self) -> None:
        self.trades, self.bought, self.sold = [], 0, 0

    def due(self) -> bool:
        if self.k == 10:
            return self.highest - self.lowest >= self.step
        if not self.threshold:
            return len(self.trades) >= (self.step if self.form else TICKS)
        bought, sold = self.bought, self.sold
        if self.form == 0:
            return bought + sold >= self.threshold
        if self.form == 1:
            return abs(bought - sold) >= self.threshold
        return bought >= self.threshold or sold >= self.threshold

    def learn(self) -> None:
        bought, sold = self.bought, self.sold
        first = not self.threshold
        if self.form == 0:
            if first:
                self.step = self.threshold = one_two_five(bought + sold)
            return
        length = len(self.trades)
        self.learned.length(length, first, self.step)
        if self.form == 1:
            wanted = self.learned.imbalance(bought, sold, length, first)
        else:
            ups = sum(t.bought for t in self.trades)
            wanted = self.learned.runs(bought, sold, ups, length, first)
        self.threshold = int(min(max(math.ceil(wanted), 1), 2**124))


class Instrument:
    """One instrument's bars. `emitted` collects (spec, values) of the record being stepped."""

    def __init__(self, exponents: tuple[int, int], inverse: bool, steps: Sequence[int]) -> None:
        self.price_exponent, self.quantity_exponent = exponents
        self.inverse = inverse
        self.bars = [Bar(k, step, None, inverse) for k, step in enumerate(steps)]
        self.emitted: list[tuple[int, dict[str, Any]]] = []
        self.refused: list[str] = []
        self.at = (0, 0)
        self.next_id: int | None = None
        self.last_price = self.gap_to = 0
        self.last_bought = True
        self.lapsed = False
        self.holds: set[str] = set()
        self.notional = self.notional_up = 0

    def exponent(self, k: int) -> int:
        if k >= 9:
            return self.price_exponent
        both = self.price_exponent + self.quantity_exponent
        return (0, self.quantity_exponent, self.quantity_exponent if self.inverse else both)[k // 3]

    def record(self, bar: Bar, last: Trade, prices: tuple[int, ...]) -> dict[str, Any]:
        trades = bar.trades
        sums = {
            "step": told(bar.step, 0 if bar.k < 9 and bar.form else self.exponent(bar.k)),
            "threshold": told(bar.threshold, self.exponent(bar.k)),
            "volume": sum(t.quantity for t in trades),
            "quote_volume": sum(t.price * t.quantity for t in trades),
            "taker_buy_volume": sum(t.quantity for t in trades if t.side == 1),
        }
        words: dict[str, int] = {}
        for name, value in sums.items():
            assert -(1 << 127) <= value < 1 << 127
            words[f"{name}_lo"], words[f"{name}_hi"] = value % WORD, value // WORD
        first = trades[0] if trades else last
        values = {
            "n": 0, "ts_open": first.ts, "ts_close": last.ts, "sequence": bar.sequence,
            "revision": 0, "aggregation": NUMBERS[bar.k], **words,
            "trade_count": len(trades), "first_trade_id": first.trade_id,
            "last_trade_id": last.trade_id, "flags": bar.flags,
        }  # fmt: skip
        return values | dict(zip(("open", "high", "low", "close"), prices, strict=True))

    def emit(self, bar: Bar, values: dict[str, Any]) -> None:
        self.emitted.append((bar.k, {**values, "at_r": self.at[0], "at_i": self.at[1]}))

    def close(self, bar: Bar, values: dict[str, Any]) -> None:
        self.emit(bar, values)
        bar.closed = [*bar.closed, values][-KEPT:]
        bar.sequence += 1

    def close_plain(self, bar: Bar, flags: int = 0) -> None:
        bar.flags |= flags
        prices = [t.price for t in bar.trades]
        ends = prices[0], max(prices), min(prices), prices[-1]
        self.close(bar, self.record(bar, bar.trades[-1], ends))
        if bar.k < 9:
            bar.learn()
        bar.clear()
        bar.flags = 0

    def close_bricks(self, bar: Bar) -> None:
        last = bar.trades[-1]
        rising = last.price >= bar.top + bar.step
        count = (last.price - bar.top if rising else bar.bottom - last.price) // bar.step
        if count <= 0:
            return
        sign = 1 if rising else -1
        begin = bar.top if rising else bar.bottom
        ends = [begin + sign * bar.step * n for n in range(min(count, BRICKS_MAX))]
        ends.append(begin + sign * bar.step * count)
        for one, other in pairwise(ends):
            prices = (one, max(one, other), min(one, other), other)
            self.close(bar, self.record(bar, last, prices))
            bar.clear()
        bar.flags = 0
        inner = ends[-1] - sign * bar.step
        bar.top, bar.bottom = max(inner, ends[-1]), min(inner, ends[-1])

    def notice(self, trade_id: int) -> None:
        follows = self.next_id is None or trade_id == self.next_id
        if self.lapsed and not follows and not self.holds:
            for bar in self.bars:
                bar.flags |= PARTIAL
        self.lapsed = False

    def counts_as_bought(self, side: int, price: int) -> bool:
        if side:
            return side == 1
        if self.next_id is None or price == self.last_price:
            return self.last_bought
        return price > self.last_price

    def trade(self, record: Any) -> None:
        names = ("trade_id", "ts_event", "price", "quantity", "aggressor_side")
        trade_id, ts, price, quantity, side = (int(record[name]) for name in names)
        too_big = not (abs(price) < 1 << 61 and quantity < 1 << 61)
        too_big |= not -(1 << 106) <= price * quantity < 1 << 106
        if quantity < 0 or too_big or ts < 0 or ts > int(record["ts_recv"]) + 3_600 * SECOND:
            self.refused.append("cannot be")
            return
        self.notice(trade_id)
        bought = self.counts_as_bought(side, price)
        self.next_id = max(self.next_id or 0, (trade_id + 1) % WORD)
        self.last_price, self.last_bought = price, bought
        trade = Trade(trade_id, ts, price, quantity, side, bought)
        for bar in self.bars:
            if not bar.trades:
                if bar.given != bar.wanted:
                    bar.begin(price)
                if ts <= self.gap_to:
                    bar.flags |= GAP
            bar.add(trade)
        self.close_due(trade)

    def close_due(self, trade: Trade) -> None:
        self.notional += trade.price * trade.quantity
        self.notional_up += trade.price * trade.quantity * trade.bought
        words = abs(self.notional // WORD), abs(self.notional_up // WORD)
        full = max(words) >= FULL // WORD
        for bar in self.bars:
            if bar.k == 9:
                if full:
                    bar.clear()
                    bar.flags |= GAP
                else:
                    self.close_bricks(bar)
            elif full or bar.due():
                self.close_plain(bar, GAP if full else 0)
        if full:
            self.notional = self.notional_up = 0

    def declared(self, ts_from: int, ts_to: int) -> None:
        self.gap_to = max(self.gap_to, ts_to)
        lost = False
        for bar in self.bars:
            for age, values in enumerate(bar.closed):
                first, last = sorted((values["ts_open"], values["ts_close"]))
                oldest = age == 0 and len(bar.closed) == KEPT
                lost |= oldest and ts_from < first and values["sequence"] > 0
                if not values["flags"] & GAP and first <= ts_to and last >= ts_from:
                    values["flags"] |= GAP
                    values["revision"] += 1
                    self.emit(bar, dict(values))
            if self.next_id is not None:
                since = bar.closed[-1]["ts_close"] if bar.closed else 0
                if (bar.trades[0].ts if bar.trades else since) <= ts_to:
                    bar.flags |= GAP
        if lost:
            self.refused.append("a gap")


def _step(instrument: Instrument, fact: Fact, index: int) -> None:
    if fact.kind == "trade":
        instrument.trade(fact.records[index])
    elif fact.kind == "status":
        who = "feed" if fact.slot < 0 else "instrument"
        held = bool(fact.records[index]["hold"])
        instrument.holds = instrument.holds | {who} if held else instrument.holds - {who}
    match fact.event:
        case FeedConnected() | FeedDisconnected():
            instrument.lapsed = True
        case TradeGapDeclared() | RecordsGivenUp() | TradeGapSuspected() as event:
            instrument.declared(event.ts_from, event.ts_to)


def bars(
    log: Log, steps: Sequence[int] = (0,) * len(NUMBERS)
) -> tuple[list[tuple[int, int, dict[str, Any]]], list[tuple[int, int, int, str]]]:
    """Return what must be emitted: (slot, spec, values), and refused: (r, i, slot, what).

    `steps` are those given, of every instrument, 0 for none.
    """
    every = []
    for row in log.table:
        exponents = int(row["price_exponent"]), int(row["quantity_exponent"])
        every.append(Instrument(exponents, bool(row["inverse"]), steps))
    emitted: list[tuple[int, int, dict[str, Any]]] = []
    refused: list[tuple[int, int, int, str]] = []
    for r, fact in enumerate(log.facts, 1):
        for index in range(max(len(fact.records), 1)):
            for slot, instrument in enumerate(every):
                feed = int(log.table["feed"][slot])
                if fact.slot == slot or (fact.slot < 0 and fact.feed == feed):
                    instrument.at = (r, index)
                    _step(instrument, fact, index)
                    emitted += [(slot, k, bar) for k, bar in instrument.emitted]
                    refused += [(r, index, slot, what) for what in instrument.refused]
                    instrument.emitted, instrument.refused = [], []
    return emitted, refused
