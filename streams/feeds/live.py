"""A live feed: sockets, REST and time around the pure intake, appending what it says.

What is known of a feed lives in LOG: after a restart the newest trade of each instrument, the
definitions, open holds and the venue's time are read back, and the outage is filled by REST like
any other hole. While no subscribed socket is up, no `status` is appended, so bars cannot close by
time on what was not heard.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from tidemill.schemas.errors import Unavailable
from tidemill.schemas.events.feed import FeedConnected, FeedDisconnected
from tidemill.streams.feeds.capture import Recorder, rest_message
from tidemill.streams.feeds.feed import Command, Instruments, Malformed, Socket, Venue, feed_subject
from tidemill.streams.feeds.feed import Endpoints as Endpoints
from tidemill.streams.feeds.intake import Intake, Item
from tidemill.streams.feeds.rest import Rest
from tidemill.streams.feeds.websocket import Acknowledgements, Inbox, Line, Plan

TICK_S = 0.1
STATUS_TICKS = 5
"""A status stands every 5 ticks: twice a second."""
PROBE_HOLD_S = 2.0
"""How long status waits, at most, for the probe of what was missed while no socket was up."""
DEFINITIONS_S = 600.0
"""How often definitions are asked for anew."""
TIME_S = 30.0
"""How often the venue's time is asked for, for venues so quiet that no message tells it."""
RETRY_S = 0.1
"""Pause between rounds of fetching what is missing."""
START_RETRY_S = 1.0
MERGE_TAIL_S = 1.0
"""How long quotes are still merged after the second socket has gone."""
PUMP_PAUSE_S = 0.002
"""Messages are collected for so long before they are decoded together."""

log = structlog.get_logger()


class ReceiveClock:
    """Wall-clock nanoseconds, anchored once and then monotonic: it never steps back or jumps."""

    def __init__(self) -> None:
        self._anchor = time.time_ns() - time.monotonic_ns()

    def __call__(self) -> int:
        """Return the time (ns UTC)."""
        return self._anchor + time.monotonic_ns()


class Outlet(Protocol):
    """Where a feed's items go, in order."""

    async def put(self, items: list[Item]) -> None:
        """Take items; waiting is back-pressure. Raises Fenced when another feed has taken over."""
        ...


@dataclass
class Known:
    """What a log already holds of a feed; `held` are instruments whose newest hold is still on."""

    instruments: Instruments
    lasts: dict[str, tuple[int, int]] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)
    venue_time: int = 0


