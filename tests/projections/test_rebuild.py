"""Rebuilding tables: the same rows as their sinks made, beside what answers, in one pass."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tidemill.deploy.load import Load
from tidemill.deploy.replaying import step
from tidemill.projections.postgres.readings import wait_for
from tidemill.projections.rebuild import lost, planned
from tidemill.projections.registry import TABLES, VERSIONS
from tidemill.projections.versions import active, present, serving
from tidemill.schemas.errors import Unavailable
from tidemill.streams.log import Reader
from tidemill.tests.projections import facts
from tidemill.tests.projections.rebuilding import digests, kept, market, ordinary, rebuilt
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
    read = log.read

    async def watched(start: int, filters: Sequence[str]) -> Reader:
        if "ctl.>" in filters and len(filters) > 1:
            reads.append(start)
        return await read(start, filters)

    log.read = watched  # type: ignore[method-assign] # how often LOG is read is the question
    told = await rebuilt(stores, log, tables)
    assert reads == [1]
    assert await digests(stores, tables, end) == before
    assert before["bars"].rows > 100 and before["latest_bars"].rows > 3
    assert told[-1].position == told[-1].target == end
    assert {t.physical for t in await serving(stores.pool, VERSIONS)} == {
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
        await wait_for(stores.pool, list(TABLES), end, 60)
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
        await wait_for(stores.pool, ["bars"], end, 20)
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
