"""From raw messages to what is appended: the one pure core that live feeds and replay share.

Raw messages go in with their receive times; out come, in the order they must be appended, batches
of records and events: definitions before any record, trades in the order of their ids, holes and
holds where they are found. Time comes in by `tick` only.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidemill.schemas.errors import Unreadable
from tidemill.schemas.events.event import Event
from tidemill.schemas.events.feed import (
    ClockSkew,
    FeedConnected,
    FeedDisconnected,
    RecordsGivenUp,
)
from tidemill.schemas.frame import Kind
from tidemill.schemas.kinds.book import BOOK
from tidemill.schemas.kinds.derivative import DERIVATIVE
from tidemill.schemas.kinds.liquidation import LIQUIDATION
from tidemill.schemas.kinds.quote import QUOTE
from tidemill.schemas.kinds.status import STATUS
from tidemill.schemas.kinds.trade import TRADE
from tidemill.schemas.kinds.venue_bar import VENUE_BAR
from tidemill.streams.feeds.book_steps import Reason
from tidemill.streams.feeds.book_steps import Step as BookStep
from tidemill.streams.feeds.book_steps import event_of as book_event
from tidemill.streams.feeds.books import Books
from tidemill.streams.feeds.clock import VenueClock
from tidemill.streams.feeds.connections import LOOP, PREFIX, Connections, turn_of
from tidemill.streams.feeds.feed import (
    Batch,
    BookMessages,
    Decoded,
    Instrument,
    Instruments,
    Malformed,
    Records,
    Said,
    Venue,
    feed_subject,
)
from tidemill.streams.feeds.gap_events import event_of as gap_event
from tidemill.streams.feeds.gaps import Held, Step, TradeSequence
from tidemill.streams.feeds.latest import Latest
from tidemill.streams.feeds.session import SessionStep, TradeSession
from tidemill.streams.feeds.sessions import Sessions, session_sockets


class Fact(NamedTuple):
    """One event for one subject, at a receive time (ns)."""

    subject: str
    event: Event
    ts: int


Item = Batch | Fact
"""What is appended next."""


class Intake:
    """State of one feed: instruments, trade sequences, the venue's clock, counts.

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
        self.sessions = Sessions(venue, lasts or {}) if session_sockets(venue) else None
        self.sequences: Mapping[str, TradeSequence | TradeSession]
        self._contiguous: dict[str, TradeSequence] = {}
        if self.sessions is not None:
            self.sequences = self.sessions.of
        else:
            self.sequences = self._contiguous = {
                symbol: TradeSequence(*last) for symbol, last in (lasts or {}).items()
            }
        self.books = Books(venue, instruments)
        self._update_ids: dict[str, int] = {}
        self._latest = Latest()
        self._open: set[str] = set()

    @property
    def holes(self) -> bool:
        """Whether anything is waited for: missing trades, or changes of a book."""
        return bool(self._open) or self.books.waiting

    def missing(self) -> list[tuple[str, int, int]]:
        """Return what is to be fetched: (symbol, first id, last id)."""
        return [
            (symbol, first, last)
            for symbol in sorted(self._open)
            for first, last in self.sequences[symbol].missing()
        ]

    def wanting(self) -> list[str]:
        """Return the symbols whose book wants a snapshot now."""
        return self.books.wanting()

    def distrust(self, symbols: Sequence[str], now: int, reason: Reason = "OVERFLOW") -> list[Item]:
        """Begin the books of `symbols` anew, whatever the log holds of them.

        The log could not take a part of them, or has them from a feed before this one.
        """
        items: list[Item] = []
        for symbol in symbols:
            self._lapse(symbol, reason, now, items, known=True)
        return items

    def _lapse(
        self, symbol: str, reason: Reason, now: int, items: list[Item], known: bool = False
    ) -> None:
        """A book is not valid any more; `known`: the log may hold it as valid."""
        instrument = self.instruments.by_symbol.get(symbol)
        if instrument is not None:
            steps = self.books.track(instrument).lapse(now, reason, known)
            self._book(instrument, steps, now, items)

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
                self._lapse(symbol, "DISCONNECTED", now, items)
        for symbol, steps in self.sessions.turn(turn, now) if self.sessions is not None else ():
            self._said(symbol, steps, now, items)
        if turned.connected is None:
            return
        names = {
            "venue": self.venue.venue,
            "product": self.venue.product,
            "connection": turned.connection,
            "ts_recv": now,
        }
        event: Event
        if turned.connected:
            event = FeedConnected.model_validate(names)
        else:
            event = FeedDisconnected.model_validate({**names, "reason": turn.reason[:300]})
        items.append(self.fact(feed_subject("event", self.venue), event, now))

    def _run(self, received: Sequence[int], raws: Sequence[bytes], items: list[Item]) -> None:
        """Take a run of the venue's messages: no connection turned between them."""
        said = self.venue.decode(received, raws, self.instruments)
        self.said.append(said)
        now = received[-1]
        self.merging = self.connections.merging(received[0])
        if said.listed is not None:
            self._unlisted(said.listed)
        self._defined(now, items)
        self.counts["messages"] += len(raws)
        self.counts["ignored"] += said.ignored
        if said.lead_ns is not None:
            self.clock.observe(now, said.lead_ns)
        if said.malformed:
            self._malformed(said, items)
        if said.quotes is not None:
            self._quotes(said.quotes, items)
        if said.trades is not None and said.identities is not None:
            self._unproven(said.trades, said.identities, items)
        elif said.trades is not None:
            for instrument, records in self._split(said.trades):
                self._trades(instrument, records, items)
        if said.books is not None:
            self._books(said.books, now, items)
        self._plain(said, items)

    def _plain(self, said: Said, items: list[Item]) -> None:
        """Append what needs no proof: each of these is a latest value."""
        for kind, decoded in (
            (DERIVATIVE, said.derivatives),
            (LIQUIDATION, said.liquidations),
            (VENUE_BAR, said.venue_bars),
        ):
            for instrument, given in self._split(decoded) if decoded is not None else ():
                name, index = kind.name, instrument.index
                records = self._latest.unseen(name, index, given, self.merging)
                self.counts["duplicates"] += len(given) - len(records)
                if not len(records):
                    continue
                self.counts[f"{name}s"] += len(records)
                items.append(_batch(instrument, kind, records))
                if kind is VENUE_BAR and self.sessions is not None:
                    self.sessions.bars(instrument, records)

    def _books(self, books: BookMessages, now: int, items: list[Item]) -> None:
        self.counts["book_updates"] += int((books.messages["snapshot"] == 0).sum())
        for instrument, steps in self.books.take(books, self.merging, now):
            self._book(instrument, steps, now, items)

    def _book(
        self, instrument: Instrument, steps: Sequence[BookStep], now: int, items: list[Item]
    ) -> None:
        """Turn what a book says into batches and events of its instrument."""
        for step in steps:
            if isinstance(step, np.ndarray):
                items.append(_batch(instrument, BOOK, step))
            else:
                event = book_event(step, instrument, now)
                items.append(self.fact(instrument.subject("event"), event, now))

    def _unlisted(self, listed: frozenset[str]) -> None:
        """What is defined and not in a full answer about instruments is not traded any more."""
        for symbol, instrument in self.instruments.by_symbol.items():
            if symbol not in listed and instrument.definition.status != "DELISTED":
                gone = instrument.definition.model_copy(update={"status": "DELISTED"})
                self.instruments.define(gone)

    def tick(self, now: int) -> list[Item]:
        """Let time reach `now` (ns): holes are given up when they are due."""
        items = self._begin()
        for symbol in sorted(self._open):
            self._said(symbol, self.sequences[symbol].expire(now), now, items)
        self._judge(now, items)
        for instrument, steps in self.books.expire(now):
            self._book(instrument, steps, now, items)
        return items

    def finish(self, now: int, reason: str) -> list[Item]:
        """Give every hole up: nothing more will come. What waited is appended."""
        items: list[Item] = []
        for symbol in sorted(self._open):
            sequence = self.sequences[symbol]
            given_up: list[Step | SessionStep] = []
            given_up += (
                sequence.give_up(now)
                if isinstance(sequence, TradeSession)
                else sequence.give_up(reason)
            )
            self._said(symbol, given_up, now, items)
        return items

    def status(self, now: int, hold: bool = False) -> list[Item]:
        """Return the feed's progress at `now` (ns), and a ClockSkew when its clock has moved."""
        venue_time = self.clock.venue_time(now)
        if venue_time is None:
            return []
        items: list[Item] = []
        if (offset_ns := self.clock.skew()) is not None:
            venue, product = self.venue.venue, self.venue.product
            skew = ClockSkew(
                venue=venue,
                product=product,
                offset_ns=offset_ns,
                latency_ns=self.clock.latency_ns,
                ts_recv=now,
            )
            items.append(self.fact(feed_subject("event", self.venue), skew, now))
        items.append(_status(feed_subject("status", self.venue), venue_time, now, hold))
        return items

    def release(self, symbols: Sequence[str], now: int) -> list[Item]:
        """Return the end of the holds of `symbols`."""
        venue_time = self.clock.venue_time(now) or self.clock.newest
        known = (self.instruments.by_symbol[s] for s in symbols if s in self.instruments.by_symbol)
        return [_status(i.subject("status"), venue_time, now, False) for i in known]

    def _begin(self) -> list[Item]:
        items, self.pending = self.pending, []
        return items

    def fact(self, subject: str, event: Event, ts: int) -> Fact:
        """Return an event to append, counted by its name."""
        self.events[type(event).__name__] += 1
        return Fact(subject, event, ts)

    def _defined(self, now: int, items: list[Item]) -> None:
        for definition in self.instruments.fresh:
            instrument = self.instruments.by_symbol[definition.symbol]
            items.append(self.fact(instrument.subject("instrument"), definition, now))
            self._book(instrument, self.books.defined(instrument, now), now, items)
        self.instruments.fresh.clear()

    def _malformed(self, said: Said, items: list[Item]) -> None:
        """Say that messages could not be read; who calls keeps their bytes."""
        self.counts["malformed"] += len(said.malformed)
        event = RecordsGivenUp(
            venue=self.venue.venue,
            product=self.venue.product,
            records=len(said.malformed),
            ts_from=said.malformed[0].received,
            ts_to=said.malformed[-1].received,
            reason=f"unreadable messages, the first: {said.malformed[0].reason}"[:300],
        )
        items.append(self.fact(feed_subject("event", self.venue), event, event.ts_to))

    def _split(self, decoded: Decoded) -> Iterator[tuple[Instrument, Records]]:
        """Yield the records of each instrument, in the order received, by instrument."""
        owners, records = decoded
        if (owners == owners[0]).all():
            yield self.instruments.by_index[owners[0]], records
            return
        order = np.argsort(owners, kind="stable")
        owners, records = owners[order], records[order]
        starts = np.flatnonzero(np.diff(owners, prepend=-1))
        for start, end in zip(starts, (*starts[1:], len(owners)), strict=True):
            yield self.instruments.by_index[owners[start]], records[start:end]

    def _quotes(self, quotes: Decoded, items: list[Item]) -> None:
        for instrument, records in self._split(quotes):
            if self.merging:
                records = self._unseen(instrument.symbol, records)
                if not len(records):
                    continue
            self._update_ids[instrument.symbol] = int(records["update_id"][-1])
            self.counts["quotes"] += len(records)
            items.append(_batch(instrument, QUOTE, records))

    def _unseen(self, symbol: str, quotes: Records) -> Records:
        """Quotes newer than every one before; of two connections each comes once."""
        last = self._update_ids.get(symbol, -1)
        ids = quotes["update_id"].astype(np.int64)
        before = np.maximum.accumulate(np.concatenate(([last], ids)))[:-1]
        self.counts["duplicates"] += int((ids <= before).sum())
        return quotes[ids > before]

    def _trades(self, instrument: Instrument, trades: Records, items: list[Item]) -> None:
        symbol = instrument.symbol
        sequence = self._contiguous.get(symbol)
        if sequence is None:
            sequence = self._contiguous[symbol] = TradeSequence()
        now = int(trades["ts_recv"][-1])
        self._said(symbol, sequence.take(trades, now), now, items)

    def _unproven(self, trades: Decoded, identities: NDArray[np.uint64], items: list[Item]) -> None:
        """Trades that no id proves, of each instrument in the order received."""
        assert self.sessions is not None, "a venue file gives identities of SESSION channels"
        for index in dict.fromkeys(trades.owners.tolist()):
            mine = trades.owners == index
            records = trades.records[mine]
            symbol, now = self.instruments.by_index[index].symbol, int(records["ts_recv"][-1])
            steps = self.sessions.take(symbol, records, identities[mine], now)
            self._said(symbol, steps, now, items)

    def _judge(self, now: int, items: list[Item]) -> None:
        """Say which minutes' trades do not add up to the venue's own bars."""
        for symbol, differs in self.sessions.judge(now) if self.sessions is not None else ():
            instrument = self.instruments.by_symbol[symbol]
            event = gap_event(differs, instrument, now)
            items.append(self.fact(instrument.subject("event"), event, now))

    def _said(
        self, symbol: str, steps: Sequence[Step | SessionStep], now: int, items: list[Item]
    ) -> None:
        """Turn what the trades of an instrument say into its batches and events."""
        instrument = self.instruments.by_symbol[symbol]
        for step in steps:
            if isinstance(step, np.ndarray):
                self.counts["trades"] += len(step)
                items.append(_batch(instrument, TRADE, step))
                if self.sessions is not None:
                    self.sessions.appended(instrument, step)
            elif isinstance(step, Held):
                venue_time = self.clock.venue_time(now) or self.clock.newest
                items.append(_status(instrument.subject("status"), venue_time, now, step.hold))
            else:
                event = gap_event(step, instrument, now)
                items.append(self.fact(instrument.subject("event"), event, now))
        (self._open.add if self.sequences[symbol].holes else self._open.discard)(symbol)


def _batch(instrument: Instrument, kind: Kind, records: Records) -> Batch:
    return Batch(instrument.subject(kind.name), kind, records, *instrument.exponents)


def _status(subject: str, venue_time: int, now: int, hold: bool) -> Batch:
    record = STATUS.empty(1)
    record["venue_time"], record["ts_recv"], record["hold"] = venue_time, now, hold
    return Batch(subject, STATUS, record)
