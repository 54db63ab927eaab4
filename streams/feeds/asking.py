"""What a feed asks by REST, each answer a message in its inbox: definitions, holes, polls, time.

Holes and what was missed while no connection was up are urgent; definitions, polls and the venue's
time take what they leave of the budget.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence

import structlog

from tidemill.schemas.errors import Unavailable
from tidemill.streams.feeds.capture import rest_message
from tidemill.streams.feeds.feed import Poll, Proof, Venue
from tidemill.streams.feeds.inbox import Inbox
from tidemill.streams.feeds.intake import Intake
from tidemill.streams.feeds.rest import Rest

DEFINITIONS_S = 300.0
"""How often definitions are asked for anew."""
LISTING_S = 60.0
"""The same while an instrument is waited for that is not listed yet."""
TIME_S = 30.0
"""How often the venue's time is asked for, for venues so quiet that no message tells it."""
RETRY_S = 0.1
"""Pause between rounds of fetching what is missing."""
AGAIN_S = 1.0
"""Pause before what is not urgent is asked again, doubling."""
ATTEMPTS_MAX = 4
FETCHES_MAX = 8
"""Holes that are fetched at once."""
PAGES_MAX = 64
"""Pages of the list of all instruments, at most."""
POLLS_MAX = 4
"""Polls that are asked at once."""
FIRST_POLL_S = 5.0
"""The first polls are spread over so long, at most."""
POLL_LOOK_S = 0.1
WARN_S = 5.0
"""A warning of failing requests is given at most so often."""

log = structlog.get_logger()


