"""Books as one would keep them without hurry: a dictionary a side, everything recomputed."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from tidemill.schemas.enums import BookFlag, BookState, RecordFlag, Signal, SpreadQuality
from tidemill.schemas.events.feed import (
    BookGapDetected,
    ChecksumMismatch,
)
from tidemill.tests.processors.runs import SECOND, Fact, Log, Output

WORD = 1 << 64
BILLION = 10**9


def toward_zero(value: Fraction) -> int:
    """In 1e-9."""
    whole = abs(value.numerator) * BILLION // value.denominator
    return whole if value >= 0 else -whole


@dataclass
class Book:
    """One instrument's."""

    levels: dict[int, dict[int, int]] = field(default_factory=lambda: {1: {}, 2: {}})
    state: BookState = BookState.SYNCHRONIZING
    loading: int | None = None
    open: bool = False
    stale: bool = False
    dirty: bool = False
    told: BookState | None = None
    second: int = 0
    heard: int = 0
    changes: int = 0
    whole: bool = False
    newest: dict[str, int] = field(
        default_factory=lambda: {"ts_event": 0, "ts_recv": 0, "last_update_id": 0}
    )
    usual: float = 0.0
    measured: int = 0
    exponents: tuple[int, int] = (0, 0)

    @property
    def crossed(self) -> bool:
        return bool(self.levels[1] and self.levels[2]) and max(self.levels[1]) >= min(
            self.levels[2]
        )

    @property
    def honest(self) -> BookState:
        doubtful = self.state == BookState.VALID and (self.stale or self.crossed)
        return BookState.INVALID if doubtful else self.state

    def sorted(self, side: int) -> list[tuple[int, int]]:
        return sorted(self.levels[side].items(), reverse=side == 1)

    def doubt(self) -> None:
        self.state, self.loading, self.open, self.dirty = BookState.INVALID, None, False, True

    def take(self, record: Any, exponents: tuple[int, int], defined: tuple[int, int]) -> bool:
        """Return whether a message ended, well or badly."""
        flags = RecordFlag(int(record["flags"]))
        if RecordFlag.SNAPSHOT in flags:
            if self.loading != int(record["last_update_id"]):
                self.levels = {1: {}, 2: {}}
                self.loading = int(record["last_update_id"])
                self.state, self.exponents = BookState.SYNCHRONIZING, exponents
        else:
            self.loading = None
            if self.state != BookState.VALID:
                return False
        side, price, quantity = (int(record[n]) for n in ("side", "price", "quantity"))
        known = side in self.levels or (RecordFlag.SNAPSHOT in flags and quantity == 0)
        if not known or quantity < 0 or not exponents == self.exponents == defined:
            self.doubt()
            return True
        if side in self.levels:
            self.levels[side].pop(price, None)
            if quantity:
                self.levels[side][price] = quantity
        self.newest = {name: int(record[name]) for name in self.newest}
        self.changes, self.dirty = self.changes + 1, True
        self.open = RecordFlag.LAST not in flags
        if not self.open:
            if self.loading is not None:
                self.loading, self.state, self.whole = None, BookState.VALID, True
            self.stale = False
        return not self.open

    def metrics(self, at: tuple[int, int], ts: int) -> dict[str, Any]:
        self.told = self.honest
        flags = BookFlag.CROSSED * (self.state == BookState.VALID and self.crossed)
        flags |= BookFlag.STALE * self.stale
        made: dict[str, Any] = {
            "at_r": at[0], "at_i": at[1], "ts": ts, **self.newest,
            "state": int(self.told), "flags": int(flags),
        }  # fmt: skip
        return made | (self.offers() if self.told == BookState.VALID else {})

    def offers(self) -> dict[str, Any]:
        bids, asks = self.sorted(1), self.sorted(2)
        made: dict[str, Any] = {"bid_levels": len(bids), "ask_levels": len(asks)}
        if bids:
            made |= {"bid_price": bids[0][0], "bid_quantity": bids[0][1]}
        if asks:
            made |= {"ask_price": asks[0][0], "ask_quantity": asks[0][1]}
        if not bids or not asks:
            return made | {"confidence": 3 * BILLION // 10}
        (bid, _), (ask, _) = bids[0], asks[0]
        mid = Fraction(bid + ask, 2)
        spread = toward_zero((ask - bid) / mid)
        made |= {"spread": ask - bid, "spread_ratio": spread}
        near = {
            (name, percent): [(p, q) for p, q in side if abs(p - mid) * 100 <= mid * percent]
            for name, side in (("bid", bids), ("ask", asks))
            for percent in (1, 5)
        }
        for (name, percent), side in near.items():
            _put(made, f"{name}_depth_{percent}", sum(p * q for p, q in side))
        bid_volume, ask_volume = (sum(q for _, q in near[n, 1]) for n in ("bid", "ask"))
        _put(made, "bid_volume_1", bid_volume)
        _put(made, "ask_volume_1", ask_volume)
        both = bid_volume + ask_volume
        made["imbalance"] = toward_zero(Fraction(bid_volume - ask_volume, both)) if both else 0
        score = self.score(sum(p * q for n in ("bid", "ask") for p, q in near[n, 1]))
        made["liquidity_score"] = score
        self.walls(made, near["bid", 5], near["ask", 5])
        bands = ((500_000, "EXCELLENT"), (BILLION // 1_000, "GOOD"), (3_000_000, "FAIR"))
        quality = next((name for below, name in bands if spread < below), "POOR")
        made["spread_quality"] = int(SpreadQuality[quality])
        signal, confidence = Signal.NEUTRAL, BILLION // 2
        if spread > 5_000_000 or score < 30:
            confidence = 3 * BILLION // 10
        elif abs(made["imbalance"]) > 300_000_000:
            signal = Signal.BUY if made["imbalance"] > 0 else Signal.SELL
            confidence = min(abs(made["imbalance"]) * 3 // 2, 950_000_000)
        return made | {"signal": int(signal), "confidence": confidence}

    def score(self, depth: int) -> int:
        now = float(depth >> 64) * 2.0**64 + float(depth % WORD)
        if not self.measured:
            self.usual = now
        score = now / self.usual * 50.0 if self.usual > 0 else 0.0
        self.measured = min(self.measured + 1, 3_600)
        self.usual += (now - self.usual) / self.measured
        return min(100, int(score))

    def walls(
        self, made: dict[str, Any], bids: list[tuple[int, int]], asks: list[tuple[int, int]]
    ) -> None:
        total, count = sum(q for _, q in bids + asks), len(bids) + len(asks)
        for name, side in (("bid", bids), ("ask", asks)):
            walls = [(p, q) for p, q in side if q * count > 5 * total]
            made[f"{name}_walls"] = len(walls)
            if walls:
                most = max(q for _, q in walls)
                price = next(p for p, q in walls if q == most)
                made |= {f"{name}_wall_price": price, f"{name}_wall_quantity": most}

    def rows(self, most: int, metrics: dict[str, Any]) -> list[dict[str, Any]]:
        same = {name: metrics[name] for name in ("at_r", "at_i", "ts", "last_update_id", "flags")}
        rows = [
            {**same, "side": side, "level": level, "price": price, "quantity": quantity}
            for side in (1, 2)
            for level, (price, quantity) in enumerate(self.sorted(side)[:most])
        ]
        return rows or [same]


def _put(made: dict[str, Any], name: str, value: int) -> None:
    made[f"{name}_lo"], made[f"{name}_hi"] = value % WORD, value // WORD


Told = tuple[str, int, dict[str, Any]]
"""Kind, slot, and the values that are not zero."""


def _take(book: Book, log: Log, fact: Fact, r: int) -> list[Told]:
    told: list[Told] = []
    key = log.table[fact.slot]
    defined = (int(key["price_exponent"]), int(key["quantity_exponent"]))
    for index, record in enumerate(fact.records):
        if not book.take(record, fact.exponents, defined):
            continue
        at, ts = (r, index), int(record["ts_recv"])
        if book.told != book.honest:
            told.append(("book_metrics", fact.slot, book.metrics(at, ts)))
        held = len(book.levels[1]) + len(book.levels[2])
        due = book.whole or book.changes > max(held, 100)
        if book.honest == BookState.VALID and due:
            like = {"at_r": r, "at_i": index, "ts": ts, **book.newest, "flags": 0}
            told += [("book_snapshot", fact.slot, row) for row in book.rows(held, like)]
            book.changes, book.whole = 0, False
    return told


def _doubt(books: dict[int, Book], log: Log, fact: Fact, r: int) -> list[Told]:
    if not isinstance(fact.event, BookGapDetected | ChecksumMismatch):
        return []
    ts = fact.event.ts_recv
    told: list[Told] = []
    for slot, book in books.items():
        known = book.told is not None or book.loading is not None
        of_feed = fact.slot < 0 and int(log.table["feed"][slot]) == fact.feed
        if slot == fact.slot or (of_feed and known):
            book.doubt()
            if book.told != BookState.INVALID:
                told.append(("book_metrics", slot, book.metrics((r, 0), ts)))
    return told


def _time(books: dict[int, Book], ts: int, at: tuple[int, int]) -> list[Told]:
    told: list[Told] = []
    for slot, book in books.items():
        silent = bool(book.heard) and ts - book.heard > 5 * SECOND
        fell = silent and not book.stale and book.told is not None
        book.stale |= fell
        if fell or (book.dirty and not book.open and book.second < ts // SECOND):
            book.dirty, book.second = False, ts // SECOND
            metrics = book.metrics(at, ts)
            told.append(("book_metrics", slot, metrics))
            if book.honest == BookState.VALID:
                told += [("book_level", slot, row) for row in book.rows(20, metrics)]
    return told


def books(log: Log) -> list[Told]:
    """Return what must be emitted, by record."""
    every = {slot: Book() for slot in range(len(log.table))}
    told: list[Told] = []
    for r, fact in enumerate(log.facts, 1):
        match fact.kind:
            case "book":
                told += _take(every[fact.slot], log, fact, r)
            case "event":
                told += _doubt(every, log, fact, r)
            case "status" if fact.slot < 0:
                for slot, book in every.items():
                    if int(log.table["feed"][slot]) == fact.feed:
                        heard = max(int(ts) for ts in fact.records["ts_recv"])
                        book.heard = max(book.heard, heard)
            case "time":
                for index, record in enumerate(fact.records):
                    told += _time(every, int(record["ts"]), (r, index))
    return told


def as_told(outputs: list[Output]) -> list[Told]:
    """What a processor emitted, in the oracle's form: zeros left out."""
    return [
        (kind, slot, {name: value for name, value in row.items() if value})
        for kind, _, slot, _, row in outputs
    ]


def without_zeros(told: list[Told]) -> list[Told]:
    return [(kind, slot, {n: v for n, v in row.items() if v}) for kind, slot, row in told]
