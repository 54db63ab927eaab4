"""An event loop without clock, threads or chance: what runs next is drawn from one seed.

Every process of a simulation is an Actor with a queue of its own, first in, first out, as asyncio
has it; between actors any interleaving may come. Time stands still while something is ready and
then jumps to the next timer. An actor that is killed never runs again, not even its `finally`
blocks, until the simulation is over and judged; one that is frozen goes on later, where it was.
"""

import asyncio
import contextlib
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from hashlib import blake2b
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")


class Killed(BaseException):
    """The process dies here."""


class Actor:
    """One process of the simulation, or a server."""

    def __init__(self, name: str, number: int) -> None:
        self.name, self.number = name, number
        self.queue: deque[asyncio.Handle] = deque()
        self.dead = self.frozen = False
        self.context = copy_context()
        self.context.run(ACTOR.set, self)
        self.tasks: list[asyncio.Task[Any]] = []

    def __repr__(self) -> str:
        return self.name


ACTOR: ContextVar[Actor] = ContextVar("ACTOR")


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs actors in an order that `random` decides; `trace` is the hash of that order."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self.turns = 0
        self.errors: list[str] = []
        self.trace = blake2b(digest_size=8)
        self._random = random
        self._virtual_s = 0.0
        self._actors: list[Actor] = []
        self._living: list[Actor] = []
        self._timers: list[asyncio.TimerHandle] = []
        self.main = self.actor("world")
        self.set_exception_handler(SimulatedLoop._unheard)

    def actor(self, name: str) -> Actor:
        """Return a new actor."""
        actor = Actor(name, len(self._actors))
        self._actors.append(actor)
        self._living.append(actor)
        return actor

    def start(self, actor: Actor, main: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin an actor's work."""
        return self.create_task(main, context=actor.context)

    def time(self) -> float:
        """Seconds since the simulation began."""
        return self._virtual_s

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        task = super().create_task(coro, name=name, context=context)
        actor = (context or copy_context()).get(ACTOR, self.main)
        if len(actor.tasks) > 64:
            actor.tasks = [one for one in actor.tasks if not one.done()]
        actor.tasks.append(task)
        return task

    def _call_soon(self, callback: Any, args: Any, context: Context | None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._of(handle).queue.append(handle)
        return handle

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> Any:
        return self._call_soon(callback, args, context)

    def call_at(
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, timer)
        timer._scheduled = True  # type: ignore[attr-defined] # as BaseEventLoop does
        return timer

    def call_later(
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._virtual_s + delay, callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing is counted: a cancelled timer is passed over when its time comes."""

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> Any:
        """Run `func` at once and whole, at a later turn: no other thread exists."""
        future: asyncio.Future[T] = self.create_future()

        def call() -> None:
            if future.cancelled():
                return
            try:
                result = func(*args)
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        self.call_later(0.002, call)
        return future

    def _of(self, handle: asyncio.Handle) -> Actor:
        context: Context = handle._context  # type: ignore[attr-defined] # who it belongs to
        return context.get(ACTOR, self.main)

    def turn(self) -> bool:
        """Run one callback of one actor; return whether there was anything to do."""
        while True:
            ready = [a for a in self._living if a.queue and not a.frozen]
            if ready:
                break
            if not self._advance():
                return False
        actor = ready[0] if len(ready) == 1 else self._random.choice(ready)
        handle = actor.queue.popleft()
        if not handle.cancelled():
            self.turns += 1
            self.trace.update(b"%d %.9f\n" % (actor.number, self._virtual_s))
            with contextlib.suppress(Killed):  # in a callback: its actor is dead by now
                handle._run()
        return True

    def _advance(self) -> bool:
        """Let time jump to the next timers; they are ready then."""
        while self._timers and self._timers[0].cancelled():
            heapq.heappop(self._timers)
        if not self._timers:
            return False
        self._virtual_s = max(self._virtual_s, self._timers[0].when())
        while self._timers and self._timers[0].when() <= self._virtual_s:
            timer = heapq.heappop(self._timers)
            if not timer.cancelled():
                self._of(timer).queue.append(timer)
        return True

    def drive(self, main: Coroutine[Any, Any, T], turns_max: int = 2_000_000) -> T:
        """Run `main` as the world's own, and all actors with it, until it ends."""
        asyncio._set_running_loop(self)
        try:
            task = self.start(self.main, main)
            while not task.done():
                if not self.turn():
                    raise RuntimeError("nothing can ever happen any more")
                if self.turns > turns_max:
                    raise RuntimeError(f"no end after {turns_max} turns")
            return task.result()
        finally:
            asyncio._set_running_loop(None)

    def kill(self, actor: Actor) -> None:
        """End an actor between two of its steps, as kill -9 does."""
        actor.dead = True
        if actor in self._living:
            self._living.remove(actor)

    def tear_down(self) -> None:
        """Cancel whatever is left, of the dead, too: nothing that it does matters any more."""
        asyncio._set_running_loop(self)
        try:
            self._timers.clear()
            self._living = list(self._actors)
            for actor in self._actors:
                actor.dead = actor.frozen = False
            left = [t for a in self._actors for t in a.tasks if not t.done()]
            for task in left:
                task.cancel()
            for _ in range(100_000):
                if not self.turn():
                    break
            for task in left:
                if task.done() and not task.cancelled():
                    task.exception()  # heard: it came after the end
                else:
                    task._log_destroy_pending = False  # type: ignore[attr-defined]
        finally:
            asyncio._set_running_loop(None)
            self.close()

    def _unheard(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, Killed):
            self.errors.append(f"{context.get('message')}: {error!r}")
