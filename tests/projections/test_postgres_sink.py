"""The Postgres sinks: rows and position together, definitions over time, what is latest."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from tidemill.projections.limits import Limits
from tidemill.projections.postgres.readings import read, wait_for
from tidemill.projections.postgres.sink import PostgresSink
from tidemill.projections.registry import TABLES
from tidemill.projections.runtime import verify
from tidemill.projections.sources import source
from tidemill.schemas.errors import Fenced, Regressed
from tidemill.streams.log import Log
from tidemill.streams.memory import MemoryLog
from tidemill.tests.projections import facts
from tidemill.tests.projections.stores import Stores

pytestmark = pytest.mark.integration
QUICK = Limits(period_s=0.01, backoff_max_s=0.2)


class Killed(BaseException):
    """The writer dies here."""


def sink(
    stores: Stores,
    name: str,
    log: Log,
    out: Log | None = None,
    log_uuid: str = "",
    step: Callable[[str], None] = lambda _: None,
) -> PostgresSink:
    rows = source(TABLES[name], log, out if out is not None else log, log_uuid)
    return PostgresSink(TABLES[name], log, rows, stores.pool, QUICK, step)


@asynccontextmanager
async def running(one: PostgresSink) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(one.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def caught_up(stores: Stores, one: PostgresSink, log: MemoryLog) -> None:
    end = (await log.identity()).last
    async with running(one) as task:
        waiting = asyncio.create_task(wait_for(stores.pool, [one.table.name], end, 120))
        await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            waiting.cancel()
            task.result()
        await waiting


def killed_at(name: str, times: int = 1) -> Callable[[str], None]:
    left = times

    def step(passed: str) -> None:
        nonlocal left
        left -= passed == name
        if left == 0 and passed == name:
            raise Killed(name)

    return step


async def assert_exact(stores: Stores, name: str, log: MemoryLog) -> None:
    end = (await log.identity()).last
    verdict = await verify(TABLES[name], log, stores.clickhouse, stores.pool, end)
    assert verdict.reason == "" and verdict.recomputed.rows > 0


async def test_a_definition_is_valid_until_the_next_one(stores: Stores) -> None:
    log, _ = facts.logs()
    defined = [facts.instrument(0, "0.01"), facts.instrument(1), facts.instrument(0, "0.5")]
    await facts.append(log, [*defined, facts.time(4)])
    await caught_up(stores, sink(stores, "instruments", log), log)
    await facts.append(log, [facts.instrument(0, "0.25"), facts.time(6)])
    await caught_up(stores, sink(stores, "instruments", log), log)
    rows = await stores.pool.fetch(
        "SELECT _r, r_to, tick_size, lot_size FROM instruments__v2"
        " WHERE symbol = 'BTCUSDT' AND venue = 'BINANCE' ORDER BY _r"
    )
    open_end = 2**63 - 1
    assert [(row["_r"], row["r_to"], row["tick_size"]) for row in rows] == [
        (1, 3, Decimal("0.01")),
        (3, 5, Decimal("0.5")),
        (5, open_end, Decimal("0.25")),
    ]
    assert rows[0]["lot_size"] == Decimal("12345678901234567890.123456789012345678")
    await assert_exact(stores, "instruments", log)


@pytest.mark.parametrize("name", ["instruments", "latest_trades", "latest_quotes"])
@pytest.mark.parametrize("step", ["claimed", "moved", "written", "committed"])
async def test_a_writer_killed_at_any_step_leaves_rows_and_position_together(
    stores: Stores, name: str, step: str
) -> None:
    log, _ = facts.logs()
    await facts.append(log, facts.facts(40))
    with pytest.raises(Killed):
        await caught_up(stores, sink(stores, name, log, step=killed_at(step)), log)
        raise Killed("it had already committed when it was seen to be complete")
    before = await stores.pool.fetchval("SELECT position FROM sink")
    count = await stores.pool.fetchval(f"SELECT count(*) FROM {TABLES[name].physical}")
    assert (before > 0) == (count > 0)
    await facts.append(log, facts.facts(60, start=40))
    await caught_up(stores, sink(stores, name, log), log)
    await assert_exact(stores, name, log)


async def test_a_second_writer_fences_the_first(stores: Stores) -> None:
    log, _ = facts.logs()
    await facts.append(log, facts.facts(40))
    async with running(sink(stores, "instruments", log)) as first:
        await wait_for(stores.pool, ["instruments"], 40, 120)
        async with running(sink(stores, "instruments", log)):
            while await stores.pool.fetchval("SELECT epoch FROM sink") < 2:
                await asyncio.sleep(0.01)
            await facts.append(log, facts.facts(60, start=40))
            with pytest.raises(Fenced):
                await asyncio.wait_for(asyncio.shield(first), 120)
            await wait_for(stores.pool, ["instruments"], 100, 120)
    await assert_exact(stores, "instruments", log)


async def test_the_latest_of_each_key_is_kept_and_replaying_changes_nothing(
    stores: Stores,
) -> None:
    log, _ = facts.logs()
    await facts.append(log, facts.facts(200))
    for name in ("latest_trades", "latest_quotes"):
        await caught_up(stores, sink(stores, name, log), log)
        await assert_exact(stores, name, log)
        await stores.pool.execute("UPDATE sink SET position = 0")
        await caught_up(stores, sink(stores, name, log), log)
        await assert_exact(stores, name, log)
        assert (await read(stores.pool, [name]))[name].as_of == 200


async def test_the_latest_bar_is_the_youngest_whole_one_whatever_is_revised_later(
    stores: Stores,
) -> None:
    log, out = facts.logs()
    await facts.append(log, facts.facts(50))
    write = facts.Shards(out, log.uuid)
    await write.commit([facts.bar(10), facts.bar(20)], 25)
    await write.commit([facts.bar(30, instrument=1)], 30)
    one = sink(stores, "latest_bars", log, out, log.uuid)
    async with running(one):
        await wait_for(stores.pool, ["latest_bars"], 30, 120)
    # A late trade revises the older bar at root 40: it is not the latest for that.
    subject, payload = facts.bar(10, revision=1)
    from tidemill.schemas import frame, kinds

    decoded = kinds.decode(payload)
    record = decoded.records.copy()
    record["at_r"] = 40
    await write.commit([(subject, frame.encode(decoded.kind, record, 1, -8, -8))], 40)
    async with running(sink(stores, "latest_bars", log, out, log.uuid)):
        await wait_for(stores.pool, ["latest_bars"], 40, 120)
    rows = await stores.pool.fetch("SELECT symbol, _r, revision FROM latest_bars__v1 ORDER BY 1")
    assert [tuple(row) for row in rows] == [("BTCUSDT", 20, 0), ("ETHUSDT", 30, 0)]


async def test_prices_reach_their_table_behind_the_gate(stores: Stores) -> None:
    log, out = facts.logs()
    await facts.append(log, facts.facts(50))
    write = facts.Shards(out, log.uuid)
    await write.commit([facts.price(10), facts.price(20)], 15)
    async with running(sink(stores, "latest_prices", log, out, log.uuid)):
        await wait_for(stores.pool, ["latest_prices"], 15, 120)
        row = await stores.pool.fetchrow("SELECT * FROM latest_prices__v1")
        assert row is not None and (row["_r"], row["pair"], row["window"]) == (
            10,
            "BTC/USDT",
            "24h",
        )
        await write.commit([], 44)
        await wait_for(stores.pool, ["latest_prices"], 44, 120)
    row = await stores.pool.fetchrow("SELECT * FROM latest_prices__v1")
    assert row is not None and row["_r"] == 20
    assert row["best_bid"] == Decimal(10**9 + 20).scaleb(-10) and row["best_bid_venue"] == "BINANCE"


async def test_a_log_that_is_shorter_than_the_table_is_refused(stores: Stores) -> None:
    log, _ = facts.logs()
    await facts.append(log, facts.facts(50))
    await caught_up(stores, sink(stores, "instruments", log), log)
    shorter = MemoryLog("LOG", ("md.>", "time"), uuid=log.uuid)
    await facts.append(shorter, facts.facts(20))
    with pytest.raises(Regressed, match=r"LOG REGRESSED: .* the log ends at 20: restore LOG"):
        await asyncio.wait_for(sink(stores, "instruments", shorter).run(), 120)
