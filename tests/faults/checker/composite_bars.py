"""Composites, computed again: every bar is made anew of what its members' bars say, in Python
integers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tidemill.tests.faults.checker.world import SECOND, Fact, Letter, Made, Row, World, words

SECONDS = (1, 60, 300, 900, 3_600, 14_400, 86_400)
SPECS = ("1s", "1m", "5m", "15m", "1h", "4h", "1d")
TOLD = (120, 16, 4, 4, 4, 4, 4)
"""Bars of a composite that may still be revised, of each interval."""
AHEAD = (40, 2, 2, 2, 2, 2, 2)
"""Bars of a member that may wait for the others'."""
GAP, LATE, STALE = 1, 2, 8
MOST, WORD = 1 << 127, 1 << 64
SUMS = ("volume", "quote_volume", "taker_buy_volume")
Bars = dict[int, Row]


@dataclass
class Part:
    """What one instrument gives: its bars by interval and beginning, and its venue's time."""

    measure: Any
    bars: list[Bars] = field(default_factory=lambda: [{} for _ in SPECS])
    heard_to: int = 0
    venue_time: int = 0
    holds: set[bool] = field(default_factory=set)

    def known_to(self, t: int) -> int:
        """Up to when its bars are known."""
        newest = max(self.bars[t], default=None)
        ends = 0 if newest is None else newest + SECONDS[t] * SECOND
        return max(self.heard_to, ends)


@dataclass
class Composite:
    """One composite: who is in it, and what it told. `ups` are of price and of quantity."""

    slot: int
    event: Mapping[str, Any]
    members: list[int | None]
    ups: list[tuple[int, int]]
    measure: Any
    began: int = 0
    closed_to: list[int] = field(default_factory=lambda: [0] * len(SPECS))
    told: list[Bars] = field(default_factory=lambda: [{} for _ in SPECS])