class LiveFeed:
    """One venue and product, `symbols` of it, running until cancelled.

    `recorder` keeps every raw message, `dead` those that could not be read. `definitions` is the
    newest answer about instruments, as a raw message.
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
        now: Callable[[], int] | None = None,
    ) -> None:
        known = known or Known(Instruments(wanted=frozenset(symbols)))
        self.venue, self.symbols = venue, list(symbols)
        self.intake = Intake(venue, known.instruments, known.lasts, known.venue_time)
        self.failures: Counter[str] = Counter()
        self.definitions: list[bytes] = []
        self._held = known.held
        self._endpoints, self._outlet = endpoints, outlet
        self._recorder, self._dead = recorder, dead
        self._now = now or ReceiveClock()
        self._inbox = Inbox(self._now)
        self._acknowledgements = Acknowledgements()
        self._lock = asyncio.Lock()
        self._lines: list[Line] = []
        self._probe = asyncio.Event()
        self._probing = False
        self._connections = self._merging = 0
        self._connected: int | None = None

    @property
    def connected(self) -> bool:
        """Whether every line has a subscribed socket."""
        return bool(self._lines) and all(line.is_up for line in self._lines)

    async def run(self) -> None:
        """Define, connect, and append what comes, until cancelled."""
        async with (
            Rest(self._endpoints.rest, self.venue.limits.requests_per_s) as rest,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(self._pump())
            await self._define(rest)
            await self._release()
            self._lines = [self._line(plan) for plan in self._plans()]
            for line in self._lines:
                group.create_task(line.run())
            group.create_task(self._tick())
            group.create_task(self._fill(rest))
            group.create_task(self._catch_up(rest))
            group.create_task(self._refresh(rest, self.venue.time_path(), TIME_S))
            definitions = self.venue.definitions_path(self.symbols)
            group.create_task(self._refresh(rest, definitions, DEFINITIONS_S))

    # what comes

    async def _pump(self) -> None:
        """Decode what was received and put what follows, in one order."""
        try:
            while True:
                received, raws = await self._inbox.take()
                if self._recorder is not None:
                    self._recorder.write(received, raws)
                async with self._lock:
                    items = self.intake.take(received, raws)
                    self._heed(self.intake.said.malformed)
                    await self._outlet.put(items)
                await asyncio.sleep(PUMP_PAUSE_S)
        finally:
            for recorder in (self._recorder, self._dead):
                if recorder is not None:
                    recorder.close()

    def _heed(self, malformed: list[Malformed]) -> None:
        """Do what messages ask of us, and keep those that could not be read."""
        said = self.intake.said
        for command in said.acknowledged:
            self._acknowledgements.accepted(command)
        for refusal in said.refused:
            self.failures["refused"] += 1
            log.warning("venue refused", venue=self.venue.venue, answer=refusal[:300])
        if said.shutdown:
            for line in self._lines:
                line.rotate()
        if malformed and self._dead is not None:
            self._dead.write([m.received for m in malformed], [m.raw for m in malformed])

    async def _tick(self) -> None:
        """Let time pass: holes fall due, and twice a second status says how far the feed is."""
        ticks = 0
        while True:
            await asyncio.sleep(TICK_S)
            ticks += 1
            async with self._lock:
                now = self._now()
                items = self.intake.tick(now)
                if ticks % STATUS_TICKS == 0 and self.connected and not self._probing:
                    items += self.intake.status(now)
                if items:
                    await self._outlet.put(items)

    async def _release(self) -> None:
        """End holds that a feed before this one left on; its holes are found anew by their ids."""
        if self._held:
            async with self._lock:
                await self._outlet.put(self.intake.release(self._held, self._now()))

    # connections

    def _plans(self) -> list[Plan]:
        plans: list[Plan] = []
        for socket in self.venue.sockets:
            a_line = self.venue.limits.streams_max // len(socket.channels)
            for at in range(0, len(self.symbols), a_line):
                plans.append(self._plan(socket, self.symbols[at : at + a_line]))
        return plans

    def _plan(self, socket: Socket, symbols: list[str]) -> Plan:
        def commands(first_id: int) -> list[Command]:
            return self.venue.subscriptions(socket, symbols, first_id)

        return Plan(self.venue.url(self._endpoints.websocket, socket), commands, self.venue.limits)

    def _line(self, plan: Plan) -> Line:
        return Line(
            plan,
            self._inbox,
            self._acknowledgements,
            self._came_up,
            self._went_down,
            self._failed,
            self._merge,
        )

    def _came_up(self) -> None:
        self._connections += 1
        if self.connected and self._connected is None:
            self._connected = self._connections
            self._probing = True
            self._probe.set()
            self._tell(self._event_connected())

    def _went_down(self, reason: str) -> None:
        if self._connected is not None:
            event = FeedDisconnected(
                venue=self.venue.venue,
                product=self.venue.product,
                connection=self._connected,
                ts_recv=self._now(),
                reason=reason[:300],
            )
            self._connected = None
            self._tell(self.intake.fact(feed_subject("event", self.venue), event, event.ts_recv))

    def _failed(self, reason: str) -> None:
        self.failures["connect"] += 1
        log.warning("connection failed", venue=self.venue.venue, reason=reason[:300])

    def _merge(self, merging: bool) -> None:
        """Count the lines that merge; the last one's messages are decoded a little later."""
        self._merging += 1 if merging else -1
        if self._merging:
            self.intake.merging = True
        else:
            asyncio.get_running_loop().call_later(MERGE_TAIL_S, self._merged)

    def _merged(self) -> None:
        self.intake.merging = self._merging > 0

    def _event_connected(self) -> Item:
        event = FeedConnected(
            venue=self.venue.venue,
            product=self.venue.product,
            connection=self._connections,
            ts_recv=self._now(),
        )
        return self.intake.fact(feed_subject("event", self.venue), event, event.ts_recv)

    def _tell(self, item: Item) -> None:
        """Have an item of the loop appended in order with the rest."""
        self.intake.pending.append(item)

    # REST

    async def _ask(self, rest: Rest, path: str) -> bool:
        """GET `path` and take the answer as a message; return whether there was one."""
        try:
            body = await rest.get(path)
        except Unavailable as error:
            self.failures["rest"] += 1
            log.warning("no answer", venue=self.venue.venue, reason=str(error)[:300])
            return False
        message = rest_message(path, body)
        if path == self.venue.definitions_path(self.symbols):
            self.definitions = [message]
        await self._inbox.put(message)
        return True

    async def _define(self, rest: Rest) -> None:
        """Ask for definitions and the venue's time until every instrument is defined."""
        await self._ask(rest, self.venue.time_path())
        while True:
            if await self._ask(rest, self.venue.definitions_path(self.symbols)):
                try:
                    async with asyncio.timeout(START_RETRY_S):
                        while not all(map(self.intake.instruments.knows, self.symbols)):
                            await asyncio.sleep(0.01)
                        return
                except TimeoutError:
                    log.warning("symbols without definition", venue=self.venue.venue)
            await asyncio.sleep(START_RETRY_S)

    async def _refresh(self, rest: Rest, path: str, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            await self._ask(rest, path)

    async def _fill(self, rest: Rest) -> None:
        """Fetch what is missing, round after round; what is not filled in time is declared."""
        attempt = 0
        while True:
            missing = self.intake.missing()
            if not missing:
                attempt = 0
                await asyncio.sleep(RETRY_S / 5)
                continue
            await asyncio.gather(*(self._fetch(rest, *hole, attempt) for hole in missing[:8]))
            attempt += 1
            await asyncio.sleep(RETRY_S if attempt > 1 else RETRY_S / 5)

    async def _fetch(self, rest: Rest, symbol: str, first: int, last: int, attempt: int) -> None:
        paths = self.venue.trades_paths(symbol, first, last - first + 1)
        await self._ask(rest, paths[attempt % len(paths)])

    async def _catch_up(self, rest: Rest) -> None:
        """After every connection, ask for what instruments traded while no socket was up.

        Busy ones show their hole by the next trade's id; this is for those that trade rarely.
        Status waits for it, for at most 2 s.
        """
        while True:
            await self._probe.wait()
            self._probe.clear()
            self._probing = True
            asking = asyncio.create_task(self._probe_all(rest))
            try:
                await asyncio.wait({asking}, timeout=PROBE_HOLD_S)
                self._probing = False
                await asking
            finally:
                asking.cancel()

    async def _probe_all(self, rest: Rest) -> None:
        known = {s: q.last for s, q in self.intake.sequences.items() if q.last is not None}
        for symbol, last in known.items():
            sequence = self.intake.sequences[symbol]
            if sequence.last == last and not sequence.holes and self.connected:
                count = self.venue.limits.trades_a_request
                await self._ask(rest, self.venue.trades_paths(symbol, last + 1, count)[0])
