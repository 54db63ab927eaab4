"""A small engine in the test's own process: a writer, the graph and five sinks on real servers.

The writer remembers, outside of all that may die, what was confirmed to it. What is promised is
counted at the end: each confirmed message in LOG once and where it was said to be, each row of each
table once, and every table equal to what LOG makes again.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from tidemill.deploy.embedded.servers import ServerUrls
from tidemill.deploy.load import Load
from tidemill.deploy.prepared import migrate_log
from tidemill.deploy.rebuilding import engine_of
from tidemill.deploy.roles.connections import Streams, open_streams
from tidemill.processors.bars import BARS
from tidemill.projections import runtime
from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.limits import Limits
from tidemill.projections.live import at_one_moment
from tidemill.projections.migrations import migrate
from tidemill.projections.postgres.readings import Pool, wait_for
from tidemill.projections.ranges import Verdict
from tidemill.projections.registry import TABLES
from tidemill.projections.verify import Compared, remade
from tidemill.projections.verify import verify as compare
from tidemill.schemas.errors import Unavailable
from tidemill.streams.appender import Appender
from tidemill.streams.jetstream_connection import connect
from tidemill.streams.log import Message
from tidemill.streams.runtime.graph import Graph
from tidemill.streams.runtime.shard import Shard
from tidemill.tests.projections import facts
from tidemill.tests.servers import (
    RunningClickHouse,
    RunningNats,
    RunningPostgres,
    RunningServer,
    clickhouse_server,
    nats_server,
    postgres_server,
)

NAMES = ("trades", "quotes", "bars", "latest_trades", "instruments")
LIMITS = Limits(roots_max=60, rows_max=2_000, period_s=0.03, backoff_max_s=0.5)
TRADES, QUOTES = 7, 2
"""Records of one frame."""
PAUSE_S = 0.004
FLOW_S = 60.0
"""How long all may take to flow again; a bound for the test, no promise."""
ATTEMPT_S = 20.0
LOOK_S = 0.5


@dataclass(frozen=True)
class Servers:
    """The three servers that hold what is promised."""

    nats: RunningNats
    postgres: RunningPostgres
    clickhouse: RunningClickHouse

    @property
    def each(self) -> dict[str, RunningServer]:
        """By name."""
        return {"nats": self.nats, "postgres": self.postgres, "clickhouse": self.clickhouse}

    @property
    def urls(self) -> ServerUrls:
        """How to connect."""
        return ServerUrls(
            nats_name=self.nats.name,
            nats_admin=self.nats.url,
            nats_engine=self.nats.urls["engine"],
            nats_gateway=self.nats.urls["gateway"],
            nats_reader=self.nats.urls["reader"],
            nats_monitor=self.nats.monitor_url,
            postgres=self.postgres.dsn,
            postgres_reader=self.postgres.reader_dsn,
            valkey="",
            clickhouse=self.clickhouse.url,
            clickhouse_reader=self.clickhouse.reader_url,
        )


@asynccontextmanager
async def servers(
    nats: Path, postgres: Path | None = None, clickhouse: Path | None = None
) -> AsyncIterator[Servers]:
    """The three servers, each with its data in a directory (that of nats where none is given)."""
    async with AsyncExitStack() as stack:
        opened = await asyncio.gather(
            stack.enter_async_context(nats_server(nats)),
            stack.enter_async_context(postgres_server(postgres or nats)),
            stack.enter_async_context(clickhouse_server(clickhouse or nats)),
        )
        yield Servers(*opened)


@dataclass
class Found:
    """What came of the promises: messages and rows that are not there, or more than once."""

    confirmed: int = 0
    rows: int = 0
    lost: int = 0
    duplicated: int = 0
    unequal: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing is lost, nothing double, and every table what LOG makes."""
        return not (self.lost or self.duplicated or self.unequal) and self.confirmed > 0


