"""Bars, computed again: every sum in Python integers, trades in order.

What the common case allows (ids and times that follow each other) goes by NumPy a frame at a time;
everything else goes trade by trade. Both are the same formulas, and tests compare them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from tidemill.tests.faults.checker.sbe import Records
from tidemill.tests.faults.checker.world import (
    HOUR,
    SECOND,
    Fact,
    Letter,
    Made,
    Row,
    World,
    dot,
    total,
    words,
)

INTERVALS_S = (1, 60, 300, 900, 3_600, 14_400, 86_400)
SPECS = ("1s", "1m", "5m", "15m", "1h", "4h", "1d")
KEPT = (120, 16, 4, 4, 4, 4, 4)
"""Bars that may still be revised, of each interval."""
GAP, LATE, PARTIAL, STALE = 1, 2, 4, 8
MOST = 1 << 127


AGGREGATE = 8
"""Flag of a trade of several fills."""


class Trade(NamedTuple):
    """What a bar needs of one trade."""

    trade_id: int
    ts: int
    price: int
    quantity: int
    side: int
    flags: int


@dataclass
class Bar:
    """One bar's sums so far. `first` and `last` are (id, price) of the ends by id."""

    ts_open: int
    flags: int = 0
    revision: int = 0
    first: tuple[int, int] = (0, 0)
    last: tuple[int, int] = (0, 0)
    high: int = 0
    low: int = 0
    volume: int = 0
    quote_volume: int = 0
    taker_buy: int = 0
    count: int = 0

    def add(self, trade: Trade) -> None:
        """One more trade; of equal ids the first is first and the last is last."""
        price, known = trade.price, self.count > 0
        if not known or trade.trade_id < self.first[0]:
            self.first = trade.trade_id, price
        if not known or trade.trade_id >= self.last[0]:
            self.last = trade.trade_id, price
        self.high = max(self.high, price) if known else price
        self.low = min(self.low, price) if known else price
        self.volume += trade.quantity
        self.quote_volume += price * trade.quantity
        self.taker_buy += trade.quantity if trade.side == 1 else 0
        self.count += 1

    def add_many(self, ids: Any, price: Any, quantity: Any, side: Any) -> None:
        """Many more trades, whose ids go on from the last one."""
        self.last = int(ids[-1]), int(price[-1])
        if not self.count:
            self.first, self.high = (int(ids[0]), int(price[0])), int(price[0])
            self.low = self.high
        self.high, self.low = max(self.high, int(price.max())), min(self.low, int(price.min()))
        self.volume += total(quantity)
        self.quote_volume += dot(price, quantity)
        self.taker_buy += total(quantity[side == 1])
        self.count += len(ids)

    def values(self, interval_s: int) -> Row:
        """Its record."""
        return {
            "ts_open": self.ts_open, "interval_s": interval_s, "revision": self.revision,
            "open": self.first[1], "high": self.high, "low": self.low, "close": self.last[1],
            **words("volume", self.volume), **words("quote_volume", self.quote_volume),
            **words("taker_buy_volume", self.taker_buy), "trade_count": self.count,
            "first_trade_id": self.first[0], "last_trade_id": self.last[0], "flags": self.flags,
        }  # fmt: skip


