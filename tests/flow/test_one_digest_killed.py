"""kill -9 of graphs, of replay and of nats-server at random moments: the same digest."""

from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tidemill.deploy.embedded.servers import ServerUrls
from tidemill.deploy.graphs import graphs
from tidemill.deploy.prepared import databases, prepare
from tidemill.deploy.replaying import step
from tidemill.deploy.settings import GraphLayout
from tidemill.deploy.tables import database_digests, materialise
from tidemill.streams.log import Log
from tidemill.tests.flow.conftest import Replayed
from tidemill.tests.flow.killing import Fleet, moments
from tidemill.tests.flow.logs import append, filled, on_server, out_in_memory
from tidemill.tests.flow.outcomes import outcome
from tidemill.tests.flow.processes import FillJob, ShardJob
from tidemill.tests.flow.sources import Facts, Source, source
from tidemill.tests.servers import RunningClickHouse, RunningNats, RunningPostgres

pytestmark = pytest.mark.integration


def shards(
    nats: RunningNats, layout: GraphLayout, count: int, until: int, snapshots: Path
) -> list[ShardJob]:
    return [
        ShardJob(nats.urls["engine"], layout, name, index, count, until, snapshots)
        for name in graphs(layout)
        for index in range(count)
    ]


@pytest.mark.parametrize(
    ("played", "layout", "count"),
    [("real", "fused", 1), ("exchanged", "split", 2)],
    indirect=["played"],
)
async def test_twenty_kills_of_graph_processes_and_five_of_the_server_change_nothing(
    nats: RunningNats,
    played: Source,
    replayed: Replayed,
    layout: GraphLayout,
    count: int,
    tmp_path: Path,
) -> None:
    random = Random(f"{played.name} {layout}")
    until = len(played.facts)
    async with on_server(nats) as opened:
        await append(opened.log, played.facts)
        jobs = shards(nats, layout, count, until, tmp_path / "snapshots")
        fleet = Fleet(nats, opened, until, random, graph=jobs)
        await fleet.run(moments(random, graph=20, server=5))
        assert fleet.kills == {"graph": 20, "server": 5}
        assert list((tmp_path / "snapshots").rglob("*.snap"))
        assert await outcome(opened.log, opened.out) == replayed.outcome


@pytest.fixture
def one_venue(request: pytest.FixtureRequest) -> Source:
    """The real captures, or, where they are not, those of one simulated venue."""
    try:
        found: Source = request.getfixturevalue("real")
    except pytest.skip.Exception:
        whole: Source = request.getfixturevalue("exchanged")
        found = source("one venue", {"BINANCE": whole.files["BINANCE"]}, exact=False)
    return found


async def test_kills_of_replay_while_it_appends_then_the_databases_hold_what_memory_makes(
    nats: RunningNats,
    postgres: RunningPostgres,
    clickhouse: RunningClickHouse,
    one_venue: Source,
    tmp_path: Path,
) -> None:
    calm, out = await filled(one_venue), out_in_memory()
    await step(calm, out)
    random = Random(11)
    total = len(one_venue.facts)
    urls = urls_of(nats, postgres, clickhouse)
    await prepare(urls)
    async with on_server(nats) as opened:
        filling = FillJob(urls.nats_engine, one_venue.files["BINANCE"], "BINANCE", 0.05)
        jobs = shards(nats, "fused", 1, total, tmp_path / "snapshots")
        fleet = Fleet(nats, opened, total, random, replay=[filling], graph=jobs)
        await fleet.run(moments(random, replay=4, graph=4, server=2))
        assert fleet.kills == {"replay": 4, "graph": 4, "server": 2}
        assert await facts_of(opened.log) == one_venue.facts
        await materialise(urls, opened.log, opened.out)
    expected = await outcome(calm, out)
    del expected["OUT"]
    assert await database_digests(urls, total) == expected
    async with databases(urls) as (_, client):
        for (_, symbol), told in one_venue.told.items():
            assert await client.query(TRADES_SQL, {"symbol": symbol}) == sorted(
                (t["trade_id"], t["ts_event"], t["ts_recv"], *decimals(t, "price", "quantity"),
                 t["aggressor_side"])
                for t in {t["trade_id"]: t for t in reversed(told.trades)}.values()
            )  # fmt: skip
            assert await client.query(QUOTES_SQL, {"symbol": symbol}) == [
                (q["ts_recv"], q["update_id"],
                 *decimals(q, "bid_price", "bid_quantity", "ask_price", "ask_quantity"))
                for q in told.quotes
            ]  # fmt: skip


TRADES_SQL = """
SELECT trade_id, toUnixTimestamp64Nano(ts_event), toUnixTimestamp64Nano(ts_recv), price, quantity,
    CAST(aggressor_side, 'Int8')
FROM trades__v1 WHERE symbol = {symbol:String} ORDER BY trade_id"""
QUOTES_SQL = """
SELECT toUnixTimestamp64Nano(ts_recv), update_id, bid_price, bid_quantity, ask_price, ask_quantity
FROM quotes__v1 WHERE symbol = {symbol:String} ORDER BY _r, _i"""


def decimals(row: dict[str, Any], *names: str) -> list[Decimal]:
    return [Decimal(row[name]).scaleb(-18) for name in names]


def urls_of(
    nats: RunningNats, postgres: RunningPostgres, clickhouse: RunningClickHouse
) -> ServerUrls:
    return ServerUrls(
        nats_name=nats.name,
        nats_admin=nats.url,
        nats_engine=nats.urls["engine"],
        nats_gateway=nats.urls["gateway"],
        nats_reader=nats.urls["reader"],
        nats_monitor=nats.monitor_url,
        postgres=postgres.dsn,
        postgres_reader=postgres.reader_dsn,
        valkey="",
        clickhouse=clickhouse.url,
        clickhouse_reader=clickhouse.reader_url,
    )


async def facts_of(log: Log) -> Facts:
    reader = await log.read(1, [">"])
    end = (await log.identity()).last
    held: Facts = []
    while len(held) < end:
        held += [message[1:] for message in await reader.pull(10_000, 1 << 30, 1.0)]
    await reader.close()
    return held
