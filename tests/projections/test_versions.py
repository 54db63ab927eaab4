"""Versions of tables: which answers is one transaction, forwards and back, under full load."""

import asyncio
import bisect
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import pytest

from tidemill.deploy.commands.retire import drop_all, meant
from tidemill.deploy.settings import Missing
from tidemill.deploy.swapping import put_in_place, standing_still
from tidemill.projections.columns import Column
from tidemill.projections.migrations import migrate
from tidemill.projections.postgres.readings import read, wait_for
from tidemill.projections.registry import TABLES, VERSIONS
from tidemill.projections.runtime import digest
from tidemill.projections.table import Table, named
from tidemill.projections.versions import active, enter, present, previous, retire, serving, swap
from tidemill.projections.versions_compared import compare
from tidemill.projections.versions_kept import Kept, Outdated
from tidemill.schemas.errors import Unavailable
from tidemill.schemas.frame import encode
from tidemill.schemas.kinds.quote import QUOTE
from tidemill.schemas.kinds.trade import TRADE
from tidemill.streams import subjects
from tidemill.streams.memory import MemoryLog
from tidemill.tests.gateway.asking import Client, client_of
from tidemill.tests.projections import facts
from tidemill.tests.projections.rebuilding import QUICK, kept, market, ordinary, rebuilt
from tidemill.tests.projections.second import noted, second
from tidemill.tests.projections.stores import Stores

pytestmark = pytest.mark.integration
SWAPS, READERS, TRADES_MAX = 100, 4, 900


def test_a_physical_name_says_what_it_is() -> None:
    assert named("latest_bars__v12_3") == ("latest_bars", 12, 3)
    assert named("bars__v1") == ("bars", 1, 1)
    for wrong in ("bars", "bars__v1_latest", "bars__v1_2_latest", "bars__v1; DROP TABLE sink", ""):
        assert named(wrong) is None


def test_an_instance_has_its_own_names_throughout_its_sql() -> None:
    for table in VERSIONS:
        text = replace(table, instance=3).migration
        assert f"{table.declared}_3" in text
        assert text.replace(f"{table.declared}_3", table.declared) == table.migration
        assert table.migration == table.sql.read_text()


def moment(index: int) -> list[tuple[str, bytes]]:
    """A trade of price 1 and quantity 2, a quote of 1 to buy and 2 to sell, and the time."""
    trade, quote = TRADE.empty(1), QUOTE.empty(1)
    trade["ts_event"] = trade["ts_recv"] = quote["ts_recv"] = facts.T0_NS + index * 1_000_000
    trade["trade_id"], trade["price"], trade["quantity"] = index, 1, 2
    quote["bid_price"], quote["ask_price"] = 1, 2
    quote["bid_quantity"], quote["ask_quantity"] = 1, 2
    part = facts.partition("BTC/USDT")
    return [
        (subjects.md("quote", "BINANCE", "BTCUSDT", part), encode(QUOTE, quote, index, 0, 0)),
        (subjects.md("trade", "BINANCE", "BTCUSDT", part), encode(TRADE, trade, index, 0, 0)),
        facts.time(index),
    ]


class Flow:
    """LOG that grows, and which of its messages were trades."""

    def __init__(self, log: MemoryLog) -> None:
        self.log = log
        self.trades: list[int] = []

    async def flow(self) -> None:
        """Append until there are as many trades as one answer holds."""
        while len(self.trades) < TRADES_MAX:
            last = await self.log.append(moment(len(self.trades)), None)
            self.trades.append(last - 1)
            await asyncio.sleep(0.015)

    def trades_up_to(self, root: int) -> int:
        return bisect.bisect_right(self.trades, root)


