"""The books of one feed: which are proven, and which want a snapshot. Pure."""

from collections.abc import Iterator

import numpy as np

from tidemill.schemas.book import BUY, SELL
from tidemill.schemas.decimals import text_of
from tidemill.schemas.kinds.book import BOOK
from tidemill.streams.feeds.book_steps import Step
from tidemill.streams.feeds.book_track import VALID, BookTrack
from tidemill.streams.feeds.feed import BookMessages, Instrument, Instruments, Venue


class Books:
    """The books of one feed, by symbol."""

    def __init__(self, venue: Venue, instruments: Instruments) -> None:
        self._venue, self._instruments = venue, instruments
        self.tracks: dict[str, BookTrack] = {}
        self.sockets = frozenset(
            socket.name
            for socket in venue.sockets
            if any(channel.kind == BOOK.name for channel in socket.channels)
        )

    def take(
        self, books: BookMessages, merging: bool, now: int
    ) -> Iterator[tuple[Instrument, list[Step]]]:
        """Take what a run says of books, by instrument."""
        mine: dict[int, list[int]] = {}
        for at, owner in enumerate(books.owners.tolist()):
            mine.setdefault(owner, []).append(at)
        for owner, positions in mine.items():
            instrument, index = self._instruments.by_index[owner], np.array(positions, np.intp)
            track = self.track(instrument)
            yield instrument, track.take(books.messages, books.levels, merging, now, index)

    def track(self, instrument: Instrument) -> BookTrack:
        """Return the track of an instrument."""
        track = self.tracks.get(instrument.symbol)
        if track is None:
            by_rest = self._venue.snapshot_path(instrument.symbol) is not None
            track = BookTrack(self._venue.overlap, by_rest, instrument.exponents)
            self.tracks[instrument.symbol] = track
        return track

    def defined(self, instrument: Instrument, now: int) -> list[Step]:
        """Take a new definition: a book of other exponents, or of no market, is not valid."""
        track = self.tracks.get(instrument.symbol)
        if track is None:
            return []
        if track.exponents != instrument.exponents:
            return track.become(instrument.exponents, now)
        return track.lapse(now) if instrument.definition.status == "DELISTED" else []

    @property
    def waiting(self) -> bool:
        """Whether changes that are ahead wait anywhere."""
        return any(track.due for track in self.tracks.values())

    def wanting(self) -> list[str]:
        """Return the symbols whose book wants a snapshot."""
        if not self.sockets:
            return []
        return [
            symbol
            for symbol, instrument in self._instruments.by_symbol.items()
            if instrument.definition.status != "DELISTED"
            and (symbol not in self.tracks or self.tracks[symbol].state is not VALID)
        ]

    def expire(self, now: int) -> Iterator[tuple[Instrument, list[Step]]]:
        """Call gaps where what is ahead has waited in vain, by symbol."""
        for symbol in sorted(s for s, t in self.tracks.items() if t.due):
            yield self._instruments.by_symbol[symbol], self.tracks[symbol].expire(now)

    def state(self) -> dict[str, dict[str, str | int | None]]:
        """Return every book as of now: state, best levels as decimal text, last update id."""
        return {
            f"{symbol}.{self._venue.venue}": self._shown(self.tracks[symbol])
            for symbol in sorted(self.tracks)
        }

    def _shown(self, track: BookTrack) -> dict[str, str | int | None]:
        (bid, bid_quantity), (ask, ask_quantity) = track.book.best(BUY), track.book.best(SELL)
        price, quantity = track.exponents
        return {
            "state": track.state.name,
            "bid": text_of(bid, price) if bid_quantity else None,
            "bid_qty": text_of(bid_quantity, quantity) if bid_quantity else None,
            "ask": text_of(ask, price) if ask_quantity else None,
            "ask_qty": text_of(ask_quantity, quantity) if ask_quantity else None,
            "last_update_id": track.last_id,
        }
