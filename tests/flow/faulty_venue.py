"""A simulated venue that misbehaves, a feed that lives with it, and both told what they hold.

What the log says is read by hand here, with dicts: neither the feed's book nor its sequences are
used. The truth is the exchange's own memory of its trades and books, not what it sent.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import groupby
from typing import Any, NamedTuple

from tidemill.deploy.exchange.exchange import Exchange, Opening
from tidemill.deploy.exchange.market import Market
from tidemill.deploy.exchange.server import listen
from tidemill.deploy.exchange.venues import exchange_of
from tidemill.schemas import events, kinds
from tidemill.schemas.enums import RecordFlag
from tidemill.schemas.events.event import Event
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.streams.feeds.feed import Endpoints, Venue
from tidemill.streams.feeds.role import Feed, Subscription
from tidemill.streams.log import Message
from tidemill.streams.memory import MemoryLog
from tidemill.streams.subjects import LOG_SUBJECTS

NAMES = ("BTCUSDT", "ETHUSDT")
SNAPSHOT, LAST = int(RecordFlag.SNAPSHOT), int(RecordFlag.LAST)

Trade = tuple[int, int, int, bool]
"""Price in ticks, lots, time in ms, whether the seller took."""
Sides = dict[int, dict[int, int]]
"""Lots by price in ticks, by side."""


class Case(NamedTuple):
    """One venue and product: what of it goes wrong, and how its ids are the exchange's.

    `trades` are the true ones by the id that the feed gives them; `update_id` is the market's of
    the id that a book in the log has, None where the exchange does not know it; `levels` are shown.
    """

    feed: Venue
    symbols: Sequence[str]
    faulty: Sequence[str]
    trades: Callable[[Market], Mapping[int, Trade]]
    update_id: Callable[[Market, int], int | None]
    levels: int = 5_000

    def __repr__(self) -> str:
        return f"{self.feed.venue} {self.feed.product}"


def single_trades(market: Market) -> dict[int, Trade]:
    """Every trade by its own id."""
    rows = market.history.trades(1, market.history.last_id).tolist()
    return {row[0]: (row[1], row[2], row[3] // 1_000, bool(row[5])) for row in rows}


def aggregated_trades(market: Market) -> dict[int, Trade]:
    """Every aggregate (one taker, one price) by its id."""
    rows = market.history.trades(1, market.history.last_id).tolist()
    found = {}
    for agg_id, group in groupby(rows, key=lambda row: row[4]):
        parts = list(group)
        first = parts[0]
        lots = sum(part[2] for part in parts)
        found[agg_id] = (first[1], lots, first[3] // 1_000, bool(first[5]))
    return found


@asynccontextmanager
async def serving(case: Case, rate: float) -> AsyncIterator[tuple[Exchange, Endpoints]]:
    """The exchange of a case in this process, with NAMES, until the end of the block."""
    opening = Opening(seed=3, rate=rate, liquidation_share=0.002)
    venue, product = case.feed.venue, case.feed.product
    exchange = exchange_of(venue, [product], NAMES, lambda: time.time_ns() // 1_000, opening)
    async with await listen(exchange, "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        running = asyncio.create_task(exchange.run())
        try:
            yield exchange, Endpoints(f"ws://{address}", f"http://{address}")
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def feeding(case: Case, log: MemoryLog, endpoints: Endpoints) -> AsyncIterator[Feed]:
    """The feed of a case, until the end of the block."""
    feed = Feed(log, [Subscription(case.feed, case.symbols, endpoints)])
    task = asyncio.create_task(feed.run())
    try:
        await until(lambda: bool(feed.feeds), task)
        yield feed
    finally:
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(outcome, asyncio.CancelledError), outcome


async def until(
    condition: Callable[[], bool], task: asyncio.Task[None], timeout_s: float = 30.0
) -> None:
    """Wait for a condition while `task` runs."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            assert not task.done(), task
            await asyncio.sleep(0.02)


async def contents(log: MemoryLog) -> list[Message]:
    """Everything that is in the log, in order."""
    reader = await log.read(1, LOG_SUBJECTS)
    found: list[Message] = []
    while pulled := await reader.pull(1_000, 1 << 24, 0.01):
        found += pulled
    await reader.close()
    return found


