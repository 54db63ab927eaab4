"""The trades of one feed: proven by their ids, or by the connections that carried them. Pure."""

from collections.abc import Iterator, Mapping

from tidemill.streams.feeds.audit import Differs
from tidemill.streams.feeds.connections import Turn
from tidemill.streams.feeds.feed import Instrument, Instruments, Records, Said, Venue
from tidemill.streams.feeds.gaps import Step, TradeSequence
from tidemill.streams.feeds.items import split
from tidemill.streams.feeds.session import SessionStep, TradeSession
from tidemill.streams.feeds.sessions import Sessions, session_sockets

Steps = list[Step] | list[SessionStep]
"""Outcomes of one instrument, in order: trades to append, or something to say."""


class Trades:
    """The trades of one feed, `sequences` by symbol.

    `lasts` are the newest appended trades, by symbol: (id, event time in ns). `sessions` are there
    where the venue has channels whose ids prove nothing. Who takes steps says `settled` of them.
    """

    def __init__(
        self, venue: Venue, instruments: Instruments, lasts: Mapping[str, tuple[int, int]]
    ) -> None:
        self._instruments = instruments
        self.sessions = Sessions(venue, dict(lasts)) if session_sockets(venue) else None
        self._contiguous: dict[str, TradeSequence] = {}
        self.sequences: Mapping[str, TradeSequence | TradeSession]
        if self.sessions is not None:
            self.sequences = self.sessions.of
        else:
            self.sequences = self._contiguous = {
                symbol: TradeSequence(*last) for symbol, last in lasts.items()
            }
        self._open: set[str] = set()

    @property
    def holes(self) -> bool:
        """Whether missing trades are waited for."""
        return bool(self._open)

    def missing(self) -> list[tuple[str, int, int]]:
        """Return what is to be fetched: (symbol, first id, last id)."""
        return [
            (symbol, first, last)
            for symbol in sorted(self._open)
            for first, last in self.sequences[symbol].missing()
        ]

    def take(self, said: Said) -> Iterator[tuple[Instrument, int, Steps]]:
        """Take what a run says of trades; yield what follows, by instrument, and when (ns)."""
        if said.trades is None:
            return
        if said.identities is not None:
            yield from self._unproven(said)
            return
        if said.firsts is not None:
            yield from self._ranges(said)
            return
        for instrument, records in split(said.trades, self._instruments):
            now = records["ts_recv"].item(-1)
            yield instrument, now, self._sequence(instrument).take(records, now)

    def _sequence(self, instrument: Instrument) -> TradeSequence:
        sequence = self._contiguous.get(instrument.symbol)
        if sequence is None:
            sequence = self._contiguous[instrument.symbol] = TradeSequence()
        return sequence

    def _ranges(self, said: Said) -> Iterator[tuple[Instrument, int, Steps]]:
        """Trades some of which stand for a range of ids, of each instrument."""
        assert said.trades is not None
        assert said.firsts is not None
        owners, trades = said.trades
        for index in dict.fromkeys(owners.tolist()):
            mine = owners == index
            records, instrument = trades[mine], self._instruments.by_index[index]
            now = records["ts_recv"].item(-1)
            steps = self._sequence(instrument).take(records, now, said.firsts[mine])
            yield instrument, now, steps

    def _unproven(self, said: Said) -> Iterator[tuple[Instrument, int, Steps]]:
        """Trades that no id proves, of each instrument in the order received."""
        assert self.sessions is not None, "a venue file gives identities of SESSION channels"
        assert said.trades is not None
        assert said.identities is not None
        owners, trades = said.trades
        for index in dict.fromkeys(owners.tolist()):
            mine = owners == index
            records, instrument = trades[mine], self._instruments.by_index[index]
            now = records["ts_recv"].item(-1)
            steps = self.sessions.take(instrument.symbol, records, said.identities[mine], now)
            yield instrument, now, steps

    def turn(self, turn: Turn, now: int) -> Iterator[tuple[Instrument, Steps]]:
        """Take a turn of a connection."""
        for symbol, steps in self.sessions.turn(turn, now) if self.sessions is not None else ():
            yield self._instruments.by_symbol[symbol], steps

    def expire(self, now: int) -> Iterator[tuple[Instrument, Steps]]:
        """Give up the holes that are due at `now` (ns)."""
        for symbol in sorted(self._open):
            yield self._instruments.by_symbol[symbol], self.sequences[symbol].expire(now)

    def give_up(self, now: int, reason: str) -> Iterator[tuple[Instrument, Steps]]:
        """Give every hole up: nothing more will come."""
        for symbol in sorted(self._open):
            sequence = self.sequences[symbol]
            steps: Steps
            if isinstance(sequence, TradeSession):
                steps = sequence.give_up(now)
            else:
                steps = sequence.give_up(reason)
            yield self._instruments.by_symbol[symbol], steps

    def settled(self, symbol: str) -> None:
        """Note whether anything of `symbol` is waited for, after its steps were taken."""
        (self._open.add if self.sequences[symbol].holes else self._open.discard)(symbol)

    def appended(self, instrument: Instrument, trades: Records) -> None:
        """Count trades that were appended, where the venue's own bars are held against them."""
        if self.sessions is not None:
            self.sessions.appended(instrument, trades)

    def bars(self, instrument: Instrument, bars: Records) -> None:
        """Take the venue's own closed bars."""
        if self.sessions is not None:
            self.sessions.bars(instrument, bars)

    def judge(self, now: int) -> Iterator[tuple[Instrument, Differs]]:
        """Yield the minutes whose trades do not add up to the venue's own bars."""
        for symbol, differs in self.sessions.judge(now) if self.sessions is not None else ():
            yield self._instruments.by_symbol[symbol], differs
