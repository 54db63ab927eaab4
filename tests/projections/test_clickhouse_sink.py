"""The ClickHouse sink: exactly once, whoever dies, and wherever."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tidemill.projections.clickhouse.sink import ClickHouseSink
from tidemill.projections.limits import Limits
from tidemill.projections.postgres.readings import read, wait_for
from tidemill.projections.registry import TABLES
from tidemill.projections.runtime import verify
from tidemill.projections.sources import source
from tidemill.schemas import kinds
from tidemill.schemas.errors import Fenced, Regressed
from tidemill.streams.log import Log
from tidemill.streams.memory import MemoryLog
from tidemill.tests.projections import facts
from tidemill.tests.projections.stores import Stores

pytestmark = pytest.mark.integration
TRADES = TABLES["trades"]
SMALL = Limits(roots_max=40, rows_max=100, period_s=0.01, backoff_max_s=0.2)
STEPS = ("claimed", "fenced", "drained", "inserting", "inserted", "advanced")


class Killed(BaseException):
    """The writer dies here."""


def killed_at(name: str, times: int) -> Callable[[str], None]:
    """A step function that dies when it passes `name` for the n-th time."""
    left = times

    def step(passed: str) -> None:
        nonlocal left
        if passed == name:
            left -= 1
            if left == 0:
                raise Killed(name)

    return step


def sink(
    stores: Stores,
    log: Log,
    limits: Limits = SMALL,
    step: Callable[[str], None] = lambda _: None,
    table: str = "trades",
    out: Log | None = None,
    log_uuid: str = "",
) -> ClickHouseSink:
    rows = source(TABLES[table], log, out if out is not None else log, log_uuid)
    return ClickHouseSink(TABLES[table], log, rows, stores.clickhouse, stores.pool, limits, step)


@asynccontextmanager
async def running(one: ClickHouseSink) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(one.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})  # what ended it is for those who ask the task


async def caught_up(stores: Stores, log: Log, one: ClickHouseSink, name: str = "trades") -> None:
    """Run a sink until its table is complete, or raise what ended it."""
    end = await log.append([facts.time(10_000)], None)
    async with running(one) as task:
        waiting = asyncio.create_task(wait_for(stores.pool, [name], end, 120))
        await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            waiting.cancel()
            task.result()
        await waiting


async def assert_exact(stores: Stores, log: MemoryLog) -> None:
    end = (await log.identity()).last
    verdict = await verify(TRADES, log, stores.clickhouse, stores.pool, end)
    assert verdict.reason == ""
    assert verdict.recomputed.rows > 0


async def test_every_trade_becomes_one_row_with_its_exact_values(stores: Stores) -> None:
    log, _ = facts.logs()
    await facts.append(log, facts.facts(400))
    await caught_up(stores, log, sink(stores, log))
    await assert_exact(stores, log)
    first = await stores.clickhouse.query(
        "SELECT symbol, venue, toString(price), toUnixTimestamp64Nano(ts_event),"
        " toString(aggressor_side) FROM trades__v1 ORDER BY _r, _i LIMIT 1"
    )
    record = kinds.decode(facts.trades(1)[1]).records[0]
    side = ("NO_AGGRESSOR", "BUYER", "SELLER")[record["aggressor_side"]]
    price = f"{facts.amount(int(record['price']), -8):f}".rstrip("0")
    assert first == [("ETHUSDT", "BINANCE", price, int(record["ts_event"]), side)]


async def test_inserts_hold_whole_roots_within_both_limits(stores: Stores) -> None:
    log, _ = facts.logs()
    await facts.append(log, facts.facts(600))
    one = sink(stores, log)
    await caught_up(stores, log, one)
    assert one.metrics.blocks >= await stores.count("trades__v1") // SMALL.rows_max
    await assert_exact(stores, log)


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("times", [1, 3])
async def test_a_writer_killed_at_any_step_loses_and_doubles_nothing(
    stores: Stores, name: str, times: int
) -> None:
    log, _ = facts.logs()
    await facts.append(log, facts.facts(500))
    if name in ("claimed", "fenced", "drained"):
        times = 1
    with pytest.raises(Killed):
        await caught_up(stores, log, sink(stores, log, step=killed_at(name, times)))
    await facts.append(log, facts.facts(100, start=500))
    await caught_up(stores, log, sink(stores, log))
    await assert_exact(stores, log)


async def test_a_writer_killed_while_it_repairs_loses_and_doubles_nothing(stores: Stores) -> None:
    log, _ = facts.logs()
    await facts.append(log, facts.facts(300))
    await caught_up(stores, log, sink(stores, log))
    for name in ("repairing", "repaired"):
        await _delete_from_tail(stores)
        with pytest.raises(Killed):
            await caught_up(stores, log, sink(stores, log, step=killed_at(name, 1)))
    await caught_up(stores, log, sink(stores, log))
    await assert_exact(stores, log)


async def _delete_from_tail(stores: Stores) -> int:
    """Take some rows of the newest roots away, as an insert cut off in the middle would."""
    before = await stores.count("trades__v1")
    await stores.clickhouse.command(
        "DELETE FROM trades__v1 WHERE _r > (SELECT max(_r) FROM trades__v1) - 12 AND _i IN (1, 4)"
    )
    return before - await stores.count("trades__v1")


async def test_a_takeover_inserts_exactly_the_rows_that_are_missing(stores: Stores) -> None:
    log, _ = facts.logs()
    await facts.append(log, facts.facts(300))
    await caught_up(stores, log, sink(stores, log))
    gone = await _delete_from_tail(stores)
    assert gone > 5
    again = sink(stores, log)
    await facts.append(log, facts.facts(30, start=300))
    await caught_up(stores, log, again)
    assert again.metrics.repaired_rows == gone
    await assert_exact(stores, log)


async def test_a_row_that_stands_twice_in_the_tail_stops_the_sink(stores: Stores) -> None:
    log, _ = facts.logs()
    await facts.append(log, facts.facts(100))
    await caught_up(stores, log, sink(stores, log))
    await stores.clickhouse.command(
        "INSERT INTO trades__v1 SELECT * FROM trades__v1 ORDER BY _r DESC, _i DESC LIMIT 1"
    )
    with pytest.raises(Regressed, match="stands twice"):
        await caught_up(stores, log, sink(stores, log))


async def test_a_second_writer_fences_the_first(stores: Stores) -> None:
    log, _ = facts.logs()
    await facts.append(log, facts.facts(200))
    async with running(sink(stores, log)) as first:
        await wait_for(stores.pool, ["trades"], 200, 120)
        async with running(sink(stores, log)) as second:
            await wait_for(stores.pool, ["trades"], 200, 120)
            await facts.append(log, facts.facts(100, start=200))
            with pytest.raises(Fenced):
                await asyncio.wait_for(asyncio.shield(first), 120)
            waiting = asyncio.create_task(wait_for(stores.pool, ["trades"], 300, 120))
            await asyncio.wait({waiting, second}, return_when=asyncio.FIRST_COMPLETED)
            assert not second.done(), second
            await waiting
    await assert_exact(stores, log)


async def test_a_zombie_that_wakes_up_long_after_its_successor_writes_nothing(
    stores: Stores,
) -> None:
    log, _ = facts.logs()
    await facts.append(log, facts.facts(300))
    zombie = sink(stores, log)
    sent: list[tuple[bytes, int, int]] = []
    asleep, awake = asyncio.Event(), asyncio.Event()
    owned = await zombie._take_over()
    send = owned.insert.send

    async def slow_send(body: bytes, first: int, last: int, attempt: int = 0) -> None:
        sent.append((body, first, last))
        asleep.set()
        await awake.wait()
        await send(body, first, last, attempt)

    owned.insert.send = slow_send  # type: ignore[method-assign] # the pause is the test
    task = asyncio.create_task(zombie._insert_on(owned))
    await asyncio.wait_for(asleep.wait(), 120)
    await caught_up(stores, log, sink(stores, log))
    await facts.append(log, facts.facts(200, start=300))
    await caught_up(stores, log, sink(stores, log))
    before = await stores.count("trades__v1")
    awake.set()
    with pytest.raises(Fenced):
        await asyncio.wait_for(task, 120)
    assert await stores.count("trades__v1") == before
    assert sent
    await assert_exact(stores, log)


async def test_a_table_of_another_log_is_refused(stores: Stores) -> None:
    log, _ = facts.logs()
    await facts.append(log, facts.facts(20))
    await caught_up(stores, log, sink(stores, log))
    other, _ = facts.logs()
    await facts.append(other, facts.facts(20))
    with pytest.raises(Regressed, match="made of log"):
        await asyncio.wait_for(sink(stores, other).run(), 120)


async def test_a_quiet_table_advances_with_time(stores: Stores) -> None:
    log, _ = facts.logs()
    await facts.append(log, [facts.trades(1), *(facts.time(k) for k in range(2, 30))])
    async with running(sink(stores, log)):
        assert (await wait_for(stores.pool, ["trades"], 29, 120))["trades"].as_of == 29
        await facts.append(log, [facts.time(30)])
        await wait_for(stores.pool, ["trades"], 30, 120)
    await caught_up(stores, log, sink(stores, log))
    assert (await read(stores.pool, ["trades"]))["trades"].as_of == 31


async def test_rebuilding_a_table_gives_the_same_digest_whatever_the_blocks(
    stores: Stores,
) -> None:
    log, _ = facts.logs()
    await facts.append(log, facts.facts(500))
    digests = []
    for limits in (SMALL, Limits(period_s=0.05), Limits(roots_max=7, rows_max=9, period_s=0.01)):
        await caught_up(stores, log, sink(stores, log, limits))
        verdict = await verify(TRADES, log, stores.clickhouse, stores.pool, 500)
        assert verdict.equal and verdict.live is not None
        digests.append(verdict.live)
        await stores.clickhouse.command("TRUNCATE TABLE trades__v1")
        await stores.pool.execute("DELETE FROM sink")
    assert len(set(digests)) == 1


async def test_a_postgres_that_was_lost_is_no_obstacle(stores: Stores) -> None:
    log, _ = facts.logs()
    await facts.append(log, facts.facts(200))
    for _ in range(3):
        await caught_up(stores, log, sink(stores, log))
    await stores.pool.execute("DELETE FROM sink")
    await facts.append(log, facts.facts(100, start=200))
    await caught_up(stores, log, sink(stores, log))
    await assert_exact(stores, log)