class CompositeBars:
    """All composites."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._parts: dict[int, Part] = {}
        self._of: dict[int, Composite] = {}
        self._made: list[Made] = []
        self._letters: list[Letter] = []
        self._at = (0, 0)

    def step(self, fact: Fact, bars: Iterable[Made], letters: list[Letter]) -> list[Made]:
        """What one fact makes, in order, together with the bars that it made."""
        self._made, self._letters = [], letters
        if not self._world.composites:
            return []
        if fact.kind == "time":
            self._arrange(list(self._world.pairs))
            for i, ts in enumerate(fact.records["ts"].tolist()):
                self._at = fact.r, i
                self._pass(ts)
        if fact.kind == "status":
            slots = self._world.of(fact)
            self._arrange([self._world.instruments[slot].pair for slot in slots])
            for record in fact.records:
                for slot in slots:
                    self._hear(slot, record, fact.slot < 0)
        for bar in bars:
            if bar.kind == "bar":
                slot = self._world.slots[bar.name[2], bar.name[3]]
                self._arrange([self._world.instruments[slot].pair])
                self._at = fact.r, bar.i
                self._take(slot, SECONDS.index(bar.values["interval_s"]), bar.values)
        return sorted(self._made, key=lambda one: one.i)

    def _arrange(self, pairs: list[str]) -> None:
        """Composites of these pairs as LOG says now; what is another begins anew."""
        world = self._world
        wanted: dict[int, Composite] = {}
        for subject in sorted(world.composites):
            event = world.composites[subject]
            symbol, _, venue = event["instrument"].rpartition(".")
            slot = world.slots.get((venue, symbol))
            if slot is not None and slot not in wanted:
                wanted[slot] = self._composite(slot, event)
        measured = {
            slot: self._measure(slot)
            for one in wanted.values()
            for slot in one.members
            if slot is not None
        }
        for slot, known in enumerate(world.instruments):
            if known.pair not in pairs:
                continue
            if slot in wanted:
                old = self._of.get(slot)
                if old is None or old.measure != wanted[slot].measure:
                    self._of[slot] = wanted[slot]
                else:
                    old.members = wanted[slot].members
            else:
                self._of.pop(slot, None)
            if slot not in measured:
                self._parts.pop(slot, None)
            elif slot not in self._parts or self._parts[slot].measure != measured[slot]:
                self._parts[slot] = Part(measured[slot])

    def _measure(self, slot: int) -> Any:
        one = self._world.instruments[slot]
        return one.exponents, one.inverse, one.multiplier

    def _composite(self, slot: int, event: Mapping[str, Any]) -> Composite:
        own, members, ups = self._world.instruments[slot], list[int | None](), []
        for member in event["members"]:
            symbol, _, venue = member.rpartition(".")
            mine = self._world.slots.get((venue, symbol))
            up = (0, 0)
            if mine is not None:
                other = self._world.instruments[mine]
                alike = (own.pair, own.inverse, own.multiplier)
                if (other.pair, other.inverse, other.multiplier) != alike:
                    mine = None
                else:
                    pairs = zip(other.exponents, own.exponents, strict=True)
                    up = tuple(a - b for a, b in pairs)  # type: ignore[assignment]
            members.append(mine)
            ups.append(up)
        said = {k: v for k, v in event.items() if k not in ("name", "sequence", "event")}
        return Composite(slot, event, members, ups, (said, self._measure(slot), ups))

    def _in_order(self) -> list[Composite]:
        events = [self._world.composites[s] for s in sorted(self._world.composites)]
        found = []
        for event in events:
            for one in self._of.values():
                if one.event["instrument"] == event["instrument"] and one not in found:
                    found.append(one)
        return found

    def _hear(self, slot: int, record: Any, of_feed: bool) -> None:
        part = self._parts.get(slot)
        if part is not None:
            part.holds = part.holds | {of_feed} if int(record["hold"]) else part.holds - {of_feed}
            part.venue_time = max(part.venue_time, int(record["venue_time"]))

    def _pass(self, ts: int) -> None:
        for one in self._in_order():
            for slot in one.members:
                part = None if slot is None else self._parts[slot]
                if part is not None and not part.holds:
                    part.heard_to = max(part.heard_to, part.venue_time - SECOND)
            if not one.began:
                one.began = ts
                one.closed_to = [ts] * len(SPECS)
                continue
            for t, spec in enumerate(SPECS):
                if spec in one.event["bars"]:
                    hold = one.event.get("hold_s", 5) * SECOND
                    self._close(one, t, max(self._complete_to(one, t), ts - hold))

    def _complete_to(self, one: Composite, t: int) -> int:
        return min(0 if s is None else self._parts[s].known_to(t) for s in one.members)

    def _take(self, slot: int, t: int, bar: Row) -> None:
        part = self._parts.get(slot)
        if part is None:
            return
        begin, kept = bar["ts_open"], part.bars[t]
        full = begin not in kept and len(kept) == TOLD[t] + AHEAD[t]
        old = full and begin < min(kept)
        if not old:
            if full:
                del kept[min(kept)]
            kept[begin] = bar
        end = begin + SECONDS[t] * SECOND
        for one in self._in_order():
            mine = slot in one.members and SPECS[t] in one.event["bars"]
            if not mine or not one.began or end <= one.began:
                continue
            if old:
                self._refuse(slot)
                continue
            if end <= one.closed_to[t]:
                self._revise(one, one.members.index(slot), t, begin)
            to = self._complete_to(one, t)
            if len(kept) > AHEAD[t]:
                to = max(to, sorted(kept)[-1 - AHEAD[t]] + SECONDS[t] * SECOND)
            self._close(one, t, to)

    def _close(self, one: Composite, t: int, to: int) -> None:
        if to <= one.closed_to[t]:
            return
        ending = {
            begin
            for slot in one.members
            if slot is not None
            for begin in self._parts[slot].bars[t]
            if one.closed_to[t] < begin + SECONDS[t] * SECOND <= to
        }
        for begin in sorted(ending):
            self._keep(one, t, begin)
            self._say(one, t, begin, self._built(one, t, begin, frozenset()))
        one.closed_to[t] = to

    def _keep(self, one: Composite, t: int, begin: int) -> bool:
        told = one.told[t]
        if len(told) == TOLD[t]:
            if begin < min(told):
                return False
            del told[min(told)]
        told[begin] = {"revision": 0, "inside": (), "left": (), "late": frozenset()}
        return True

    def _revise(self, one: Composite, m: int, t: int, begin: int) -> None:
        told = one.told[t]
        if begin not in told and not self._keep(one, t, begin):
            slot = one.members[m]
            assert slot is not None
            self._refuse(slot)
            return
        before = told[begin]
        late = before["late"] | ({m} if m not in before["inside"] else set())
        now = self._built(one, t, begin, late)
        before["late"] = late
        if before["inside"] and not now["inside"]:
            new = {name: now[name] for name in ("missing", "left")}
            now = before | new | {"flags": before["flags"] | now["flags"]}
        missing = ("missing", "revision", "late", "left")
        if {k: v for k, v in now.items() if k not in missing} == {
            k: v for k, v in before.items() if k not in missing
        }:
            return
        now["revision"] = before["revision"] + (1 if now["inside"] else 0)
        self._say(one, t, begin, now)

    def _built(self, one: Composite, t: int, begin: int, late: frozenset[int]) -> Row:
        inside, missing, left = list[int](), list[int](), list[int]()
        flags = LATE if late else 0
        row: Row = dict.fromkeys((*SUMS, "trade_count", "open", "high", "low", "close"), 0)
        for m, slot in enumerate(one.members):
            part = None if slot is None else self._parts[slot]
            bar = None if part is None else part.bars[t].get(begin)
            if bar is None:
                if part is None or part.known_to(t) < begin + SECONDS[t] * SECOND:
                    missing.append(m)
                    flags |= STALE
                continue
            added = added_to(row if inside else None, bar, *one.ups[m])
            if added is None:
                left.append(m)
                flags |= GAP
            else:
                row = added
                inside.append(m)
                flags |= bar["flags"]
        return {
            **row, "flags": flags, "inside": tuple(inside), "missing": tuple(missing),
            "left": tuple(left), "late": late, "revision": 0,
        }  # fmt: skip

    def _say(self, one: Composite, t: int, begin: int, row: Row) -> None:
        before = one.told[t][begin]
        one.told[t][begin] = row
        r, i = self._at
        if row["inside"]:
            venues = [member.rpartition(".")[2] for member in one.event["members"]]
            named = {
                name: ",".join(venues[m] for m in sorted(row[mask])).encode()
                for name, mask in (("venues", "inside"), ("missing", "missing"), ("late", "late"))
            }
            prices = {name: row[name] for name in ("open", "high", "low", "close")}
            values = {
                "ts_open": begin, "interval_s": SECONDS[t], "revision": row["revision"], **prices,
                **{k: v for name in SUMS for k, v in words(name, row[name]).items()},
                "trade_count": row["trade_count"], **named, "flags": row["flags"],
            }  # fmt: skip
            own = self._world.instruments[one.slot]
            name = ("composite_bars", SPECS[t], own.venue, own.symbol, own.partition)
            self._made.append(Made("composite_bar", name, r, i, values))
        for m in row["left"]:
            slot = one.members[m]
            if m not in before["left"] and slot is not None:
                self._refuse(slot)

    def _refuse(self, slot: int) -> None:
        partition = self._world.instruments[slot].partition
        self._letters.append(Letter("composite_bars", *self._at, partition))


def added_to(row: Row | None, bar: Row, price_up: int, quantity_up: int) -> Row | None:
    """What bars add up to, None where a number cannot be."""
    both = price_up + quantity_up
    if min(price_up, quantity_up) < 0 or max(price_up, quantity_up, both) > 18:
        return None
    prices = {k: bar[k] * 10**price_up for k in ("open", "high", "low", "close")}
    if max(abs(price) for price in prices.values()) >= 1 << 63:
        return None
    ups = {"volume": quantity_up, "quote_volume": both, "taker_buy_volume": quantity_up}
    sums = {k: (bar[f"{k}_hi"] * WORD + bar[f"{k}_lo"]) * 10**up for k, up in ups.items()}
    count = bar["trade_count"]
    if max(abs(value) for value in sums.values()) >= MOST:
        return None
    if row is not None:
        sums = {k: row[k] + v for k, v in sums.items()}
        count += row["trade_count"]
        prices |= {"open": row["open"], "close": row["close"]}
        prices["high"] = max(row["high"], prices["high"])
        prices["low"] = min(row["low"], prices["low"])
        if max(abs(value) for value in sums.values()) >= MOST:
            return None
    return {**sums, "trade_count": count, **prices}
