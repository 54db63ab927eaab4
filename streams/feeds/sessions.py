"""All instruments of a feed whose trades no id proves: their sessions, and the audit of their bars.

A feed whose trade channel is declared SESSION has one `Sessions`; the intake tells it of turns of
connections, trades and closed bars, and appends what follows.
"""

from collections.abc import Iterator, Mapping

from tidemill.streams.feeds.audit import Audit, Differs
from tidemill.streams.feeds.connections import Turn
from tidemill.streams.feeds.coverage import Coverage
from tidemill.streams.feeds.feed import Instrument, Proof, Records, Venue
from tidemill.streams.feeds.session import Identities, SessionStep, TradeSession

Lasts = Mapping[str, tuple[int, int]]


def session_sockets(venue: Venue) -> list[str]:
    """Return the sockets that carry trades which no id proves; none where ids prove them."""
    return [
        socket.name
        for socket in venue.sockets
        if any(c.kind == "trade" and c.proof is Proof.SESSION for c in socket.channels)
    ]


class Sessions:
    """`lasts` are the newest trades that the log holds, by symbol: (id, event time in ns)."""

    def __init__(self, venue: Venue, lasts: Lasts) -> None:
        self.of = {symbol: TradeSession(*last) for symbol, last in lasts.items()}
        self._coverage = Coverage(session_sockets(venue))
        self._heard: dict[str, int] = {}
        self._audits: dict[str, Audit] = {}

    def turn(self, turn: Turn, now: int) -> Iterator[tuple[str, list[SessionStep]]]:
        """Take a turn of a connection; yield what follows from it, by symbol."""
        covered = self._coverage.take(turn, now)
        for symbol in covered.lapsed:
            if (session := self.of.get(symbol)) is not None:
                yield symbol, session.lapsed(now)
        for symbol in covered.resumed:
            self._heard.setdefault(symbol, now)
            if (session := self.of.get(symbol)) is not None:
                yield symbol, session.resumed(now)

    def take(
        self, symbol: str, trades: Records, identities: Identities, now: int
    ) -> list[SessionStep]:
        """Take trades of one instrument, in the order received."""
        session = self.of.get(symbol)
        if session is None:
            session = self.of[symbol] = TradeSession()
        return session.take(trades, identities, now)

    def appended(self, instrument: Instrument, trades: Records) -> None:
        """Count trades that were appended."""
        self._audit(instrument).add(trades)

    def bars(self, instrument: Instrument, bars: Records) -> None:
        """Take closed bars of one instrument, to be judged later."""
        self._audit(instrument).bars(bars)

    def judge(self, now: int) -> Iterator[tuple[str, Differs]]:
        """Yield the minutes that differ, of those whose time has come at `now` (ns)."""
        for symbol, audit in self._audits.items():
            if audit.due <= now:
                for differs in audit.judge(now):
                    yield symbol, differs

    def _audit(self, instrument: Instrument) -> Audit:
        audit = self._audits.get(instrument.symbol)
        exponent = instrument.exponents[1]
        if audit is None:
            audit = self._audits[instrument.symbol] = Audit(exponent)
            if (heard := self._heard.get(instrument.symbol)) is not None:
                audit.heard(heard)
        audit.rescale(exponent)
        return audit
