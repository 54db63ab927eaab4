"""Bars of longer intervals, computed again of the shorter ones that were: everything is remembered,
and every bar is made anew of all its parts, in Python integers; the calendar is Python's.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tidemill.tests.faults.checker.world import SECOND, Fact, Letter, Made, Row, World, words

MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400
PARTS_S = {
    "3m": MINUTE_S, "30m": 15 * MINUTE_S, "2h": HOUR_S, "6h": HOUR_S, "8h": 4 * HOUR_S,
    "12h": 4 * HOUR_S, "3d": DAY_S, "1w": DAY_S, "1M": DAY_S,
}  # fmt: skip
"""Length in seconds of the bars that a spec is made of, in the order in which a record's come."""
LENGTHS_S = {
    "3m": 3 * MINUTE_S, "30m": 30 * MINUTE_S, "2h": 2 * HOUR_S, "6h": 6 * HOUR_S,
    "8h": 8 * HOUR_S, "12h": 12 * HOUR_S, "3d": 3 * DAY_S, "1w": 7 * DAY_S,
}  # fmt: skip
KEPT = {60: 17, 900: 5, 3_600: 5, 14_400: 5, 86_400: 5}
"""Bars of a spec that a gap can still mark, by the length of its parts."""
GAP, PARTIAL, STALE = 1, 4, 8
MOST, WORD = 1 << 127, 1 << 64
SUMS = ("volume", "quote_volume", "taker_buy_volume")


