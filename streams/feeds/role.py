"""The role feeds: one venue and product from its sockets into LOG, continuing where it ended."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from tidemill.schemas import events, kinds
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.identifiers import ALL
from tidemill.streams import subjects
from tidemill.streams.feeds.capture import Recorder
from tidemill.streams.feeds.feed import Endpoints, Instruments, Venue
from tidemill.streams.feeds.intake import Item
from tidemill.streams.feeds.live import Known, LiveFeed
from tidemill.streams.feeds.outlet import FeedSource
from tidemill.streams.log import Log
from tidemill.streams.writer import Writer

DRAIN_S = 2.0
"""How long a feed that is stopped still appends what it has."""


class Feed:
    """A live feed that appends to `log`; `feed` and `writer` are there once it runs.

    `dead` is a directory for captures of messages that could not be read.
    """

    def __init__(
        self,
        log: Log,
        venue: Venue,
        symbols: Sequence[str],
        endpoints: Endpoints,
        dead: Path | None = None,
    ) -> None:
        self._log, self._venue, self._symbols = log, venue, list(symbols)
        self._endpoints, self._dead = endpoints, dead
        self.writer = Writer[Item](log, f"md.*.{venue.venue}.*.*", FeedSource(venue))
        self.feed: LiveFeed | None = None

    async def run(self) -> None:
        """Own the subjects, read back what is known, and feed until cancelled.

        Raises Fenced (in a group) when another feed of this venue has taken over.
        """
        await self.writer.open()
        known = await known_of(self._log, self._venue, self._symbols)
        name = f"dead_{self._venue.venue}_{self._venue.product}"
        dead = Recorder(self._dead, name) if self._dead is not None else None
        self.feed = LiveFeed(
            self._venue, self._symbols, self._endpoints, self.writer, known, dead=dead
        )
        writing = asyncio.create_task(self.writer.run())
        feeding = asyncio.create_task(self.feed.run())
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


async def record(
    venue: Venue,
    symbols: Sequence[str],
    endpoints: Endpoints,
    directory: Path,
    seconds: float | None = None,
) -> list[Path]:
    """Write what a venue sends to captures in `directory`, for `seconds` or until cancelled.

    Return the files. Nothing is appended anywhere.
    """
    recorder = Recorder(directory, f"{venue.venue}_{venue.product}")
    feed = LiveFeed(venue, symbols, endpoints, Nowhere(), recorder=recorder)
    recorder.on_file = lambda: feed.definitions
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
    """Read the newest definition, trade and status of each of `symbols` from LOG.

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
    for message in await log.lasts(f"md.status.{venue.venue}.*.*"):
        subject = subjects.parse(message.subject)
        status = kinds.decode(message.payload).records[-1]
        if subject.partition != ALL:
            known.held += [subject.symbol] if status["hold"] and subject.symbol in symbols else []
        elif subject.symbol == venue.product:
            known.venue_time = int(status["venue_time"])
    return known