async def read_on(client: Client, flow: Flow, seen: list[int], stop: asyncio.Event) -> None:
    """Ask again and again: every answer is of one version, whole, and never older than before."""
    newest = {"quote": 0, "trades": 0, "instruments": 0}
    while not stop.is_set():
        quote = (await client.get("quote/BTCUSDT")).json()
        assert quote["success"], quote
        version = quote["meta"]["as_of"]["version"]
        # Of version 1 the price is 1 and the size 1; of version 2 both are 2.
        assert (quote["data"]["price"], quote["data"]["bidVolume"]) == (str(version),) * 2
        assert quote["meta"]["as_of"]["r"] >= newest["quote"]
        newest["quote"] = quote["meta"]["as_of"]["r"]
        answer = (await client.get("trades/BTCUSDT", limit=1_000)).json()
        assert answer["success"], answer
        told = answer["meta"]["as_of"]
        assert told["r"] >= newest["trades"]
        newest["trades"] = told["r"]
        assert {trade["price"] for trade in answer["data"]["trades"]} == {str(told["version"])}
        assert len(answer["data"]["trades"]) == flow.trades_up_to(told["r"])
        seen.append(told["version"])
        answer = (await client.get("instruments")).json()
        assert answer["meta"]["as_of"]["r"] >= newest["instruments"], "of Postgres"
        newest["instruments"] = answer["meta"]["as_of"]["r"]


async def look_on(stores: Stores, names: list[str], stop: asyncio.Event) -> None:
    """Look, faster than the tables are written, at what every answer binds to: it never ages."""
    newest = dict.fromkeys(names, 0)
    while not stop.is_set():
        for name, reading in (await read(stores.pool, names)).items():
            assert reading.as_of >= newest[name], name
            newest[name] = reading.as_of


def enough(seen: list[int]) -> bool:
    """Whether readers, however slow the machine, saw both versions often."""
    return len(seen) > SWAPS and min(seen.count(1), seen.count(2)) > SWAPS // 4


async def test_readers_see_one_whole_version_through_a_hundred_swaps(
    stores: Stores, tmp_path: Path
) -> None:
    log, out = facts.logs()
    await facts.append(log, [facts.instrument(0)])
    flow = Flow(log)
    declared = [
        second("trades", tmp_path, {"price": "quantity"}),
        second("quotes", tmp_path, {"bid_quantity": "ask_quantity"}),
    ]
    # Instruments of the same version, twice: a table of the other database swaps with them.
    newer = [await noted(stores, table) for table in (*declared, TABLES["instruments"])]
    older = [TABLES[table.name] for table in newer]
    await enter(stores.pool, newer, "serving")
    await facts.append(log, moment(0))
    flow.trades.append((await log.identity()).last - 1)
    versions = [table for table in VERSIONS if table.emitted_by is None]
    keeping = Kept(versions, log, out, stores.clickhouse, stores.pool, QUICK, look_s=0.1)
    # The second versions are a quarter of a second behind: swapped in as they are, answers age.
    slow = replace(QUICK, period_s=0.25)
    lagging = Kept(declared, log, out, stores.clickhouse, stores.pool, slow, look_s=0.1)
    seen: list[int] = []
    stop = asyncio.Event()
    async with client_of(stores) as client, asyncio.TaskGroup() as group:
        kept = [group.create_task(one.run()) for one in (keeping, lagging)]
        await wait_for(stores.pool, [*(t.name for t in newer), "feed_events"], 4, 120)
        flowing = group.create_task(flow.flow())
        readers = [group.create_task(read_on(client, flow, seen, stop)) for _ in range(READERS)]
        group.create_task(look_on(stores, [table.name for table in newer], stop))
        swaps = 0
        while swaps < SWAPS or not enough(seen):
            await swap(stores.pool, older if swaps % 2 else newer)
            swaps += 1
            await asyncio.sleep(0.01)
        stop.set()
        await asyncio.gather(*readers)
        flowing.cancel()
        for one in kept:
            one.cancel()
    assert enough(seen)


async def test_a_version_that_was_declared_later_ends_who_does_not_know_it(
    stores: Stores, tmp_path: Path
) -> None:
    log, out = await market(3_000)
    later = await noted(stores, second("trades", tmp_path))
    await enter(stores.pool, [later], "serving")

    def of(code: Iterator[str]) -> Kept:
        return Kept(
            VERSIONS, log, out, stores.clickhouse, stores.pool, QUICK, 0.05, lambda: next(code)
        )

    with pytest.raises(Outdated, match=r"trades__v2 serves since the code was changed"):
        await of(iter(["before", "now"])).run()
    task = asyncio.create_task(of(repeat("as before")).run())
    await wait_for(stores.pool, list(TABLES), (await log.identity()).last, 60)
    assert not task.done()  # nobody here could know it: what is known is filled
    task.cancel()
    await asyncio.wait({task})


