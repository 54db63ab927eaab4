"""Books of mutated streams, against an oracle of plain dictionaries that knows only the rule."""

import random
from dataclasses import dataclass, field

import numpy as np
import pytest

from tidemill.schemas.book import BUY, LEVEL, SELL
from tidemill.schemas.enums import BookState, RecordFlag
from tidemill.schemas.kinds.book import BOOK
from tidemill.streams.feeds.book_steps import Gap, Mismatch, Resynced, Step, records_of
from tidemill.streams.feeds.book_track import PATIENCE_NS, BookTrack
from tidemill.streams.feeds.feed import BOOK_MESSAGE, NO_CHECKSUM, Overlap

SPOT, USDM = Overlap(1, 1), Overlap(0, 0)
EXPONENTS = (-2, -3)
Sides = dict[int, dict[int, int]]


@dataclass(frozen=True)
class Sent:
    """One message as the exchange meant it; `book` is its own book after it."""

    first: int
    last: int
    previous: int
    levels: tuple[tuple[int, int, int], ...]
    book: tuple[tuple[int, int, int], ...]
    snapshot: bool = False
    rest: bool = False


@dataclass
class Exchange:
    """Random changes with contiguous ids around a price that wanders; never crossed."""

    chance: random.Random
    by_rest: bool
    last: int = 1_000
    middle: int = 1_000
    sides: Sides = field(default_factory=lambda: {BUY: {990: 5}, SELL: {1_010: 5}})

    def change(self) -> Sent:
        first = self.last + 1
        previous, self.last = self.last, self.last + self.chance.randint(1, 3)
        self.middle += self.chance.randint(-3, 3)
        levels = []
        for side, prices in self.sides.items():
            wrong = [p for p in prices if (p >= self.middle) == (side == BUY)]
            levels += [(price, 0, side) for price in wrong]
            for _ in range(self.chance.randint(0, 3)):
                far = self.chance.randint(1, 9)
                price = self.middle - far if side == BUY else self.middle + far
                levels.append((price, self.chance.randint(0, 5), side))
        for price, quantity, side in levels:
            self.sides[side].pop(price, None)
            if quantity:
                self.sides[side][price] = quantity
        return Sent(first, self.last, previous, tuple(levels), self.book())

    def snapshot(self) -> Sent:
        return Sent(self.last, self.last, -1, self.book(), self.book(), True, self.by_rest)

    def book(self) -> tuple[tuple[int, int, int], ...]:
        return tuple(
            (price, quantity, side)
            for side, prices in self.sides.items()
            for price, quantity in sorted(prices.items(), reverse=side == BUY)
        )


def message(sent: Sent, checksum: int = NO_CHECKSUM):
    head = np.zeros(1, BOOK_MESSAGE)
    head["first_id"], head["last_id"], head["previous_id"] = sent.first, sent.last, sent.previous
    head["count"], head["snapshot"], head["rest"] = len(sent.levels), sent.snapshot, sent.rest
    head["checksum"] = checksum
    return head, np.array(list(sent.levels), LEVEL)


def several(many: list[Sent]):
    parts = [message(sent) for sent in many]
    heads = np.concatenate([head for head, _ in parts])
    heads["start"] = np.cumsum(heads["count"]) - heads["count"]
    return heads, np.concatenate([levels for _, levels in parts])


def book_of(track: BookTrack) -> tuple[tuple[int, int, int], ...]:
    return tuple(
        (price, quantity, side)
        for side in (BUY, SELL)
        for price, quantity in track.book.side(side).T.tolist()
    )


class Reader:
    """What a reader of the log makes of records and events: FEEDS' rule, on dictionaries."""

    def __init__(self) -> None:
        self.valid = False
        self.last = -1
        self._loading: int | None = None
        self._sides: Sides = {BUY: {}, SELL: {}}

    def take(self, steps: list[Step]) -> None:
        for step in steps:
            if isinstance(step, np.ndarray):
                assert step.dtype == BOOK.dtype
                for record in step:
                    self._record(record)
            elif isinstance(step, Gap):
                self.valid = False

    def _record(self, record: np.void) -> None:
        flags, last = int(record["flags"]), int(record["last_update_id"])
        if flags & RecordFlag.SNAPSHOT:
            if self._loading != last:
                self._sides, self._loading, self.valid = {BUY: {}, SELL: {}}, last, False
        else:
            assert self.valid, "a change was published while no book was valid"
        price, quantity, side = int(record["price"]), int(record["quantity"]), int(record["side"])
        if side:
            self._sides[side].pop(price, None)
            if quantity:
                self._sides[side][price] = quantity
        if flags & RecordFlag.LAST:
            self.last = last
            if flags & RecordFlag.SNAPSHOT:
                self.valid, self._loading = True, None

    def book(self) -> tuple[tuple[int, int, int], ...]:
        return tuple(
            (price, quantity, side)
            for side, prices in self._sides.items()
            for price, quantity in sorted(prices.items(), reverse=side == BUY)
        )


