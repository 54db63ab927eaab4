"""What LOG has defined so far, and each message as the fact that it is: for computing again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from tidemill.tests.faults.checker.messages import (
    ALL,
    GLOBAL,
    PARKING,
    READS,
    Message,
    Subject,
    is_framed,
    parse,
    partition_of,
)
from tidemill.tests.faults.checker.sbe import Frame, Records, UnreadableError

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
WORD = 1 << 64
NO_RECORDS = np.zeros(0, "u1")
NOT_OF_FEEDS = {
    "CodeDeployed.v1", "DeadLetter.v1", "DeadLetterSkipped.v1", "FeedStale.v1", "FeesDefined.v1",
    "InstrumentDefined.v1", "InstrumentDefined.v2", "RangeSealed.v1", "TrimAnnounced.v1",
}  # fmt: skip
"""Events that have no place on md.event."""
Feed = tuple[str, str]
Row = dict[str, Any]


@dataclass
class Instrument:
    """One instrument as LOG says it is now. `kind` is SPOT, PERPETUAL or FUTURE."""

    slot: int
    venue: str
    symbol: str
    product: str
    pair: str
    exponents: tuple[int, int]
    kind: str = "SPOT"
    inverse: bool = False
    trading: bool = True
    multiplier: Decimal = Decimal(1)
    funding_interval_s: int = 0
    taker_ppm: int | None = None

    @property
    def feed(self) -> Feed:
        """Venue and product."""
        return self.venue, self.product

    @property
    def partition(self) -> int:
        """Where its pair lives."""
        return partition_of(self.pair)


class Fact(NamedTuple):
    """One message that can be stepped: of an instrument (its slot), or of a whole feed (-1)."""

    r: int
    kind: str
    slot: int
    feed: Feed | None
    exponents: tuple[int, int]
    records: Records
    event: Mapping[str, Any]

    def told(self, *names: str) -> bool:
        """Whether it is one of these events."""
        return str(self.event.get("event", "")).partition(".")[0] in names


class Made(NamedTuple):
    """One record that must be derived: `name` is (root, spec, venue, symbol, partition)."""

    kind: str
    name: tuple[str, str, str, str, int]
    r: int
    i: int
    values: Row


class Letter(NamedTuple):
    """One dead letter that must be there."""

    processor: str
    r: int
    i: int
    partition: int


def words(name: str, value: int) -> Row:
    """An exact number of 128 bits as its two fields."""
    return {f"{name}_lo": value % WORD, f"{name}_hi": value // WORD}


def total(values: Any) -> int:
    """The exact sum of integers (N,)."""
    if int(np.abs(values).max(initial=0)) * len(values) < 1 << 62:
        return int(values.sum())
    return sum(values.tolist())


def dot(price: Any, quantity: Any) -> int:
    """The exact sum of the products of integers (N,), none below 0.

    By price = high x 2^20 + low: so the products of each part seldom leave 64 bits.
    """
    high, low = price >> 20, price & (1 << 20) - 1
    most = int(quantity.max(initial=0)) * len(quantity)
    if max(int(high.max(initial=0)), 1 << 20) * most < 1 << 62:
        return (int((high * quantity).sum()) << 20) + int((low * quantity).sum())
    return sum(p * q for p, q in zip(price.tolist(), quantity.tolist(), strict=True))


AGGREGATIONS = (
    *("TICK", "TICK_IMBALANCE", "TICK_RUNS", "VOLUME", "VOLUME_IMBALANCE", "VOLUME_RUNS"),
    *("VALUE", "VALUE_IMBALANCE", "VALUE_RUNS", "RENKO", "RANGE"),
)
"""Bars by what was traded, in their order."""


@dataclass
class World:
    """Instruments, fees, and which instruments are parked in which processor since when."""

    instruments: list[Instrument] = field(default_factory=list)
    slots: dict[tuple[str, str], int] = field(default_factory=dict)
    pairs: dict[str, list[int]] = field(default_factory=dict)
    activity_sets: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    indicator_sets: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    anomaly_sets: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    composites: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    screens: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    fees: dict[Feed, int] = field(default_factory=dict)
    parked: dict[str, dict[int, int]] = field(default_factory=lambda: {p: {} for p in PARKING})

    def take(
        self,
        message: Message,
        frame: Frame | None,
        event: Mapping[str, Any] | None,
        letters: list[Letter],
    ) -> Fact | None:
        """Return the fact that a message is, None for what no processor steps.

        It comes as it was decoded (neither: it cannot be). Adds the dead letters of what cannot be
        read.
        """
        subject = parse(message.subject)
        if subject is None or (subject.kind in ("time", "ctl") and subject.root == "md"):
            return None
        try:
            if subject.kind == "ctl":
                self._control(message.subject, event or {"event": ""})
                return None
            if subject.kind == "instrument":
                self._define(subject, event or {"event": ""})
                return None
            return self._fact(message, subject, frame, event)
        except (UnreadableError, KeyError, ValueError):
            self._refuse(message, subject, letters)
            return None

    def _fact(
        self,
        message: Message,
        subject: Subject,
        frame: Frame | None,
        event: Mapping[str, Any] | None,
    ) -> Fact | None:
        if not any(subject.kind in reads for reads in READS.values()):
            return None
        slot, feed = -1, None
        if subject.partition != ALL:
            slot = self.slots.get((subject.venue, subject.symbol), -1)
            if slot < 0:
                raise UnreadableError("not defined")
            feed = self.instruments[slot].feed
        elif subject.venue:
            feed = subject.venue, subject.symbol
        if not is_framed(subject.kind):
            if event is None or event["event"] in NOT_OF_FEEDS:
                raise UnreadableError("no event of a feed")
            return Fact(message.sequence, "event", slot, feed, (0, 0), NO_RECORDS, event)
        if frame is None or frame.kind != subject.kind:
            raise UnreadableError("no frame of its kind")
        return Fact(message.sequence, frame.kind, slot, feed, frame.exponents, frame.records, {})

    def _define(self, subject: Subject, event: Mapping[str, Any]) -> None:
        if not event["event"].startswith("InstrumentDefined."):
            raise UnreadableError("no definition")
        place = (subject.venue, subject.symbol)
        pair = f"{event['base']}/{event['quote']}"
        if (event["venue"], event["symbol"], partition_of(pair)) != (*place, subject.partition):
            raise UnreadableError("defined elsewhere")
        slot = self.slots.get(place, len(self.instruments))
        if slot < len(self.instruments) and self.instruments[slot].pair != pair:
            raise UnreadableError("another pair")
        made = Instrument(
            slot, *place, event["product"], pair,
            (event.get("price_exponent", -8), event.get("quantity_exponent", -8)),
            event.get("kind", "SPOT"), event.get("inverse", False),
            event.get("status", "TRADING") == "TRADING",
            Decimal(event.get("contract_multiplier", "1")), event.get("funding_interval_s", 0),
            self.fees.get((event["venue"], event["product"])),
        )  # fmt: skip
        if slot == len(self.instruments):
            self.instruments.append(made)
            self.slots[place] = slot
            self.pairs.setdefault(pair, []).append(slot)
        self.instruments[slot] = made

    def _control(self, subject: str, event: Mapping[str, Any]) -> None:
        of_what = {
            "ActivityBars": self.activity_sets,
            "Anomalies": self.anomaly_sets,
            "Composite": self.composites,
            "IndicatorSet": self.indicator_sets,
            "Screen": self.screens,
        }
        for what, sets in of_what.items():
            if event["event"].startswith(f"{what}Defined."):
                sets[subject] = event
            elif event["event"].startswith(f"{what}Removed."):
                sets.pop(subject, None)
        if event["event"].startswith("FeesDefined."):
            feed = event["venue"], event["product"]
            self.fees[feed] = event["taker_ppm"]
            for one in self.instruments:
                if one.feed == feed:
                    one.taker_ppm = event["taker_ppm"]
        elif event["event"].startswith("DeadLetterSkipped.") and event["processor"] in self.parked:
            parked = self.parked[event["processor"]]
            for slot in [slot for slot, r in parked.items() if r == event["r"]]:
                del parked[slot]

    def _refuse(self, message: Message, subject: Subject, letters: list[Letter]) -> None:
        slot = self.slots.get((subject.venue, subject.symbol), -1)
        for processor, reads in READS.items():
            whole = subject.kind == "instrument" and processor not in GLOBAL
            if whole or subject.kind in reads:
                letters.append(Letter(processor, message.sequence, 0, subject.partition))
                if subject.partition != ALL and slot >= 0 and processor in PARKING:
                    self.parked[processor].setdefault(slot, message.sequence)

    def stepped(self, processor: str, fact: Fact, letters: list[Letter]) -> bool:
        """Whether a processor steps a fact; adds its dead letter where it does not."""
        parked = self.parked.get(processor, {})
        if fact.slot < 0:
            return True
        one = self.instruments[fact.slot]
        exact = processor == "bars" or (
            processor == "activity_bars" and bool(self.activity_steps(fact.slot))
        )
        if exact and fact.kind == "trade" and fact.exponents != one.exponents:
            parked.setdefault(fact.slot, fact.r)
        if fact.slot not in parked:
            return True
        letters.append(Letter(processor, fact.r, 0, one.partition))
        return False

    def activity_steps(self, slot: int) -> dict[int, int]:
        """By place the aggregations that sets ask for on an instrument, and their steps in
        mantissas, 0 for none; not those whose step it cannot express."""
        one = self.instruments[slot]
        (price, quantity), steps = one.exponents, dict[int, int]()
        value = quantity if one.inverse else price + quantity
        for subject in sorted(self.activity_sets):
            asked = self.activity_sets[subject]
            if not {"*", f"*.{one.venue}", f"{one.symbol}.{one.venue}"} & set(asked["instruments"]):
                continue
            for text in asked["bars"]:
                step, _, name = text.rpartition("-")
                exponent = {"VOLUME": quantity, "VALUE": value, "RENKO": price, "RANGE": price}
                amount = Decimal(step or 0).scaleb(-exponent.get(name, 0))
                most = 1 << (120 if name in ("VOLUME", "VALUE") else 60)
                if amount == int(amount) and amount < most:
                    steps.setdefault(AGGREGATIONS.index(name), int(amount))
        return steps

    def of(self, fact: Fact) -> list[int]:
        """The slots that a fact concerns."""
        if fact.slot >= 0:
            return [fact.slot]
        return [one.slot for one in self.instruments if one.feed == fact.feed]
