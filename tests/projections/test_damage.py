"""verify finds and locates every kind of damage, in every table of both databases, by plain SQL."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from tidemill.projections import ranges
from tidemill.projections.columns import Column
from tidemill.projections.differences import FIRST_MAX
from tidemill.projections.postgres.write import prepare, write
from tidemill.projections.ranges import Verdict, only_newest
from tidemill.projections.registry import TABLES
from tidemill.projections.rows import Rows, concatenate
from tidemill.projections.runtime import digest, verify
from tidemill.projections.table import Table
from tidemill.projections.verify import Made, Step, made_rows
from tidemill.streams.memory import MemoryLog
from tidemill.tests.projections import facts
from tidemill.tests.projections.stores import Stores
from tidemill.tests.projections.test_verify import fill

pytestmark = pytest.mark.integration
END = 240
ROUNDS = 3
SYNC = {"mutations_sync": 2}
POSITIONS = ("_r", "_i", "_n")


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many ranges, and a range with too many rows is halved until one root is left."""
    monkeypatch.setattr(ranges, "RANGE_ROWS", 60)
    monkeypatch.setattr(ranges, "SLACK_ROWS", 5)


def outputs() -> list[Step]:
    return [
        (
            root + 9,
            [
                message
                for r in range(root, root + 10)
                for message in (
                    facts.bar(r, instrument=r % 3),
                    facts.bar(r, n=1, instrument=r % 3, interval_s=1),
                    facts.price(r),
                    *([facts.feed_state(r)] if r % 7 == 0 else []),
                    *(facts.derived(*one, r) for one in facts.DERIVED if r % 9 == 0),
                )
            ],
        )
        for root in range(1, END, 10)
    ]


async def steps() -> AsyncIterator[Step]:
    for step in outputs():
        yield step


class Checked:
    """A table as the log makes it, which may be damaged, compared and mended."""

    def __init__(self, stores: Stores, table: Table, log: MemoryLog, rows: Rows) -> None:
        self.stores, self.table, self.log, self.rows = stores, table, log, rows
        self.name = table.physical

    async def run(self, sql: str) -> None:
        if self.table.database == "clickhouse":
            await self.stores.clickhouse.command(sql, settings=SYNC)
        else:
            await self.stores.pool.execute(sql)

    async def mend(self) -> None:
        await self.run(f"TRUNCATE TABLE {self.name}")
        if self.table.database == "clickhouse":
            await fill(self.stores, self.rows, self.table.name)
            return
        async with self.stores.pool.acquire() as connection, connection.transaction():
            if self.table.kind == "latest":
                await prepare(connection, self.table)
            await write(connection, self.table, self.rows)

    async def verdict(self) -> Verdict:
        source = steps() if self.table.emitted_by else None
        stores = self.stores
        return await verify(self.table, self.log, stores.clickhouse, stores.pool, END, source)

    def position(self, random: np.random.Generator) -> tuple[int, int, int]:
        row = int(random.integers(self.rows.count))
        r, i, n = (int(self.rows.array(name)[row]) for name in POSITIONS)
        return r, i, n

    async def replaced(self, at: tuple[int, int, int], column: Column, value: str) -> None:
        """Replace one value; ClickHouse cannot update a column that it sorts by."""
        if self.table.database == "postgres":
            return await self.run(
                f'UPDATE {self.name} SET "{column.name}" = {value} WHERE {where(at)}'
            )
        await self.run(
            f"CREATE TABLE moved ENGINE = Memory AS SELECT * REPLACE (CAST({value},"
            f" '{quoted(column.clickhouse)}') AS `{column.name}`)"
            f" FROM (SELECT * FROM {self.name} WHERE {where(at)})"
        )
        await self.run(f"ALTER TABLE {self.name} DELETE WHERE {where(at)}")
        await self.run(f"INSERT INTO {self.name} SELECT * FROM moved")
        await self.run("DROP TABLE moved SYNC")

    async def copied(self, at: tuple[int, int, int], changes: dict[str, str]) -> None:
        """Insert a row again, with changes."""
        columns = [c.name for c in self.table.columns]
        columns += ["r_to"] if self.table.kind == "ledger" else []
        values = ", ".join(changes.get(name, f'"{name}"') for name in columns)
        names = ", ".join(f'"{name}"' for name in columns)
        await self.run(
            f"INSERT INTO {self.name} ({names}) SELECT {values} FROM {self.name} WHERE {where(at)}"
        )


def where(at: tuple[int, int, int]) -> str:
    return f"_r = {at[0]} AND _i = {at[1]} AND _n = {at[2]}"


def quoted(text: str) -> str:
    return text.replace("'", "\\'")