class Oracle:
    """The rule on ids alone: what must be said, and which update the book must be at."""

    def __init__(self, overlap: Overlap, by_rest: bool) -> None:
        self.said: list[str] = []
        self.at: int | None = None  # the book's update id, None while it is not valid
        self._overlap, self._by_rest = overlap, by_rest
        self._joined = True
        self._kept: list[Sent] = []
        self._gap = False

    def take(self, sent: Sent) -> None:
        if sent.snapshot:
            self._snapshot(sent)
        elif self.at is None:
            self._keep(sent)
        elif not self._joined:
            if sent.last < self.at + self._overlap.drop_below:
                return
            if self._meets(sent, self.at):
                self.at, self._joined = sent.last, True
            else:
                self._lost(sent)
        elif sent.previous == self.at:
            self.at = sent.last
        elif sent.last > self.at:
            self._lost(sent)

    def _meets(self, sent: Sent, snapshot: int) -> bool:
        overlaps = sent.first <= snapshot + self._overlap.first_at_most
        return overlaps or sent.previous == snapshot

    def _lost(self, sent: Sent) -> None:
        self.said.append(f"gap {self.at} {sent.previous}")
        self.at, self._gap, self._kept = None, True, []
        self._keep(sent)

    def _keep(self, sent: Sent) -> None:
        if self._kept and sent.last <= self._kept[-1].last:
            return
        if self._kept and sent.previous != self._kept[-1].last:
            self._kept = []
        self._kept += [sent] if self._by_rest else []

    def _snapshot(self, sent: Sent) -> None:
        kept = [s for s in self._kept if s.last >= sent.last + self._overlap.drop_below]
        if sent.rest and self.at is not None and sent.last <= self.at:
            return
        if sent.rest and kept and not self._meets(kept[0], sent.last):
            return
        if self._gap:
            self.said.append(f"resynced {sent.last}")
        self.at = kept[-1].last if kept else sent.last
        self._joined, self._gap, self._kept = bool(kept) or not sent.rest, False, []


def mutated(chance: random.Random, sents: list[Sent]) -> list[Sent]:
    """Delete, double and swap some lines."""
    made = list(sents)
    for _ in range(chance.randint(0, 6)):
        at = chance.randrange(1, len(made) - 1)
        match chance.choice(("delete", "double", "swap")):
            case "delete":
                del made[at]
            case "double":
                made.insert(at + chance.randint(0, min(3, len(made) - at)), made[at])
            case _:
                other = chance.randrange(1, len(made) - 1)
                made[at], made[other] = made[other], made[at]
    return made


def told(steps: list[Step]) -> list[str]:
    found = []
    for step in steps:
        if isinstance(step, Gap):
            assert step.reason == "GAP" and step.last == step.expected
            found.append(f"gap {step.last} {step.received}")
        elif isinstance(step, Resynced):
            found.append(f"resynced {step.last}")
    return found


@pytest.mark.parametrize("overlap", [SPOT, USDM])
@pytest.mark.parametrize("by_rest", [True, False])
@pytest.mark.parametrize("size", [1, 7])
def test_no_mutation_of_a_stream_makes_a_wrong_valid_book(overlap, by_rest, size) -> None:
    for seed in range(300):
        chance = random.Random(seed)
        exchange = Exchange(chance, by_rest)
        sents = [exchange.change() for _ in range(chance.randint(0, 3))]
        for _ in range(60):
            sents.append(exchange.change() if chance.random() < 0.9 else exchange.snapshot())
        true = {sent.last: sent.book for sent in sents}
        stream = mutated(chance, sents)
        track, reader, oracle = (
            BookTrack(overlap, by_rest, EXPONENTS),
            Reader(),
            Oracle(overlap, by_rest),
        )
        said: list[str] = []
        for start in range(0, len(stream), size):
            part = stream[start : start + size]
            steps = track.take(*several(part), False, start)
            for sent in part:
                oracle.take(sent)
            reader.take(steps)
            said += told(steps)
            assert said == oracle.said, seed
            assert (track.state is BookState.VALID) == (oracle.at is not None) == reader.valid, seed
            if oracle.at is not None:
                assert track.last_id == oracle.at, seed
                assert book_of(track) == reader.book() == true[oracle.at], seed