async def test_what_stands_still_while_others_go_on_is_told(stores: Stores) -> None:
    log, out = await market(3_000)
    await ordinary(stores, log, out)
    (made,) = await rebuild_of(stores, log, "trades")
    await swap(stores.pool, [made])
    assert await standing_still(stores.pool, [made], at_rest_s=0.3) == []  # LOG is at rest

    async def others() -> None:
        while True:
            await stores.pool.execute(
                "UPDATE sink SET position = position + 1 WHERE t = 'bars__v1'"
            )
            await asyncio.sleep(0.02)

    going = asyncio.create_task(others())
    (told,) = await standing_still(stores.pool, [made], followed_s=2.5, at_rest_s=2.0)
    assert told.startswith("trades__v1_2 stands still, as no sink fills it: start `tidemill run")
    async with kept(stores, log, out):
        assert await standing_still(stores.pool, [made], followed_s=20.0) == []
    going.cancel()


async def test_a_version_that_is_behind_is_not_swapped_in(stores: Stores) -> None:
    log, out = await market(6_000)
    before = await ordinary(stores, log, out)
    (table,) = await rebuild_of(stores, log, "bars")
    move = "UPDATE sink SET position = position + $2 WHERE t = $1"
    await stores.pool.execute(move, table.physical, -1)
    with pytest.raises(Unavailable, match=r"bars__v1_2 is at .* does its sink run"):
        await swap(stores.pool, [table], timeout_s=0.1)
    assert (await read(stores.pool, ["bars"]))["bars"].table == "bars__v1"
    await stores.pool.execute(move, table.physical, 1)
    await swap(stores.pool, [table])
    assert (await active(stores.pool, VERSIONS))["bars"] == table
    found = await digest(table, stores.clickhouse, stores.pool, before["bars"].as_of)
    assert found == before["bars"]


async def rebuild_of(stores: Stores, log: MemoryLog, *names: str) -> list[Table]:
    made = [await noted(stores, TABLES[name]) for name in names]
    await rebuilt(stores, log, made)
    return made


async def test_a_row_of_a_later_root_is_a_table_that_moves_not_one_that_differs(
    stores: Stores,
) -> None:
    log, out = await market(3_000)
    await ordinary(stores, log, out)
    (table,) = await rebuild_of(stores, log, "latest_trades")
    old = TABLES["latest_trades"]
    assert (await compare(old, table, stores.clickhouse, stores.pool)).equal is True
    await stores.pool.execute(f"UPDATE {old.physical} SET _r = _r + 1000000")
    found = await compare(old, table, stores.clickhouse, stores.pool)
    assert (found.equal, found.why) == (None, "what is latest moves while it is looked at")


async def test_what_differs_is_not_swapped_in_unless_it_is_meant(stores: Stores) -> None:
    log, out = await market(6_000)
    await ordinary(stores, log, out)
    made = await rebuild_of(stores, log, "trades", "latest_trades")
    ((root,),) = await stores.clickhouse.query("SELECT max(_r) FROM trades__v1")
    await stores.clickhouse.command(
        f"ALTER TABLE {made[0].physical} UPDATE flags = bitXor(flags, 1) WHERE _r = {root}",
        settings={"mutations_sync": 1},
    )
    differing = await put_in_place(made, stores.clickhouse, stores.pool, differs=False)
    assert len(differing) == 1 and "trades__v1 and trades__v1_2 differ" in differing[0]
    assert (await active(stores.pool, VERSIONS))["latest_trades"] == TABLES["latest_trades"]
    assert await put_in_place(made, stores.clickhouse, stores.pool, differs=True) == []
    now = await active(stores.pool, VERSIONS)
    assert [now["trades"], now["latest_trades"]] == made


