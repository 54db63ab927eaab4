"""Bars as one would make them without hurry: every trade of a bar kept, everything recomputed.

Python integers, dictionaries and sets only; nothing is shared with the kernels but the constants
that DESIGN section 7 names.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tidemill.schemas.enums import BarFlag, RecordFlag
from tidemill.schemas.events.feed import (
    FeedConnected,
    FeedDisconnected,
    RecordsGivenUp,
    TradeGapDeclared,
    TradeGapSuspected,
)
from tidemill.tests.processors.runs import SECOND, Fact, Log

INTERVALS_S = (1, 60, 300, 900, 3_600, 14_400, 86_400)
KEPT = (120, 16, 4, 4, 4, 4, 4)
WORD = 1 << 64


class Trade(NamedTuple):
    trade_id: int
    ts: int
    price: int
    quantity: int
    side: int
    flags: int


@dataclass
class Bar:
    ts_open: int
    trades: list[Trade] = field(default_factory=list)
    flags: BarFlag = BarFlag.NONE
    revision: int = 0


def values(bar: Bar, interval_s: int, at: tuple[int, int]) -> dict[str, Any]:
    """The record of a bar, from its trades."""
    by_id = sorted(bar.trades, key=lambda trade: trade.trade_id)  # stable: then logical order
    sums = {
        "volume": sum(t.quantity for t in bar.trades),
        "quote_volume": sum(t.price * t.quantity for t in bar.trades),
        "taker_buy_volume": sum(t.quantity for t in bar.trades if t.side == 1),
    }
    words: dict[str, int] = {}
    for name, value in sums.items():
        assert -(1 << 127) <= value < 1 << 127
        words[f"{name}_lo"], words[f"{name}_hi"] = value % WORD, value // WORD
    return {
        "at_r": at[0],
        "at_i": at[1],
        "n": 0,
        "ts_open": bar.ts_open,
        "interval_s": interval_s,
        "revision": bar.revision,
        "open": by_id[0].price,
        "high": max(t.price for t in bar.trades),
        "low": min(t.price for t in bar.trades),
        "close": by_id[-1].price,
        **words,
        "trade_count": len(bar.trades),
        "first_trade_id": by_id[0].trade_id,
        "last_trade_id": by_id[-1].trade_id,
        "flags": int(bar.flags),
    }


@dataclass
class Interval:
    seconds: int
    kept: int
    bars: dict[int, Bar] = field(default_factory=dict)
    closed_to: int = 0

    @property
    def length(self) -> int:
        return self.seconds * SECOND

    def touched(self, ts_from: int, ts_to: int) -> list[Bar]:
        first, last = ts_from // self.length, ts_to // self.length
        return [self.bars[t] for t in sorted(self.bars) if first <= t // self.length <= last]


class Instrument:
    """One instrument's bars. `emitted` collects (spec, values) of the record being stepped."""

    def __init__(self) -> None:
        self.intervals = [Interval(s, k) for s, k in zip(INTERVALS_S, KEPT, strict=True)]
        self.emitted: list[tuple[int, dict[str, Any]]] = []
        self.refused: list[tuple[int, ...]] = []
        self.at = (0, 0)
        self.next_id: int | None = None
        self.missing: tuple[int, int] | None = None
        self.latest = self.proven = self.venue_time = self.began = 0
        self.heard: int | None = None
        self.holds: set[str] = set()
        self.up = self.lapsed = False
        self.gap: tuple[int, int] | None = None

    def emit(self, k: int, bar: Bar) -> None:
        self.emitted.append((k, values(bar, INTERVALS_S[k], self.at)))

    def mark(self, k: int, ts_from: int, ts_to: int, flag: BarFlag) -> None:
        for bar in self.intervals[k].touched(ts_from, ts_to):
            if flag not in bar.flags:
                bar.flags |= flag
                if bar.ts_open < self.intervals[k].closed_to:
                    bar.revision += 1
                    self.emit(k, bar)

    def close(self, k: int, flag: BarFlag = BarFlag.NONE) -> None:
        interval = self.intervals[k]
        by_time = 0 if self.holds else self.venue_time - SECOND
        closed_to = max(self.proven, by_time) // interval.length * interval.length
        for ts_open in sorted(interval.bars):
            if interval.closed_to <= ts_open < closed_to:
                interval.bars[ts_open].flags |= flag
                self.emit(k, interval.bars[ts_open])
        interval.closed_to = max(interval.closed_to, closed_to)

    def follow(self, trade_id: int, flags: int) -> bool:
        aggregates = bool(flags & RecordFlag.AGGREGATE) and trade_id > (self.next_id or 0)
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

    def refusals(self, trade: Trade, recv: int) -> tuple[str, list[int]]:
        if trade.quantity < 0 or trade.ts < 0 or trade.ts > recv + 3_600 * SECOND:
            return "cannot be", list(range(7))
        late = []
        for k, interval in enumerate(self.intervals):
            ts_open = trade.ts // interval.length * interval.length
            if ts_open in interval.bars:
                total = sum(t.price * t.quantity for t in interval.bars[ts_open].trades)
                if not -(1 << 127) <= total + trade.price * trade.quantity < 1 << 127:
                    return "128 bits", list(range(7))
            elif len(interval.bars) == interval.kept and ts_open < min(interval.bars):
                late.append(k)
        return "older" if late else "", late

    def place(self, k: int, trade: Trade) -> None:
        interval = self.intervals[k]
        ts_open = trade.ts // interval.length * interval.length
        if ts_open not in interval.bars:
            if len(interval.bars) == interval.kept:
                oldest = interval.bars.pop(min(interval.bars))
                if oldest.ts_open >= interval.closed_to:
                    oldest.flags |= BarFlag.GAP
                    interval.closed_to = oldest.ts_open + interval.length
                    self.emit(k, oldest)
            bar = interval.bars[ts_open] = Bar(ts_open)
            if self.began >= ts_open:
                bar.flags |= BarFlag.PARTIAL
            if self.gap and bar in interval.touched(*self.gap):
                bar.flags |= BarFlag.GAP
        bar = interval.bars[ts_open]
        bar.trades.append(trade)
        if ts_open < interval.closed_to:
            bar.revision += 1
            bar.flags |= BarFlag.LATE
            self.emit(k, bar)

    def trade(self, trade: Trade, recv: int) -> None:
        reason, refusing = self.refusals(trade, recv)
        if reason:
            self.refused.append((trade.trade_id, *refusing))
        taken = reason in ("", "older")
        whole = self.follow(trade.trade_id, trade.flags)
        mark = (trade.ts, trade.ts, BarFlag.GAP) if reason == "128 bits" else None
        if taken and self.lapsed:
            self.lapsed = False
            if not whole and not self.holds:
                first, last = min(self.latest, trade.ts), max(self.latest, trade.ts)
                mark = (first, last, BarFlag.PARTIAL)
                self.began = trade.ts
        if taken:
            self.began = self.began or trade.ts
            self.latest = max(self.latest, trade.ts)
        if whole:
            self.proven = self.latest
        for k in range(7):
            if mark:
                self.mark(k, *mark)
            if taken and k not in refusing:
                self.place(k, trade)
            self.close(k)

    def status(self, status: dict[str, int], of_feed: bool) -> None:
        who = "feed" if of_feed else "instrument"
        self.holds = self.holds | {who} if status["hold"] else self.holds - {who}
        self.venue_time = max(self.venue_time, status["venue_time"])
        flag = BarFlag.NONE
        if of_feed:
            if self.heard and status["ts_recv"] - self.heard > 5 * SECOND:
                flag = BarFlag.STALE
            self.heard = max(self.heard or 0, status["ts_recv"])
            if self.up and not self.began:
                self.began = self.venue_time
        for k in range(7):
            self.close(k, flag)

    def declared(self, ts_from: int, ts_to: int, ids: tuple[int, int] | None) -> None:
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
        elif ids and not self.missing and ids[0] <= (self.next_id or -1) <= ids[1]:
            self.next_id = ids[1] + 1
        old = [
            k
            for k, interval in enumerate(self.intervals)
            if len(interval.bars) == interval.kept and ts_from < min(interval.bars)
        ]
        if old:
            self.refused.append((0, *old))
        for k in range(7):
            self.mark(k, ts_from, ts_to, BarFlag.GAP)
            self.close(k)

    def lapse(self, up: bool) -> None:
        self.up, self.lapsed = up, True
        if self.next_id is None:
            self.began = 0


