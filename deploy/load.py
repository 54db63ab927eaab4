"""Synthetic market data for benchmarks and load: dense, plausible, the same for the same seed."""

from collections.abc import Iterator

import numpy as np

from tidemill.schemas import events, frame
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.identifiers import ALL, partition
from tidemill.schemas.kinds.status import STATUS
from tidemill.schemas.kinds.time import TIME
from tidemill.schemas.kinds.trade import TRADE
from tidemill.schemas.run import Records
from tidemill.streams import subjects

BASES = ("BTC", "ETH", "SOL", "BNB", "XRP", "ADA", "DOGE", "LTC", "LINK", "DOT", "AVAX", "TRX")
START_NS = 1_767_225_600_000_000_000
"""2026-01-01T00:00:00Z."""
VENUE = "LOAD"


class Load:
    """Trades of `instruments` symbols, `rate` a second in all, in frames of `per_frame`."""

    def __init__(
        self,
        instruments: int,
        rate: int,
        per_frame: int = 1_300,
        seed: int = 1,
        venue: str = VENUE,
    ) -> None:
        self.venue = venue
        self.random = np.random.default_rng(seed)
        self.rate, self.per_frame = rate, per_frame
        names = [
            BASES[k % len(BASES)] + ("" if k < len(BASES) else str(k)) for k in range(instruments)
        ]
        self.definitions = [
            InstrumentDefined(
                venue=venue, symbol=f"{name}USDT", product="SPOT", base=name, quote="USDT"
            )
            for name in names
        ]
        self.prices = (1_000 * 0.7 ** np.arange(instruments) * 1e8).astype(np.int64) + 10**7
        self.next_id = np.ones(instruments, np.uint64)
        self.ts = START_NS
        self.sequence = 0
        """Source sequence of the newest fact."""

    def opening(self) -> list[tuple[str, bytes]]:
        """Return definitions, a first status and the time: what comes before any trade."""
        facts = [
            (
                subjects.md("instrument", d.venue, d.symbol, partition(d.pair)),
                events.encode(d.model_copy(update={"sequence": self._numbered()})),
            )
            for d in self.definitions
        ]
        return [*facts, self.status(), self.time()]

    def status(self) -> tuple[str, bytes]:
        """Return the feed's status as of now."""
        status = STATUS.empty(1)
        status["venue_time"] = status["ts_recv"] = self.ts
        payload = frame.encode(STATUS, status, self._numbered())
        return subjects.md("status", self.venue, "SPOT", ALL), payload

    def time(self) -> tuple[str, bytes]:
        """Return the time as of now."""
        time = TIME.empty(1)
        time["ts"] = self.ts
        return "time", frame.encode(TIME, time, 1)

    def trades(self, which: int, count: int, span_ns: int) -> Records:
        """Return the next `count` trades of one instrument, evenly over the next `span_ns`."""
        records = TRADE.empty(count)
        records["ts_event"] = self.ts + np.arange(1, count + 1) * span_ns // count
        records["ts_recv"] = records["ts_event"] + 1_000_000
        records["trade_id"] = self.next_id[which] + np.arange(count, dtype=np.uint64)
        steps = self.random.integers(-2, 3, count) * 10_000
        records["price"] = np.maximum(self.prices[which] + np.cumsum(steps), 10_000)
        records["quantity"] = self.random.integers(1, 500, count) * 100_000
        records["aggressor_side"] = self.random.integers(1, 3, count)
        self.next_id[which] += np.uint64(count)
        self.prices[which] = records["price"][-1]
        return records

    def records(self, count: int) -> list[Records]:
        """Return `count` trades of every instrument, and let their time pass."""
        span = count * len(self.definitions) * 1_000_000_000 // self.rate
        made = [self.trades(which, count, span) for which in range(len(self.definitions))]
        self.ts += span
        return made

    def framed(self, made: list[Records]) -> list[tuple[str, bytes]]:
        """Return trades of every instrument as a frame each, with its subject."""
        facts = []
        for definition, records in zip(self.definitions, made, strict=True):
            subject = subjects.md(
                "trade", self.venue, definition.symbol, partition(definition.pair)
            )
            facts.append((subject, frame.encode(TRADE, records, self._numbered(), -8, -8)))
        return facts

    def round(self, count: int) -> list[tuple[str, bytes]]:
        """Return one frame of `count` trades of every instrument, and let their time pass."""
        return self.framed(self.records(count))

    def facts(self, trades: int) -> Iterator[list[tuple[str, bytes]]]:
        """Yield about `trades` trades, a round at a time, with `time` and `status` between them."""
        made = 0
        status_at = time_at = self.ts
        while made < trades:
            batch = self.round(self.per_frame)
            made += self.per_frame * len(self.definitions)
            if self.ts - time_at >= 100_000_000:
                batch.append(self.time())
                time_at = self.ts
            if self.ts - status_at >= 500_000_000:
                batch.append(self.status())
                status_at = self.ts
            yield batch

    def _numbered(self) -> int:
        self.sequence += 1
        return self.sequence