class Asking:
    """The REST side of one feed: `symbols` of a `venue`, answers into its inbox.

    `rounds` counts how often what is defined was refreshed.
    """

    def __init__(
        self,
        venue: Venue,
        rest: Rest,
        inbox: Inbox,
        intake: Intake,
        symbols: Sequence[str],
        failures: Counter[str],
    ) -> None:
        self._own: list[bytes] = []
        self._listed: list[bytes] = []
        self.rounds = 0
        self._venue, self._rest = venue, rest
        self._inbox, self._intake = inbox, intake
        self._symbols, self._failures = list(symbols), failures
        self._warned_at = float("-inf")

    async def ask(
        self, path: str, urgent: bool = True, kept: list[bytes] | None = None
    ) -> bool | None:
        """GET `path` and take the answer as a message, which `kept` gets where it is one.

        Return whether it is one; None when it says what is wrong with the request.
        """
        try:
            answer = await self._rest.get(path, self._venue.weight(path), urgent)
        except Unavailable as error:
            self._failures["rest"] += 1
            self._warn(str(error))
            return False
        message = rest_message(path, answer.body)
        if answer.good and kept is not None:
            kept.append(message)
        await self._inbox.put(message)
        return True if answer.good else None

    def _warn(self, reason: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._warned_at >= WARN_S:
            self._warned_at = now
            log.warning("no answer", venue=self._venue.venue, reason=reason[:300])

    async def ask_again(self, path: str, kept: list[bytes] | None = None) -> bool | None:
        """Ask what is not urgent, up to 4 times, with growing pauses and jitter."""
        for attempt in range(ATTEMPTS_MAX):
            if (answered := await self.ask(path, False, kept)) is not False:
                return answered
            await asyncio.sleep(AGAIN_S * 2.0**attempt * random.uniform(0.5, 1.0))
        return False

    # instruments and time

    @property
    def definitions(self) -> list[bytes]:
        """The newest answers about instruments, as raw messages."""
        return [*self._own, *self._listed]

    def undefined(self) -> list[str]:
        """Return the symbols that no definition is known of."""
        return [s for s in self._symbols if not self._intake.instruments.knows(s)]

    async def define(self) -> bool:
        """Ask for definitions, of all that the venue has where that is needed; take them.

        Return whether the venue answered.
        """
        if (path := self._venue.definitions_path(self._symbols)) is not None:
            kept: list[bytes] = []
            answered = await self.ask_again(path, kept)
            if answered is False:
                return False
            self._own = kept or self._own
            await self._inbox.digested()
            if answered and not self.undefined():
                return True
            # Not all of them are listed: only the full list says which.
        return await self._list()

    async def _list(self) -> bool:
        """Ask for the list of all instruments, to its last page; return whether it is complete."""
        listing, kept = self._intake.listing, list[bytes]()
        listing.begin()
        for _ in range(PAGES_MAX):
            asked = listing.awaited
            if not await self.ask_again(asked, kept):
                return False
            await self._inbox.digested()
            if not listing.awaited:
                self._listed = kept
                return True
            if listing.awaited == asked:
                break
        self._failures["listing"] += 1
        self._warn("the list of all instruments does not end")
        return False

    async def define_for_ever(self) -> None:
        """Refresh definitions: changes, halts, listings, delistings."""
        while True:
            await asyncio.sleep(LISTING_S if self.undefined() else DEFINITIONS_S)
            self.rounds += await self.define()

    async def tell_time(self) -> None:
        """Ask for the venue's time, for ever."""
        while True:
            await asyncio.sleep(TIME_S * random.uniform(0.9, 1.0))
            await self.ask_again(self._venue.time_path())

    # trades

    @property
    def _contiguous(self) -> bool:
        channels = [channel for socket in self._venue.sockets for channel in socket.channels]
        return any(c.kind == "trade" and c.proof is Proof.CONTIGUOUS for c in channels)

    async def fill(self) -> None:
        """Fetch what is missing, round after round; what is not filled in time is declared."""
        attempt = 0
        while True:
            missing = self._intake.missing()
            if not missing:
                attempt = 0
                await asyncio.sleep(RETRY_S / 5)
                continue
            fetches = [self._fetch(*hole, attempt) for hole in missing[:FETCHES_MAX]]
            await asyncio.gather(*fetches)
            await self._inbox.digested()
            attempt += 1
            await asyncio.sleep(RETRY_S if attempt > 1 else RETRY_S / 5)

    async def _fetch(self, symbol: str, first: int, last: int, attempt: int) -> None:
        paths = self._venue.trades_paths(symbol, first, last - first + 1)
        if paths:
            await self.ask(paths[attempt % len(paths)])

    async def probe(self, symbols: Sequence[str], connected: Callable[[], bool]) -> None:
        """Ask for what `symbols` traded since their newest trade, where nothing came since.

        Busy ones show their hole by the next trade's id; this is for those that trade rarely.
        """
        if not self._contiguous:
            return
        count = self._venue.limits.trades_a_request
        sequences = self._intake.sequences
        known = {s: sequences[s].last for s in symbols if s in sequences}
        for symbol, last in known.items():
            sequence = sequences[symbol]
            if last is None or sequence.last != last or sequence.holes or not connected():
                continue
            if paths := self._venue.trades_paths(symbol, last + 1, count):
                await self.ask(paths[0])

    # polls

    async def poll(self, symbols: Callable[[], Sequence[str]]) -> None:
        """Ask what no socket says, each path at its period, spread; for ever."""
        loop = asyncio.get_running_loop()
        due: dict[str, float] = {}
        asking: set[asyncio.Task[None]] = set()
        try:
            while True:
                now = loop.time()
                polls = {poll.path: poll for poll in self._venue.polls(symbols())}
                due = {path: at for path, at in due.items() if path in polls}
                for path, poll in polls.items():
                    spread_s = min(poll.every_s, FIRST_POLL_S)
                    due.setdefault(path, now + random.uniform(0.0, spread_s))
                for path in sorted((p for p in due if due[p] <= now), key=due.__getitem__):
                    if len(asking) >= POLLS_MAX:
                        break
                    due[path] = max(due[path] + polls[path].every_s, now)
                    asking.add(task := loop.create_task(self._polled(polls[path])))
                    task.add_done_callback(asking.discard)
                await asyncio.sleep(POLL_LOOK_S)
        finally:
            for task in (left := list(asking)):
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _polled(self, poll: Poll) -> None:
        await self.ask(poll.path, urgent=False)