def _step(instrument: Instrument, fact: Fact, index: int) -> None:
    if fact.kind == "trade":
        names = ("trade_id", "ts_event", "price", "quantity", "aggressor_side", "flags")
        record = fact.records[index]
        instrument.trade(Trade(*(int(record[name]) for name in names)), int(record["ts_recv"]))
    elif fact.kind == "status":
        record = fact.records[index]
        fields = ("venue_time", "hold", "ts_recv")
        instrument.status({name: int(record[name]) for name in fields}, fact.slot < 0)
    match fact.event:
        case FeedConnected() | FeedDisconnected() as event:
            instrument.lapse(isinstance(event, FeedConnected))
        case TradeGapDeclared() as event:
            instrument.declared(event.ts_from, event.ts_to, (event.first_id, event.last_id))
        case RecordsGivenUp() | TradeGapSuspected() as event:
            instrument.declared(event.ts_from, event.ts_to, None)


def bars(log: Log) -> tuple[list[tuple[int, int, dict[str, Any]]], list[tuple[int, ...]]]:
    """Return what must be emitted: (slot, spec, values), and refused: (slot, id, *intervals)."""
    every = [Instrument() for _ in log.table]
    emitted: list[tuple[int, int, dict[str, Any]]] = []
    refused: list[tuple[int, ...]] = []
    for r, fact in enumerate(log.facts, 1):
        for index in range(max(len(fact.records), 1)):
            for slot, instrument in enumerate(every):
                feed = int(log.table["feed"][slot])
                if fact.slot == slot or (fact.slot < 0 and fact.feed == feed):
                    instrument.at = (r, index)
                    _step(instrument, fact, index)
                    emitted += [(slot, k, bar) for k, bar in instrument.emitted]
                    refused += [(slot, *refusal) for refusal in instrument.refused]
                    instrument.emitted, instrument.refused = [], []
    return emitted, refused