class SmallEngine:
    """Writes, steps and fills between `start` and `stop`; may be started again."""

    def __init__(
        self, streams: Streams, pool: Pool, clickhouse: ClickHouse, names: Sequence[str] = NAMES
    ) -> None:
        self.log, self.out = streams.log, streams.out
        self.pool, self.clickhouse = pool, clickhouse
        self.confirmed: dict[int, tuple[str, bytes]] = {}
        """What was confirmed, by its sequence."""
        self.newest = 0
        self.names = tuple(names)
        self._index = 0
        self._load = Load(2, 20)  # an append is most of a second of it, so that bars close
        self._writing = False
        self._appender = Appender(self.log, ">")
        self._running: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Let everything run."""
        tables = [TABLES[name] for name in self.names]
        made = (tables, self.log, self.out, self.clickhouse, self.pool, LIMITS)
        filling = await runtime.sinks(*made)
        shard = Shard(self.log, self.out, Graph("main", [BARS]))
        if not self._index:
            await self._appender.own()
            await self._store([*self._load.opening(), *(facts.instrument(k) for k in range(3))])
        self._writing = True
        self._running = [
            asyncio.create_task(self._write(), name="writer"),
            asyncio.create_task(shard.run(), name="graph"),
            asyncio.create_task(runtime.run(filling), name="sinks"),
        ]

    async def stop(self) -> None:
        """End everything, as a process that is told to; raise what ended one before."""
        self.check()
        await self.break_off()

    async def break_off(self) -> None:
        """End everything at once, as the death of its process does."""
        running, self._running = self._running, []
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def own(self) -> None:
        """Take LOG as it stands now, as a new process does."""
        await self._appender.own()

    def check(self) -> None:
        """Raise what ended a task that should run."""
        for task in self._running:
            if task.done():
                task.result()
                raise AssertionError(f"{task.get_name()} has ended")

    async def _write(self) -> None:
        while self._writing:
            await self.append()
            await asyncio.sleep(PAUSE_S)

    async def end_writing(self) -> None:
        """Let the writer end with what it has under way; everything else runs on."""
        self._writing = False
        await self._running.pop(0)

    async def append(self) -> None:
        """Append some facts, one or a batch, and remember that they were confirmed, and where."""
        self._index += 1
        load = self._load
        match self._index % 3:
            case 0:
                await self._store([load.time()])
            case 1:
                await self._store(load.round(TRADES))
            case _:
                quotes = facts.quotes(self._index, QUOTES)
                await self._store([*load.round(TRADES), quotes, load.status()])

    async def _store(self, made: facts.Facts) -> None:
        self.newest = await self._appender.append(made)
        for sequence, message in enumerate(made, self.newest - len(made) + 1):
            assert sequence not in self.confirmed, "two messages were given one sequence"
            self.confirmed[sequence] = message

    async def flowing(self, timeout_s: float = FLOW_S) -> float:
        """Wait until what is appended from now on is in every table; return the seconds."""
        began = time.monotonic()
        async with asyncio.timeout(timeout_s):
            while self.newest == (before := self.newest) or not self.newest:
                self.check()
                await asyncio.sleep(0.02)
                if self.newest > before:
                    break
            await self.filled(self.newest, timeout_s)
        return time.monotonic() - began

    async def filled(self, root: int, timeout_s: float = FLOW_S) -> None:
        """Wait until every table is complete up to `root`, or raise what ended a task."""
        async with asyncio.timeout(timeout_s):
            while True:
                self.check()
                with suppress(Unavailable):
                    await wait_for(self.pool, self.names, root, LOOK_S)
                    return

    # What came of it

    async def found(self) -> Found:
        """Stop writing, let the tables catch up with LOG, stop, and count."""
        await self.end_writing()
        last = self._load.round(TRADES)
        await self._store([*last, self._load.status(), self._load.time()])
        await self.filled(self.newest)
        await self.stop()
        found = Found(confirmed=len(self.confirmed))
        await self._count_log(found)
        await self._count_rows(found)
        verdicts = await self._verdicts()
        assert all(verdict.recomputed.rows for verdict in verdicts.values()), verdicts
        found.unequal = tuple(f"{n}: {v.reason}" for n, v in verdicts.items() if not v.equal)
        return found

    async def messages(self) -> list[Message]:
        """Return all of LOG."""
        end, found = (await self.log.identity()).last, list[Message]()
        reader = await self.log.read(1, [">"])
        while not found or found[-1].sequence < end:
            found += await reader.pull(1_000, 8 << 20, ATTEMPT_S)
        await reader.close()
        return found

    async def _count_log(self, found: Found) -> None:
        held = {message.sequence: message[1:] for message in await self.messages()}
        found.lost += sum(held.get(r) != message for r, message in self.confirmed.items())
        copies = Counter(payload for _, payload in held.values())
        found.duplicated += sum(copies.values()) - len(copies)

    async def _count_rows(self, found: Found) -> None:
        """Of the tables of facts; `verify` says the same of those that are derived."""
        for name in ("trades", "quotes"):
            if name not in self.names:
                continue
            sql = f"SELECT count(), uniqExact(_r, _i, _n) FROM {TABLES[name].physical}"
            ((rows, distinct),) = await self.clickhouse.query(sql)
            kind = f"md.{name.removesuffix('s')}."
            told = [m for m in await self.messages() if m.subject.startswith(kind)]
            expected = (TRADES if name == "trades" else QUOTES) * len(told)
            found.rows += rows
            found.lost += max(0, expected - distinct)
            found.duplicated += rows - distinct

    async def _verdicts(self) -> dict[str, Verdict]:
        tables = [TABLES[name] for name in self.names]
        moment = await at_one_moment(self.pool, self.clickhouse, tables)
        compared = {
            table.name: Compared(table, moment[table.physical][1], moment[table.physical][0])
            for table in tables
        }
        derived = [table for table in tables if table.emitted_by]
        engine = (await engine_of(derived, self.log))() if derived else None
        end = max(one.as_of for one in compared.values())
        return await compare(compared, remade(self.log, tables, engine, end))


@asynccontextmanager
async def small_engine(on: Servers, names: Sequence[str] = NAMES) -> AsyncIterator[SmallEngine]:
    """The streams and tables made, and an engine on them that has not started."""
    await migrate_log(on.urls, apply=True)
    async with connected(on, names) as engine:
        await migrate(engine.pool, engine.clickhouse, [TABLES[name] for name in names])
        yield engine


@asynccontextmanager
async def connected(on: Servers, names: Sequence[str] = NAMES) -> AsyncIterator[SmallEngine]:
    """An engine on what is there."""
    async with AsyncExitStack() as stack:
        connection = await connect(on.urls.nats_engine, name="small")
        stack.push_async_callback(connection.close)
        pool = await asyncpg.create_pool(on.urls.postgres, min_size=1, max_size=12)
        stack.callback(pool.terminate)
        clickhouse = ClickHouse(on.urls.clickhouse, timeout_s=ATTEMPT_S)
        stack.push_async_callback(clickhouse.close)
        engine = SmallEngine(await open_streams(connection), pool, clickhouse, names)
        try:
            yield engine
        finally:
            await engine.break_off()
