"""A live feed: connections, REST and time around the pure intake, appending what it says.

What is known of a feed lives in LOG: after a restart the newest trade of each instrument, the
definitions, open holds and the venue's time are read back, and the outage is filled by REST like
any other hole. While not everything is heard, no `status` is appended, so bars cannot close by
time on what was not heard.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from tidemill.streams.feeds.allowance import Allowance, connections_of
from tidemill.streams.feeds.asking import Asking
from tidemill.streams.feeds.capture import Recorder
from tidemill.streams.feeds.connections import LOOP, State, Turn, socket_message
from tidemill.streams.feeds.feed import Endpoints as Endpoints
from tidemill.streams.feeds.feed import Instruments, Malformed, Said, Venue
from tidemill.streams.feeds.inbox import Inbox
from tidemill.streams.feeds.inbox import ReceiveClock as ReceiveClock
from tidemill.streams.feeds.intake import Intake
from tidemill.streams.feeds.items import Item
from tidemill.streams.feeds.lines import Lines
from tidemill.streams.feeds.rest import Rest
from tidemill.streams.feeds.snapshots import Snapshots

TICK_S = 0.1
STATUS_TICKS = 5
"""A status stands every 5 ticks: twice a second."""
PROBE_HOLD_S = 2.0
"""How long status waits, at most, for the probe of what was missed while no socket was up."""
START_RETRY_S = 1.0
PLACE_S = 0.2
"""How soon an instrument that was defined, or delisted, joins the connections or leaves them."""
PUMP_PAUSE_S = 0.002
"""Messages are collected for so long before they are decoded together."""

log = structlog.get_logger()


class Outlet(Protocol):
    """Where a feed's items go, in order."""

    async def put(self, items: list[Item]) -> None:
        """Take items; waiting is back-pressure. Raises Fenced when another feed has taken over."""
        ...


@dataclass
class Known:
    """What a log already holds of a feed.

    `held` are instruments whose newest hold is still on, `books` those whose book it has.
    """

    instruments: Instruments
    lasts: dict[str, tuple[int, int]] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)
    books: list[str] = field(default_factory=list)
    venue_time: int = 0


