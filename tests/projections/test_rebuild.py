"""Rebuilding tables: the same rows as their sinks made, beside what answers, in one pass."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pytest

from tidemill.deploy.graphs import graphs
from tidemill.deploy.load import Load
from tidemill.deploy.rebuilding import engine_of
from tidemill.deploy.replaying import step
from tidemill.deploy.swapping import put_in_place
from tidemill.projections.postgres.readings import wait_for
from tidemill.projections.rebuild import Rebuild, lost, planned
from tidemill.projections.registry import TABLES, VERSIONS
from tidemill.projections.versions import active, enter, present, serving
from tidemill.schemas.errors import Unavailable
from tidemill.streams.log import Reader
from tidemill.streams.runtime.shard import Shard
from tidemill.tests.projections import facts
from tidemill.tests.projections.rebuilding import (
    MESSAGES_MAX,
    QUICK,
    digests,
    kept,
    market,
    ordinary,
    rebuilt,
)
from tidemill.tests.projections.stores import Stores

pytestmark = pytest.mark.integration
ALL = list(TABLES.values())


async def test_every_table_is_rebuilt_in_one_pass_with_the_same_digests(stores: Stores) -> None:
    log, out = await market()
    end = (await log.identity()).last
    before = await ordinary(stores, log, out)
    tables = await planned(stores.pool, ALL)
    assert [t.physical for t in tables] == [f"{t.physical}_2" for t in ALL]
    reads: list[int] = []
    read_log = log.read

    async def watched(start: int, filters: Sequence[str]) -> Reader:
        if "ctl.>" in filters and len(filters) > 1:
            reads.append(start)
        return await read_log(start, filters)

    log.read = watched  # type: ignore[method-assign] # how often LOG is read is the question
    told = await rebuilt(stores, log, tables)
    assert reads == [1]
    assert await digests(stores, tables, end) == before
    assert before["bars"].rows > 100 and before["latest_bars"].rows > 3
    assert told[-1].position == told[-1].target == end
    assert {t.physical for t in (await serving(stores.pool, VERSIONS))[0]} == {
        t.physical for t in (*ALL, *tables)
    }
    assert await active(stores.pool, VERSIONS) == TABLES


async def test_the_ordinary_sinks_go_on_where_a_rebuild_ended(stores: Stores) -> None:
    log, out = await market(quotes=False)
    tables = await planned(stores.pool, ALL)
    await rebuilt(stores, log, tables)
    first = (await log.identity()).last
    load = Load(3, 400, per_frame=40, seed=2, venue="LOAD2")
    await facts.append(log, load.opening())
    for batch in load.facts(6_000):
        await facts.append(log, batch)
    await facts.append(log, [load.status(), load.time()])
    await step(log, out)
    end = (await log.identity()).last
    async with kept(stores, log, out):
        await wait_for(stores.pool, list(TABLES), end, 120)
        while any(v.position < end for v in await present(stores.pool, VERSIONS)):
            await asyncio.sleep(0.02)
    assert end > first
    assert await digests(stores, tables, end) == await digests(stores, ALL, end)


async def test_a_rebuild_takes_over_from_sinks_that_run_and_gives_back(stores: Stores) -> None:
    log, out = await market(quotes=False)
    end = (await log.identity()).last
    before = await ordinary(stores, log, out)
    await stores.clickhouse.command("TRUNCATE TABLE bars__v1")
    await stores.pool.execute("UPDATE sink SET position = 0, floor = 0 WHERE t = 'bars__v1'")
    (table,) = lost(await present(stores.pool, VERSIONS))
    assert table == TABLES["bars"]
    async with kept(stores, log, out):
        await rebuilt(stores, log, [table])
        await wait_for(stores.pool, ["bars"], end, 120)
    assert await digests(stores, ALL, end) == before


async def test_a_sink_that_begins_again_has_the_log_read_again(stores: Stores) -> None:
    log, out = await market()
    end = (await log.identity()).last
    before = await ordinary(stores, log, out)
    tables = await planned(stores.pool, [TABLES["trades"], TABLES["bars"], TABLES["latest_bars"]])
    insert, count = stores.clickhouse.insert, 0

    async def shaky(body: bytes, settings: Mapping[str, Any]) -> None:
        nonlocal count
        count += 1
        if count % 7 != 5:
            await insert(body, settings)
        if count % 7 in (3, 5):
            raise Unavailable("the answer was lost, or the rows")

    stores.clickhouse.insert = shaky  # type: ignore[method-assign] # its server cannot do this
    await rebuilt(stores, log, tables)
    assert count > 20
    found = await digests(stores, tables, end)
    assert found == {name: before[name] for name in found}


async def test_a_rebuild_that_is_cancelled_goes_on_later_with_the_same_tables(
    stores: Stores,
) -> None:
    log, out = await market()
    before = await ordinary(stores, log, out)
    chosen = [TABLES[name] for name in ("trades", "bars", "latest_bars")]
    tables = await planned(stores.pool, chosen)
    engine = await engine_of(tables, log)
    work = Rebuild(tables, log, stores.clickhouse, stores.pool, engine, QUICK, MESSAGES_MAX)
    running = asyncio.create_task(work.run(lambda _: None, never))
    while work.rows(tables[0]) < 5_000:
        await asyncio.sleep(0.005)
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled()
    states = {v.table.physical: v.state for v in await present(stores.pool, VERSIONS)}
    assert [states[table.physical] for table in tables] == ["building"] * 3
    assert await active(stores.pool, VERSIONS) == TABLES
    rows = await stores.count(tables[0].physical)
    assert 5_000 <= rows < before["trades"].rows
    assert await planned(stores.pool, chosen) == tables
    again = Rebuild(tables, log, stores.clickhouse, stores.pool, engine, QUICK, MESSAGES_MAX)
    await again.run(lambda _: None, partial(enter, stores.pool, tables, "serving"))
    # An insert that was in flight may land after it was counted; it is not made again either.
    assert 0 < again.rows(tables[0]) <= before["trades"].rows - rows, "what was there stays"
    found = await digests(stores, tables, (await log.identity()).last)
    assert found == {name: before[name] for name in found}


async def test_the_time_that_is_left_is_that_of_the_roots_that_are_left(stores: Stores) -> None:
    log, _ = await market(3_000)
    tables = await planned(stores.pool, [TABLES["trades"]])
    engine = await engine_of(tables, log)
    work = Rebuild(tables, log, stores.clickhouse, stores.pool, engine, QUICK, MESSAGES_MAX)
    await stores.pool.execute(
        "INSERT INTO sink VALUES ($1, 'log', 1, 250, 0, 0, 1, 1, 1)", tables[0].physical
    )
    work._seen.append((time.monotonic() - 4.0, 50, 0))  # 200 roots in four seconds
    progress = await work._progress(1_000)
    assert (progress.position, progress.target) == (250, 1_000)
    assert progress.eta_s == pytest.approx(15.0, rel=0.2)


async def never() -> None:
    raise AssertionError("it did not come to the end")


async def test_a_rebuild_under_flow_is_swapped_in_and_its_sinks_go_on_from_out(
    stores: Stores,
) -> None:
    log, out = await market(6_000)
    load = Load(3, 400, per_frame=20, seed=5, venue="FLOW")
    await facts.append(log, load.opening())
    shard = Shard(log, out, graphs("fused")["main"])
    stop, swapped = asyncio.Event(), asyncio.Event()

    async def flow() -> None:
        after = 0
        for batch in load.facts(200_000):
            await facts.append(log, batch)
            await asyncio.sleep(0.02)  # a table that catches up must be faster than what flows
            after += swapped.is_set()
            if after == 50:
                break
        assert swapped.is_set(), "it was meant to swap while rows flow"
        await facts.append(log, [load.status(), load.time()])

    async def then() -> None:
        assert not await put_in_place(tables, stores.clickhouse, stores.pool, differs=False)
        swapped.set()

    tables = await planned(stores.pool, [TABLES[n] for n in ("trades", "bars", "latest_bars")])
    engine = await engine_of(tables, log)
    work = Rebuild(tables, log, stores.clickhouse, stores.pool, engine, QUICK, MESSAGES_MAX)
    async with asyncio.TaskGroup() as group:
        stepping = group.create_task(shard.run(stop=stop))
        flowing = group.create_task(flow())
        async with kept(stores, log, out):
            await work.run(lambda _: None, then)
            await flowing
            end = (await log.identity()).last
            await wait_for(stores.pool, list(TABLES), end, 120)
            while any(v.position < end for v in await present(stores.pool, VERSIONS)):
                await asyncio.sleep(0.02)
        stop.set()
        await stepping
    now = await active(stores.pool, VERSIONS)
    assert [now[table.name] for table in tables] == tables
    found = await digests(stores, tables, end)
    assert found == await digests(stores, [TABLES[name] for name in found], end)
