"""Books of instruments as feeds tell them to LOG, and what stands at each record by a dictionary.

The oracle knows the rules of LOG alone (a snapshot clears, a change sets, a gap ends the proof) and
none of our book code.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from tidemill.schemas import events, frame
from tidemill.schemas.enums import OrderSide, RecordFlag
from tidemill.schemas.events.feed import BookGapDetected, BookResynced
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.identifiers import ALL, partition
from tidemill.schemas.kinds.book import BOOK
from tidemill.schemas.kinds.quote import QUOTE
from tidemill.schemas.kinds.status import STATUS
from tidemill.schemas.kinds.time import TIME
from tidemill.schemas.kinds.trade import TRADE
from tidemill.schemas.rows import Row, from_rows
from tidemill.streams import subjects

T_NS = 1_767_225_600_000_000_000
STEP_NS = 100_000_000
EXPONENTS = (-2, -3)
_MIDDLE = 100_000
Facts = list[tuple[str, bytes]]


class Level(NamedTuple):
    """One record of a book: side, price and new quantity, in steps; its flags and message."""

    side: int
    price: int
    quantity: int
    flags: int
    update_id: int


class Stood(NamedTuple):
    """How a book stood after a record: its state, and the levels where it is VALID."""

    state: str
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]
    update_id: int


@dataclass
class Oracle:
    """A book as the records of LOG make it; `stood` is how it was after the last whole message."""

    levels: dict[tuple[int, int], int] = field(default_factory=dict)
    loading: bool = False
    stood: Stood | None = None

    def take(self, level: Level) -> None:
        """One record."""
        if level.flags & RecordFlag.SNAPSHOT and not self.loading:
            self.levels, self.loading = {}, True
        if level.quantity:
            self.levels[level.side, level.price] = level.quantity
        else:
            self.levels.pop((level.side, level.price), None)
        if level.flags & RecordFlag.LAST:
            self.loading = False
            self.stood = self._book(level.update_id)

    def gap(self) -> None:
        """Something is missing from here on."""
        self.loading, self.stood = False, Stood("INVALID", [], [], 0)

    def _book(self, update_id: int) -> Stood:
        by_side: dict[int, list[tuple[int, int]]] = {OrderSide.BUY: [], OrderSide.SELL: []}
        for (side, price), quantity in self.levels.items():
            by_side[side].append((price, quantity))
        bids, asks = (sorted(by_side[side]) for side in (OrderSide.BUY, OrderSide.SELL))
        return Stood("VALID", bids[::-1], asks, update_id)


class Told:
    """A seeded LOG of one instrument's book; `stood` by (r, i) where the test looked."""

    def __init__(self, seed: int, depth: int, symbol: str = "BTCUSDT") -> None:
        self.random, self.depth, self.symbol = Random(seed), depth, symbol
        self.part = partition("BTC/USDT")
        self.ts, self.sequence, self.update_id = T_NS, 0, 1_000
        self.oracle = Oracle()
        self.facts: Facts = []
        self.stood: dict[tuple[int, int], Stood | None] = {}
        self.look = 1.0
        """Share of records after which the book is noted."""

    def begin(self) -> None:
        """The definition, a trade and a quote, so that LOG has a time."""
        defined = InstrumentDefined(
            venue="BINANCE", symbol=self.symbol, product="SPOT", base="BTC", quote="USDT"
        )
        exponents = {"price_exponent": EXPONENTS[0], "quantity_exponent": EXPONENTS[1]}
        defined = defined.model_copy(update=exponents)
        self._append("instrument", events.encode(defined))
        trade = {"ts_event": self.ts, "ts_recv": self.ts, "price": 1, "quantity": 1}
        self._append("trade", frame.encode(TRADE, from_rows(TRADE, [trade]), 1, *EXPONENTS))
        quote = {"ts_recv": self.ts}
        self._append("quote", frame.encode(QUOTE, from_rows(QUOTE, [quote]), 1, *EXPONENTS))
        self.tick()

    def tick(self) -> None:
        """A status of the feed, and 100 ms later the time."""
        status = STATUS.empty(1)
        status["venue_time"] = status["ts_recv"] = self.ts
        self.facts.append(
            (subjects.md("status", "BINANCE", "SPOT", ALL), frame.encode(STATUS, status, 1))
        )
        self.ts += STEP_NS
        self.facts.append(("time", frame.encode(TIME, from_rows(TIME, [{"ts": self.ts}]), 1)))

    def snapshot(self, frame_levels: int = 1_285) -> None:
        """A whole book, in as many frames as it needs."""
        self.update_id += self.random.randrange(1, 50)
        drawn = [
            (side, self._price(side), self.random.randrange(1, 10**6))
            for side in (OrderSide.BUY, OrderSide.SELL)
            for _ in range(self.random.randrange(self.depth // 2, self.depth))
        ]
        unique = list({(side, price): quantity for side, price, quantity in drawn}.items())
        self._message([(*at, quantity) for at, quantity in unique], True, frame_levels)

    def changes(self, messages: int) -> None:
        """A frame of so many changes."""
        made: list[Level] = []
        for _ in range(messages):
            self.update_id += self.random.randrange(1, 9)
            made += self._levels(self._drawn(), RecordFlag.NONE)
        self._frame(made)

    def gap(self) -> None:
        """From here on the book is not proven."""
        event = BookGapDetected(
            venue="BINANCE", symbol=self.symbol, last_update_id=self.update_id, reason="GAP",
            expected_id=self.update_id, received_id=self.update_id + 2, ts_recv=self.ts,
        )  # fmt: skip
        self.oracle.gap()
        self._append("event", events.encode(event))
        self.stood[len(self.facts), 0] = self.oracle.stood

    def resynced(self) -> None:
        """What a feed says after the snapshot."""
        event = BookResynced(
            venue="BINANCE", symbol=self.symbol, last_update_id=self.update_id, invalid_ns=1,
            attempts=1, ts_recv=self.ts,
        )  # fmt: skip
        self._append("event", events.encode(event))

    def _price(self, side: int) -> int:
        away = int(self.random.expovariate(1 / self.depth)) + 1
        return _MIDDLE - away if side == OrderSide.BUY else _MIDDLE + away

    def _drawn(self) -> list[tuple[int, int, int]]:
        drawn: dict[tuple[int, int], int] = {}
        for _ in range(self.random.randrange(1, 12)):
            side = self.random.choice((OrderSide.BUY, OrderSide.SELL))
            gone = self.random.random() < 0.4 and self.oracle.levels
            at = self.random.choice(list(gone)) if gone else (side, self._price(side))
            drawn[at] = 0 if gone else self.random.randrange(1, 10**6)
        return [(*at, quantity) for at, quantity in drawn.items()]

    def _levels(self, drawn: list[tuple[int, int, int]], flags: RecordFlag) -> list[Level]:
        levels = [Level(*one, flags, self.update_id) for one in drawn]
        return [*levels[:-1], levels[-1]._replace(flags=flags | RecordFlag.LAST)]

    def _message(self, drawn: list[tuple[int, int, int]], whole: bool, frame_levels: int) -> None:
        levels = self._levels(drawn, RecordFlag.SNAPSHOT if whole else RecordFlag.NONE)
        for at in range(0, len(levels), frame_levels):
            self._frame(levels[at : at + frame_levels])

    def _frame(self, levels: list[Level]) -> None:
        rows: list[Row] = [
            {
                "ts_event": self.ts, "ts_recv": self.ts + 1_000, "first_update_id": one.update_id,
                "last_update_id": one.update_id, "price": one.price, "quantity": one.quantity,
                "side": one.side, "flags": one.flags,
            }
            for one in levels
        ]  # fmt: skip
        self.sequence += 1
        self._append("book", frame.encode(BOOK, from_rows(BOOK, rows), self.sequence, *EXPONENTS))
        for i, one in enumerate(levels):
            self.oracle.take(one)
            if self.random.random() < self.look or i == len(levels) - 1:
                self.stood[len(self.facts), i] = self.oracle.stood

    def _append(self, kind: str, payload: bytes) -> None:
        self.facts.append((subjects.md(kind, "BINANCE", self.symbol, self.part), payload))


def story(seed: int, depth: int, steps: int, look: float) -> Iterator[Told]:
    """Tell a book: snapshots, changes, gaps, and changes of a book that nobody proved."""
    told = Told(seed, depth)
    told.look = look
    told.begin()
    told.snapshot(frame_levels=depth)
    for _ in range(steps):
        chance = told.random.random()
        if chance < 0.01:
            told.gap()
            told.tick()
            told.snapshot(frame_levels=depth)
            told.resynced()
        elif chance < 0.02:
            told.snapshot(frame_levels=depth)
        elif chance < 0.2:
            told.tick()
        else:
            told.changes(told.random.randrange(1, 4))
    told.tick()
    yield told