@dataclass
class Interval:
    """The bars of one interval; those before `closed_to` are closed."""

    seconds: int
    kept: int
    bars: dict[int, Bar] = field(default_factory=dict)
    closed_to: int = 0

    @property
    def length(self) -> int:
        """In ns."""
        return self.seconds * SECOND

    def touched(self, ts_from: int, ts_to: int) -> list[Bar]:
        """The bars that a span of time touches, oldest first."""
        first, last = ts_from // self.length, ts_to // self.length
        return [self.bars[t] for t in sorted(self.bars) if first <= t // self.length <= last]


class InstrumentBars:
    """One instrument's. `emitted` are (i, k, values); `refused` the i of what no bar could take."""

    def __init__(self) -> None:
        self.intervals = [Interval(s, k) for s, k in zip(INTERVALS_S, KEPT, strict=True)]
        self.emitted: list[tuple[int, int, Row]] = []
        self.refused: list[int] = []
        self.i = 0
        self.next_id: int | None = None
        self.missing: tuple[int, int] | None = None
        self.latest = self.proven = self.venue_time = self.began = 0
        self.heard: int | None = None
        self.holds: set[str] = set()
        self.up = self.lapsed = False
        self.gap: tuple[int, int] | None = None

    def _emit(self, k: int, bar: Bar) -> None:
        self.emitted.append((self.i, k, bar.values(INTERVALS_S[k])))

    def _mark(self, k: int, ts_from: int, ts_to: int, flag: int) -> None:
        for bar in self.intervals[k].touched(ts_from, ts_to):
            if not bar.flags & flag:
                bar.flags |= flag
                if bar.ts_open < self.intervals[k].closed_to:
                    bar.revision += 1
                    self._emit(k, bar)

    def _close(self, k: int, flag: int = 0) -> None:
        interval = self.intervals[k]
        by_time = 0 if self.holds else self.venue_time - SECOND
        closed_to = max(self.proven, by_time) // interval.length * interval.length
        if closed_to <= interval.closed_to:
            return
        for ts_open in sorted(t for t in interval.bars if interval.closed_to <= t < closed_to):
            interval.bars[ts_open].flags |= flag
            self._emit(k, interval.bars[ts_open])
        interval.closed_to = closed_to

    def _follow(self, trade_id: int, flags: int) -> bool:
        """Whether ids prove that nothing before this trade is missing; an aggregate's stand for all
        since the last one."""
        aggregates = bool(flags & AGGREGATE) and trade_id > (self.next_id or 0)
        if self.next_id is None or trade_id == self.next_id or aggregates:
            first = self.next_id is None
            self.next_id = trade_id + 1
            return first or self.missing is None
        if trade_id > self.next_id:
            self.missing = (self.missing or (self.next_id, 0))[0], trade_id
            self.next_id = trade_id + 1
        elif self.missing is not None and trade_id == self.missing[0]:
            self.missing = (trade_id + 1, self.missing[1])
            if self.missing[0] == self.missing[1]:
                self.missing = None
                return True
        return False

    def _refusals(self, trade: Trade, recv: int) -> tuple[str, list[int]]:
        if trade.quantity < 0 or trade.ts < 0 or trade.ts > recv + HOUR:
            return "cannot be", list(range(7))
        late = []
        for k, interval in enumerate(self.intervals):
            ts_open = trade.ts // interval.length * interval.length
            if ts_open in interval.bars:
                total = interval.bars[ts_open].quote_volume + trade.price * trade.quantity
                if not -MOST <= total < MOST:
                    return "128 bits", list(range(7))
            elif len(interval.bars) == interval.kept and ts_open < min(interval.bars):
                late.append(k)
        return "older" if late else "", late

    def _bar(self, k: int, ts_open: int) -> Bar:
        """The bar that begins at `ts_open`, made where it is new."""
        interval = self.intervals[k]
        if ts_open in interval.bars:
            return interval.bars[ts_open]
        if len(interval.bars) == interval.kept:
            oldest = interval.bars.pop(min(interval.bars))
            if oldest.ts_open >= interval.closed_to:
                oldest.flags |= GAP
                interval.closed_to = oldest.ts_open + interval.length
                self._emit(k, oldest)
        bar = interval.bars[ts_open] = Bar(ts_open)
        if self.began >= ts_open:
            bar.flags |= PARTIAL
        if self.gap and bar in interval.touched(*self.gap):
            bar.flags |= GAP
        return bar

    def _place(self, k: int, trade: Trade) -> None:
        interval = self.intervals[k]
        bar = self._bar(k, trade.ts // interval.length * interval.length)
        bar.add(trade)
        if bar.ts_open < interval.closed_to:
            bar.revision += 1
            bar.flags |= LATE
            self._emit(k, bar)

    def trade(self, trade: Trade, recv: int) -> None:
        """One trade, whatever it is."""
        reason, refusing = self._refusals(trade, recv)
        if reason:
            self.refused.append(self.i)
        taken = reason in ("", "older")
        whole = self._follow(trade.trade_id, trade.flags)
        mark = (trade.ts, trade.ts, GAP) if reason == "128 bits" else None
        if taken and self.lapsed:
            self.lapsed = False
            if not whole and not self.holds:
                mark = (min(self.latest, trade.ts), max(self.latest, trade.ts), PARTIAL)
                self.began = trade.ts
        if taken:
            self.began = self.began or trade.ts
            self.latest = max(self.latest, trade.ts)
        if whole:
            self.proven = self.latest
        for k in range(7):
            if mark:
                self._mark(k, *mark)
            if taken and k not in refusing:
                self._place(k, trade)
            self._close(k)

    def trades(self, records: Records, fast: bool = True) -> None:
        """A frame of trades."""
        self.i = 0
        while self.i < len(records):
            end = self._run(records, self.i) if fast else self.i
            if end > self.i:
                self._trade_run(records[self.i : end])
                self.i = end
                continue
            names = ("trade_id", "ts_event", "price", "quantity", "aggressor_side", "flags")
            record = records[self.i]
            self.trade(Trade(*(int(record[n]) for n in names)), int(record["ts_recv"]))
            self.i += 1

    def _run(self, records: Records, begin: int) -> int:
        """The end of the trades from `begin` on that follow each other so that sums suffice."""
        if begin == 0 or self.next_id is None or self.missing is not None or self.lapsed:
            return begin  # the first trade closes what was held until now
        rest = records[begin:]
        ids, ts = rest["trade_id"], rest["ts_event"]
        price, quantity = rest["price"], rest["quantity"]
        least = max([self.latest, *(interval.closed_to for interval in self.intervals)])
        good = ids == np.uint64(self.next_id) + np.arange(len(ids), dtype=np.uint64)
        good &= (ts >= np.maximum.accumulate(np.maximum(ts, least))) & (ts >= 0)
        good &= (ts <= rest["ts_recv"] + HOUR) & (price >= 0) & (quantity >= 0)
        end = len(good) if good.all() else int(np.argmin(good))
        totals = [b.quote_volume for interval in self.intervals for b in interval.bars.values()]
        more = int(price.max()) * int(quantity.max()) * len(rest)
        fits = max(totals, default=0) + more < MOST and min(totals, default=0) >= 0
        return begin + end if end > 1 and fits else begin

    def _trade_run(self, run: Records) -> None:
        ids, ts, price, quantity, side = (
            np.ascontiguousarray(run[name])
            for name in ("trade_id", "ts_event", "price", "quantity", "aggressor_side")
        )
        begin, emitted = self.i, self.emitted
        made: list[tuple[int, int, Row]] = []
        for k, interval in enumerate(self.intervals):
            opens = ts // interval.length * interval.length
            starts = [0, *(np.flatnonzero(np.diff(opens)) + 1).tolist(), len(ts)]
            for first, end in pairwise(starts):
                self.i, self.emitted = begin + first, []
                self.proven = int(ts[first])
                part = slice(first, end)
                bar = self._bar(k, int(opens[first]))
                bar.add_many(ids[part], price[part], quantity[part], side[part])
                self._close(k)
                made += self.emitted
        self.i, self.emitted = begin, emitted
        emitted += sorted(made, key=lambda one: one[:2])
        self.next_id = int(ids[-1]) + 1
        self.latest = self.proven = int(ts[-1])

    def status(self, venue_time: int, hold: int, recv: int, of_feed: bool) -> None:
        """One status of the instrument or its feed."""
        who = "feed" if of_feed else "instrument"
        self.holds = self.holds | {who} if hold else self.holds - {who}
        self.venue_time = max(self.venue_time, venue_time)
        flag = 0
        if of_feed:
            if self.heard and recv - self.heard > 5 * SECOND:
                flag = STALE
            self.heard = max(self.heard or 0, recv)
            if self.up and not self.began:
                self.began = self.venue_time
        for k in range(7):
            self._close(k, flag)

    def declared(self, ts_from: int, ts_to: int, ids: tuple[int, int] | None) -> None:
        """A hole that was declared."""
        if self.gap and self.gap[1] > self.latest:
            self.gap = min(self.gap[0], ts_from), max(self.gap[1], ts_to)
        else:
            self.gap = ts_from, ts_to
        if ids and self.missing and ids[0] <= self.missing[0] <= ids[1]:
            assert self.next_id is not None
            if ids[1] + 1 >= self.missing[1]:
                self.missing = None
                self.next_id = max(self.next_id, ids[1] + 1)
                self.proven = self.latest
            else:
                self.missing = ids[1] + 1, self.missing[1]
        elif ids and not self.missing and self.next_id and ids[0] <= self.next_id <= ids[1]:
            self.next_id = ids[1] + 1
        if any(
            len(interval.bars) == interval.kept and ts_from < min(interval.bars)
            for interval in self.intervals
        ):
            self.refused.append(self.i)
        for k in range(7):
            self._mark(k, ts_from, ts_to, GAP)
            self._close(k)

    def lapse(self, up: bool) -> None:
        """The feed connected or disconnected."""
        self.up, self.lapsed = up, True
        if self.next_id is None:
            self.began = 0


class Bars:
    """All instruments'."""

    def __init__(self, world: World, fast: bool = True) -> None:
        self._world, self._fast = world, fast
        self._of: dict[int, InstrumentBars] = {}

    def step(self, fact: Fact, letters: list[Letter]) -> list[Made]:
        """What one fact makes, in order."""
        if fact.kind not in ("trade", "status", "event"):
            return []
        if not self._world.stepped("bars", fact, letters):
            return []
        made = list(self._made(fact, letters))
        return sorted(made, key=lambda one: one.i)  # stable: then by instrument, then as emitted

    def _made(self, fact: Fact, letters: list[Letter]) -> Iterator[Made]:
        for slot in self._world.of(fact):
            one, known = self._of.setdefault(slot, InstrumentBars()), self._world.instruments[slot]
            one.i = 0
            self._step(one, fact)
            for i, k, values in one.emitted:
                name = ("bars", SPECS[k], known.venue, known.symbol, known.partition)
                yield Made("bar", name, fact.r, i, values)
            letters += [Letter("bars", fact.r, i, known.partition) for i in one.refused]
            one.emitted, one.refused = [], []

    def _step(self, one: InstrumentBars, fact: Fact) -> None:
        event = fact.event
        if fact.kind == "trade":
            one.trades(fact.records, self._fast)
        elif fact.kind == "status":
            for one.i, record in enumerate(fact.records):
                values = (int(record[name]) for name in ("venue_time", "hold", "ts_recv"))
                one.status(*values, fact.slot < 0)
        elif fact.told("FeedConnected", "FeedDisconnected"):
            one.lapse(fact.told("FeedConnected"))
        elif fact.told("TradeGapDeclared"):
            ids = event["first_id"], event["last_id"]
            one.declared(event["ts_from"], event["ts_to"], ids)
        elif fact.told("RecordsGivenUp", "TradeGapSuspected"):
            one.declared(event["ts_from"], event["ts_to"], None)