def flipped(column: Column, database: str, random: np.random.Generator) -> str:
    """SQL of the column's value with one bit, letter or unit other than it is."""
    bit, name = 1 << int(random.integers(0, 7)), f'"{column.name}"'
    clickhouse = database == "clickhouse"
    match column.kind:
        case "decimal":
            last = f"{bit}.000000000000000001"
            return f"{name} + toDecimal128('{last}', 18)" if clickhouse else f"{name} + {last}"
        case "float64":
            return f"{name} + {bit}"
        case "text":
            return f"concat({name}, 'X')"
        case "time" | "time_or_null" if clickhouse:
            ns = f"ifNull(toUnixTimestamp64Nano({name}), 0)"
            return f"fromUnixTimestamp64Nano(bitXor({ns}, {bit}), 'UTC')"
        case "enum":
            assert column.enum is not None
            one, two, *_ = [member.name for member in column.enum]
            other = f"if({name} = '{one}', '{two}', '{one}')"
            choice = f"CASE {name} WHEN '{one}' THEN '{two}' ELSE '{one}' END"
            return other if clickhouse else choice
        case "uint64" if not clickhouse and column.name not in POSITIONS:
            return f"{name} + {bit}"  # numeric
    return f"bitXor({name}, {bit})" if clickhouse else f"coalesce({name}, 0) # {bit}"


Damage = Callable[[Checked, np.random.Generator], Awaitable[None]]


async def checked(stores: Stores, name: str) -> Checked:
    table, (log, _) = TABLES[name], facts.logs()
    messages = facts.everything(END)
    await facts.append(log, messages)
    made = Made(END, [], [])
    reader = await log.read(1, (">",))
    made = made._replace(facts=await reader.pull(1_000, 1 << 30, 1))
    made = made._replace(derived=[message for _, some in outputs() for message in some])
    rows = made_rows(table, made)
    assert rows is not None
    one = Checked(stores, table, log, only_newest(table, rows) if table.kind == "latest" else rows)
    await one.mend()
    return one


async def equal(one: Checked) -> None:
    verdict = await one.verdict()
    assert verdict.reason == "" and verdict.differences["first"] == []
    assert verdict.live == verdict.recomputed
    stores = one.stores
    assert verdict.live == await digest(one.table, stores.clickhouse, stores.pool, END)


def rounds(name: str, kind: str) -> list[np.random.Generator]:
    seed = [*f"{name} {kind}".encode()]
    return [np.random.default_rng([*seed, number]) for number in range(ROUNDS)]


@pytest.mark.parametrize("name", TABLES)
async def test_a_changed_value_is_found_with_its_row_and_column(stores: Stores, name: str) -> None:
    one = await checked(stores, name)
    await equal(one)
    for random in rounds(name, "changed"):
        at = one.position(random)
        column = one.table.columns[int(random.integers(len(one.table.columns)))]
        value = flipped(column, one.table.database, random)
        await one.replaced(at, column, value)
        verdict = await one.verdict()
        assert not verdict.equal and verdict.live != verdict.recomputed, (column, at)
        if column.name in POSITIONS:
            assert (*at, "missing") in [found[:4] for found in verdict.first]
        else:
            assert [found[:5] for found in verdict.first] == [(*at, "changed", column.name)]
            assert verdict.first[0].live != verdict.first[0].log
            ends = one.table.kind == "ledger" and column.name in one.table.key  # of validity too
            assert ends or verdict.differences["changed"] == 1
            assert verdict.differences["blocks"] == 1
        await one.mend()
    await equal(one)


@pytest.mark.parametrize("name", ["trades", "bars", "latest_trades", "instruments"])
async def test_a_number_that_is_wrong_in_its_high_word_alone_is_found(
    stores: Stores, name: str
) -> None:
    one = await checked(stores, name)
    exact = [column for column in one.table.columns if column.kind == "decimal"]
    assert exact
    for column in exact:
        at = one.position(np.random.default_rng(len(column.name)))
        unit = "18.446744073709551616"  # 2^64 of the last place: the low word stays what it is
        plus = f"toDecimal128('{unit}', 18)" if one.table.database == "clickhouse" else unit
        await one.replaced(at, column, f'"{column.name}" + {plus}')
        found = await one.verdict()
        assert [row[:5] for row in found.first] == [(*at, "changed", column.name)]
        await one.mend()


@pytest.mark.parametrize("name", ["trades", "quotes", "latest_trades"])
async def test_rows_where_the_log_makes_none_are_found(stores: Stores, name: str) -> None:
    one = await checked(stores, name)
    kind = one.table.reads
    without, _ = facts.logs()
    reader = await one.log.read(1, (">",))
    messages = await reader.pull(1_000, 1 << 30, 1)
    other = [("time", facts.time(k)[1]) for k in range(len(messages))]
    kept = [
        other[k] if message.subject.startswith(f"md.{kind}.") else message[1:3]
        for k, message in enumerate(messages)
    ]
    await facts.append(without, kept)
    one.log = without
    verdict = await one.verdict()
    assert not verdict.equal
    assert verdict.live_rows == one.rows.count and f"{one.rows.count} rows, the log makes 0" in (
        verdict.reason
    )
    # Of a root with far too many rows some are looked at.
    roots = len(np.unique(one.rows.array("_r")))
    assert roots <= verdict.differences["extra"] <= one.rows.count


