"""verify: equal for a true table, and every kind of damage is found."""

from collections.abc import AsyncIterator

import pytest

from tidemill.projections.clickhouse.fenced import FencedInsert
from tidemill.projections.live import at_one_moment
from tidemill.projections.registry import TABLES
from tidemill.projections.rows import Rows, concatenate
from tidemill.projections.runtime import digest, verify
from tidemill.projections.sources import rows_of
from tidemill.projections.verify import Step, log_rows
from tidemill.streams.memory import MemoryLog
from tidemill.tests.projections import facts
from tidemill.tests.projections.rebuilding import market, ordinary
from tidemill.tests.projections.stores import Stores

pytestmark = pytest.mark.integration
TRADES, BARS = TABLES["trades"], TABLES["bars"]
END = 200


async def filled(stores: Stores) -> MemoryLog:
    """LOG, and the table of its trades."""
    log, _ = facts.logs()
    await facts.append(log, facts.facts(END))
    rows = concatenate([rows async for rows in log_rows(TRADES, log, END)])
    await fill(stores, rows)
    return log


async def fill(stores: Stores, rows: Rows, name: str = "trades") -> None:
    """Insert rows as the sink does."""
    await stores.clickhouse.command(
        "INSERT INTO fence SELECT {t:String}, 1", {"t": TABLES[name].physical}, {"async_insert": 0}
    )
    insert = FencedInsert(stores.clickhouse, TABLES[name], "a-log", 1)
    await insert.send(insert.body([rows]), 1, END)


async def test_a_true_table_is_equal_at_every_position(stores: Stores) -> None:
    log = await filled(stores)
    for as_of in (1, 77, END):
        verdict = await verify(TRADES, log, stores.clickhouse, stores.pool, as_of)
        assert verdict.equal and verdict.live == verdict.recomputed
        assert verdict.live == await digest(TRADES, stores.clickhouse, stores.pool, as_of)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("ALTER TABLE {t} UPDATE price = price + 0.000000000000000001 WHERE {row}", "not those"),
        ("ALTER TABLE {t} UPDATE flags = bitXor(flags, 1) WHERE {row}", "not those"),
        ("ALTER TABLE {t} DELETE WHERE {row}", "rows, the log makes"),
        ("INSERT INTO {t} SELECT * FROM {t} WHERE {row}", "stands twice"),
        (
            "INSERT INTO {t} SELECT * REPLACE (99 AS _i) FROM (SELECT * FROM {t} WHERE {row})",
            "rows, the log makes",
        ),
        ("TRUNCATE TABLE {t}", "has 0 rows, the log makes"),
    ],
)
async def test_one_damaged_row_is_found(stores: Stores, damage: str, reason: str) -> None:
    log = await filled(stores)
    sql = damage.format(t="trades__v1", row="_r = 101 AND _i = 3")
    before = await stores.clickhouse.query("SELECT sum(cityHash64(*)), count() FROM trades__v1")
    await stores.clickhouse.command(sql, settings={"mutations_sync": 2})
    after = await stores.clickhouse.query("SELECT sum(cityHash64(*)), count() FROM trades__v1")
    assert before != after
    verdict = await verify(TRADES, log, stores.clickhouse, stores.pool, END)
    assert not verdict.equal and reason in verdict.reason


async def test_a_derived_table_is_compared_with_what_an_engine_derives(stores: Stores) -> None:
    log, _ = facts.logs()
    await facts.append(log, facts.facts(50))
    steps: list[Step] = [
        (10, [facts.bar(9), facts.bar(4), facts.price(4)]),
        (30, [facts.bar(25, n=1, instrument=1), facts.bar(25), facts.bar(12)]),
        (40, [facts.bar(38)]),
    ]

    async def derived() -> AsyncIterator[Step]:
        for step in steps:
            yield step

    bars = [m for _, made in steps for m in made if m[0].startswith("bars.")]
    rows = rows_of(BARS, [(0, *bar) for bar in bars])
    assert rows is not None
    await fill(stores, rows.ordered().take(slice(0, 5)), "bars")
    verdict = await verify(BARS, log, stores.clickhouse, stores.pool, 30, derived())
    assert verdict.reason == "" and verdict.recomputed.rows == 5
    verdict = await verify(BARS, log, stores.clickhouse, stores.pool, 40, derived())
    assert "has 5 rows, the log makes 6" in verdict.reason


async def test_a_latest_table_has_the_digest_of_the_moment_though_it_has_moved_on_since(
    stores: Stores,
) -> None:
    await ordinary(stores, *await market(2_400))
    table = TABLES["latest_trades"]
    position, now = (await at_one_moment(stores.pool, stores.clickhouse, [table]))[table.physical]
    before = await digest(table, stores.clickhouse, stores.pool, position, now)
    assert before.rows and before == await digest(table, stores.clickhouse, stores.pool, position)
    await stores.pool.execute(f"UPDATE {table.physical} SET _r = _r + {position}")
    assert await digest(table, stores.clickhouse, stores.pool, position, now) == before
