"""Order books, computed again: a dictionary a side, everything made anew each time it is told."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from tidemill.tests.faults.checker.world import (
    SECOND,
    WORD,
    Fact,
    Instrument,
    Letter,
    Made,
    Row,
    World,
    words,
)

BILLION = 10**9
SYNCHRONIZING, VALID, INVALID = 0, 1, 2
LAST, SNAPSHOT = 16, 32
CROSSED, STALE = 1, 4
QUALITIES = ((500_000, 1), (BILLION // 1_000, 2), (3_000_000, 3))
POOR = 4
BUY, SELL = 1, 2
TOP = 20


def toward_zero(value: Fraction) -> int:
    """In 1e-9."""
    whole = abs(value.numerator) * BILLION // value.denominator
    return whole if value >= 0 else -whole


@dataclass
class Book:
    """One instrument's."""

    levels: dict[int, dict[int, int]] = field(default_factory=lambda: {1: {}, 2: {}})
    state: int = SYNCHRONIZING
    loading: int | None = None
    open: bool = False
    stale: bool = False
    dirty: bool = False
    told: int | None = None
    second: int = 0
    heard: int = 0
    changes: int = 0
    whole: bool = False
    newest: Row = field(default_factory=lambda: {"ts_event": 0, "ts_recv": 0, "last_update_id": 0})
    usual: float = 0.0
    measured: int = 0
    exponents: tuple[int, int] = (0, 0)

    @property
    def crossed(self) -> bool:
        """Whether the best bid is not below the best ask."""
        bids, asks = self.levels[1], self.levels[2]
        return bool(bids and asks) and max(bids) >= min(asks)

    @property
    def honest(self) -> int:
        """The state that may be published."""
        doubtful = self.state == VALID and (self.stale or self.crossed)
        return INVALID if doubtful else self.state

    def sorted(self, side: int) -> list[tuple[int, int]]:
        """Levels of a side, best first."""
        return sorted(self.levels[side].items(), reverse=side == 1)

    def doubt(self) -> None:
        """Nothing of it is proven any more."""
        self.state, self.loading, self.open, self.dirty = INVALID, None, False, True

    def take(self, record: Any, exponents: tuple[int, int], defined: tuple[int, int]) -> bool:
        """Return whether a message ended, well or badly."""
        flags = int(record["flags"])
        if flags & SNAPSHOT:
            if self.loading != int(record["last_update_id"]):
                self.levels = {1: {}, 2: {}}
                self.loading = int(record["last_update_id"])
                self.state, self.exponents = SYNCHRONIZING, exponents
        else:
            self.loading = None
            if self.state != VALID:
                return False
        side, price, quantity = (int(record[n]) for n in ("side", "price", "quantity"))
        known = side in self.levels or (flags & SNAPSHOT and quantity == 0)
        if not known or quantity < 0 or not exponents == self.exponents == defined:
            self.doubt()
            return True
        if side in self.levels:
            self.levels[side].pop(price, None)
            if quantity:
                self.levels[side][price] = quantity
        self.newest = {name: int(record[name]) for name in self.newest}
        self.changes, self.dirty = self.changes + 1, True
        self.open = not flags & LAST
        if not self.open:
            if self.loading is not None:
                self.loading, self.state, self.whole = None, VALID, True
            self.stale = False
        return not self.open

    def metrics(self, ts: int) -> Row:
        """What is told of it now."""
        self.told = self.honest
        flags = CROSSED * (self.state == VALID and self.crossed) | STALE * self.stale
        made = {"ts": ts, **self.newest, "state": self.told, "flags": int(flags)}
        return made | (self._offers() if self.told == VALID else {})

    def _offers(self) -> Row:
        bids, asks = self.sorted(1), self.sorted(2)
        made: Row = {"bid_levels": len(bids), "ask_levels": len(asks)}
        if bids:
            made |= {"bid_price": bids[0][0], "bid_quantity": bids[0][1]}
        if asks:
            made |= {"ask_price": asks[0][0], "ask_quantity": asks[0][1]}
        if not bids or not asks:
            return made | {"confidence": 3 * BILLION // 10}
        bid, ask = bids[0][0], asks[0][0]
        both = bid + ask
        spread = toward_zero(Fraction(2 * (ask - bid), both))
        made |= {"spread": ask - bid, "spread_ratio": spread}
        # |price - mid| <= percent of mid, with mid = both / 2
        near = {
            (name, percent): [(p, q) for p, q in side if abs(2 * p - both) * 100 <= both * percent]
            for name, side in (("bid", bids), ("ask", asks))
            for percent in (1, 5)
        }
        for (name, percent), side in near.items():
            made |= words(f"{name}_depth_{percent}", sum(p * q for p, q in side))
        return made | self._measures(made, near, spread)

    def _measures(self, made: Row, near: dict[tuple[str, int], Any], spread: int) -> Row:
        volumes = [sum(q for _, q in near[n, 1]) for n in ("bid", "ask")]
        made |= words("bid_volume_1", volumes[0]) | words("ask_volume_1", volumes[1])
        both = sum(volumes)
        imbalance = toward_zero(Fraction(volumes[0] - volumes[1], both)) if both else 0
        score = self._score(sum(p * q for n in ("bid", "ask") for p, q in near[n, 1]))
        quality = next((name for below, name in QUALITIES if spread < below), POOR)
        made |= {"imbalance": imbalance, "liquidity_score": score, "spread_quality": quality}
        made |= _walls(near["bid", 5], near["ask", 5])
        signal, confidence = 0, BILLION // 2
        if spread > 5_000_000 or score < 30:
            confidence = 3 * BILLION // 10
        elif abs(imbalance) > 300_000_000:
            signal = BUY if imbalance > 0 else SELL
            confidence = min(abs(imbalance) * 3 // 2, 950_000_000)
        return {"signal": signal, "confidence": confidence}

    def _score(self, depth: int) -> int:
        now = float(depth >> 64) * 2.0**64 + float(depth % WORD)
        if not self.measured:
            self.usual = now
        score = now / self.usual * 50.0 if self.usual > 0 else 0.0
        self.measured = min(self.measured + 1, 3_600)
        self.usual += (now - self.usual) / self.measured
        return min(100, int(score))

    def rows(self, most: int, like: Row) -> list[Row]:
        """Its levels as records, with what they share from `like`."""
        same = {name: like[name] for name in ("ts", "last_update_id", "flags")}
        rows = [
            {**same, "side": side, "level": level, "price": price, "quantity": quantity}
            for side in (1, 2)
            for level, (price, quantity) in enumerate(self.sorted(side)[:most])
        ]
        return rows or [same]


def _walls(bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> Row:
    made: Row = {}
    total, count = sum(q for _, q in bids + asks), len(bids) + len(asks)
    for name, side in (("bid", bids), ("ask", asks)):
        walls = [(p, q) for p, q in side if q * count > 5 * total]
        made[f"{name}_walls"] = len(walls)
        if walls:
            most = max(q for _, q in walls)
            price = next(p for p, q in walls if q == most)
            made |= {f"{name}_wall_price": price, f"{name}_wall_quantity": most}
    return made


class Books:
    """All instruments'."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._of: dict[int, Book] = {}

    def step(self, fact: Fact, letters: list[Letter]) -> list[Made]:
        """What one fact makes, in order."""
        if fact.kind not in ("book", "event", "status", "time"):
            return []
        if not self._world.stepped("book", fact, letters):
            return []
        for one in self._world.instruments[len(self._of) :]:
            self._of[one.slot] = Book()
        match fact.kind:
            case "book":
                return self._take(fact)
            case "event":
                return self._doubt(fact)
            case "status" if fact.slot < 0:
                heard = max(fact.records["ts_recv"].tolist())
                for slot in self._world.of(fact):
                    self._of[slot].heard = max(self._of[slot].heard, heard)
            case "time":
                return [m for i, ts in enumerate(fact.records["ts"].tolist())
                        for m in self._time(fact.r, i, ts)]  # fmt: skip
        return []

    def _take(self, fact: Fact) -> list[Made]:
        known, book = self._world.instruments[fact.slot], self._of[fact.slot]
        made: list[Made] = []
        for index, record in enumerate(fact.records):
            if not book.take(record, fact.exponents, known.exponents):
                continue
            ts = int(record["ts_recv"])
            if book.told != book.honest:
                made.append(_metrics(known, fact.r, index, book.metrics(ts)))
            held = len(book.levels[1]) + len(book.levels[2])
            due = book.whole or book.changes > max(held, 100)
            if book.honest == VALID and due:
                rows = book.rows(held, {"ts": ts, **book.newest, "flags": 0})
                made += _levels(known, "snapshots", fact.r, index, rows)
                book.changes, book.whole = 0, False
        return made

    def _doubt(self, fact: Fact) -> list[Made]:
        if not fact.told("BookGapDetected", "ChecksumMismatch"):
            return []
        made: list[Made] = []
        for slot in self._world.of(fact):
            book = self._of[slot]
            if fact.slot < 0 and book.told is None and book.loading is None:
                continue
            book.doubt()
            if book.told != INVALID:
                known = self._world.instruments[slot]
                made.append(_metrics(known, fact.r, 0, book.metrics(fact.event["ts_recv"])))
        return made

    def _time(self, r: int, i: int, ts: int) -> list[Made]:
        made: list[Made] = []
        for slot, book in self._of.items():
            silent = bool(book.heard) and ts - book.heard > 5 * SECOND
            fell = silent and not book.stale and book.told is not None
            book.stale |= fell
            if fell or (book.dirty and not book.open and book.second < ts // SECOND):
                book.dirty, book.second = False, ts // SECOND
                known, metrics = self._world.instruments[slot], book.metrics(ts)
                made.append(_metrics(known, r, i, metrics))
                if book.honest == VALID:
                    made += _levels(known, "levels", r, i, book.rows(TOP, metrics))
        return made


def _metrics(known: Instrument, r: int, i: int, values: Row) -> Made:
    name = ("books", "1s", known.venue, known.symbol, known.partition)
    return Made("book_metrics", name, r, i, values)


def _levels(known: Instrument, root: str, r: int, i: int, rows: list[Row]) -> list[Made]:
    kind, spec = {"levels": ("book_level", "top"), "snapshots": ("book_snapshot", "full")}[root]
    name = (root, spec, known.venue, known.symbol, known.partition)
    return [Made(kind, name, r, i, values) for values in rows]
