"""The one WebSocket loop: keeps one set of subscriptions connected, whatever the venue.

A `Line` opens a connection, subscribes, and hands every message with its receive time to the inbox,
and every turn of its connections (connections.py) between them. A connection that ends, or falls
silent, is replaced after a backoff with jitter. Before the venue would end one (its lifetime, or an
announced shutdown) the next one is opened and both run for a moment: nothing is missed, and what
came twice is merged by its ids.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from tidemill.schemas.errors import Unavailable
from tidemill.streams.feeds.allowance import Allowance
from tidemill.streams.feeds.connections import State, Turn, socket_message
from tidemill.streams.feeds.feed import Command, Socket, Venue
from tidemill.streams.feeds.inbox import Inbox

BACKOFF_S_MIN, BACKOFF_S_MAX = 0.25, 30.0
STEADY_S = 60.0
"""A connection that lived so long starts the backoff anew."""
OVERLAP_S = 2.0
"""How long an old and a new connection run beside each other."""
OPENING_S = 0.05
"""How often is asked whether the address may open another one."""
OPEN_TIMEOUT_S = 10.0
SUBSCRIBE_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0
PING_INTERVAL_S = PING_TIMEOUT_S = 5.0
"""A half-open connection is noticed within their sum; venues allow few commands a second."""
SILENT_S, SILENT_S_MAX = 10.0, 600.0
"""A connection that says nothing for so long is taken for dead, and at most how long."""
SILENT_GAPS = 30.0
"""It may be silent for so many of its mean gaps between messages, too."""
ROTATE_S = 10.0
"""Announcements of one shutdown come on many connections: one in so long is heeded."""
QUEUE_MESSAGES = 4_096
"""Messages that a connection buffers before it stops reading from the network."""

Commands = Callable[[int], list[Command]]
T = TypeVar("T")


class Acknowledgements:
    """Waits for the venue to accept commands, by their ids."""

    def __init__(self) -> None:
        self._next = 1
        self._waiting: dict[int, tuple[int, asyncio.Future[None]]] = {}

    def numbered(self, commands: Commands) -> tuple[int, list[Command]]:
        """Return commands with ids of their own, the first of them, and expect their answers."""
        first = self._next
        made = commands(first)
        self._next += len(made)
        loop = asyncio.get_running_loop()
        for at, command in enumerate(made):
            if command.answers:
                self._waiting[first + at] = command.answers, loop.create_future()
        return first, made

    def accepted(self, command: int) -> None:
        """The venue gave one answer to a command, the last of them perhaps."""
        left, future = self._waiting.get(command, (0, None))
        if future is None:
            return
        if left > 1:
            self._waiting[command] = left - 1, future
            return
        del self._waiting[command]
        if not future.done():
            future.set_result(None)

    async def all_of(self, first: int, count: int) -> None:
        """Wait until the commands `first` and the next ones are accepted. Raises Unavailable."""
        ids = range(first, first + count)
        waiting = [self._waiting[i][1] for i in ids if i in self._waiting]
        try:
            async with asyncio.timeout(SUBSCRIBE_TIMEOUT_S):
                await asyncio.gather(*waiting)
        except TimeoutError as error:
            raise Unavailable("the venue did not accept the subscriptions") from error

    def forget(self, first: int, count: int) -> None:
        """Expect no answer any more to the commands `first` and the next ones."""
        for i in range(first, first + count):
            self._waiting.pop(i, None)


@dataclass
class Plan:
    """What one line connects to, and for what; `symbols` may change, the next connection obeys."""

    venue: Venue
    socket: Socket
    endpoint: str
    symbols: tuple[str, ...]

    @property
    def url(self) -> str:
        """Where the connection is opened."""
        return self.venue.url(self.endpoint, self.socket)

    def commands(self, first_id: int) -> list[Command]:
        """The subscriptions."""
        return self.venue.subscriptions(self.socket, self.symbols, first_id)


@dataclass(eq=False)
class Connection:
    """One connection: its number, what it carries, and how it goes."""

    number: int
    symbols: tuple[str, ...]
    up: asyncio.Future[None]
    born: float
    allowance: Allowance
    reader: asyncio.Task[str] | None = None
    client: ClientConnection | None = None
    messages: int = 0
    sent_at: float = 0.0
    pace: asyncio.Lock = field(default_factory=asyncio.Lock)
    ending: State = "DOWN"
    ending_reason: str = ""
    gone: bool = False

    @property
    def reading(self) -> asyncio.Task[str]:
        """The task that reads it."""
        assert self.reader is not None
        return self.reader

    def patience_s(self, now: float, least_s: float) -> float:
        """How long it may be silent: by its mean gap between messages so far."""
        mean = (now - self.born) / max(1, self.messages)
        return min(SILENT_S_MAX, max(least_s, SILENT_GAPS * mean))


class Line:
    """One set of subscriptions kept up for ever. `is_up` while a subscribed connection is there.

    `numbers` count the connections of a feed, `openings` is what its address may still open;
    `on_failed(reason)` is called for one that never came up.
    """

    def __init__(
        self,
        plan: Plan,
        inbox: Inbox,
        acknowledgements: Acknowledgements,
        numbers: Iterator[int],
        openings: Allowance,
        on_failed: Callable[[str], None],
    ) -> None:
        self.plan = plan
        self._inbox, self._acknowledgements = inbox, acknowledgements
        self._numbers, self._openings, self._on_failed = numbers, openings, on_failed
        self._tasks: set[asyncio.Task[Any]] = set()
        self._rotate = asyncio.Event()
        self._rotated_at = float("-inf")
        self._failures = 0
        self._silent_s = SILENT_S
        self._closed = False
        self._current: Connection | None = None
        self.up_at = float("-inf")

    @property
    def is_up(self) -> bool:
        """Whether a connection is open and subscribed."""
        return self._current is not None

    @property
    def turn(self) -> Turn | None:
        """The turn that says that it is up, while it is."""
        connection = self._current
        if connection is None:
            return None
        return Turn(self.plan.socket.name, connection.number, "UP", "", connection.symbols)

    def carries(self, symbol: str) -> bool:
        """Whether a connection is up that is subscribed to `symbol`."""
        return self._current is not None and symbol in self._current.symbols

    @property
    def commands_left(self) -> float:
        """How many commands it may still send; inf without a limit. Any thread may ask."""
        connection = self._current
        if connection is None:
            return float("inf")
        return connection.allowance.left(connection.reading.get_loop().time())

    def rotate(self) -> None:
        """Replace the connection now, the new one first: its plan has changed."""
        self._rotate.set()

    def announced(self) -> None:
        """Replace the connection, the new one first: it will end, or is of no more use."""
        now = asyncio.get_running_loop().time()
        if now - self._rotated_at >= ROTATE_S:
            self._rotated_at = now
            self.rotate()

    def close(self) -> None:
        """From now on connections end because we want it: before this line is stopped for good."""
        self._closed = True

    async def resubscribe(self, symbol: str) -> bool:
        """Have the connection that is up send a book's snapshot; return whether that was accepted.

        Only for venues that send snapshots on subscribing.
        """
        connection, plan = self._current, self.plan

        def commands(first_id: int) -> list[Command]:
            return plan.venue.resubscriptions(plan.socket, [symbol], first_id)

        if connection is None:
            return False
        try:
            await self._command(connection, commands)
        except (ConnectionClosed, Unavailable):
            return False
        return True

    async def run(self) -> None:
        """Stay connected until cancelled."""
        try:
            while True:
                await self._until_down(await self._connected())
                await asyncio.sleep(self._backoff_s())
        finally:
            self._current = None
            for task in (tasks := list(self._tasks)):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _task(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task that ends with this line at the latest."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _until_down(self, connection: Connection) -> None:
        """Rotate connections while they live; return when one has ended by itself."""
        while True:
            # Spread rotations, so that many lines do not connect anew all at once.
            life_s = self.plan.venue.limits.life_s * random.uniform(0.9, 1.0)
            asked, silent = self._task(self._rotate.wait()), self._task(self._silence(connection))
            await _first([connection.reading, asked, silent], life_s)
            asked.cancel()
            if silent.done() and not connection.reading.done():
                await self._end(connection, "DOWN", f"silent for {silent.result():.0f} s")
            silent.cancel()
            if connection.reading.done():
                if not connection.reading.cancelled():
                    connection.reading.result()  # a bug is raised here
                if asyncio.get_running_loop().time() - connection.born >= STEADY_S:
                    self._failures = 0
                return
            connection = await self._replaced(connection)

    async def _silence(self, connection: Connection) -> float:
        """Return when nothing came for too long: how long that was."""
        loop = asyncio.get_running_loop()
        heard, since = connection.messages, loop.time()
        while True:
            await asyncio.sleep(self._silent_s / 8)
            now = loop.time()
            if connection.messages != heard:
                heard, since = connection.messages, now
            elif now - since >= connection.patience_s(since, self._silent_s):
                # One that hardly spoke may have had nothing to say: the next one may take longer.
                quiet = connection.messages < SILENT_GAPS
                self._silent_s = min(2 * self._silent_s, SILENT_S_MAX) if quiet else SILENT_S
                return now - since

    async def _replaced(self, old: Connection) -> Connection:
        """Make before break: open the next connection, let both run, close the old one."""
        self._rotate.clear()
        try:
            new = await self._connected()
            await _first([new.reading, old.reading], OVERLAP_S)
            return new
        finally:
            await self._end(old, "CLOSED", "replaced")

    async def _end(self, connection: Connection, state: State, reason: str) -> None:
        """End a connection, and wait until it has noted that."""
        connection.ending, connection.ending_reason = state, reason
        if connection.client is not None:
            await connection.client.close(1000, reason)  # what was sent before is read
            await _first([connection.reading], CLOSE_TIMEOUT_S)
        connection.reading.cancel()
        await asyncio.wait({connection.reading})

    async def _connected(self) -> Connection:
        """Return a connection that is open and subscribed, however long it takes."""
        loop = asyncio.get_running_loop()
        while True:
            while not self._openings.take(1, loop.time()):
                await asyncio.sleep(OPENING_S)
            up: asyncio.Future[None] = loop.create_future()
            allowance = Allowance(self.plan.venue.limits.commands_an_hour)
            number, symbols = next(self._numbers), self.plan.symbols
            connection = Connection(number, symbols, up, loop.time(), allowance)
            self._note(connection, "OPENING")
            connection.reader = self._task(self._read(connection))
            await _first([connection.reading, up])
            if not connection.reading.done():
                self._note(connection, "UP")
                self._current, self.up_at = connection, loop.time()
                return connection
            self._on_failed(connection.reading.result())
            await asyncio.sleep(self._backoff_s())

    def _backoff_s(self) -> float:
        """Exponential, with full jitter, bounded."""
        self._failures = min(self._failures + 1, 16)
        return random.uniform(0.5, 1.0) * min(
            BACKOFF_S_MAX, BACKOFF_S_MIN * 2.0 ** (self._failures - 1)
        )

    def _note(self, connection: Connection, state: State, reason: str = "") -> None:
        """Put a turn of a connection between the messages."""
        socket, number = self.plan.socket.name, connection.number
        turn = Turn(socket, number, state, reason[:300], connection.symbols)
        self._inbox.note(socket_message(turn))

    def _gone(self, connection: Connection, reason: str) -> None:
        """Nothing more comes of a connection: note it, once."""
        if not connection.gone:
            connection.gone = True
            if self._current is connection:
                self._current = None
            state: State = "CLOSED" if self._closed else connection.ending
            self._note(connection, state, connection.ending_reason or reason)

    async def _read(self, connection: Connection) -> str:
        """Open a connection, subscribe, read until it ends; return why it ended."""
        reason = "stopped"
        try:
            async with self._open() as client:
                connection.client = client
                working = [
                    asyncio.create_task(self._subscribe(connection)),
                    asyncio.create_task(self._keep_alive(connection)),
                ]
                try:
                    reason = await self._listen(connection, client)
                finally:
                    self._gone(connection, reason)
                    await _ended(working)
                    await client.close()
        except (ConnectionClosed, OSError, TimeoutError, InvalidHandshake, InvalidURI) as error:
            reason = f"{type(error).__name__}: {error}"
        finally:
            self._gone(connection, reason)
        return reason

    async def _listen(self, connection: Connection, client: ClientConnection) -> str:
        """Read until the connection is closed; return why it was."""
        put, recv = self._inbox.put, client.recv
        try:
            while True:
                raw = await recv(decode=False)
                connection.messages += 1
                await put(bytes(raw))
        except ConnectionClosed as error:
            return f"closed: {error}"

    async def _subscribe(self, connection: Connection) -> None:
        """Send the subscriptions and wait until all are accepted."""
        assert connection.client is not None
        try:
            await self._command(connection, self.plan.commands)
        except ConnectionClosed:
            return  # the reader says why
        except Unavailable as error:
            await connection.client.close(1000, str(error))
            return
        if not connection.up.done():
            connection.up.set_result(None)

    async def _command(self, connection: Connection, commands: Commands) -> None:
        """Send commands and wait until the venue has accepted them. Raises Unavailable.

        They are sent all or none. One that has none left is replaced: another one has its own.
        """
        first, made = self._acknowledgements.numbered(commands)
        try:
            if not connection.allowance.take(len(made), asyncio.get_running_loop().time()):
                self.announced()
                raise Unavailable("the connection has sent its commands of an hour")
            for command in made:
                await self._send(connection, command.payload)
            await self._acknowledgements.all_of(first, len(made))
        finally:
            self._acknowledgements.forget(first, len(made))

    async def _keep_alive(self, connection: Connection) -> None:
        """Say that we are there, where the venue wants to hear it."""
        socket = self.plan.socket
        try:
            while socket.keep_alive:
                await asyncio.sleep(socket.keep_alive_s)
                await self._send(connection, socket.keep_alive)
        except ConnectionClosed:
            return  # the reader says why

    async def _send(self, connection: Connection, payload: bytes) -> None:
        """Send one message below the venue's rate."""
        assert connection.client is not None
        loop = asyncio.get_running_loop()
        async with connection.pace:
            pause_s = 1 / self.plan.venue.limits.commands_per_s
            await asyncio.sleep(max(0.0, connection.sent_at + pause_s - loop.time()))
            connection.sent_at = loop.time()
            await connection.client.send(payload, text=True)

    def _open(self) -> connect:
        return connect(
            self.plan.url,
            compression=None,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            ping_interval=PING_INTERVAL_S,
            ping_timeout=PING_TIMEOUT_S,
            max_size=self.plan.venue.limits.message_bytes_max,
            max_queue=QUEUE_MESSAGES,
        )


async def _first(awaited: list[asyncio.Future[Any]], timeout_s: float | None = None) -> None:
    """Wait until one of them is done, or the time has passed."""
    await asyncio.wait(awaited, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)


async def _ended(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait for them; raise what one raised, which is a bug."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
