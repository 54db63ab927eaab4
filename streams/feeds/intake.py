"""From raw messages to what is appended: the one pure core that live feeds and replay share.

Raw messages go in with their receive times; out come, in the order they must be appended, batches
of records and events: definitions before any record, trades in the order of their ids, holes and
holds where they are found. Time comes in by `tick` only. What is known of trades, books and quotes
is theirs (trades.py, books.py, quotes.py); here their steps become items.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from tidemill.schemas.errors import Unreadable
from tidemill.schemas.events.event import Event
from tidemill.schemas.kinds.book import BOOK
from tidemill.schemas.kinds.derivative import DERIVATIVE
from tidemill.schemas.kinds.liquidation import LIQUIDATION
from tidemill.schemas.kinds.quote import QUOTE
from tidemill.schemas.kinds.trade import TRADE
from tidemill.schemas.kinds.venue_bar import VENUE_BAR
from tidemill.streams.feeds.book_steps import Step as BookStep
from tidemill.streams.feeds.book_steps import event_of as book_event
from tidemill.streams.feeds.books import Books
from tidemill.streams.feeds.clock import VenueClock
from tidemill.streams.feeds.connections import LOOP, PREFIX, Connections, turn_of
from tidemill.streams.feeds.feed import (
    BookMessages,
    Decoded,
    Instrument,
    Instruments,
    Malformed,
    Said,
    Venue,
    feed_subject,
)
from tidemill.streams.feeds.feed_events import connected_event, skew_event, unreadable_event
from tidemill.streams.feeds.gap_events import event_of as gap_event
from tidemill.streams.feeds.gaps import Held, TradeSequence
from tidemill.streams.feeds.items import Fact, Item, batch_of, split, status_of
from tidemill.streams.feeds.latest import Latest
from tidemill.streams.feeds.listing import Listing
from tidemill.streams.feeds.quotes import Quotes
from tidemill.streams.feeds.session import TradeSession
from tidemill.streams.feeds.trades import Steps, Trades


class Intake:
    """State of one feed: instruments, trades, books, the venue's clock, counts.

    `lasts` are the newest appended trades, by symbol: (id, event time in ns). While two connections
    carry the same channels, quotes seen already vanish, too. `said` is what the messages taken last
    said, run by run. `pending` are items that the loop around adds; they come with the next ones.
    `venue_time` is the newest told so far.
    """

    def __init__(
        self,
        venue: Venue,
        instruments: Instruments,
        lasts: dict[str, tuple[int, int]] | None = None,
        venue_time: int = 0,
    ) -> None:
        self.venue = venue
        self.instruments = instruments
        self.clock = VenueClock(venue_time)
        self.counts: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self.connections = Connections()
        self.merging = False
        self.pending: list[Item] = []
        self.said: list[Said] = []
        self.trades = Trades(venue, instruments, lasts or {})
        self.books = Books(venue, instruments)
        self.listing = Listing(venue.listing_paths)
        self._quotes = Quotes()
        self._latest = Latest()

    @property
    def sequences(self) -> Mapping[str, TradeSequence | TradeSession]:
        """What is known of the trades of every instrument, by symbol."""
        return self.trades.sequences

    @property
    def holes(self) -> bool:
        """Whether anything is waited for: missing trades, or changes of a book."""
        return self.trades.holes or self.books.waiting

    def missing(self) -> list[tuple[str, int, int]]:
        """Return what is to be fetched: (symbol, first id, last id)."""
        return self.trades.missing()

    def wanting(self) -> list[str]:
        """Return the symbols whose book wants a snapshot now."""
        return self.books.wanting()

    # what comes

    def take(self, received: Sequence[int], raws: Sequence[bytes]) -> list[Item]:
        """Take raw messages received at `received` (ns, never falling), at least one."""
        items = self._begin()
        self.said = []
        start = 0
        for at, raw in enumerate(raws):
            if raw.startswith(PREFIX):
                self._runs(received[start:at], raws[start:at], items)
                self._turn(received[at], raw, items)
                start = at + 1
        self._runs(received[start:], raws[start:], items)
        self._judge(received[-1], items)
        return items

    def _runs(self, received: Sequence[int], raws: Sequence[bytes], items: list[Item]) -> None:
        """Take the messages between two turns: those that may come twice, and the others."""
        twice = bisect_left(received, self.connections.merged_until)
        for start, end in ((0, twice), (twice, len(raws))):
            if start < end:
                self._run(received[start:end], raws[start:end], items)

    def _turn(self, now: int, raw: bytes, items: list[Item]) -> None:
        """Take a turn of a connection, as the loop noted it."""
        self.counts["turns"] += 1
        try:
            turn = turn_of(raw)
        except Unreadable as error:
            self.said.append(said := Said(malformed=[Malformed(now, raw, str(error))]))
            self._malformed(said, items)
            return
        if turn.connection == LOOP and turn.symbols:
            self.instruments.limit(turn.symbols)
        turned = self.connections.take(turn, now)
        for socket, symbol in turned.lapsed:
            if socket in self.books.sockets:
                self._lapse(symbol, now, items)
        for instrument, steps in self.trades.turn(turn, now):
            self._traded(instrument, steps, now, items)
        if turned.connected is not None:
            items.append(self._of_feed(connected_event(self.venue, turned, turn.reason, now), now))

    def _run(self, received: Sequence[int], raws: Sequence[bytes], items: list[Item]) -> None:
        """Take a run of the venue's messages: no connection turned between them."""
        said = self.venue.decode(received, raws, self.instruments)
        self.said.append(said)
        now = received[-1]
        self.merging = self.connections.merging(received[0])
        for page in said.listed:
            if (listed := self.listing.take(page)) is not None:
                self._unlisted(listed)
        self._defined(now, items)
        self.counts["messages"] += len(raws)
        self.counts["ignored"] += said.ignored
        if said.lead_ns is not None:
            self.clock.observe(now, said.lead_ns)
        if said.malformed:
            self._malformed(said, items)
        if said.quotes is not None:
            self._quoted(said.quotes, items)
        for instrument, at, steps in self.trades.take(said):
            self._traded(instrument, steps, at, items)
        if said.books is not None:
            self._booked(said.books, now, items)
        self._plain(said, items)

    def _quoted(self, quotes: Decoded, items: list[Item]) -> None:
        for instrument, given in split(quotes, self.instruments):
            records = self._quotes.take(instrument.symbol, given, self.merging)
            self.counts["duplicates"] += len(given) - len(records)
            if len(records):
                items.append(batch_of(instrument, QUOTE, records))
                self.counts["quotes"] += len(records)

    def _booked(self, books: BookMessages, now: int, items: list[Item]) -> None:
        self.counts["book_updates"] += books.messages["snapshot"].tolist().count(0)
        for instrument, steps in self.books.take(books, self.merging, now):
            self._book(instrument, steps, now, items)

    def _plain(self, said: Said, items: list[Item]) -> None:
        """Append what needs no proof: each of these is a latest value."""
        for kind, decoded in (
            (DERIVATIVE, said.derivatives),
            (LIQUIDATION, said.liquidations),
            (VENUE_BAR, said.venue_bars),
        ):
            for instrument, given in split(decoded, self.instruments) if decoded else ():
                name, index = kind.name, instrument.index
                records = self._latest.unseen(name, index, given, self.merging)
                self.counts["duplicates"] += len(given) - len(records)
                if not len(records):
                    continue
                self.counts[f"{name}s"] += len(records)
                items.append(batch_of(instrument, kind, records))
                if kind is VENUE_BAR:
                    self.trades.bars(instrument, records)

    def _malformed(self, said: Said, items: list[Item]) -> None:
        """Say that messages could not be read; who calls keeps their bytes."""
        self.counts["malformed"] += len(said.malformed)
        event = unreadable_event(self.venue, said.malformed)
        items.append(self._of_feed(event, event.ts_to))

    # instruments

    def _unlisted(self, listed: frozenset[str]) -> None:
        """What is defined and not in the list of all instruments is not traded any more."""
        for symbol, instrument in self.instruments.by_symbol.items():
            if symbol not in listed and instrument.definition.status != "DELISTED":
                gone = instrument.definition.model_copy(update={"status": "DELISTED"})
                self.instruments.define(gone)

    def _defined(self, now: int, items: list[Item]) -> None:
        for definition in self.instruments.fresh:
            instrument = self.instruments.by_symbol[definition.symbol]
            items.append(self.fact(instrument.subject("instrument"), definition, now))
            self._book(instrument, self.books.defined(instrument, now), now, items)
        self.instruments.fresh.clear()

    # time

    def tick(self, now: int) -> list[Item]:
        """Let time reach `now` (ns): holes are given up when they are due."""
        items = self._begin()
        for instrument, steps in self.trades.expire(now):
            self._traded(instrument, steps, now, items)
        self._judge(now, items)
        for instrument, changes in self.books.expire(now):
            self._book(instrument, changes, now, items)
        return items

    def finish(self, now: int, reason: str) -> list[Item]:
        """Give every hole up: nothing more will come. What waited is appended."""
        items: list[Item] = []
        for instrument, steps in self.trades.give_up(now, reason):
            self._traded(instrument, steps, now, items)
        return items

    def status(self, now: int) -> list[Item]:
        """Return the feed's progress at `now` (ns), and a ClockSkew when its clock has moved."""
        venue_time = self.clock.venue_time(now)
        if venue_time is None:
            return []
        items: list[Item] = []
        if (skew := skew_event(self.venue, self.clock, now)) is not None:
            items.append(self._of_feed(skew, now))
        items.append(status_of(feed_subject("status", self.venue), venue_time, now, False))
        return items

    def release(self, symbols: Sequence[str], now: int) -> list[Item]:
        """Return the end of the holds of `symbols`."""
        venue_time = self.clock.venue_time(now) or self.clock.newest
        known = (self.instruments.by_symbol[s] for s in symbols if s in self.instruments.by_symbol)
        return [status_of(i.subject("status"), venue_time, now, False) for i in known]

    def distrust(self, symbols: Sequence[str], now: int) -> list[Item]:
        """Begin the books of `symbols` anew: the log has them from a feed before this one."""
        items: list[Item] = []
        for symbol in symbols:
            self._lapse(symbol, now, items, known=True)
        return items

    def renew(self, symbols: Sequence[str], now: int) -> None:
        """Begin the books of `symbols` anew: the log could not take a part of them.

        Who gave that part up declares the gap (outlet.py), so nothing is said of it here.
        """
        for symbol in symbols:
            if (instrument := self.instruments.by_symbol.get(symbol)) is not None:
                self.books.track(instrument).lapse(now, known=True)

    # from steps to items

    def _begin(self) -> list[Item]:
        items, self.pending = self.pending, []
        return items

    def fact(self, subject: str, event: Event, ts: int) -> Fact:
        """Return an event to append, counted by its name."""
        self.events[type(event).__name__] += 1
        return Fact(subject, event, ts)

    def _of_feed(self, event: Event, ts: int) -> Fact:
        return self.fact(feed_subject("event", self.venue), event, ts)

    def _traded(self, instrument: Instrument, steps: Steps, now: int, items: list[Item]) -> None:
        """Turn what the trades of an instrument say into its batches and events."""
        for step in steps:
            if isinstance(step, np.ndarray):
                self.counts["trades"] += len(step)
                items.append(batch_of(instrument, TRADE, step))
                self.trades.appended(instrument, step)
            elif isinstance(step, Held):
                venue_time = self.clock.venue_time(now) or self.clock.newest
                items.append(status_of(instrument.subject("status"), venue_time, now, step.hold))
            else:
                event = gap_event(step, instrument, now)
                items.append(self.fact(instrument.subject("event"), event, now))
        self.trades.settled(instrument.symbol)

    def _judge(self, now: int, items: list[Item]) -> None:
        """Say which minutes' trades do not add up to the venue's own bars."""
        for instrument, differs in self.trades.judge(now):
            event = gap_event(differs, instrument, now)
            items.append(self.fact(instrument.subject("event"), event, now))

    def _lapse(self, symbol: str, now: int, items: list[Item], known: bool = False) -> None:
        """A book is not heard any more; `known`: the log may hold it as valid."""
        instrument = self.instruments.by_symbol.get(symbol)
        if instrument is not None:
            steps = self.books.track(instrument).lapse(now, known)
            self._book(instrument, steps, now, items)

    def _book(
        self, instrument: Instrument, steps: Sequence[BookStep], now: int, items: list[Item]
    ) -> None:
        """Turn what a book says into batches and events of its instrument."""
        for step in steps:
            if isinstance(step, np.ndarray):
                items.append(batch_of(instrument, BOOK, step))
            else:
                event = book_event(step, instrument, now)
                items.append(self.fact(instrument.subject("event"), event, now))