async def test_a_new_column_is_compared_by_the_columns_that_both_have(
    stores: Stores, tmp_path: Path
) -> None:
    log, out = await market(6_000)
    await ordinary(stores, log, out)
    two = second("bars", tmp_path)
    flags = "    flags UInt16,\n"
    text = two.sql.read_text().replace(flags, f"{flags}    spec LowCardinality(String),\n")
    two.sql.write_text(text)
    two = replace(two, columns=(*two.columns, Column("spec", "text", "subject")))
    made = await noted(stores, two)
    await rebuilt(stores, log, [made])
    found = await compare(TABLES["bars"], made, stores.clickhouse, stores.pool)
    assert found.equal is True and "spec" not in found.columns and "close" in found.columns


async def test_one_table_of_a_name_answers(stores: Stores) -> None:
    made = await noted(stores, TABLES["bars"])
    with pytest.raises(ValueError, match="only one of a name"):
        await swap(stores.pool, [TABLES["bars"], made])
    with pytest.raises(ValueError, match="bars__v1_2 is building"):
        await swap(stores.pool, [made])


async def test_the_way_back_is_what_answered_before(stores: Stores) -> None:
    log, out = await market(6_000)
    await ordinary(stores, log, out)
    names = ["trades", "latest_bars"]
    with pytest.raises(ValueError, match="no way back"):
        await previous(stores.pool, VERSIONS, names)
    made = await rebuild_of(stores, log, *names)
    await swap(stores.pool, made)
    back = await previous(stores.pool, VERSIONS, names)
    assert back == [TABLES[name] for name in names]
    await swap(stores.pool, back)
    assert await active(stores.pool, VERSIONS) == TABLES
    assert await previous(stores.pool, VERSIONS, names) == made


async def test_what_answers_is_never_retired_and_what_is_retired_never_comes_back(
    stores: Stores,
) -> None:
    log, out = await market(6_000)
    await ordinary(stores, log, out)
    made = await rebuild_of(stores, log, "bars", "latest_bars")
    await swap(stores.pool, made)
    there = await present(stores.pool, VERSIONS)
    with pytest.raises(Missing, match="answers queries"):
        meant("bars__v1_2", there)
    with pytest.raises(ValueError, match="answers queries"):
        await retire(stores.pool, made)
    chosen = [*meant("bars", there), *meant("latest_bars__v1", there)]
    assert [v.table.physical for v in chosen] == ["bars__v1", "latest_bars__v1"]
    await drop_all(chosen, stores.pool, stores.clickhouse, left_s=0.1)
    assert await stores.clickhouse.query(
        "SELECT name FROM system.tables WHERE name LIKE 'bars%' ORDER BY name"
    ) == [("bars__v1_2",), ("bars__v1_2_latest",)]
    assert await stores.pool.fetchval("SELECT to_regclass('latest_bars__v1')") is None
    assert await migrate(stores.pool, stores.clickhouse, VERSIONS) == []
    assert TABLES["bars"] not in (await serving(stores.pool, VERSIONS))[0]
    with pytest.raises(ValueError, match="retired"):
        await swap(stores.pool, [TABLES["bars"]])
    assert (await noted(stores, TABLES["bars"])).physical == "bars__v1_3"


@asynccontextmanager
async def lost_postgres(stores: Stores) -> AsyncIterator[None]:
    """Postgres empty, as after its directory was removed."""
    await stores.pool.execute("DROP SCHEMA public CASCADE")
    await stores.pool.execute("CREATE SCHEMA public")
    yield


async def test_without_postgres_what_clickhouse_has_furthest_answers(stores: Stores) -> None:
    log, out = await market(6_000)
    await ordinary(stores, log, out)
    (table,) = await rebuild_of(stores, log, "trades")
    await swap(stores.pool, [table])
    await stores.clickhouse.command(
        "ALTER TABLE trades__v1 DELETE WHERE _r > 200", settings={"mutations_sync": 1}
    )
    async with lost_postgres(stores):
        await migrate(stores.pool, stores.clickhouse, VERSIONS)
    assert (await active(stores.pool, VERSIONS))["trades"] == table