class LiveFeed:
    """One venue and product, `symbols` of it, running until cancelled.

    Every symbol is carried by `connections` connections at once. `rest` and `openings` are what
    feeds of one address share; else it has its own. `recorder` keeps every raw message, `dead`
    those that could not be read.
    """

    def __init__(
        self,
        venue: Venue,
        symbols: Sequence[str],
        endpoints: Endpoints,
        outlet: Outlet,
        known: Known | None = None,
        recorder: Recorder | None = None,
        dead: Recorder | None = None,
        connections: int = 1,
        rest: Rest | None = None,
        openings: Allowance | None = None,
        now: Callable[[], int] | None = None,
    ) -> None:
        known = known or Known(Instruments(wanted=frozenset(symbols)))
        self.venue, self.symbols = venue, list(symbols)
        self.intake = Intake(venue, known.instruments, known.lasts, known.venue_time)
        self.failures: Counter[str] = Counter()
        self._held, self._books = known.held, known.books
        self._outlet, self._recorder, self._dead = outlet, recorder, dead
        self._now = now or ReceiveClock()
        self.inbox = Inbox(self._now)
        self._rest = rest or rest_of(venue, endpoints)
        self._owns_rest = rest is None
        self.asking = Asking(
            venue, self._rest, self.inbox, self.intake, self.symbols, self.failures
        )
        openings = openings or connections_of(venue.limits.connections)
        self.lines = Lines(
            venue, endpoints.websocket, connections, self.inbox, openings, self._failed
        )
        self.snapshots = Snapshots(
            self.intake.wanting, self._subscribed_at, self._snapshot, self._snapshots_by_rest
        )
        self._lock = asyncio.Lock()
        self._probe = asyncio.Event()
        self._probing = False
        self._told = self._now()

    @property
    def connected(self) -> bool:
        """Whether everything that is wanted is heard."""
        return self.intake.connections.connected

    def beginning(self) -> list[bytes]:
        """Return raw messages that a capture which begins now needs: definitions, connections."""
        turns = [self._turn("UP", ""), *(line.turn for line in self.lines.all)]
        told = [socket_message(turn) for turn in turns if turn is not None]
        return [*told[:1], *self.asking.definitions, *told[1:]]

    def _turn(self, state: State, reason: str) -> Turn:
        """A turn of the loop itself."""
        return Turn("", LOOP, state, reason, tuple(self.symbols))

    async def run(self) -> None:
        """Define, connect, and append what comes, until cancelled."""
        if not self._owns_rest:
            await self._run()
            return
        async with self._rest:
            await self._run()

    async def _run(self) -> None:
        if self._books:
            await self._outlet.put(self.intake.distrust(self._books, self._now()))
        self.inbox.note(socket_message(self._turn("DOWN", "the feed began")))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pump())
            await self._define()
            await self._release()
            group.create_task(self._place(group))
            group.create_task(self._tick())
            group.create_task(self._catch_up())
            group.create_task(self.snapshots.run())
            group.create_task(self.asking.fill())
            group.create_task(self.asking.tell_time())
            group.create_task(self.asking.define_for_ever())
            group.create_task(self.asking.poll(lambda: sorted(self.lines.symbols)))

    # what comes

    async def _pump(self) -> None:
        """Decode what was received and put what follows, in one order."""
        try:
            while True:
                received, raws = await self.inbox.take()
                if self._recorder is not None:
                    self._recorder.write(received, raws)
                async with self._lock:
                    was = self.connected
                    items = self.intake.take(received, raws)
                    for said in self.intake.said:
                        self._heed(said)
                    if self.connected and not was:
                        self._probing = True
                        self._probe.set()
                    self._told = received[-1]
                    self.inbox.done(len(raws))
                    await self._outlet.put(items)
                await asyncio.sleep(PUMP_PAUSE_S)
        finally:
            for recorder in (self._recorder, self._dead):
                if recorder is not None:
                    recorder.close()

    def _heed(self, said: Said) -> None:
        """Do what messages ask of us, and keep those that could not be read."""
        for command in said.acknowledged:
            self.lines.acknowledgements.accepted(command)
        for refusal in said.refused:
            self.failures["refused"] += 1
            log.warning("venue refused", venue=self.venue.venue, answer=refusal[:300])
        if said.shutdown:
            self.lines.rotate()
        self._keep(said.malformed)

    def _keep(self, malformed: list[Malformed]) -> None:
        if malformed and self._dead is not None:
            self._dead.write([m.received for m in malformed], [m.raw for m in malformed])

    async def _tick(self) -> None:
        """Let time pass: holes fall due, and twice a second status says how far the feed is."""
        ticks = 0
        while True:
            await asyncio.sleep(TICK_S)
            ticks += 1
            async with self._lock:
                # Time never passes what was received and waits to be decoded.
                now = max(self._told, min(self._now(), self.inbox.heard_until()))
                items = self.intake.tick(now)
                if ticks % STATUS_TICKS == 0 and self.connected and not self._probing:
                    items += self.intake.status(now)
                if items:
                    await self._outlet.put(items)

    async def renew(self, symbols: Sequence[str]) -> None:
        """Begin the books of `symbols` anew: the log could not take a part of them."""
        async with self._lock:
            self.intake.renew(symbols, self._told)

    async def _release(self) -> None:
        """End holds that a feed before this one left on; its holes are found anew by their ids."""
        if self._held:
            async with self._lock:
                await self._outlet.put(self.intake.release(self._held, self._now()))

    # instruments

    async def _define(self) -> None:
        """Ask for definitions until one of our instruments at least is defined."""
        await self.asking.ask(self.venue.time_path(), urgent=False)
        while True:
            await self.asking.define()
            if missing := self.asking.undefined():
                log.warning("symbols not listed", venue=self.venue.venue, symbols=missing[:20])
            if len(missing) < len(self.symbols):
                return
            await asyncio.sleep(START_RETRY_S)

    async def _place(self, group: asyncio.TaskGroup) -> None:
        """Have the connections carry what is listed: what was defined, and was not delisted."""
        instruments = self.intake.instruments
        while True:
            known = {s: instruments.by_symbol[s] for s in self.symbols if instruments.knows(s)}
            listed = {s for s, i in known.items() if i.definition.status != "DELISTED"}
            if listed != self.lines.symbols:
                self.lines.place(listed, group)
            await asyncio.sleep(PLACE_S)

    def _failed(self, reason: str) -> None:
        self.failures["connect"] += 1
        log.warning("connection failed", venue=self.venue.venue, reason=reason[:300])

    async def _catch_up(self) -> None:
        """After everything is heard again, ask for what rare instruments traded meanwhile.

        Status waits for it, for at most 2 s.
        """
        while True:
            await self._probe.wait()
            self._probe.clear()
            self._probing = True
            asking = asyncio.create_task(self.asking.probe(self.symbols, lambda: self.connected))
            try:
                await asyncio.wait({asking}, timeout=PROBE_HOLD_S)
                self._probing = False
                await asking
            finally:
                asking.cancel()

    # books

    @property
    def _snapshots_by_rest(self) -> bool:
        return bool(self.symbols) and self.venue.snapshot_path(self.symbols[0]) is not None

    def _subscribed_at(self, symbol: str) -> float | None:
        """When (loop time) a connection came up that carries the book of `symbol`."""
        return max((line.up_at for line in self.lines.carrying("book", symbol)), default=None)

    async def _snapshot(self, symbol: str) -> bool:
        """Have the venue send a snapshot of one book."""
        path = self.venue.snapshot_path(symbol)
        if path is not None:
            answered = await self.asking.ask(path)
            await self.inbox.digested()
            return bool(answered)
        for line in self.lines.carrying("book", symbol)[:1]:
            return await line.resubscribe(symbol)
        return False


def rest_of(venue: Venue, endpoints: Endpoints) -> Rest:
    """Return the REST interface of a venue at `endpoints`, within its limits."""
    limits = venue.limits
    return Rest(endpoints.rest, limits.requests_per_s, venue.used, limits.burst_s)
