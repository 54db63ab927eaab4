"""One simulated venue in one process: its markets, its clock, and the protocols it speaks.

Markets live at their rates, or as fast as clients read; what happens goes to the protocol of their
product, which sends it; faults of connections and markets are done here. server.py serves it.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tidemill.deploy.exchange.faults import Faults
from tidemill.deploy.exchange.flow import LIQUIDATION_SHARE
from tidemill.deploy.exchange.fundamental import Outlook
from tidemill.deploy.exchange.limits import Limits
from tidemill.deploy.exchange.market import Market, Status
from tidemill.deploy.exchange.protocol import Answer, Floor, Protocol, Request
from tidemill.deploy.exchange.sessions import Session

TICK_S = 0.005
CATCH_UP_S = 1.0  # what a market owes after a pause of the process, at most
FULL_SPEED_EVENTS = 256  # of a market at a turn, when clients set the pace
FULL_SPEED_NOMINAL = 1_000.0  # events a second of the fundamental then
CONGESTED_BYTES = 1 << 18

Key = tuple[str, str]
"""Product and our name of a market."""


@dataclass(frozen=True)
class Opening:
    """How markets are opened. `rates` are events (trades and quotes) a second by our name, `rate`
    of any other; None lets the clients' sockets set the pace."""

    seed: int = 1
    rate: float | None = 50.0
    rates: Mapping[str, float] = field(default_factory=dict)
    outlook: Outlook = field(default_factory=Outlook)
    trades_kept: int = 100_000
    liquidation_share: float = LIQUIDATION_SHARE


