"""The checker on a real run: all holds; each wrong that is then put in breaks what it must."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tidemill.deploy.graphs import graphs
from tidemill.deploy.load import Load
from tidemill.projections.postgres.readings import wait_for
from tidemill.projections.registry import TABLES
from tidemill.projections.runtime import run as run_sinks
from tidemill.projections.runtime import sinks
from tidemill.schemas import events, frame, kinds
from tidemill.streams.appender import Appender
from tidemill.streams.declarations import streams
from tidemill.streams.jetstream import JetStreamLog
from tidemill.streams.jetstream_connection import connect
from tidemill.streams.migrator import migrate
from tidemill.streams.runtime.shard import Shard, shard_of
from tidemill.tests.faults.checker.appended import Confirmed
from tidemill.tests.faults.checker.check import Witness, check
from tidemill.tests.faults.checker.checkpoints import read_history
from tidemill.tests.faults.checker.recorder import recording
from tidemill.tests.faults.checker.servers import Urls
from tidemill.tests.faults.checker.verdicts import FINDINGS_MAX, Verdicts
from tidemill.tests.flow.sources import Facts
from tidemill.tests.flow.test_derived_markets import Markets
from tidemill.tests.projections.stores import Stores, stores_on
from tidemill.tests.servers import clickhouse_server, nats_server, postgres_server

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]
SECOND = 1_000_000_000


@dataclass
class Ran:
    """An engine that ran and rests: its servers and what was seen of it meanwhile."""

    urls: Urls
    witness: Witness
    stores: Stores
    directory: Path

    async def check(self, findings_max: int = FINDINGS_MAX) -> Verdicts:
        return await check(self.urls, self.witness, findings_max)

    async def asks(self, sql: str) -> list[Any]:
        return await self.stores.clickhouse.query(sql)

    async def tells(self, sql: str) -> None:
        await self.stores.clickhouse.command(sql, None, {"mutations_sync": 2, "async_insert": 0})


def writer_of(subject: str) -> str:
    """Who writes a subject, by the filter over all that it writes."""
    tokens = subject.split(".")
    return f"md.*.{tokens[2]}.*.*" if tokens[0] == "md" else subject


def feed() -> Facts:
    """Markets, and dense trades of a load, each writer's messages numbered."""
    load = Load(2, 2_000, per_frame=300, seed=3)
    markets = Markets(4).make(12)
    made = [fact for fact in load.opening() if fact[0] != "time"]
    for at, fact in enumerate(markets):
        made.append(fact)
        if at % 12 == 0:
            made += [*load.round(300), load.status()]
    numbers: Counter[str] = Counter()
    made = [numbered(fact, numbers) for fact in made]
    frames = [at for at, fact in enumerate(made) if fact[0].startswith("md.book.A.")]
    told = [at for at, fact in enumerate(made) if fact[0].startswith("md.event.")]
    for at in (frames[len(frames) // 2], told[-1]):  # neither a frame nor an event any more
        made[at] = (made[at][0], made[at][1][:-1] + b"?")
    return made


def numbered(fact: tuple[str, bytes], numbers: "Counter[str]") -> tuple[str, bytes]:
    subject, payload = fact
    writer = writer_of(subject)
    if ".LOAD." in subject or not subject.startswith(("md.", "time")):
        return fact
    numbers[writer] += 1
    if payload.startswith(b"{"):
        event = events.decode(payload).model_copy(update={"sequence": numbers[writer]})
        return subject, events.encode(event)
    one = kinds.decode(payload)
    exponents = one.price_exponent, one.quantity_exponent
    return subject, frame.encode(one.kind, one.records, numbers[writer], *exponents)


async def append(log: JetStreamLog, facts: Facts, confirmed: Confirmed) -> None:
    """Append as the writers do: each under a fence of its own, and note what was confirmed."""
    appenders: dict[str, Appender] = {}
    for writer, some in groupby(facts, key=lambda fact: writer_of(fact[0])):
        batch = list(some)
        appender = appenders.setdefault(writer, Appender(log, writer))
        last = await appender.append(batch)
        for at, (subject, payload) in enumerate(batch):
            sequence = last - len(batch) + 1 + at
            confirmed.add(subject, sha256(payload).digest(), sequence)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ran(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ran]:
    directory = tmp_path_factory.mktemp("run")
    async with contextlib.AsyncExitStack() as stack:
        nats = await stack.enter_async_context(nats_server(directory))
        postgres = await stack.enter_async_context(postgres_server(directory))
        clickhouse = await stack.enter_async_context(clickhouse_server(directory))
        stores = await stack.enter_async_context(stores_on(clickhouse, postgres))
        urls = Urls(nats.url, postgres.dsn, clickhouse.url)
        confirmed, history = Confirmed(), directory / "history.jsonl"
        connection = await connect(nats.url)
        await migrate(connection, streams(), apply=True)
        log = await JetStreamLog.open(connection, "LOG")
        out = await JetStreamLog.open(connection, "OUT")
        async with recording(nats.url, history):
            await run_engine(log, out, stores, confirmed)
        yield Ran(urls, Witness(confirmed, read_history(history)), stores, directory)
        await connection.close()


async def run_engine(
    log: JetStreamLog, out: JetStreamLog, stores: Stores, confirmed: Confirmed
) -> None:
    """Feed, derive with two shards, fill every table; then all of it ends."""
    facts = feed()
    stop = asyncio.Event()
    shards = [
        Shard(log, out, graph, shard_of(index, 2))
        for graph in graphs("fused").values()
        for index in range(2)
    ]
    filling = asyncio.create_task(
        run_sinks(await sinks(list(TABLES.values()), log, out, stores.clickhouse, stores.pool))
    )
    stepping = [asyncio.create_task(shard.run(stop=stop)) for shard in shards]
    await append(log, facts, confirmed)
    last = (await log.identity()).last
    await wait_for(stores.pool, list(TABLES), last, 60)
    stop.set()
    await asyncio.gather(*stepping)
    filling.cancel()
    await asyncio.wait({filling})


async def test_all_that_can_be_decided_held(ran: Ran) -> None:
    verdicts = await ran.check()
    print(verdicts.text())
    assert verdicts.ok, verdicts.text()
    decided = {name for name, one in verdicts.of.items() if one.outcome == "held"}
    assert decided == set(verdicts.of) - {"I11", "I13"}


@contextlib.asynccontextmanager
async def kept(ran: Ran, table: str) -> AsyncIterator[None]:
    """A table of ClickHouse, put back afterwards."""
    copy = f"CREATE TABLE kept_{table} ENGINE = MergeTree ORDER BY tuple()"
    await ran.tells(f"{copy} AS SELECT * FROM {table}")
    try:
        yield
    finally:
        await ran.tells(f"TRUNCATE TABLE {table}")
        await ran.tells(f"INSERT INTO {table} SELECT * FROM kept_{table}")
        await ran.tells(f"DROP TABLE kept_{table} SYNC")


ONE = "(_r, _i, _n) = (SELECT _r, _i, _n FROM {t} ORDER BY _r, _i, _n LIMIT 1 OFFSET 5)"
ROW = "(SELECT * FROM {t} WHERE " + ONE + ")"
DAMAGES = {
    "trades__v1": "ALTER TABLE {t} DELETE WHERE " + ONE,
    "bars__v1": "ALTER TABLE {t} DELETE WHERE " + ONE,
    "times__v1": "INSERT INTO {t} SELECT * FROM " + ROW,
    "prices__v1": "INSERT INTO {t} SELECT * FROM " + ROW,
    "quotes__v1": "INSERT INTO {t} SELECT * REPLACE (_i + 70000 AS _i) FROM " + ROW,
    "top_levels__v1": "INSERT INTO {t} SELECT * REPLACE (_r + 900000 AS _r) FROM " + ROW,
    "book_levels__v1": "ALTER TABLE {t} UPDATE quantity = quantity + 1 WHERE " + ONE,
    "opportunities__v1": "ALTER TABLE {t} UPDATE net = net + 1 WHERE " + ONE,
    "activity_bars__v1": "ALTER TABLE {t} UPDATE threshold = threshold + 1 WHERE " + ONE,
    "book_metrics__v1": "ALTER TABLE {t} UPDATE flags = flags + 1 WHERE " + ONE,
    "derivatives__v1": "ALTER TABLE {t} UPDATE mark_price = mark_price + 1 WHERE " + ONE,
    "feed_events__v1": "ALTER TABLE {t} UPDATE detail = 'x' WHERE " + ONE,
}
"""Rows lost, doubled, too many, beyond LOG; and another value, in a table each."""


async def test_i7_every_damaged_table_is_seen(ran: Ran) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for table, sql in DAMAGES.items():
            await stack.enter_async_context(kept(ran, table))
            await ran.tells(sql.format(t=table))
        verdicts = await ran.check(findings_max=1_000)
    assert verdicts.broken_ones == {"I7"}, verdicts.text()
    found = {finding.where.split()[0] for finding in verdicts.of["I7"].findings}
    assert found >= set(DAMAGES), verdicts.text()


async def test_i7_a_view_that_is_not_of_its_rows_is_seen(ran: Ran) -> None:
    ((sql,),) = await ran.asks("SHOW CREATE VIEW quotes__v1_latest")
    wrong = sql.replace("argMax(t.bid_price", "argMin(t.bid_price")
    assert wrong != sql
    try:
        await ran.tells("DROP VIEW quotes__v1_latest")
        await ran.tells(wrong)
        verdicts = await ran.check()
    finally:
        await ran.tells("DROP VIEW quotes__v1_latest")
        await ran.tells(sql)
    assert verdicts.broken_ones == {"I7"}, verdicts.text()


async def test_i8_rows_that_are_not_those_of_their_position_are_seen(ran: Ran) -> None:
    damages = {
        "latest_trades__v1": "UPDATE latest_trades__v1 SET price = price + 1",
        "latest_prices__v1": "UPDATE latest_prices__v1 SET _r = _r - 1, ts = ts - 1",
        "latest_bars__v1": "DELETE FROM latest_bars__v1 WHERE interval_s = 1",
        "instruments__v2": "UPDATE instruments__v2 SET r_to = r_to - 1",
        "sink": "UPDATE sink SET position = 3 WHERE t = 'latest_quotes__v1'",
    }
    async with contextlib.AsyncExitStack() as stack:
        for table, sql in damages.items():
            await stack.enter_async_context(told(ran, table, sql))
        verdicts = await ran.check(findings_max=1_000)
    assert verdicts.broken_ones == {"I8"}, verdicts.text()
    found = {finding.where.split()[0] for finding in verdicts.of["I8"].findings}
    assert found == damages.keys() - {"sink"} | {"latest_quotes__v1"}, verdicts.text()


@contextlib.asynccontextmanager
async def told(ran: Ran, table: str, sql: str) -> AsyncIterator[None]:
    """A table of Postgres, changed, and put back afterwards."""
    pool = ran.stores.pool
    await pool.execute(f"CREATE TABLE kept_{table} AS SELECT * FROM {table}")
    assert await pool.execute(sql) not in ("UPDATE 0", "DELETE 0", "INSERT 0 0")
    try:
        yield
    finally:
        await pool.execute(f"DELETE FROM {table}")
        await pool.execute(f"INSERT INTO {table} SELECT * FROM kept_{table}")
        await pool.execute(f"DROP TABLE kept_{table}")


BOOKS = {
    "I6": ("sink", "UPDATE sink SET epoch = 0 WHERE t = 'times__v1'"),
    "I9": ("active", "UPDATE active SET t = 'trades__v9' WHERE name = 'trades'"),
    "I12": ("sink", "UPDATE sink SET log_uuid = 'x' WHERE t = 'trades__v1'"),
}
"""An older owner; an answer by what is not there; a table made of another LOG."""


@pytest.mark.parametrize("name", BOOKS)
async def test_books_about_tables_that_cannot_be_are_seen(ran: Ran, name: str) -> None:
    async with told(ran, *BOOKS[name]):
        verdicts = await ran.check()
    assert verdicts.broken_ones == {name}, verdicts.text()


async def test_i9_two_versions_that_differ_are_seen(ran: Ran) -> None:
    """The second one is wrong by LOG, too: that is seen beside it."""
    await ran.tells("CREATE TABLE times__v1_2 AS times__v1")
    await ran.tells("INSERT INTO times__v1_2 SELECT * REPLACE (ts + 1 AS ts) FROM times__v1")
    entered = (
        "INSERT INTO sink SELECT 'times__v1_2', log_uuid, epoch, position, floor, mark_root,"
        " mark_sequence, roots_max, rows_max FROM sink WHERE t = 'times__v1'"
    )
    try:
        async with told(ran, "sink", entered):
            verdicts = await ran.check()
    finally:
        await ran.tells("DROP TABLE times__v1_2 SYNC")
    assert verdicts.broken_ones == {"I7", "I9"}, verdicts.text()