def lines(count: int, seed: int = 0) -> tuple[Sent, list[Sent]]:
    exchange = Exchange(random.Random(seed), by_rest=False)
    return exchange.snapshot(), [exchange.change() for _ in range(count)]


def test_two_connections_that_each_lose_something_lose_nothing_together() -> None:
    for seed in range(200):
        chance = random.Random(seed)
        snapshot, changes = lines(60, seed)
        track, reader = BookTrack(SPOT, False, EXPONENTS), Reader()
        reader.take(track.take(*message(snapshot), True, 0))
        lost = [set(chance.sample(range(60), 10)) for _ in range(2)]
        queues = [[c for at, c in enumerate(changes) if at not in mine] for mine in lost]
        both = sorted(lost[0] & lost[1])
        while any(queues):
            queue = chance.choice([q for q in queues if q])
            reader.take(track.take(*message(queue.pop(0)), True, 1))
        if not both:
            assert reader.valid and track.last_id == changes[-1].last
            assert book_of(track) == reader.book() == changes[-1].book
        else:
            assert track.last_id == changes[both[0]].previous
            steps = track.expire(1 + PATIENCE_NS)
            assert [type(s) for s in steps] == ([Gap] if both[0] != 59 else [])


def test_what_is_ahead_waits_no_longer_than_patience() -> None:
    snapshot, changes = lines(3)
    track = BookTrack(SPOT, False, EXPONENTS)
    track.take(*message(snapshot), True, 0)
    assert track.take(*message(changes[1]), True, 5) == []
    assert track.due == 5 + PATIENCE_NS
    assert track.expire(4 + PATIENCE_NS) == []
    assert track.expire(5 + PATIENCE_NS) == [
        Gap(snapshot.last, snapshot.last, changes[0].last, "GAP")
    ]
    assert track.due == 0 and track.state is BookState.INVALID


def test_a_lapse_is_said_once_and_ends_with_a_snapshot() -> None:
    snapshot, changes = lines(2)
    track = BookTrack(SPOT, False, EXPONENTS)
    assert track.lapse(1) == []  # it never was valid
    track.take(*message(snapshot), False, 2)
    assert track.lapse(3) == [Gap(snapshot.last, -1, -1, "DISCONNECTED")]
    assert track.lapse(4) == []
    assert track.take(*message(changes[0]), False, 5) == []
    steps = track.take(*message(snapshot), False, 10)
    assert steps[1:] == [Resynced(snapshot.last, 7, 1)]
    assert isinstance(steps[0], np.ndarray) and len(steps[0]) == len(snapshot.levels)


def test_a_wrong_checksum_publishes_nothing_of_its_message() -> None:
    snapshot, changes = lines(2)
    track = BookTrack(SPOT, False, EXPONENTS)
    track.take(*message(snapshot), False, 0)
    probe = BookTrack(SPOT, False, EXPONENTS)
    probe.take(*message(snapshot), False, 0)
    probe.take(*message(changes[0]), False, 0)
    right = probe.book.checksum(*EXPONENTS)
    steps = track.take(*message(changes[0], right), False, 1)
    assert all(isinstance(step, np.ndarray) for step in steps)
    steps = track.take(*message(changes[1], right ^ 1), False, 2)
    assert [type(step) for step in steps] == [Mismatch, Gap]
    assert track.state is BookState.INVALID


def test_a_change_that_crosses_the_book_is_not_published() -> None:
    snapshot, changes = lines(3)
    track = BookTrack(SPOT, False, EXPONENTS)
    track.take(*message(snapshot), False, 0)
    crossing = Sent(
        changes[1].first, changes[1].last, changes[0].last, ((5_000, 1, BUY),), (), False
    )
    steps = track.take(*several([changes[0], crossing, changes[2]]), False, 3)
    gaps = [step for step in steps if isinstance(step, Gap)]
    assert gaps == [Gap(changes[0].last, -1, crossing.last, "CROSSED")]
    published = [step for step in steps if isinstance(step, np.ndarray)]
    assert sum(map(len, published)) == len(changes[0].levels)


def test_an_empty_snapshot_is_one_record_without_a_side() -> None:
    head, levels = message(Sent(5, 5, -1, (), (), True))
    records = records_of(head[0], levels, int(RecordFlag.SNAPSHOT))
    assert records["side"].tolist() == [0]
    assert records["flags"].tolist() == [RecordFlag.SNAPSHOT | RecordFlag.LAST]