class Exchange:
    """One venue: its markets, its clients and its clock. `clock_us` reads UTC microseconds.

    `answer_instead` answers REST requests before the markets are asked, None leaves it to them.
    """

    def __init__(
        self,
        venue: str,
        protocols: Sequence[type[Protocol]],
        clock_us: Callable[[], int],
        opening: Opening | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.venue = venue
        self.opening = opening or Opening()
        self.faults = Faults(self.opening.seed)
        self.markets: dict[Key, Market] = {}
        self._clock_us = clock_us
        self._last_us = 0
        floor = Floor(venue, self.now_us, self.faults, limits)
        self.protocols = [protocol(floor) for protocol in protocols]
        self.limits = self.protocols[0].allowed
        self.answer_instead: Callable[[Request], Answer | None] | None = None
        self._owed: dict[Key, float] = {}
        self._stalled_s = 0.0
        self._cut_s = 0.0

    def now_us(self) -> int:
        """The venue's clock: it never goes back."""
        self._last_us = max(self._last_us, self._clock_us())
        return self._last_us

    # markets

    def open(self, product: str, name: str) -> Market:
        """List our `name` as `product`. Unreadable if it cannot be; ValueError if it is listed."""
        if (product, name) in self.markets:
            raise ValueError(f"{name} is listed")
        protocol = self._protocol(product)
        market = Market(
            protocol.symbol(name, product),
            venue=self.venue,
            seed=self.opening.seed,
            rate=self._rate(name) or FULL_SPEED_NOMINAL,
            outlook=self.opening.outlook,
            trades_kept=self.opening.trades_kept,
            liquidation_share=self.opening.liquidation_share,
        )
        self.markets[product, name] = market
        self._owed[product, name] = 0.0
        protocol.opened(market)
        return market

    def change(self, product: str, name: str, status: Status) -> None:
        """Halt, resume or delist a market. ValueError for one that is not listed."""
        market = self.market(product, name)
        if market.status == status:
            return
        market.status = status
        self._protocol(product).changed(market)

    def market(self, product: str, name: str) -> Market:
        """The market of our or the venue's name; `product` may be empty if one has it. ValueError
        for none."""
        for (its_product, its_name), market in self.markets.items():
            if product in ("", its_product) and name in (its_name, market.symbol.raw):
                return market
        raise ValueError(f"no market {name!r} of {product or 'any product'}")

    def _protocol(self, product: str) -> Protocol:
        for protocol in self.protocols:
            if product in protocol.products:
                return protocol
        raise ValueError(f"{self.venue} has no product {product!r} here")

    def _rate(self, name: str) -> float | None:
        return (
            None if self.opening.rate is None else self.opening.rates.get(name, self.opening.rate)
        )

    @property
    def sessions(self) -> Iterator[Session]:
        """Every client's connection."""
        for protocol in self.protocols:
            yield from list(protocol.hub.sessions)

    # the market's side

    async def run(self) -> None:
        """Let the markets live and send what happens, until cancelled."""
        loop = asyncio.get_running_loop()
        before, before_us = loop.time(), self.now_us()
        while True:
            turn = loop.time()
            self._live(turn - before)
            now_us = self.now_us()
            self._beat(before_us, now_us)
            before, before_us = turn, now_us
            self.send(turn)
            paced = self.opening.rate is not None
            pause = TICK_S if paced or not self._full_speed() else 0.0
            await asyncio.sleep(max(0.0, pause - (loop.time() - turn)))

    def _full_speed(self) -> bool:
        """Whether somebody listens and everybody keeps up."""
        hubs = [protocol.hub for protocol in self.protocols]
        listened = any(hub.streams() for hub in hubs)
        return listened and not any(hub.congested(CONGESTED_BYTES) for hub in hubs)

    def _live(self, seconds: float) -> None:
        full_speed = self.opening.rate is None and self._full_speed()
        for key, market in self.markets.items():
            if market.status != Status.TRADING:
                continue
            rate = self._rate(key[1])
            if rate is None:
                if full_speed:
                    self._advance(key, market.events + FULL_SPEED_EVENTS)
                continue
            owed = min(self._owed[key] + rate * seconds, max(1.0, rate * CATCH_UP_S))
            events = market.events
            if owed >= 1.0:
                self._advance(key, events + int(owed))
            self._owed[key] = owed - (market.events - events)

    def _advance(self, key: Key, events_until: int) -> None:
        market, protocol = self.markets[key], self._protocol(key[0])
        while market.events < events_until:
            protocol.happened(market, market.advance(events_until, self.now_us()))

    def _beat(self, before_us: int, now_us: int) -> None:
        for protocol in self.protocols:
            for period_us in protocol.beats_us:
                if now_us // period_us > before_us // period_us:
                    protocol.beat(period_us, now_us)

    def send(self, turn_s: float) -> None:
        """Do what is to be done to connections, and write what they are owed, at a loop time."""
        self._misconnect(turn_s)
        if turn_s < self.faults.muted_until_s:
            for session in self.sessions:
                self.faults.done["mute"] += len(session.out)
                session.out.clear()
        if turn_s >= self.faults.paused_until_s:
            for protocol in self.protocols:
                protocol.hub.flush(self.limits.buffer_bytes_max)
        self._cut_stalled(turn_s)

    def _misconnect(self, turn_s: float) -> None:
        """Cut connections, or leave them half open."""
        faults = self.faults
        if faults.cut_every_s and turn_s - self._cut_s >= faults.cut_every_s:
            faults.cut_now = True
        if faults.cut_now:
            faults.cut_now, self._cut_s = False, turn_s
            for session in self.sessions:
                faults.done["cut"] += 1
                session.cut()
        if faults.half_open_now:
            faults.half_open_now = False
            for session in self.sessions:
                faults.done["half_open"] += 1
                session.leave_half_open()

    def _cut_stalled(self, turn_s: float) -> None:
        """A client that stops reading would hold a full-speed market for ever."""
        congested = any(p.hub.congested(CONGESTED_BYTES) for p in self.protocols)
        if self.opening.rate is not None or not congested:
            self._stalled_s = turn_s
        elif turn_s - self._stalled_s > self.limits.stall_max_s:
            for session in self.sessions:
                if session.buffered_bytes > CONGESTED_BYTES:
                    session.cut()
