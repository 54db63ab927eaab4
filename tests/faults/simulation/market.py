"""A venue and the feed that writes what it says: which records were confirmed is noted outside."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

import numpy as np

from tidemill.schemas import events, frame, kinds
from tidemill.schemas.events.feed import TradeGapSuspected
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.identifiers import ALL, partition
from tidemill.schemas.kinds.quote import QUOTE
from tidemill.schemas.kinds.status import STATUS
from tidemill.schemas.kinds.trade import TRADE
from tidemill.streams import subjects
from tidemill.streams.log import Log
from tidemill.streams.writer import Flush, Limits, Writer

PAIRS = (("BTC", "USDT"), ("ETH", "USDT"), ("ADA", "EUR"))
T0_NS = 1_700_000_000_000_000_000
LIMITS = Limits(linger_s=0.02, give_up_s=3.0)


class Item(NamedTuple):
    """Something a venue said; `number` is its own count of what it said, 0 for a declared loss."""

    number: int
    kind: str
    pair: int
    at_ns: int
    count: int = 1


@dataclass
class Ledger:
    """What is known outside the feed's process: each item's bytes, what was confirmed or lost."""

    said: int = 0
    sent: dict[bytes, Item] = field(default_factory=dict)
    """By the payload of a message: the item it holds."""
    confirmed: list[Item] = field(default_factory=list)
    given_up: list[Item] = field(default_factory=list)


class Feed:
    """What the writer asks of a feed; implements tidemill.streams.writer.Source."""

    def __init__(self, venue: str, ledger: Ledger) -> None:
        self._venue, self._ledger = venue, ledger
        self._lost = 0
        self.taken: list[Item] = []
        """What the writer has cut into messages, in that order, since it began."""

    def size(self, item: Item) -> int:
        return 100 + 60 * item.count

    def cut(self, items: Sequence[Item], sequence: int) -> Flush:
        flush = []
        for at, item in enumerate(items):
            message = self._message(item, sequence + at)
            self._ledger.sent[message[1]] = item
            self.taken.append(item)
            flush.append(message)
        return flush

    def give_up(self, items: Sequence[Item]) -> None:
        self._lost += len(items)
        self._ledger.given_up += items

    def declare(self) -> Sequence[Item]:
        lost, self._lost = self._lost, 0
        return [Item(0, "gap", 0, T0_NS, lost)] if lost else []

    def _message(self, item: Item, sequence: int) -> tuple[str, bytes]:
        base, quote = PAIRS[item.pair]
        symbol, part = base + quote, partition(f"{base}/{quote}")
        on = subjects.md(item.kind, self._venue, symbol, part)
        ts = item.at_ns
        if item.kind == "instrument":
            defined = InstrumentDefined(
                sequence=sequence,
                venue=self._venue,
                symbol=symbol,
                product="SPOT",
                base=base,
                quote=quote,
                price_exponent=-2,
                quantity_exponent=-8,
            )
            return on, events.encode(defined)
        if item.kind == "gap":
            lost = TradeGapSuspected(
                sequence=sequence,
                venue=self._venue,
                symbol=symbol,
                ts_from=ts,
                ts_to=ts + item.count,
                ts_recv=ts,
                reason="RECONNECTED",
            )
            return subjects.md("event", self._venue, symbol, part), events.encode(lost)
        if item.kind == "status":
            status = STATUS.empty(1)
            status["venue_time"] = status["ts_recv"] = ts
            on = subjects.md("status", self._venue, "SPOT", ALL)
            return on, frame.encode(STATUS, status, sequence)
        if item.kind == "quote":
            quotes = QUOTE.empty(item.count)
            quotes["ts_event"] = quotes["ts_recv"] = ts + np.arange(item.count)
            quotes["update_id"] = item.number * 10 + np.arange(item.count)
            quotes["bid_price"], quotes["ask_price"] = 100 + item.number % 7, 110 + item.number % 5
            quotes["bid_quantity"] = quotes["ask_quantity"] = 1 + item.number % 3
            return on, frame.encode(QUOTE, quotes, sequence, -2, -8)
        trades = TRADE.empty(item.count)
        trades["ts_event"] = trades["ts_recv"] = ts + np.arange(item.count)
        trades["trade_id"] = item.number * 10 + np.arange(item.count)
        trades["price"] = 100 + (item.number * 7 + np.arange(item.count)) % 13
        trades["quantity"] = 1 + (item.number + np.arange(item.count)) % 5
        return on, frame.encode(TRADE, trades, sequence, -2, -8)


def sequence_of(payload: bytes) -> int:
    """The source sequence that a stored message carries."""
    if payload.startswith(b"{"):
        return events.decode(payload).sequence
    return kinds.decode(payload).sequence


@dataclass
class Market:
    """One venue: what it says next is drawn from `random`; `ledger` is kept outside its feed."""

    venue: str
    random: Random
    ledger: Ledger = field(default_factory=Ledger)
    ended: bool = False

    async def feed(self, log: Log, pause_s: float) -> None:
        """One feed process: own the subjects, say all there is, confirm what is stored."""
        source = Feed(self.venue, self.ledger)
        told = 0
        writer: Writer[Item] = Writer(log, f"md.*.{self.venue}.*.*", source, LIMITS)
        await writer.open()
        first = writer.sequence

        def confirm() -> None:
            """Note, outside, which items the writer calls stored."""
            nonlocal told
            stored = writer.sequence - first
            self.ledger.confirmed += source.taken[told:stored]
            told = stored

        running = asyncio.create_task(writer.run())
        try:
            if first == 0:
                await writer.put([self._item("instrument", pair) for pair in range(len(PAIRS))])
            while not self.ended:
                await writer.put(self._said())
                if self.random.random() < 0.5:
                    await writer.drain()
                confirm()
                await asyncio.sleep(pause_s * self.random.uniform(0.3, 1.7))
            await writer.drain()
            confirm()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    def _said(self) -> list[Item]:
        made = []
        for _ in range(self.random.randint(1, 4)):
            kind = self.random.choice(("trade", "trade", "trade", "quote", "status"))
            count = self.random.randint(1, 4) if kind != "status" else 1
            made.append(self._item(kind, self.random.randrange(len(PAIRS)), count))
        return made

    def _item(self, kind: str, pair: int, count: int = 1) -> Item:
        self.ledger.said += 1
        at_ns = T0_NS + int(asyncio.get_running_loop().time() * 1e9)
        return Item(self.ledger.said, kind, pair, at_ns, count)
