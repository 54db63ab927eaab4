"""A world: servers, processes that are started again when they end, faults, and a quiet end."""

import asyncio
import random as chance
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from unittest.mock import patch

from tidemill.schemas.errors import Fenced, Unavailable
from tidemill.streams import crash_points
from tidemill.streams.runtime.checkpoint import Checkpoint, progress
from tidemill.streams.runtime.gate import needs
from tidemill.streams.subjects import LOG_SUBJECTS, OUT_SUBJECTS
from tidemill.tests.faults.simulation import roles
from tidemill.tests.faults.simulation.clickhouse import Parts
from tidemill.tests.faults.simulation.logs import ClientLog, Store
from tidemill.tests.faults.simulation.loop import ACTOR, Actor, Killed, SimulatedLoop
from tidemill.tests.faults.simulation.market import Market
from tidemill.tests.faults.simulation.network import Fate, Server
from tidemill.tests.faults.simulation.plan import LASTS_S, STORES, WRITES, Fault, Plan
from tidemill.tests.faults.simulation.postgres import Database
from tidemill.tests.faults.simulation.tables import incomplete

RECOVERY_S = 45.0
"""Virtual seconds after the last fault in which everything must have come right."""
FATES = {"lost": Fate.LOST, "unanswered": Fate.UNANSWERED, "late": Fate.LATE}


@dataclass
class Slot:
    """A process that the supervisor keeps running: `current` is the one that does now."""

    name: str
    role: roles.Role
    current: Actor | None = None
    ended: "asyncio.Future[None] | None" = None
    task: "asyncio.Task[None] | None" = None


