"""The ClickHouse sink of a derived table: behind the gate, exactly once, read again from a mark."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from tidemill.projections.postgres.readings import read, wait_for
from tidemill.projections.registry import TABLES
from tidemill.projections.runtime import verify
from tidemill.projections.verify import Step
from tidemill.streams.log import Reader
from tidemill.streams.memory import MemoryLog
from tidemill.tests.projections import facts
from tidemill.tests.projections.stores import Stores
from tidemill.tests.projections.test_clickhouse_sink import Killed, killed_at, running, sink

pytestmark = pytest.mark.integration
BARS = TABLES["bars"]


def bars(r: int) -> facts.Facts:
    return [facts.bar(r, n=k, instrument=r % 3) for k in range(1 + r % 4)]


async def filled(first: int, last: int, log: MemoryLog, write: facts.Shards) -> None:
    """Facts, and bars of the roots first to last by two shards that run apart."""
    await facts.append(log, facts.facts(last - first + 1, start=first - 1))
    for r in range(first, last + 1, 7):
        done = min(r + 6, last)
        made = [bar for root in range(r, done + 1) for bar in bars(root)]
        await write.commit(made[::2], done, range(32))
        await write.commit(made[1::2], done, range(32, 65))


async def assert_exact(stores: Stores, log: MemoryLog, end: int) -> None:
    async def steps() -> AsyncIterator[Step]:
        for r in range(1, end + 1):
            yield r, bars(r)

    verdict = await verify(BARS, log, stores.clickhouse, stores.pool, end, steps())
    assert verdict.reason == "" and verdict.recomputed.rows > end


@pytest.mark.parametrize(
    ("step", "times"),
    [("claimed", 1), ("drained", 1), ("inserting", 2), ("inserted", 4), ("advanced", 6)],
)
async def test_a_writer_killed_at_any_step_loses_and_doubles_no_bar(
    stores: Stores, step: str, times: int
) -> None:
    log, out = facts.logs()
    write = facts.Shards(out, log.uuid)
    await filled(1, 300, log, write)
    dying = sink(stores, log, step=killed_at(step, times), table="bars", out=out, log_uuid=log.uuid)
    with pytest.raises(Killed):
        await asyncio.wait_for(dying.run(), 120)
    await filled(301, 400, log, write)
    async with running(sink(stores, log, table="bars", out=out, log_uuid=log.uuid)):
        await wait_for(stores.pool, ["bars"], 400, 120)
    await assert_exact(stores, log, 400)


async def test_a_checkpoint_that_is_missing_holds_the_table_back(stores: Stores) -> None:
    log, out = facts.logs()
    write = facts.Shards(out, log.uuid)
    await facts.append(log, facts.facts(50))
    await write.commit(bars(9), 40, range(1, 65))
    async with running(sink(stores, log, table="bars", out=out, log_uuid=log.uuid)):
        await asyncio.sleep(0.5)
        assert (await read(stores.pool, ["bars"]))["bars"].as_of == 0
        assert await stores.count("bars__v1") == 0
        await write.commit([], 12, [0])
        await wait_for(stores.pool, ["bars"], 12, 120)
        assert await stores.count("bars__v1") == len(bars(9))


async def test_a_takeover_reads_on_from_a_mark_and_not_from_the_start(stores: Stores) -> None:
    log, out = facts.logs()
    write = facts.Shards(out, log.uuid)
    async with running(sink(stores, log, table="bars", out=out, log_uuid=log.uuid)):
        for first in range(1, 380, 20):
            await filled(first, first + 19, log, write)
            await wait_for(stores.pool, ["bars"], first + 19, 120)
    row = await stores.pool.fetchrow("SELECT floor, mark_root, mark_sequence FROM sink")
    assert row is not None
    assert 0 < row["mark_root"] <= row["floor"] - 40 and row["mark_sequence"] > 500
    await filled(381, 400, log, write)
    starts: list[int] = []
    read_out = out.read

    async def watched(start: int, filters: Sequence[str]) -> Reader:
        starts.append(start)
        return await read_out(start, filters)

    out.read = watched  # type: ignore[method-assign, assignment] # where it begins is the question
    async with running(sink(stores, log, table="bars", out=out, log_uuid=log.uuid)):
        await wait_for(stores.pool, ["bars"], 400, 120)
    assert starts == [row["mark_sequence"]]
    await assert_exact(stores, log, 400)
