"""The one WebSocket loop: keeps one set of subscriptions connected, whatever the venue.

A `Line` opens a socket, subscribes, and hands every message with its receive time to the inbox.
A socket that ends is replaced after a backoff with jitter. Before the venue would end one (its
lifetime, or an announced shutdown) the next one is opened and both run for a moment: nothing is
missed, and what came twice is merged by its ids.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from tidemill.schemas.errors import Unavailable
from tidemill.streams.feeds.feed import Command, Limits

BACKOFF_S_MIN, BACKOFF_S_MAX = 0.25, 30.0
STEADY_S = 60.0
"""A socket that lived so long starts the backoff anew."""
OVERLAP_S = 2.0
"""How long an old and a new socket run beside each other."""
OPEN_TIMEOUT_S = 10.0
SUBSCRIBE_TIMEOUT_S = 10.0
PING_INTERVAL_S = PING_TIMEOUT_S = 5.0
"""A half-open connection is noticed within their sum; venues allow few commands a second."""
QUEUE_MESSAGES = 4_096
"""Messages that a socket buffers before it stops reading from the network."""
INBOX_MESSAGES_MAX = 100_000

Clock = Callable[[], int]
T = TypeVar("T")


class Inbox:
    """Raw messages with their receive times, from every socket and REST, in the order received."""

    def __init__(self, now: Clock) -> None:
        self._now = now
        self._received: list[int] = []
        self._raws: list[bytes] = []
        self._some = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def __len__(self) -> int:
        return len(self._raws)

    async def put(self, raw: bytes) -> None:
        """Take one message, received now; wait while the inbox is full (the socket backs up)."""
        self._received.append(self._now())
        self._raws.append(raw)
        self._some.set()
        if len(self._raws) >= INBOX_MESSAGES_MAX:
            self._room.clear()
            await self._room.wait()

    async def take(self) -> tuple[list[int], list[bytes]]:
        """Wait for messages, and take all there are."""
        await self._some.wait()
        taken = self._received, self._raws
        self._received, self._raws = [], []
        self._some.clear()
        self._room.set()
        return taken


class Acknowledgements:
    """Waits for the venue to accept commands, by their ids."""

    def __init__(self) -> None:
        self._next = 1
        self._waiting: dict[int, asyncio.Future[None]] = {}

    def ids(self, count: int) -> int:
        """Reserve `count` ids and return the first."""
        first, self._next = self._next, self._next + count
        loop = asyncio.get_running_loop()
        self._waiting |= {i: loop.create_future() for i in range(first, self._next)}
        return first

    def accepted(self, command: int) -> None:
        """The venue accepted a command."""
        future = self._waiting.pop(command, None)
        if future is not None and not future.done():
            future.set_result(None)

    async def all_of(self, first: int, count: int) -> None:
        """Wait until the commands `first` and the next ones are accepted. Raises Unavailable."""
        waiting = [self._waiting[i] for i in range(first, first + count) if i in self._waiting]
        try:
            async with asyncio.timeout(SUBSCRIBE_TIMEOUT_S):
                await asyncio.gather(*waiting)
        except TimeoutError as error:
            raise Unavailable("the venue did not accept the subscriptions") from error
        finally:
            for i in range(first, first + count):
                self._waiting.pop(i, None)


@dataclass(frozen=True)
class Plan:
    """What one line connects to. `commands` gives the subscriptions, ids from its argument on."""

    url: str
    commands: Callable[[int], list[Command]]
    limits: Limits


class Line:
    """One connection kept up for ever. `is_up` while a subscribed socket is there.

    `on_up` and `on_down(reason)` are called as it comes and goes, `on_failed(reason)` for a socket
    that never came up, `on_merge(bool)` around the time that two run beside each other.
    """

    def __init__(
        self,
        plan: Plan,
        inbox: Inbox,
        acknowledgements: Acknowledgements,
        on_up: Callable[[], None],
        on_down: Callable[[str], None],
        on_failed: Callable[[str], None],
        on_merge: Callable[[bool], None],
    ) -> None:
        self._plan, self._inbox, self._acknowledgements = plan, inbox, acknowledgements
        self._on_up, self._on_down = on_up, on_down
        self._on_failed, self._on_merge = on_failed, on_merge
        self._tasks: set[asyncio.Task[Any]] = set()
        self._rotate = asyncio.Event()
        self._failures = 0
        self.is_up = False

    def rotate(self) -> None:
        """Replace the socket now, the new one first: the venue said that it will end it."""
        self._rotate.set()

    async def run(self) -> None:
        """Stay connected until cancelled."""
        try:
            while True:
                reader = await self._until_down(await self._connected())
                self.is_up = False
                self._on_down(reader.result())
                await asyncio.sleep(self._backoff_s())
        finally:
            self.is_up = False
            for task in (tasks := list(self._tasks)):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _task(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task that ends with this line at the latest."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _until_down(self, reader: asyncio.Task[str]) -> asyncio.Task[str]:
        """Rotate sockets while they live; return the reader of the one that ended by itself."""
        loop = asyncio.get_running_loop()
        while True:
            born = loop.time()
            # Spread rotations, so that many lines do not connect anew all at once.
            life_s = self._plan.limits.life_s * random.uniform(0.9, 1.0)
            asked = self._task(self._rotate.wait())
            await _first([reader, asked], life_s)
            asked.cancel()
            if reader.done():
                if loop.time() - born >= STEADY_S:
                    self._failures = 0
                return reader
            reader = await self._replaced(reader)

    async def _replaced(self, old: asyncio.Task[str]) -> asyncio.Task[str]:
        """Make before break: open the next socket, let both run, close the old one."""
        self._rotate.clear()
        self._on_merge(True)
        try:
            successor = self._task(self._connected())
            await _first([successor, old])
            if not successor.done():
                # The venue was faster: from now on nothing comes until the next socket is up.
                self.is_up = False
                self._on_down(old.result())
            reader = await successor
            await _first([reader, old], OVERLAP_S)
            return reader
        finally:
            old.cancel()
            self._on_merge(False)

    async def _connected(self) -> asyncio.Task[str]:
        """Return the reader of a socket that is open and subscribed, however long it takes."""
        while True:
            up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            reader = self._task(self._read(up))
            await _first([reader, up])
            if not reader.done():
                self.is_up = True
                self._on_up()
                return reader
            self._on_failed(reader.result())
            await asyncio.sleep(self._backoff_s())

    def _backoff_s(self) -> float:
        """Exponential, with full jitter, bounded."""
        self._failures = min(self._failures + 1, 16)
        return random.uniform(0.5, 1.0) * min(
            BACKOFF_S_MAX, BACKOFF_S_MIN * 2.0 ** (self._failures - 1)
        )

    async def _read(self, up: asyncio.Future[None]) -> str:
        """Open a socket, subscribe, read until it ends; return why it ended."""
        try:
            async with _open(self._plan) as socket:
                subscribing = asyncio.create_task(self._subscribe(socket, up))
                try:
                    while True:
                        raw = await socket.recv(decode=False)
                        await self._inbox.put(bytes(raw))
                finally:
                    await _ended(subscribing)
        except ConnectionClosed as error:
            return f"closed: {error}"
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as error:
            return f"{type(error).__name__}: {error}"

    async def _subscribe(self, socket: ClientConnection, up: asyncio.Future[None]) -> None:
        """Send the commands, below the venue's rate, and wait until all are accepted."""
        first = self._acknowledgements.ids(len(self._plan.commands(1)))
        commands = self._plan.commands(first)
        try:
            for number, command in enumerate(commands):
                if number:
                    await asyncio.sleep(1 / self._plan.limits.commands_per_s)
                await socket.send(command.payload, text=True)
            await self._acknowledgements.all_of(first, len(commands))
        except ConnectionClosed:
            return  # the reader says why
        except Unavailable as error:
            await socket.close(1000, str(error))
            return
        if not up.done():
            up.set_result(None)


@asynccontextmanager
async def _open(plan: Plan) -> AsyncIterator[ClientConnection]:
    async with connect(
        plan.url,
        compression=None,
        open_timeout=OPEN_TIMEOUT_S,
        close_timeout=1.0,
        ping_interval=PING_INTERVAL_S,
        ping_timeout=PING_TIMEOUT_S,
        max_size=plan.limits.message_bytes_max,
        max_queue=QUEUE_MESSAGES,
    ) as socket:
        yield socket


async def _first(awaited: list[asyncio.Future[Any]], timeout_s: float | None = None) -> None:
    """Wait until one of them is done, or the time has passed."""
    await asyncio.wait(awaited, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)


async def _ended(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for it; raise what it raised, which is a bug."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error