@dataclass
class World:
    """Everything of one run. `failures` says what went wrong while it ran."""

    plan: Plan
    loop: SimulatedLoop
    folder: Path
    random: Random
    failures: list[str] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)
    """How often each kind of fault was done."""
    clock_s: float = 0.0
    owners: int = 0
    end: int = 0
    """LOG's end when all was quiet."""

    def __post_init__(self) -> None:
        self.servers = {name: self._server(name) for name in (*WRITES, *STORES)}
        self.log = self._store("LOG", LOG_SUBJECTS)
        self.out = self._store("OUT", OUT_SUBJECTS)
        self.leases = self._store("LEASES", ("$KV.LEASES.>",))
        self.tables = roles.tables_of(self.plan.graphs)
        in_clickhouse = [t for t in self.tables if t.database == "clickhouse"]
        in_postgres = [t for t in self.tables if t.database == "postgres"]
        self.parts = Parts(
            self.servers["CLICKHOUSE"], self.loop, in_clickhouse, self.random, self._begun
        )
        self.database = Database(self.servers["POSTGRES"], self.loop, in_postgres, self._moved)
        self.markets = [
            Market(f"V{k}", Random(f"market {self.plan.seed} {k}")) for k in range(self.plan.venues)
        ]
        self.graphs = roles.graphs_of(self.plan.graphs)
        self.slots: list[Slot] = []
        self.zombies: list[Actor] = []
        self._armed: dict[str, int] = {}
        self._actors = 0

    def _server(self, name: str) -> Server:
        return Server(self.loop, name, Random(f"{name} {self.plan.seed}"))

    def _store(self, name: str, subjects: tuple[str, ...]) -> Store:
        return Store(name, subjects, self.servers[name], self.loop)

    def client(self, store: Store) -> ClientLog:
        """A connection of a process to a log."""
        return ClientLog(store, self.random)

    # Crash points: tidemill.streams.crash_points asks these two

    def armed(self, point: str) -> bool:
        """Whether a point is armed now."""
        return point in self._armed

    def reach(self, point: str) -> None:
        """Pass a point; die there when it is armed and has been passed often enough."""
        if point not in self._armed:
            return
        actor = ACTOR.get(self.loop.main)
        if actor is self.loop.main or actor.dead:
            return
        self._armed[point] -= 1
        if self._armed[point] <= 0:
            del self._armed[point]
            self._note(f"killed at {point}")
            self._end_of(actor)
            raise Killed

    def _moved(self, table: str, position: int) -> None:
        """I7, at every moment: a table has all rows up to the position that is told of it.

        What a process had sent before the power failed may arrive after it: its successor, who
        looks at the table itself, tells better.
        """
        if table in self.parts.tables:
            self._complete(self.servers["POSTGRES"], table, position)

    def _begun(self, table: str) -> None:
        """I7: before anything follows, a table that lost rows is told to have lost them."""
        row = self.database.sink.get(table)
        self._complete(self.servers["CLICKHOUSE"], table, row["position"] if row else 0)

    def _complete(self, server: Server, table: str, position: int) -> None:
        living = server.author is not None and not server.author.dead
        if living and (why := incomplete(self, table, position)):
            self.failures.append(why)

    def _note(self, kind: str) -> None:
        self.done[kind] = self.done.get(kind, 0) + 1

    # Processes

    def run_role(self, name: str, role: roles.Role) -> None:
        """Keep a process running from now on."""
        slot = Slot(name, role)
        self.slots.append(slot)
        slot.task = self.loop.start(self.loop.main, self._supervise(slot))

    async def _supervise(self, slot: Slot) -> None:
        while True:
            self._actors += 1
            slot.current = self.loop.actor(f"{slot.name}#{self._actors}")
            slot.ended = self.loop.create_future()
            task = self.loop.start(slot.current, self._main(slot.role))
            task.add_done_callback(lambda _, ended=slot.ended: _settle(ended))
            await slot.ended
            if task.done():
                self._hear(slot, task)
            await asyncio.sleep(self.random.uniform(0.05, 0.6))

    async def _main(self, role: roles.Role) -> None:
        await role()

    def _hear(self, slot: Slot, task: "asyncio.Task[None]") -> None:
        """What ended a process must be one of the errors that stop one."""
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, (Fenced, Unavailable, Killed)):
            self.failures.append(f"{slot.name} ended by {error!r}")

    def _end_of(self, actor: Actor) -> None:
        """kill -9."""
        self.loop.kill(actor)
        self.database.gone(actor)
        for slot in self.slots:
            if slot.current is actor and slot.ended is not None:
                _settle(slot.ended)

    def stop_role(self, prefix: str) -> None:
        """Kill what runs under names with this prefix, and start none again."""
        for slot in [slot for slot in self.slots if slot.name.startswith(prefix)]:
            self.slots.remove(slot)
            assert slot.task is not None
            slot.task.cancel()
            if slot.current is not None:
                self._end_of(slot.current)
        for zombie in self.zombies:
            if zombie.name.startswith(prefix):
                self._end_of(zombie)

    def _start_graphs(self, shards: int, leases: bool) -> None:
        for graph in self.graphs:
            of = 1 if graph.name == "three" else shards
            for index in range(of):
                for _ in range(self.plan.owners):
                    role = roles.graph(self, graph, index, of, leases)
                    self.run_role(f"graph.{graph.name}.{index}of{of}", role)

    # Faults

    async def _break(self) -> None:
        for fault in self.plan.faults:
            await asyncio.sleep(max(0.0, fault.at_s - self.loop.time()))
            self._do(fault)

    def _do(self, fault: Fault) -> None:
        if fault.kind == "point":
            self._armed[fault.target] = int(fault.value)
            return
        self._note(fault.kind)
        server = self.servers.get(fault.target)
        if fault.kind in ("kill", "freeze"):
            self._befall(fault)
        elif fault.kind == "clock":
            self.clock_s += fault.value
        elif fault.kind == "shards":
            self.stop_role("graph")
            self._start_graphs(int(fault.value), self.plan.leases)
        elif server is None:
            return
        elif fault.kind in FATES:
            server.fates.append(FATES[fault.kind])
        elif fault.kind == "cut":
            self._cut(server)
        elif fault.kind == "power":
            self._lose_power()
        elif fault.kind == "slow":
            server.slow = 40.0
            self.loop.call_later(fault.value, setattr, server, "slow", 1.0)
        else:
            self._restart(server, fault.value)

    def _restart(self, server: Server, down_s: float) -> None:
        server.away = True
        self._cut(server)
        if server.name == "CLICKHOUSE":
            self.parts.crash()
        self.loop.call_later(down_s, setattr, server, "away", False)

    def _cut(self, server: Server) -> None:
        server.cut()
        if server.name == "POSTGRES":
            self.database.crash()

    def _lose_power(self) -> None:
        """Sinks and ClickHouse die, and the newest part of each table is not whole afterwards."""
        current = [slot.current for slot in self.slots if slot.name == "sink" and slot.current]
        for actor in (*current, *(z for z in self.zombies if z.name.startswith("sink"))):
            self._end_of(actor)
        self._restart(self.servers["CLICKHOUSE"], 0.1)
        self.parts.lose()

    def _befall(self, fault: Fault) -> None:
        found = [s for s in self.slots if s.name.startswith(fault.target) and s.current]
        if not found:
            return
        slot = self.random.choice(found)
        assert slot.current is not None and slot.ended is not None
        if slot.current.dead or slot.current.frozen:
            return
        if fault.kind == "kill":
            return self._end_of(slot.current)
        zombie = slot.current
        zombie.frozen = True
        self.zombies.append(zombie)
        self.loop.call_later(fault.value, setattr, zombie, "frozen", False)
        _settle(slot.ended)  # its machine does not answer: it is started on another one

    # The run

    async def run(self) -> None:
        """Run, break things, heal them, and wait until all has come right."""
        for k, market in enumerate(self.markets):
            self.run_role(f"feeds.{k}", roles.feeds(self, market))
        for skew_s in (0.0, -0.7):
            self.run_role("time", roles.time(self, skew_s))
        self._start_graphs(self.plan.shards, self.plan.leases)
        if self.plan.sinks:
            self.run_role("sink", roles.sinks(self))
        await self._break()
        await asyncio.sleep(max(0.0, LASTS_S - self.loop.time()))
        await self._heal()
        await self._settle()

    async def _heal(self) -> None:
        self._armed.clear()
        for server in self.servers.values():
            server.away, server.slow = False, 1.0
            server.fates.clear()
        for zombie in self.zombies:
            zombie.frozen = False
        if self.plan.leases is False and self.plan.owners > 1:
            self.stop_role("graph")  # two owners for ever would take turns for ever
            self._start_graphs(self.plan.shards, True)

    async def _settle(self) -> None:
        """Stop the markets, then time, then wait for OUT to come to LOG's end."""
        deadline = self.loop.time() + RECOVERY_S
        for market in self.markets:
            market.ended = True
        while not self._quiet():
            await self._pause(deadline, "a feed does not end")
        self.stop_role("feeds")
        newest = self.log.end
        while self.log.end < newest + 2:
            await self._pause(deadline, "nobody writes time")
        self.stop_role("time")
        while self.servers["LOG"].underway:
            await self._pause(deadline, "LOG never comes to rest")
        self.end = self.log.end - 1
        while not self._there():
            await self._pause(deadline, f"OUT does not come to {self.end}: {self._reached()}")
        while self.plan.sinks and (behind := self._behind()):
            await self._pause(deadline, f"tables do not come to {self.end}: {behind}")

    def _behind(self) -> dict[str, int]:
        told = {t.physical: self.database.sink.get(t.physical) for t in self.tables}
        positions = {name: row["position"] if row else 0 for name, row in told.items()}
        return {name: at for name, at in positions.items() if at < self.end}

    def _quiet(self) -> bool:
        feeds = [s for s in self.slots if s.name.startswith("feeds")]
        return all(s.ended is not None and s.ended.done() for s in feeds)

    async def _pause(self, deadline: float, why: str) -> None:
        if self.failures or self.loop.time() > deadline:
            raise TimeoutError(why)
        await asyncio.sleep(0.1)

    def _reached(self) -> dict[tuple[str, int], int]:
        newest = [m for s, at in self.out._lasts.items() if (m := self.out._at(at)) is not None]
        said = [Checkpoint.read(m.payload) for m in newest if m.subject.startswith("ckpt.")]
        done = progress(said)
        return {key: at for key, at in done.items() if at < self.end}

    def _there(self) -> bool:
        known = [s for s in self.out._lasts if s.startswith("ckpt.")]
        graphs = {subject.split(".")[1] for subject in known}
        return graphs == {graph.name for graph in self.graphs} and not self._reached()


