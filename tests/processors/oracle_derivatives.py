"""Derivatives as one would follow them without hurry: everything kept, everything recomputed."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from tidemill.schemas.enums import DerivativeFlag, FundingSignal, InterestSignal
from tidemill.schemas.events.feed import RecordsGivenUp, TradeGapDeclared, TradeGapSuspected
from tidemill.tests.processors.oracle_books import toward_zero
from tidemill.tests.processors.runs import MINUTE, Fact, Log

FIVE, HOUR = 5 * MINUTE, 60 * MINUTE
NAMES = (
    "mark_price", "index_price", "funding_rate", "next_funding_time", "funding_interval_s",
    "open_interest",
)  # fmt: skip
WORD = 1 << 64


def whole(value: Fraction) -> int:
    return int(value)  # rounds to zero


@dataclass
class Contract:
    """One instrument's history."""

    known: dict[str, int] = field(default_factory=dict)
    times: dict[str, int] = field(default_factory=lambda: {"ts_event": 0, "ts_recv": 0})
    rates: dict[int, int] = field(default_factory=dict)
    samples: dict[int, tuple[int, int]] = field(default_factory=dict)
    trades: list[tuple[int, int, int]] = field(default_factory=list)
    buckets: list[int] = field(default_factory=lambda: [0])
    gap: int = 0
    dirty: bool = False
    new: bool = False
    minute: int = 0
    told: tuple[int, int] = (0, 0)

    @property
    def price(self) -> int:
        if not self.trades:
            return self.known.get("mark_price", 0)
        latest = max(ts for ts, _, _ in self.trades)
        return next(price for ts, price, _ in reversed(self.trades) if ts == latest)

    def take(self, record: Any) -> None:
        given = {
            n: int(record[n]) for bit, n in enumerate(NAMES) if int(record["fields"]) >> bit & 1
        }
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
        ts, recv, quantity = (int(record[n]) for n in ("ts_event", "ts_recv", "quantity"))
        if ts < 0 or ts > recv + HOUR or quantity < 0:
            self.gap = max(self.gap, max(self.buckets), recv // FIVE)
            return
        latest = max((ts for ts, _, _ in self.trades), default=0)
        self.dirty, self.new = self.dirty or ts >= latest, self.new or ts >= latest
        self.buckets.append(ts // FIVE)
        self.trades.append((ts, int(record["price"]), quantity))

    def metrics(self, ts: int, interval_s: int) -> dict[str, Any]:
        self.buckets.append(ts // FIVE)
        hour, bucket, newest = ts // HOUR, ts // FIVE, max(self.buckets)
        known = {name: self.known.get(name, 0) for name in NAMES}
        rate = known["funding_rate"]
        made: dict[str, Any] = {**known, **self.times, "ts": ts, "last_price": self.price}
        made["funding_interval_s"] = known["funding_interval_s"] or interval_s
        if made["funding_interval_s"]:
            a_year = Fraction(365 * 86_400, made["funding_interval_s"])
            made["funding_annualized"] = whole(rate * a_year)
        for name, hours in (("funding_24h", 24), ("funding_7d", 168)):
            of = [r for h, r in self.rates.items() if hour - hours < h <= hour]
            made[name] = whole(Fraction(sum(of), len(of))) if of else rate
        if {"mark_price", "index_price"} <= self.known.keys():
            made["basis"] = known["mark_price"] - known["index_price"]
            made["basis_ratio"] = part(made["basis"], known["index_price"])
        window = [(t // FIVE, q) for t, _, q in self.trades]
        volume = sum(q for b, q in window if b > newest - 288)
        made |= {"volume_lo": volume % WORD, "volume_hi": volume // WORD}
        made["fields"] = sum(1 << bit for bit, name in enumerate(NAMES) if name in self.known)
        flags = DerivativeFlag.NONE
        if not self.rates or min(self.rates) > hour - 168:
            flags |= DerivativeFlag.PARTIAL_7D
        if self.gap > max(0, newest - 288):
            flags |= DerivativeFlag.GAP
        order = [*range(288, 301), *range(287, 275, -1)]
        at = next((bucket - b for b in order if bucket - b in self.samples), None)
        interest = price = 0
        if at is None:
            flags |= DerivativeFlag.PARTIAL_24H
        else:
            was, price_was = self.samples[at]
            changes = known["open_interest"] - was, self.price - price_was
            interest, price = part(changes[0], was), part(changes[1], price_was)
            made |= {"open_interest_change": changes[0], "price_change": changes[1]}
            made |= {"open_interest_change_ratio": interest, "price_change_ratio": price}
        held = known["open_interest"]
        if abs(interest) > 150_000_000 or (held > 0 and volume > 3 * held):
            flags |= DerivativeFlag.ALERT
        made["interest_signal"] = int(interest_signal(interest, price))
        made["funding_signal"] = int(funding_signal(rate))
        return made | {"flags": int(flags)}


def part(value: int, by: int) -> int:
    ratio = toward_zero(Fraction(value, by)) if by > 0 else 0
    return max(1 - 2**63, min(2**63 - 1, ratio))


def funding_signal(rate: int) -> FundingSignal:
    steps = ((10**9, FundingSignal.EXTREME_LONGS, FundingSignal.EXTREME_SHORTS),
             (10**8, FundingSignal.BULLISH, FundingSignal.BEARISH))  # fmt: skip
    for size, above, below in steps:
        if abs(rate) > size:
            return above if rate > 0 else below
    return FundingSignal.NEUTRAL


def interest_signal(interest: int, price: int) -> InterestSignal:
    if abs(interest) <= 10**8 or abs(price) <= 3 * 10**7:
        return InterestSignal.NEUTRAL
    return {
        (True, True): InterestSignal.BULLISH,
        (True, False): InterestSignal.BEARISH,
        (False, True): InterestSignal.SHORT_SQUEEZE,
        (False, False): InterestSignal.LONG_LIQUIDATION,
    }[interest > 0, price > 0]


def _lost(contracts: list[Contract], log: Log, fact: Fact) -> None:
    match fact.event:
        case TradeGapDeclared() | TradeGapSuspected() as event:
            slots = [fact.slot]
        case RecordsGivenUp() as event:
            slots = [s for s in range(len(contracts)) if int(log.table["feed"][s]) == fact.feed]
        case _:
            return
    for slot in slots:
        contracts[slot].gap = max(contracts[slot].gap, event.ts_to // FIVE)


def _tell(one: Contract, ts: int, interval_s: int) -> dict[str, Any] | None:
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


def derivatives(log: Log) -> list[tuple[int, dict[str, Any]]]:
    """Return what must be emitted, in order: slot and the values that are not zero."""
    contracts = [Contract() for _ in log.table]
    told = []
    for r, fact in enumerate(log.facts, 1):
        _lost(contracts, log, fact)
        for index, record in enumerate(fact.records):
            if fact.kind == "derivative":
                contracts[fact.slot].take(record)
            elif fact.kind == "trade" and log.table["kind"][fact.slot]:
                contracts[fact.slot].trade(record)
            elif fact.kind == "time":
                for slot, one in enumerate(contracts):
                    interval = int(log.table["funding_interval_s"][slot])
                    made = _tell(one, int(record["ts"]), interval)
                    if made is not None:
                        made |= {"at_r": r, "at_i": index}
                        told.append((slot, {n: v for n, v in made.items() if v}))
    return told
