"""The role feeds: one venue, all its products, from their sockets into LOG through one writer."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

from tidemill.schemas import events, kinds
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.identifiers import ALL
from tidemill.streams import subjects
from tidemill.streams.feeds.allowance import Allowance, connections_of
from tidemill.streams.feeds.capture import Recorder
from tidemill.streams.feeds.disk import Disk
from tidemill.streams.feeds.feed import Endpoints, Instruments, Venue
from tidemill.streams.feeds.items import Item
from tidemill.streams.feeds.live import Known, LiveFeed, rest_of
from tidemill.streams.feeds.outlet import FeedSource
from tidemill.streams.feeds.rest import Rest
from tidemill.streams.log import Log
from tidemill.streams.writer import Writer

DRAIN_S = 2.0
"""How long a feed that is stopped still appends what it has."""
MEND_S = 0.1
"""How soon a book that was torn on its way into the log begins anew."""


class Subscription(NamedTuple):
    """What of one product is subscribed to, where, and over how many connections at once."""

    venue: Venue
    symbols: Sequence[str]
    endpoints: Endpoints
    connections: int = 1


class Feed:
    """The live feeds of one venue, which append to `log`; `feeds` are there once it runs.

    `dead` is a directory for captures of messages that could not be read; `usage` tells the used
    part (0 to 1) of the log's disk. Raises ValueError unless all products are of one venue and
    every symbol is of one product.
    """

    def __init__(
        self,
        log: Log,
        subscriptions: Sequence[Subscription],
        dead: Path | None = None,
        usage: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._log, self._subscriptions, self._dead = log, list(subscriptions), dead
        self._products = _products(self._subscriptions)
        venue = self._subscriptions[0].venue
        self.venue = venue.venue
        self.products = [each.venue.product for each in self._subscriptions]
        self._source = FeedSource(venue, self._products)
        self.writer = Writer[Item](log, f"md.*.{venue.venue}.*.*", self._source)
        self.disk = Disk(usage)
        self.feeds: list[LiveFeed] = []

    async def run(self) -> None:
        """Own the subjects, read back what is known, and feed until cancelled.

        Raises Fenced (in a group) when another feed of this venue has taken over.
        """
        await self.writer.open()
        async with AsyncExitStack() as stack:
            rests, openings = dict[str, Rest](), dict[str, Allowance]()
            for each in self._subscriptions:
                if each.endpoints.rest not in rests:
                    rest = await stack.enter_async_context(rest_of(each.venue, each.endpoints))
                    rests[each.endpoints.rest] = rest
                limit = each.venue.limits.connections
                openings.setdefault(each.endpoints.websocket, connections_of(limit))
            self.feeds = [
                await self._feed(s, rests[s.endpoints.rest], openings[s.endpoints.websocket])
                for s in self._subscriptions
            ]
            await self._run()

    async def _feed(self, subscription: Subscription, rest: Rest, openings: Allowance) -> LiveFeed:
        venue, symbols, endpoints, connections = subscription
        known = await known_of(self._log, venue, symbols)
        name = f"dead_{venue.venue}_{venue.product}"
        dead = Recorder(self._dead, name) if self._dead is not None else None
        return LiveFeed(
            venue,
            symbols,
            endpoints,
            self,
            known,
            dead=dead,
            connections=connections,
            rest=rest,
            openings=openings,
        )

    async def _run(self) -> None:
        writing = asyncio.create_task(self.writer.run())
        feeding = asyncio.create_task(self._feeding())
        try:
            done, _ = await asyncio.wait({writing, feeding}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            if not writing.done():
                await asyncio.wait({asyncio.ensure_future(self.writer.drain())}, timeout=DRAIN_S)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    async def _feeding(self) -> None:
        self.disk.look(asyncio.get_running_loop().time())
        async with asyncio.TaskGroup() as group:
            group.create_task(self.disk.watch())
            group.create_task(self._mend())
            for feed in self.feeds:
                group.create_task(feed.run())

    async def put(self, items: list[Item]) -> None:
        """Append `items`; give them up while the log's disk is full. The outlet of every feed."""
        await (self.writer.refuse if self.disk.full else self.writer.put)(items)

    async def _mend(self) -> None:
        """Have books begin anew that the log has only a part of."""
        while True:
            await asyncio.sleep(MEND_S)
            torn = self._source.torn()
            for feed in self.feeds:
                if mine := [s for s in torn if self._products[s] == feed.venue.product]:
                    await feed.renew(mine)


def _products(subscriptions: Sequence[Subscription]) -> dict[str, str]:
    """Return the product of every symbol. Raises ValueError where that is not one."""
    products: dict[str, str] = {}
    for venue, symbols, *_ in subscriptions:
        if venue.venue != subscriptions[0].venue.venue:
            raise ValueError(f"{venue.venue} and {subscriptions[0].venue.venue} are two venues")
        for symbol in symbols:
            if products.setdefault(symbol, venue.product) != venue.product:
                raise ValueError(f"{symbol} is of {products[symbol]} and of {venue.product}")
    return products


async def record(
    subscription: Subscription, directory: Path, seconds: float | None = None
) -> list[Path]:
    """Write what a venue sends to captures in `directory`, for `seconds` or until cancelled.

    Return the files. Nothing is appended anywhere.
    """
    venue, symbols, endpoints, connections = subscription
    recorder = Recorder(directory, f"{venue.venue}_{venue.product}")
    feed = LiveFeed(
        venue, symbols, endpoints, Nowhere(), recorder=recorder, connections=connections
    )
    recorder.on_file = feed.beginning
    try:
        async with asyncio.timeout(seconds):
            await feed.run()
    except TimeoutError:
        pass  # the time is over
    return recorder.files


class Nowhere:
    """An outlet that keeps nothing: recording only needs the raw messages."""

    async def put(self, items: list[Item]) -> None:
        """Forget `items`."""


async def known_of(log: Log, venue: Venue, symbols: Sequence[str]) -> Known:
    """Read the newest definition, trade, book and status of each of `symbols` from LOG.

    Raises Unavailable as the log does, Unreadable when what it holds is damaged.
    """
    known = Known(Instruments(wanted=frozenset(symbols)))
    for message in await log.lasts(f"md.instrument.{venue.venue}.*.*"):
        definition = events.decode(message.payload)
        if isinstance(definition, InstrumentDefined) and definition.symbol in symbols:
            known.instruments.define(definition.model_copy(update={"sequence": 0}))
    known.instruments.fresh.clear()
    for message in await log.lasts(f"md.trade.{venue.venue}.*.*"):
        symbol = subjects.parse(message.subject).symbol
        trade = kinds.decode(message.payload).records[-1]
        if symbol in symbols:
            known.lasts[symbol] = int(trade["trade_id"]), int(trade["ts_event"])
    for message in await log.lasts(f"md.book.{venue.venue}.*.*"):
        symbol = subjects.parse(message.subject).symbol
        known.books += [symbol] if symbol in symbols else []
    for message in await log.lasts(f"md.status.{venue.venue}.*.*"):
        subject = subjects.parse(message.subject)
        status = kinds.decode(message.payload).records[-1]
        if subject.partition != ALL:
            known.held += [subject.symbol] if status["hold"] and subject.symbol in symbols else []
        elif subject.symbol == venue.product:
            known.venue_time = int(status["venue_time"])
    return known
