"""The past is what a replay that stops there makes: all tables, and all answers of the gateway."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Any, NamedTuple

import pytest

from tidemill.deploy.replaying import step
from tidemill.deploy.tables import fill
from tidemill.projections.columns import Column
from tidemill.projections.digest import Digest, Digester
from tidemill.projections.ranges import only_newest
from tidemill.projections.registry import TABLES
from tidemill.projections.rows import concatenate
from tidemill.projections.runtime import digest
from tidemill.schemas import kinds
from tidemill.streams.log import Log
from tidemill.streams.memory import MemoryLog
from tidemill.streams.moments import root_at
from tidemill.streams.subjects import LOG_SUBJECTS
from tidemill.tests.flow.logs import append, out_in_memory
from tidemill.tests.flow.sources import SETS, Facts, Source
from tidemill.tests.flow.test_derived_markets import Markets
from tidemill.tests.gateway.asking import Client, client_of
from tidemill.tests.projections import facts
from tidemill.tests.projections.stores import Stores, stores_on
from tidemill.tests.servers import (
    RunningClickHouse,
    RunningPostgres,
    clickhouse_server,
    postgres_server,
)

pytestmark = pytest.mark.integration
SEED, POSITIONS = 11, 4
OF_MARKETS = (
    *("book_levels", "book_metrics", "book_snapshots", "top_levels", "derivatives"),
    *("derivative_metrics", "opportunities", "signals", "screens", "composite_bars"),
    *("anomalies", "liquidations", "venue_bars"),
)
"""Tables of what the capture does not tell, and random markets do."""
QUESTIONS = (
    "candles/BTCUSDT?timeframe=1m",
    "candles/ETHUSDT?timeframe=1m&venue=BINANCE_US",
    "trades/BTCUSDT?limit=50",
    "trades/SOL-USDT",
    "quote/BTCUSDT",
    "quote/ETH-USDT",
    "aggregated/BTC-USDT",
    "comparison/ETHUSDT",
    "instruments",
    "symbols",
)
MARKET_QUESTIONS = (
    "BTCUSDT-SPOT/orderbook?venue=A",
    "orderbook/BTCUSDT-SPOT?venue=A",
    "orderbook/status",
    "BTCUSDT-SWAP/funding-rate?venue=D",
    "BTCUSDT-SWAP/funding-rate/all",
    "BTCUSDT-SWAP/open-interest/history?venue=D",
    "liquidations/BTCUSDT-SWAP?venue=D",
    "venue-candles/BTCUSDT?timeframe=1m&venue=BINANCE",
    "arbitrage",
    "candles/BTCUSDT?timeframe=1m&venue=COMPOSITE",
    "/api/screener/results?screen=turns",
    "/api/analytics/indicators/BTCUSDT-SPOT?venue=A&timeframe=1s",
    "/api/analytics/anomalies",
)


class Seen(NamedTuple):
    """What could be seen at a position: digests of tables, and answers with their position."""

    tables: dict[str, Digest]
    latest: dict[str, tuple[int, str]]
    answers: dict[str, Any]


@pytest.fixture
async def servers(tmp_path: Any) -> AsyncIterator[tuple[RunningClickHouse, RunningPostgres]]:
    async with AsyncExitStack() as stack:
        clickhouse = await stack.enter_async_context(clickhouse_server(tmp_path))
        yield clickhouse, await stack.enter_async_context(postgres_server(tmp_path))


@asynccontextmanager
async def tables_of(servers: Any, told: Facts) -> AsyncIterator[tuple[Stores, Log]]:
    """Databases with all that comes of a log of these facts."""
    log, out = MemoryLog("LOG", LOG_SUBJECTS), out_in_memory()
    await append(log, told)
    await step(log, out)
    async with stores_on(*servers) as stores:
        await fill(stores.pool, stores.clickhouse, log, out)
        yield stores, log


async def answers(client: Client, questions: Sequence[str], **asked: str) -> dict[str, Any]:
    found = {}
    for question in questions:
        path, _, query = question.partition("?")
        parameters = dict(pair.split("=") for pair in query.split("&") if pair)
        answer = (await client.get(path, **parameters, **asked)).json()
        position = answer["meta"]["as_of"] if answer["success"] else None
        found[question] = (answer.get("data"), answer.get("error"), position)
    return found


async def past(stores: Stores, client: Client, r: int, questions: Sequence[str]) -> Seen:
    """What a table that has gone on says of `r`; of what is latest, a view of the append table."""
    tables, latest = {}, {}
    for name, table in TABLES.items():
        if table.kind != "latest":
            tables[name] = await digest(table, stores.clickhouse, stores.pool, r)
            continue
        columns = ", ".join(_as_stored(column) for column in table.columns)
        view = TABLES[name.removeprefix("latest_")].physical + "_latest"
        sql = f"SELECT {columns} FROM {view}(as_of = {{r:UInt64}})"
        blocks = await stores.clickhouse.columns(sql, table.columns, {"r": r})
        digester = Digester(table)
        if blocks:
            rows = only_newest(table, concatenate(blocks).ordered())
            digester.take(rows.ordered())
        made = digester.digest(r)
        latest[name] = made.rows, made.sha256
    return Seen(tables, latest, await answers(client, questions, as_of=str(r)))


def _as_stored(column: Column) -> str:
    """A column of a view: aggregates forget LowCardinality."""
    type_ = column.clickhouse.replace("'", "\\'")
    return f"CAST(`{column.name}`, '{type_}') AS `{column.name}`"


async def present(stores: Stores, client: Client, r: int, questions: Sequence[str]) -> Seen:
    """What tables say now that have come to `r`."""
    found = {n: await digest(t, stores.clickhouse, stores.pool, r) for n, t in TABLES.items()}
    tables = {n: d for n, d in found.items() if TABLES[n].kind != "latest"}
    latest = {n: (d.rows, d.sha256) for n, d in found.items() if TABLES[n].kind == "latest"}
    return Seen(tables, latest, await answers(client, questions))


async def travel(servers: Any, told: Facts, random: Random, questions: Sequence[str]) -> list[Seen]:
    """Hold the past at random positions against replays that stop there; return it."""
    end = len(told)
    positions = sorted(random.sample(range(end // 20, end), POSITIONS))
    seen: dict[int, Seen] = {}
    async with tables_of(servers, told) as (stores, log), client_of(stores) as client:
        for r in positions:
            seen[r] = await past(stores, client, r, questions)
        await check_times(log, client, told, random)
    for r in positions:
        async with tables_of(servers, told[:r]) as (stores, _), client_of(stores) as client:
            now = await present(stores, client, r, questions)
        assert now.tables == seen[r].tables
        assert now.latest == seen[r].latest
        for question in questions:
            assert now.answers[question] == seen[r].answers[question], (r, question)
    return [seen[r] for r in positions]


async def test_the_past_of_every_table_and_answer_is_a_replay_stopped_there(
    exchanged: Source, servers: Any
) -> None:
    found = await travel(servers, [*SETS, *exchanged.facts], Random(SEED), QUESTIONS)
    assert {name for name, one in found[-1].tables.items() if not one.rows} <= set(OF_MARKETS)
    assert all(rows for rows, _ in found[-1].latest.values())
    assert len({str(one.answers["trades/BTCUSDT?limit=50"]) for one in found}) == POSITIONS
    assert {question for question in QUESTIONS if found[-1].answers[question][1]} == set()


async def test_the_past_of_books_contracts_screens_and_composites_is_one_too(servers: Any) -> None:
    markets, told = Markets(SEED), [facts.instrument(0)]
    liquidations = markets.subject("liquidation", markets.instruments[3])
    for number, fact in enumerate(markets.make(16)):
        told.append(fact)
        if number % 40 == 0:
            told += [(liquidations, facts.liquidation(number)[1]), facts.venue_bar(number)]
    found = await travel(servers, told, Random(SEED), MARKET_QUESTIONS)
    assert {name for name in OF_MARKETS if not found[-1].tables[name].rows} == set()
    assert {question for question in MARKET_QUESTIONS if found[-1].answers[question][1]} == set()


async def check_times(log: Log, client: Client, facts: Facts, random: Random) -> None:
    """A time is the newest root whose `time` record is not after it, to log and gateway alike."""
    times = [
        (r, int(kinds.decode(payload).records["ts"][0]))
        for r, (subject, payload) in enumerate(facts, 1)
        if subject == "time"
    ]
    first, last = times[0][1], times[-1][1]
    for ns in [first - 1, first, last, *(random.randint(first, last) for _ in range(20))]:
        root = max((r for r, ts in times if ts <= ns), default=0)
        assert await root_at(log, ns) == root
        assert (await client.as_of("symbols", as_of=str(ns)))["r"] == root
