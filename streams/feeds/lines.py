"""Which symbol is carried by which connections: sharded, redundant, and changing while they run.

Every socket of the venue gets as many lines as its symbols need by the venue's limit of streams,
times the number of redundant connections. A symbol that is listed later joins the last line that
has room, whose connection is replaced by one with it, the new one first; one that is delisted is
left out the same way. Nobody else misses anything.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from itertools import count

from tidemill.streams.feeds.allowance import Allowance
from tidemill.streams.feeds.feed import Socket, Venue
from tidemill.streams.feeds.inbox import Inbox
from tidemill.streams.feeds.websocket import Acknowledgements, Line, Plan


class Lines:
    """The lines of one feed. `connections` is how many carry every symbol at once, `openings` what
    the address may still open."""

    def __init__(
        self,
        venue: Venue,
        endpoint: str,
        connections: int,
        inbox: Inbox,
        openings: Allowance,
        on_failed: Callable[[str], None],
    ) -> None:
        self.acknowledgements = Acknowledgements()
        self.symbols: set[str] = set()
        self._venue, self._endpoint, self._connections = venue, endpoint, connections
        self._inbox, self._openings, self._on_failed = inbox, openings, on_failed
        self._numbers = count(1)
        self._shards: list[list[Line]] = []  # redundant lines of one plan
        self._tasks: dict[Line, asyncio.Task[None]] = {}

    @property
    def all(self) -> list[Line]:
        """Every line."""
        return [line for shard in self._shards for line in shard]

    @property
    def commands_left(self) -> float:
        """How many commands the line with the fewest may send; inf without a limit."""
        return min((line.commands_left for line in self.all), default=float("inf"))

    def plans(self, symbols: Sequence[str]) -> list[Plan]:
        """Return how `symbols` are sharded over connections."""
        return [
            Plan(self._venue, socket, self._endpoint, tuple(symbols[at : at + room]))
            for socket in self._venue.sockets
            for room in (self._room(socket),)
            for at in range(0, len(symbols), room)
        ]

    def place(self, wanted: Iterable[str], group: asyncio.TaskGroup) -> None:
        """Carry exactly `wanted` from now on: new lines are run in `group`."""
        symbols = set(wanted)
        gone, new = self.symbols - symbols, sorted(symbols - self.symbols)
        for shard in list(self._shards):
            if gone & set(shard[0].plan.symbols):
                self._leave_out(shard, gone)
        if new and not self.symbols:
            self._open(self.plans(new), group)
        elif new:
            self._join(new, group)
        self.symbols = symbols

    def rotate(self) -> None:
        """Replace every connection, the new ones first: the venue announced its end."""
        for line in self.all:
            line.announced()

    def carrying(self, kind: str, symbol: str) -> list[Line]:
        """Return the lines that are up and subscribed to the channel of `kind` of `symbol`."""
        return [
            line
            for line in self.all
            if line.carries(symbol) and any(c.kind == kind for c in line.plan.socket.channels)
        ]

    def _room(self, socket: Socket) -> int:
        """Most symbols of one connection."""
        return max(1, self._venue.limits.streams_max // len(socket.channels))

    def _open(self, plans: Sequence[Plan], group: asyncio.TaskGroup) -> None:
        for plan in plans:
            shard = [self._line(plan) for _ in range(self._connections)]
            self._shards.append(shard)
            for line in shard:
                self._tasks[line] = group.create_task(line.run())

    def _line(self, plan: Plan) -> Line:
        return Line(
            plan,
            self._inbox,
            self.acknowledgements,
            self._numbers,
            self._openings,
            self._on_failed,
        )

    def _join(self, new: list[str], group: asyncio.TaskGroup) -> None:
        """Add symbols to the last line of each socket, and to new ones when that is full."""
        for socket in self._venue.sockets:
            left = list(new)
            mine = [s for s in self._shards if s[0].plan.socket.name == socket.name]
            if mine:
                plan = mine[-1][0].plan
                room = self._room(socket) - len(plan.symbols)
                joining, left = left[:room], left[room:]
                if joining:
                    self._replan(mine[-1], (*plan.symbols, *joining))
            rest = [p for p in self.plans(left) if p.socket.name == socket.name]
            self._open(rest, group)

    def _leave_out(self, shard: list[Line], gone: set[str]) -> None:
        remaining = tuple(s for s in shard[0].plan.symbols if s not in gone)
        if remaining:
            self._replan(shard, remaining)
            return
        self._shards.remove(shard)
        for line in shard:
            line.close()
            self._tasks.pop(line).cancel()

    def _replan(self, shard: list[Line], symbols: tuple[str, ...]) -> None:
        for line in shard:
            line.plan.symbols = symbols
            line.rotate()
