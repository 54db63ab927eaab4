"""Funding, open interest and basis of contracts, computed again."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from tidemill.tests.faults.checker.books import toward_zero
from tidemill.tests.faults.checker.world import HOUR, MINUTE, Fact, Made, Row, World, words

FIVE = 5 * MINUTE
DAY, WEEK_HOURS = 288, 168
NAMES = (
    "mark_price", "index_price", "funding_rate", "next_funding_time", "funding_interval_s",
    "open_interest",
)  # fmt: skip
PARTIAL_24H, PARTIAL_7D, ALERT, GAP = 1, 2, 4, 8
NEUTRAL, BULLISH, BEARISH, THIRD, FOURTH = range(5)


@dataclass
class Contract:
    """One instrument's history. `volumes` are by five minutes of event time."""

    known: dict[str, int] = field(default_factory=dict)
    times: dict[str, int] = field(default_factory=lambda: {"ts_event": 0, "ts_recv": 0})
    rates: dict[int, int] = field(default_factory=dict)
    samples: dict[int, tuple[int, int]] = field(default_factory=dict)
    volumes: dict[int, int] = field(default_factory=dict)
    latest: tuple[int, int] | None = None
    newest: int = 0
    gap: int = 0
    dirty: bool = False
    new: bool = False
    minute: int = 0
    told: tuple[int, int] = (0, 0)

    @property
    def price(self) -> int:
        """Of the last trade; the mark price before one."""
        return self.latest[1] if self.latest else self.known.get("mark_price", 0)

    def take(self, record: Any) -> None:
        """One record of what the venue says."""
        bits = int(record["fields"])
        given = {n: int(record[n]) for bit, n in enumerate(NAMES) if bits >> bit & 1}
        if abs(int(record["funding_rate"])) > 10**15:
            given.pop("funding_rate", None)
        if any(self.known.get(name) != value for name, value in given.items()):
            self.dirty = self.new = True
        self.known |= given
        self.times = {name: int(record[name]) for name in self.times}
        recv = self.times["ts_recv"]
        if "funding_rate" in given:
            self.rates[recv // HOUR] = given["funding_rate"]
        if "open_interest" in self.known and self.price > 0:
            self.samples.setdefault(recv // FIVE, (self.known["open_interest"], self.price))

    def trade(self, record: Any) -> None:
        """One trade."""
        ts, recv, quantity = (int(record[n]) for n in ("ts_event", "ts_recv", "quantity"))
        if ts < 0 or ts > recv + HOUR or quantity < 0:
            self.gap = max(self.gap, self.newest, recv // FIVE)
            return
        latest = self.latest[0] if self.latest else 0
        if ts >= latest:
            self.dirty = self.new = True
            self.latest = ts, int(record["price"])
        self.newest = max(self.newest, ts // FIVE)
        self.volumes[ts // FIVE] = self.volumes.get(ts // FIVE, 0) + quantity

    def metrics(self, ts: int, interval_s: int) -> Row:
        """What is told of it now."""
        self.newest = max(self.newest, ts // FIVE)
        known = {name: self.known.get(name, 0) for name in NAMES}
        made: Row = {**known, **self.times, "ts": ts, "last_price": self.price}
        made |= self._funding(ts // HOUR, known, interval_s)
        if {"mark_price", "index_price"} <= self.known.keys():
            made["basis"] = known["mark_price"] - known["index_price"]
            made["basis_ratio"] = part(made["basis"], known["index_price"])
        volume = sum(q for b, q in self.volumes.items() if b > self.newest - DAY)
        made |= words("volume", volume)
        made["fields"] = sum(1 << bit for bit, name in enumerate(NAMES) if name in self.known)
        return made | self._interest(ts, known, volume)

    def _funding(self, hour: int, known: Row, interval_s: int) -> Row:
        rate, made = known["funding_rate"], {}
        made["funding_interval_s"] = known["funding_interval_s"] or interval_s
        if made["funding_interval_s"]:
            a_year = Fraction(365 * 86_400, made["funding_interval_s"])
            made["funding_annualized"] = int(rate * a_year)
        for name, hours in (("funding_24h", 24), ("funding_7d", WEEK_HOURS)):
            of = [r for h, r in self.rates.items() if hour - hours < h <= hour]
            made[name] = int(Fraction(sum(of), len(of))) if of else rate
        made["funding_signal"] = funding_signal(rate)
        return made

    def _interest(self, ts: int, known: Row, volume: int) -> Row:
        hour, bucket, made, flags = ts // HOUR, ts // FIVE, {}, 0
        if not self.rates or min(self.rates) > hour - WEEK_HOURS:
            flags |= PARTIAL_7D
        if self.gap > max(0, self.newest - DAY):
            flags |= GAP
        order = [*range(288, 301), *range(287, 275, -1)]
        at = next((bucket - b for b in order if bucket - b in self.samples), None)
        interest = price = 0
        if at is None:
            flags |= PARTIAL_24H
        else:
            was, price_was = self.samples[at]
            changes = known["open_interest"] - was, self.price - price_was
            interest, price = part(changes[0], was), part(changes[1], price_was)
            made |= {"open_interest_change": changes[0], "price_change": changes[1]}
            made |= {"open_interest_change_ratio": interest, "price_change_ratio": price}
        held = known["open_interest"]
        if abs(interest) > 150_000_000 or (held > 0 and volume > 3 * held):
            flags |= ALERT
        return made | {"interest_signal": interest_signal(interest, price), "flags": flags}


def part(value: int, by: int) -> int:
    """One over the other in 1e-9, 0 where there is none."""
    ratio = toward_zero(Fraction(value, by)) if by > 0 else 0
    return max(1 - 2**63, min(2**63 - 1, ratio))


def funding_signal(rate: int) -> int:
    """What a funding rate (1e-12) says."""
    if abs(rate) > 10**9:
        return THIRD if rate > 0 else FOURTH
    if abs(rate) > 10**8:
        return BULLISH if rate > 0 else BEARISH
    return NEUTRAL


def interest_signal(interest: int, price: int) -> int:
    """What changes of open interest and price (1e-9) say together."""
    if abs(interest) <= 10**8 or abs(price) <= 3 * 10**7:
        return NEUTRAL
    if interest > 0:
        return BULLISH if price > 0 else BEARISH
    return THIRD if price > 0 else FOURTH


class Derivatives:
    """All contracts'."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._of: dict[int, Contract] = {}

    def _contract(self, slot: int) -> Contract:
        return self._of.setdefault(slot, Contract())

    def step(self, fact: Fact) -> list[Made]:
        """What one fact makes, in order."""
        if fact.told("TradeGapDeclared", "TradeGapSuspected", "RecordsGivenUp"):
            if fact.slot < 0 and not fact.told("RecordsGivenUp"):
                return []
            for slot in self._world.of(fact):
                one = self._contract(slot)
                one.gap = max(one.gap, fact.event["ts_to"] // FIVE)
        elif fact.kind == "derivative":
            for record in fact.records:
                self._contract(fact.slot).take(record)
        elif fact.kind == "trade" and self._world.instruments[fact.slot].kind != "SPOT":
            for record in fact.records:
                self._contract(fact.slot).trade(record)
        elif fact.kind == "time":
            return [m for i, ts in enumerate(fact.records["ts"].tolist())
                    for m in self._time(fact.r, i, ts)]  # fmt: skip
        return []

    def _time(self, r: int, i: int, ts: int) -> list[Made]:
        made = []
        for known in self._world.instruments:
            one = self._of.get(known.slot)
            values = _told(one, ts, known.funding_interval_s) if one is not None else None
            if values is not None:
                name = ("derivatives", "1m", known.venue, known.symbol, known.partition)
                made.append(Made("derivative_metrics", name, r, i, values))
        return made


def _told(one: Contract, ts: int, interval_s: int) -> Row | None:
    minute = ts // MINUTE
    hourly, waits = minute // 60 > one.minute // 60, one.dirty and minute > one.minute
    if not one.known or not (one.new or waits or hourly):
        return None
    one.new = False
    made = one.metrics(ts, interval_s)
    signals = (made["funding_signal"], made["interest_signal"])
    if not (hourly or waits or signals != one.told):
        return None
    one.dirty, one.minute, one.told = False, minute, signals
    return made