@pytest.mark.parametrize("name", TABLES)
async def test_a_missing_row_is_found(stores: Stores, name: str) -> None:
    one = await checked(stores, name)
    for random in rounds(name, "missing"):
        at = one.position(random)
        delete = "ALTER TABLE {} DELETE" if one.table.database == "clickhouse" else "DELETE FROM {}"
        await one.run(f"{delete.format(one.name)} WHERE {where(at)}")
        verdict = await one.verdict()
        assert (*at, "missing") in [found[:4] for found in verdict.first]
        assert verdict.differences["missing"] == 1 and verdict.live_rows == one.rows.count - 1
        assert f"{one.rows.count - 1} rows, the log makes {one.rows.count}" in verdict.reason
        await one.mend()


@pytest.mark.parametrize("name", TABLES)
async def test_an_extra_row_is_found(stores: Stores, name: str) -> None:
    one = await checked(stores, name)
    for random in rounds(name, "extra"):
        at = one.position(random)
        extra = (at[0], at[1], at[2] + 1_000_000)
        other_key = {"symbol": "concat(symbol, 'X')", "pair": "concat(pair, 'X')"}
        await one.copied(at, {"_n": str(extra[2]), **other_key})
        verdict = await one.verdict()
        assert (*extra, "extra") in [found[:4] for found in verdict.first]
        assert verdict.differences["extra"] == 1 and verdict.live_rows == one.rows.count + 1
        await one.mend()


@pytest.mark.parametrize("name", TABLES)
async def test_a_doubled_row_is_found(stores: Stores, name: str) -> None:
    one = await checked(stores, name)
    if one.table.database == "postgres":  # its keys refuse one, so a table without them
        await one.run(f"CREATE TABLE loose (LIKE {one.name})")
        await one.run(f"ALTER TABLE {one.name} RENAME TO kept")
        await one.run(f"ALTER TABLE loose RENAME TO {one.name}")
        await one.run(f"INSERT INTO {one.name} SELECT * FROM kept")
    for random in rounds(name, "doubled"):
        at = one.position(random)
        await one.copied(at, {})
        verdict = await one.verdict()
        assert (*at, "doubled") in [found[:4] for found in verdict.first]
        assert verdict.live is None and "stands twice" in verdict.reason
        assert verdict.live_rows == one.rows.count + 1
        if one.table.database == "clickhouse":
            await one.mend()
        else:
            await one.run(f"TRUNCATE TABLE {one.name}")
            await one.run(f"INSERT INTO {one.name} SELECT * FROM kept")


@pytest.mark.parametrize("name", ["trades", "instruments"])
async def test_a_root_with_far_too_many_rows_is_told_of_and_bounded(
    stores: Stores, name: str
) -> None:
    one = await checked(stores, name)
    r, i, n = one.position(np.random.default_rng(5))
    for extra in range(40):
        await one.copied((r, i, n), {"_n": str(n + 1 + extra), "symbol": f"'X{extra}'"})
    verdict = await one.verdict()
    assert verdict.live is None and verdict.live_rows == one.rows.count + 40
    assert len(verdict.first) <= FIRST_MAX and verdict.first[0].block == 0
    assert {found[:2] for found in verdict.first} == {(r, i)}
    assert "missing" not in verdict.differences and verdict.differences["extra"] > 1
    assert verdict.recomputed.rows == one.rows.count


async def test_an_end_of_validity_that_is_wrong_is_found(stores: Stores) -> None:
    one = await checked(stores, "instruments")
    ends = await stores.pool.fetch(f"SELECT _r, r_to FROM {one.name} ORDER BY _r")
    for r, r_to in (ends[0], ends[-1]):
        await one.run(f"UPDATE {one.name} SET r_to = r_to # 4 WHERE _r = {r}")
        verdict = await one.verdict()
        assert [found[:5] for found in verdict.first] == [(r, 0, 0, "changed", "r_to")]
        assert (verdict.first[0].live, verdict.first[0].log) == (str(r_to ^ 4), str(r_to))
        await one.mend()
    await equal(one)


async def test_an_empty_table_and_one_of_another_log_are_told_of(stores: Stores) -> None:
    one = await checked(stores, "trades")
    await one.run(f"TRUNCATE TABLE {one.name}")
    verdict = await one.verdict()
    assert verdict.differences["missing"] == one.rows.count and verdict.live is not None
    assert verdict.live.rows == 0 and "has 0 rows" in verdict.reason
    other: Any = concatenate([one.rows])
    beyond = Rows(other.count, {**other.columns, "_r": other.array("_r") + np.uint64(1)})
    await fill(stores, beyond.take(beyond.array("_r") <= END), "trades")
    verdict = await one.verdict()
    assert verdict.differences["missing"] > 0 and verdict.differences["extra"] > 0
    assert len(verdict.differences["first"]) == FIRST_MAX