class Told:
    """What a log says of one instrument, message by message."""

    def __init__(self, messages: Sequence[Message], market: Market) -> None:
        self.market = market
        self.symbol = _symbol_of(messages, market)
        self._mine = [m for m in messages if f".{self.symbol}." in m.subject]

    @property
    def events(self) -> Iterator[Event]:
        """The events, in order."""
        for message in self._mine:
            if message.payload.startswith(b"{"):
                yield events.decode(message.payload)

    def trades(self) -> Iterator[tuple[int, Trade]]:
        """(id, trade) in the order of the log."""
        for message in self._mine:
            if message.subject.startswith("md.trade."):
                frame = kinds.decode(message.payload)
                ticks, lots = self._scales(frame)
                for row in frame.records:
                    yield (
                        int(row["trade_id"]),
                        (
                            _exact(int(row["price"]), ticks),
                            _exact(int(row["quantity"]), lots),
                            int(row["ts_event"]) // 1_000_000,
                            int(row["aggressor_side"]) == 2,
                        ),
                    )

    def books(self) -> Iterator[tuple[int, bool, Sides | None]]:
        """(last update id, snapshot, the book) after every change; (id, False, None) after what
        says that it is invalid. Levels are applied as schemas say, by hand."""
        book = _Book()
        for message in self._mine:
            if message.payload.startswith(b"{"):
                event = events.decode(message.payload)
                if type(event).__name__ == "BookGapDetected":
                    book.valid = False
                    yield event.last_update_id, False, None  # type: ignore[attr-defined]
            elif message.subject.startswith("md.book."):
                frame = kinds.decode(message.payload)
                ticks, lots = self._scales(frame)
                for row in frame.records:
                    price, quantity = int(row["price"]), int(row["quantity"])
                    whole = book.take(row, _exact(price, ticks), _exact(quantity, lots))
                    if whole and book.valid:
                        yield book.last_id, book.snapshot, book.sides

    def _scales(self, frame: Any) -> tuple[int, int]:
        """What one tick and one lot are in mantissas of a frame."""
        symbol = self.market.symbol
        return (
            10 ** (-frame.price_exponent - symbol.price_places),
            10 ** (-frame.quantity_exponent - symbol.qty_places),
        )


class _Book:
    """A book as the records of a log say it is."""

    def __init__(self) -> None:
        self.sides: Sides = {1: {}, 2: {}}
        self.valid = self.snapshot = False
        self.last_id = -1
        self._ended = True

    def take(self, row: Any, price: int, quantity: int) -> bool:
        """Take one record; return whether it ends a message."""
        last_id, flags = int(row["last_update_id"]), int(row["flags"])
        snapshot = bool(flags & SNAPSHOT)
        if snapshot and (self._ended or not self.snapshot or last_id != self.last_id):
            self.sides = {1: {}, 2: {}}
            self.valid = False
        self.snapshot, self.last_id = snapshot, last_id
        side = int(row["side"])
        if side and quantity:
            self.sides[side][price] = quantity
        elif side:
            self.sides[side].pop(price, None)
        self._ended = bool(flags & LAST)
        if self._ended and snapshot:
            self.valid = True
        return self._ended


def true_book(case: Case, market: Market, last_id: int) -> Sides:
    """The exchange's own book at an id of the log."""
    update_id = case.update_id(market, last_id)
    book = None if update_id is None else market.record.at(update_id)
    assert book is not None, f"the exchange has had no book {last_id}"
    return {1: dict(book.bids[: case.levels]), 2: dict(book.asks[: case.levels])}


def _symbol_of(messages: Sequence[Message], market: Market) -> str:
    for message in messages:
        if message.subject.startswith("md.instrument."):
            event = events.decode(message.payload)
            assert isinstance(event, InstrumentDefined)
            if event.raw == market.symbol.raw:
                return event.symbol
    raise AssertionError(f"{market.symbol.raw} is not defined")


def _exact(mantissa: int, unit: int) -> int:
    whole, rest = divmod(mantissa, unit)
    assert rest == 0, f"{mantissa} is no multiple of {unit}"
    return whole