def interval(spec: str, ts: int) -> tuple[int, int]:
    """Where the interval of a time begins and ends, ns."""
    at = datetime.fromtimestamp(ts // SECOND, UTC)
    midnight = at.replace(hour=0, minute=0, second=0)
    if spec == "1M":
        begin = midnight.replace(day=1)
        end = (begin + timedelta(days=31)).replace(day=1)
    elif spec == "1w":
        begin = midnight - timedelta(days=at.weekday())
        end = begin + timedelta(days=7)
    else:
        length = LENGTHS_S[spec] * SECOND
        return ts - ts % length, ts - ts % length + length
    return int(begin.timestamp()) * SECOND, int(end.timestamp()) * SECOND


@dataclass
class Long:
    """One bar: what it last said, and the flags that are its own."""

    begin: int
    end: int
    marks: int = 0
    revision: int = 0
    closed: bool = False
    said: Row = field(default_factory=dict)


class InstrumentResampled:
    """One instrument's. `emitted` are (i, spec, values); `refused` the i of what was not taken."""

    def __init__(self) -> None:
        self.parts: dict[int, dict[int, Row]] = {seconds: {} for seconds in KEPT}
        self.closed_to = dict.fromkeys(KEPT, 0)
        self.longs: dict[str, dict[int, Long]] = {spec: {} for spec in PARTS_S}
        self.gaps: dict[str, tuple[int, int]] = {}
        self.emitted: list[tuple[int, str, Row]] = []
        self.refused: list[int] = []
        self.at = (0, 0)
        self.due: tuple[tuple[int, int], int, int] | None = None
        self.holds: set[bool] = set()
        self.venue_time = self.began = 0
        self.heard: int | None = None
        self.up = self.seen = False

    def _emit(self, spec: str, one: Long) -> None:
        length = LENGTHS_S.get(spec, 0)
        head = {"ts_open": one.begin, "ts_close": one.end, "interval_s": length}
        self.emitted.append((self.at[1], spec, {**head, "revision": one.revision, **one.said}))

    def _close(self, seconds: int, flag: int) -> None:
        for spec in (spec for spec, of in PARTS_S.items() if of == seconds):
            for begin in sorted(self.longs[spec]):
                one = self.longs[spec][begin]
                if not one.closed and one.end <= self.closed_to[seconds]:
                    one.closed = True
                    one.marks |= flag
                    one.said = one.said | {"flags": one.said["flags"] | flag}
                    self._emit(spec, one)

    def _settle(self) -> None:
        if self.due is None or self.due[0] == self.at:
            return
        _, until, flag = self.due
        self.due = None
        for seconds, closed_to in self.closed_to.items():
            reached = until - until % (seconds * SECOND)
            if reached > closed_to:
                self.closed_to[seconds] = reached
                self._close(seconds, flag)

    def part(self, at: tuple[int, int], bar: Row) -> None:
        """A bar that closed, or one revised."""
        seconds = bar["interval_s"]
        if seconds not in KEPT:
            return
        self.at = at
        self._settle()
        end = bar["ts_open"] + seconds * SECOND
        if not self.seen:
            self.seen, self.began = True, min(self.began, end - 1)
        self.parts[seconds][bar["ts_open"]] = bar
        wrong = False
        for spec in (spec for spec, of in PARTS_S.items() if of == seconds):
            one = self._long(spec, bar["ts_open"])
            now = self._made(one, self.parts[seconds])
            if now is None:
                wrong = True
                one.marks |= GAP
                now = one.said | {"flags": one.said["flags"] | GAP}
            changed, one.said = now != one.said, now
            if one.closed or one.end <= self.closed_to[seconds]:
                one.closed = True
                if changed:
                    one.revision += 1
                    self._emit(spec, one)
        if wrong:
            self.refused.append(at[1])
        if end > self.closed_to[seconds]:
            self.closed_to[seconds] = end
            self._close(seconds, 0)

    def _long(self, spec: str, ts: int) -> Long:
        begin, end = interval(spec, ts)
        if begin not in self.longs[spec]:
            one = self.longs[spec][begin] = Long(begin, end)
            one.marks |= PARTIAL if self.began >= begin else 0
            ts_from, ts_to = self.gaps.get(spec, (1, 0))
            one.marks |= GAP if ts_from <= ts_to and ts_from < end and begin <= ts_to else 0
        return self.longs[spec][begin]

    def _made(self, one: Long, parts: dict[int, Row]) -> Row | None:
        """What a bar says by its parts; None where a sum on the way leaves 128 bits."""
        mine = [parts[ts] for ts in sorted(parts) if one.begin <= ts < one.end]
        sums: dict[str, int] = {}
        for name in SUMS:
            sums[name] = 0
            for part in mine:
                sums[name] += part[f"{name}_hi"] * WORD + part[f"{name}_lo"]
                if not -MOST <= sums[name] < MOST:
                    return None
        first = min(mine, key=lambda part: part["first_trade_id"])  # of equal ones the earliest
        last = max(reversed(mine), key=lambda part: part["last_trade_id"])  # and the latest
        flags = one.marks
        for part in mine:
            flags |= part["flags"]
        return {
            "open": first["open"], "close": last["close"],
            "high": max(part["high"] for part in mine), "low": min(part["low"] for part in mine),
            "trade_count": sum(part["trade_count"] for part in mine),
            "first_trade_id": first["first_trade_id"], "last_trade_id": last["last_trade_id"],
            **{k: v for name in SUMS for k, v in words(name, sums[name]).items()},
            "flags": flags,
        }  # fmt: skip

    def status(
        self, at: tuple[int, int], venue_time: int, hold: int, recv: int, of_feed: bool
    ) -> None:
        """One status of the instrument or its feed."""
        self.at = at
        self._settle()
        self.holds = self.holds | {of_feed} if hold else self.holds - {of_feed}
        self.venue_time = max(self.venue_time, venue_time)
        flag = 0
        if of_feed:
            flag = STALE if self.heard and recv - self.heard > 5 * SECOND else 0
            self.heard = max(self.heard or 0, recv)
            if self.up and not self.began and not self.seen:
                self.began = self.venue_time
        if not self.holds and self.venue_time > SECOND:
            self.due = at, self.venue_time - SECOND, flag

    def declared(self, at: tuple[int, int], ts_from: int, ts_to: int) -> None:
        """A hole that was declared."""
        self.at = at
        self._settle()
        lost = False
        for spec, seconds in PARTS_S.items():
            opening, _ = interval(spec, self.closed_to[seconds])
            before = self.gaps.get(spec)
            if before is not None and before[1] >= opening and before[1] > 0:
                self.gaps[spec] = min(before[0], ts_from), max(before[1], ts_to)
            else:
                self.gaps[spec] = ts_from, ts_to
            newest = sorted(self.longs[spec])[-KEPT[seconds] :]
            lost |= len(newest) == KEPT[seconds] and ts_from < newest[0]
            for one in (self.longs[spec][begin] for begin in newest):
                if one.said["flags"] & GAP or one.begin > ts_to or one.end <= ts_from:
                    continue
                one.marks |= GAP
                one.said = one.said | {"flags": one.said["flags"] | GAP}
                if one.closed:
                    one.revision += 1
                    self._emit(spec, one)
        if lost:
            self.refused.append(at[1])

    def lapse(self, up: bool) -> None:
        """The feed connected or disconnected."""
        self.up = up
        if not self.seen:
            self.began = 0


class ResampledBars:
    """All instruments'."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._of: dict[int, InstrumentResampled] = {}

    def step(self, fact: Fact, bars: Iterable[Made], letters: list[Letter]) -> list[Made]:
        """What one fact makes, in order, together with the bars that it made."""
        stepping = fact.kind in ("status", "event") and self._world.stepped(
            "resampled_bars", fact, letters
        )
        touched: dict[int, InstrumentResampled] = {}
        if stepping:
            for slot in self._world.of(fact):
                touched[slot] = self._one(slot)
                self._step(touched[slot], fact)
        for bar in bars:
            if bar.kind == "bar":
                _, _, venue, symbol, _ = bar.name
                slot = self._world.slots[venue, symbol]
                touched[slot] = self._one(slot)
                touched[slot].part((fact.r, bar.i), bar.values)
        made = []
        for slot, one in touched.items():
            known = self._world.instruments[slot]
            for i, spec, values in one.emitted:
                name = ("resampled_bars", spec, known.venue, known.symbol, known.partition)
                made.append(Made("resampled_bar", name, fact.r, i, values))
            letters += [Letter("resampled_bars", fact.r, i, known.partition) for i in one.refused]
            one.emitted, one.refused = [], []
        return sorted(made, key=lambda one: one.i)

    def _one(self, slot: int) -> InstrumentResampled:
        return self._of.setdefault(slot, InstrumentResampled())

    def _step(self, one: InstrumentResampled, fact: Fact) -> None:
        event: Any = fact.event
        if fact.kind == "status":
            for i, record in enumerate(fact.records):
                values = (int(record[name]) for name in ("venue_time", "hold", "ts_recv"))
                one.status((fact.r, i), *values, fact.slot < 0)
        elif fact.told("FeedConnected", "FeedDisconnected"):
            one.lapse(fact.told("FeedConnected"))
        elif fact.told("TradeGapDeclared", "RecordsGivenUp", "TradeGapSuspected"):
            one.declared((fact.r, 0), event["ts_from"], event["ts_to"])
