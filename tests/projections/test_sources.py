"""Where rows come from: the gate of checkpoints, order, bounded buffering, reading again."""

import asyncio

import numpy as np

from tidemill.projections.registry import TABLES
from tidemill.projections.rows import Rows, concatenate
from tidemill.projections.sources import Batch, LogSource, Mark, OutSource
from tidemill.schemas.identifiers import ALL, PARTITIONS
from tidemill.streams.memory import MemoryLog
from tidemill.tests.projections import facts

BARS = TABLES["bars"]
START = Mark(0, 1)


async def drained(source: OutSource | LogSource, done: int) -> list[Batch]:
    """Batches until everything up to `done` has come."""
    batches: list[Batch] = []
    while not batches or batches[-1].done < done:
        batch = await asyncio.wait_for(source.next(0.2), 10)
        if batch is not None:
            batches.append(batch)
    return batches


def joined(batches: list[Batch]) -> Rows:
    return concatenate([batch.rows for batch in batches if batch.rows is not None])


def order(rows: Rows) -> list[tuple[int, int, int]]:
    return list(zip(*(rows.array(n).tolist() for n in ("_r", "_i", "_n")), strict=True))


async def shards() -> tuple[MemoryLog, facts.Shards]:
    _, out = facts.logs()
    return out, facts.Shards(out, "a-log")


async def test_nothing_is_released_while_a_partition_has_no_checkpoint() -> None:
    out, write = await shards()
    source = OutSource(out, BARS, "a-log")
    await write.commit([facts.bar(5)], 10, range(1, PARTITIONS))
    await source.open(1, START)
    assert await source.next(0.05) is None
    await write.commit([], 7, [0])
    batches = await drained(source, 7)
    assert order(joined(batches)) == [(5, 0, order(joined(batches))[0][2])]
    assert batches[-1].done == 7


async def test_rows_of_shards_that_run_apart_come_in_logical_order() -> None:
    out, write = await shards()
    for r in (30, 31, 32):  # one shard is ahead
        await write.commit([facts.bar(r, instrument=1)], r, range(32, PARTITIONS))
    for r in (10, 31, 33):
        bars = [facts.bar(r, n=1), facts.bar(r, n=0), facts.bar(r, n=0, i=4)]
        await write.commit(bars, r, range(32))
    source = OutSource(out, BARS, "a-log")
    await source.open(1, START)
    rows = joined(await drained(source, 32))
    assert order(rows) == sorted(order(rows)) and len(order(rows)) == 9
    assert [r for r, _, _ in order(rows)].count(31) == 4


async def test_what_waits_is_bounded_and_comes_later_in_order() -> None:
    out, write = await shards()
    await write.commit([], 1, range(32))
    for r in range(1, 400):  # far ahead of the other shard
        await write.commit([facts.bar(r, n=k, instrument=1) for k in range(3)], r, range(32, 64))
    one = OutSource(out, BARS, "a-log")
    await one.open(1, START)
    await drained(one, 1)
    row_bytes = joined([Batch(one._held[0][1], 0)]).bytes // one._held[0][1].count
    small = OutSource(out, BARS, "a-log", buffer_bytes_max=100 * row_bytes)
    await small.open(1, START)
    assert [batch.done for batch in await drained(small, 1)] == [1]
    held = sum(rows.count for _, rows in small._held)
    assert 0 < held <= 100
    await write.commit([facts.bar(200)], 399, range(32))
    rows = joined(await drained(small, 399))
    assert order(rows) == sorted(set(order(rows))) and rows.count == 398 * 3 + 1


async def test_a_mark_is_where_later_roots_can_be_read_again() -> None:
    out, write = await shards()
    whole: list[tuple[int, int, int]] = []
    marks: list[Mark] = [START]
    source = OutSource(out, BARS, "a-log")
    await source.open(1, START)
    for r in range(1, 60):
        ahead = [facts.bar(r + 20, instrument=1)]
        await write.commit([facts.bar(r), *ahead], r, (*range(PARTITIONS), ALL))
        for batch in await drained(source, r):
            if batch.rows is not None:
                whole += order(batch.rows)
        marks.append(source.mark)
    assert marks[-1].sequence > 1
    for mark in marks[::7]:
        again = OutSource(out, BARS, "a-log")
        await again.open(mark.root + 1, mark)
        rows = joined(await drained(again, 59)) if mark.root < 59 else None
        assert rows is not None
        assert order(rows) == [at for at in whole if at[0] > mark.root]


async def test_a_mark_that_is_too_young_is_not_used() -> None:
    out, write = await shards()
    for r in (1, 2, 3):
        await write.commit([facts.bar(r)], r)
    source = OutSource(out, BARS, "a-log")
    await source.open(2, Mark(2, 1_000))
    assert [r for r, _, _ in order(joined(await drained(source, 3)))] == [2, 3]


async def test_a_table_at_rest_is_released_after_a_restart() -> None:
    out, write = await shards()
    await write.commit([facts.bar(4)], 9)
    first = OutSource(out, BARS, "a-log")
    await first.open(1, START)
    await drained(first, 9)
    again = OutSource(out, BARS, "a-log")
    await again.open(10, first.mark)
    assert (await again.next(0.1)) is None
    await write.commit([facts.bar(12)], 12)
    assert [r for r, _, _ in order(joined(await drained(again, 12)))] == [12]


async def test_facts_are_complete_up_to_the_newest_message_read() -> None:
    log, _ = facts.logs()
    await facts.append(log, facts.facts(50))
    source = LogSource(log, TABLES["trades"])
    await source.open(11, START)
    batches = await drained(source, 50)
    assert batches[-1].done == 50
    roots = joined(batches).array("_r")
    assert roots.min() >= 11 and np.all(np.diff(roots.astype(np.int64)) >= 0)
