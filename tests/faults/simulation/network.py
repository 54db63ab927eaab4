"""Servers and the way to them: requests that are lost, answers that are lost, both late.

A request takes effect at the server, at one moment, whether or not who sent it still lives; what
it gave travels back. A server that is away refuses; one that restarts cuts every connection, and
whoever waits for an answer learns nothing of what became of the request.
"""

import asyncio
from collections.abc import Callable, Coroutine
from enum import Enum
from random import Random
from typing import Any, NamedTuple, TypeVar

from tidemill.schemas.errors import Unavailable
from tidemill.tests.faults.simulation.loop import ACTOR, Actor, Killed, SimulatedLoop

T = TypeVar("T")
TIMEOUT_S = 5.0
"""After so long a request without an answer is given up, as JetStreamLog does."""


class Fate(Enum):
    """What becomes of one write on its way."""

    LOST = "the request never arrives"
    UNANSWERED = "it takes effect, the answer is lost"
    LATE = "it takes effect long after it was given up"


class Waiting(NamedTuple):
    """A request whose answer is awaited."""

    reply: "asyncio.Future[Any]"


def immediately(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing but its turn."""
    while True:
        try:
            work.send(None)
        except StopIteration as done:
            value: T = done.value
            return value


class Server:
    """One server: LOG, OUT, leases, ClickHouse or Postgres."""

    def __init__(self, loop: SimulatedLoop, name: str, random: Random) -> None:
        self.name, self.away, self.slow, self.over = name, False, 1.0, False
        self.fates: list[Fate] = []
        self.underway = 0
        """Requests that were sent and have not taken effect yet."""
        self.author: Actor | None = None
        """Whose request takes effect now."""
        self._loop, self._random = loop, random
        self._actor = loop.actor(name)
        self._waiting: dict[int, Waiting] = {}
        self._requests = 0

    async def call(self, effect: Callable[[], Any], writes: bool = False) -> Any:
        """Send a request and return what it gives. Raises Unavailable: the outcome is not known."""
        author = ACTOR.get()
        if self.over or author.dead:
            raise Killed
        fate = self.fates.pop(0) if writes and self.fates else None
        reply: asyncio.Future[Any] = self._loop.create_future()
        self._requests += 1
        number, waiting = self._requests, Waiting(reply)
        self._waiting[number] = waiting
        delay_s = self._delay_s()
        if fate is not None:
            self._at(TIMEOUT_S, self._fail, reply)
        if fate is Fate.LATE:
            delay_s += TIMEOUT_S + self._random.uniform(0, 2)
        if fate is not Fate.LOST:
            self.underway += 1
            self._at(delay_s, self._arrive, author, effect, waiting, fate)
        try:
            return await reply
        finally:
            self._waiting.pop(number, None)

    def _delay_s(self) -> float:
        return self._random.uniform(0.0002, 0.003) * self.slow

    def _at(self, delay_s: float, callback: Any, *args: Any) -> None:
        self._loop.call_later(delay_s, callback, *args, context=self._actor.context)

    def _arrive(
        self, author: Actor, effect: Callable[[], Any], waiting: Waiting, fate: Fate | None
    ) -> None:
        self.underway -= 1
        if self.away:
            return self._fail(waiting.reply)
        self.author = author
        try:
            given = effect()
        except Exception as error:
            given = error
        if fate is not None:
            return
        if isinstance(given, asyncio.Future):  # it takes its time
            given.add_done_callback(lambda ended: self._ended(waiting, ended))
        else:
            self._at(self._delay_s(), self._answer, waiting.reply, given)

    def _ended(self, waiting: Waiting, ended: "asyncio.Future[Any]") -> None:
        given = ended.exception() or ended.result()
        self._at(self._delay_s(), self._answer, waiting.reply, given)

    def _answer(self, reply: "asyncio.Future[Any]", given: Any) -> None:
        if reply.done():
            return
        if isinstance(given, Exception):
            reply.set_exception(given)
        else:
            reply.set_result(given)

    def _fail(self, reply: "asyncio.Future[Any]") -> None:
        if not reply.done():
            reply.set_exception(Unavailable(f"{self.name} is away"))

    def cut(self) -> None:
        """Cut all connections: nobody learns what became of what is underway."""
        for waiting in list(self._waiting.values()):
            self._fail(waiting.reply)