def _settle(ended: "asyncio.Future[None]") -> None:
    if not ended.done():
        ended.set_result(None)


class _Time:
    """Stands in for the module `time` where the engine measures how long it waits."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self.monotonic = self.perf_counter = loop.time


@contextmanager
def world(plan: Plan) -> Iterator[World]:
    """Make a plan's world; afterwards nothing is left of it."""
    loop = SimulatedLoop(Random(f"order {plan.seed}"))
    before = chance.getstate()
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    counted = iter(range(1 << 62))
    try:
        with ExitStack() as patches:
            made = World(plan, loop, folder, Random(f"world {plan.seed}"))
            patches.enter_context(patch.object(crash_points, "_points", made))
            named = patch("tidemill.streams.lease.uuid4", lambda: _Numbered(next(counted)))
            patches.enter_context(named)
            for module in ("collected", "clickhouse.sink", "postgres.sink"):
                patches.enter_context(patch(f"tidemill.projections.{module}.time", _Time(loop)))
            few = partial(needs, partitions=roles.PARTITIONS)
            patches.enter_context(patch("tidemill.projections.sources.needs", few))
            chance.seed(f"backoff {plan.seed}")
            yield made
            for server in made.servers.values():
                server.over = True
            loop.tear_down()
    finally:
        chance.setstate(before)
        shutil.rmtree(folder, ignore_errors=True)


class _Numbered(int):
    """A UUID that is the same in every run of a seed."""

    @property
    def hex(self) -> str:
        return f"{self:032x}"
