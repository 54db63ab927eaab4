"""Synthetic books: snapshots and changes of many levels, dense, the same for the same seed."""

from collections.abc import Iterator

import numpy as np

from tidemill.schemas import events, frame
from tidemill.schemas.enums import OrderSide, RecordFlag
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.identifiers import ALL, partition
from tidemill.schemas.kinds.book import BOOK
from tidemill.schemas.kinds.quote import QUOTE
from tidemill.schemas.kinds.status import STATUS
from tidemill.schemas.kinds.time import TIME
from tidemill.schemas.kinds.trade import TRADE
from tidemill.schemas.run import Records
from tidemill.streams import subjects

Facts = list[tuple[str, bytes]]
START_NS = 1_767_225_600_000_000_000
STEP_NS = 100_000_000
VENUE = "BINANCE"
PRICE_EXPONENT, QUANTITY_EXPONENT = -2, -5
FRAME_LEVELS = 1_285
_MIDDLE = 6_000_000


class Books:
    """Books of `symbols`, each `depth` levels a side, `changes` records each 100 ms."""

    def __init__(self, symbols: tuple[str, ...], depth: int, changes: int, seed: int = 1) -> None:
        self.symbols, self.depth, self.changes = symbols, depth, changes
        self.random = np.random.default_rng(seed)
        self.ts, self.sequence, self.update_id = START_NS, 0, 1_000

    def opening(self) -> Facts:
        """Definitions, one trade and quote (LOG's first time), and a whole book each."""
        facts: Facts = []
        for symbol in self.symbols:
            defined = InstrumentDefined(
                venue=VENUE,
                symbol=symbol,
                product="SPOT",
                base=symbol.removesuffix("USDT"),
                quote="USDT",
                price_exponent=PRICE_EXPONENT,
                quantity_exponent=QUANTITY_EXPONENT,
            )
            facts.append((self._subject("instrument", symbol), events.encode(defined)))
        for kind in (TRADE, QUOTE):
            records = kind.empty(1)
            records["ts_recv"] = self.ts
            facts.append(
                (self._subject(kind.name, self.symbols[0]), frame.encode(kind, records, 1))
            )
        facts += self._time()
        for symbol in self.symbols:
            facts += self._snapshot(symbol)
        return facts

    def facts(self, levels: int) -> Iterator[Facts]:
        """Yield at least so many records of changes, 100 ms at a time."""
        made = 0
        while made < levels:
            batch = [fact for symbol in self.symbols for fact in self._change(symbol)]
            made += self.changes * len(self.symbols)
            yield [*batch, *self._time()]

    def _snapshot(self, symbol: str) -> Facts:
        away = np.arange(1, self.depth + 1)
        prices = np.concatenate([_MIDDLE - away, _MIDDLE + away])
        sides = np.repeat([OrderSide.BUY, OrderSide.SELL], self.depth)
        records = self._records(prices, sides, np.zeros(len(prices), np.bool_))
        records["flags"] = RecordFlag.SNAPSHOT
        records["flags"][-1] |= RecordFlag.LAST
        return self._framed(symbol, records)

    def _change(self, symbol: str) -> Facts:
        """One message of a venue: most of it near the touch; a third of the levels go."""
        sides = self.random.integers(1, 3, self.changes)
        away = 1 + (self.random.exponential(self.depth / 8, self.changes)).astype(np.int64)
        away = np.minimum(away, self.depth)
        prices = _MIDDLE + np.where(sides == OrderSide.BUY, -away, away)
        records = self._records(prices, sides, self.random.random(self.changes) < 0.33)
        records["flags"][-1] = RecordFlag.LAST
        return self._framed(symbol, records)

    def _records(self, prices: Records, sides: Records, gone: Records) -> Records:
        self.update_id += 1
        records = BOOK.empty(len(prices))
        records["ts_event"], records["ts_recv"] = self.ts, self.ts + 1_000_000
        records["first_update_id"] = records["last_update_id"] = self.update_id
        records["price"], records["side"] = prices, sides
        quantities = self.random.integers(1, 10**8, len(prices))
        records["quantity"] = np.where(gone, 0, quantities)
        return records

    def _framed(self, symbol: str, records: Records) -> Facts:
        made = []
        for at in range(0, len(records), FRAME_LEVELS):
            self.sequence += 1
            part = records[at : at + FRAME_LEVELS]
            exponents = (PRICE_EXPONENT, QUANTITY_EXPONENT)
            payload = frame.encode(BOOK, part, self.sequence, *exponents)
            made.append((self._subject("book", symbol), payload))
        return made

    def _time(self) -> Facts:
        status = STATUS.empty(1)
        status["venue_time"] = status["ts_recv"] = self.ts
        self.ts += STEP_NS
        time = TIME.empty(1)
        time["ts"] = self.ts
        return [
            (subjects.md("status", VENUE, "SPOT", ALL), frame.encode(STATUS, status, 1)),
            ("time", frame.encode(TIME, time, 1)),
        ]

    def _subject(self, kind: str, symbol: str) -> str:
        pair = f"{symbol.removesuffix('USDT')}/USDT"
        return subjects.md(kind, VENUE, symbol, partition(pair))
