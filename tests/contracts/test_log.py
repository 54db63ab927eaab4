"""What the log port promises, held against the log in memory and the one on JetStream."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import pytest

from tests.contracts.logs import jetstream, memory
from tests.servers import nats_server
from tidemill.schemas.errors import Fenced
from tidemill.streams.archive.archived_log import ArchivedLog
from tidemill.streams.jetstream import JetStreamLog
from tidemill.streams.log import BATCH_MESSAGES_MAX, Checkpoint, Fence, Log, Message, Reader
from tidemill.streams.memory import MemoryLog

AnyLog = MemoryLog | JetStreamLog


@pytest.fixture(
    params=["memory", "archived", pytest.param("jetstream", marks=pytest.mark.integration)]
)
async def log(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Log]:
    if request.param == "memory":
        yield memory()
        return
    if request.param == "archived":
        yield ArchivedLog(memory(), str(tmp_path_factory.mktemp("archive")), check_s=0.0)
        return
    async with (
        nats_server(tmp_path_factory.mktemp("nats")) as nats,
        jetstream(nats) as real,
    ):
        yield real


async def drain(reader: Reader, quiet_s: float = 0.3) -> list[Message]:
    """Everything a reader has until nothing comes for `quiet_s`."""
    found: list[Message] = []
    while messages := await reader.pull(100, 1 << 20, quiet_s):
        found += messages
    return found


async def everything(log: Log, *filters: str) -> list[tuple[int, str, bytes]]:
    reader = await log.read(1, filters or ("md.>", "cmd.>", "ckpt.>", "time"))
    found = [(one.sequence, one.subject, one.payload) for one in await drain(reader)]
    await reader.close()
    return found


def trades(count: int, symbol: str = "BTCUSDT") -> Sequence[tuple[str, bytes]]:
    return [(f"md.trade.BINANCE.{symbol}.07", b"%d" % at) for at in range(count)]


async def test_messages_get_consecutive_sequences_and_come_back_as_they_were(log: Log):
    assert await log.append([("md.a.B.C.00", b"1")], None) == 1
    assert (
        await log.append([("time", b""), ("md.a.B.C.00", b"\x00\xff"), ("cmd.x", b"3")], None) == 4
    )
    assert await everything(log) == [
        (1, "md.a.B.C.00", b"1"),
        (2, "time", b""),
        (3, "md.a.B.C.00", b"\x00\xff"),
        (4, "cmd.x", b"3"),
    ]


async def test_a_fence_is_the_newest_sequence_of_all_subjects_that_it_takes(log: Log):
    fence = "md.*.BINANCE.*.*"
    last = await log.append(trades(3), Fence(fence, 0))
    await log.append([("md.trade.OTHER.BTCUSDT.07", b"")], Fence("md.*.OTHER.*.*", 0))
    last = await log.append([("md.quote.BINANCE.ETHUSDT.08", b"")], Fence(fence, last))
    assert last == 5
    with pytest.raises(Fenced):
        await log.append(trades(1), Fence(fence, last - 1))
    with pytest.raises(Fenced):
        await log.append(trades(2), Fence(fence, last + 1))
    with pytest.raises(Fenced):
        await log.append(trades(2), Fence(fence, 0))
    assert (await log.identity()).last == 5


async def test_a_refused_batch_leaves_nothing_and_takes_no_sequence(log: Log):
    await log.append(trades(1), None)
    with pytest.raises(Fenced):
        await log.append(trades(50), Fence("md.>", 0))
    assert await log.append([("time", b"")], None) == 2
    assert len(await everything(log)) == 2


async def test_a_batch_has_a_limit_and_only_the_streams_subjects(log: Log):
    assert await log.append(trades(BATCH_MESSAGES_MAX), None) == BATCH_MESSAGES_MAX
    for wrong in (
        trades(BATCH_MESSAGES_MAX + 1),
        [],
        [("other.x", b"")],
        [("time", bytes(5 << 20))],
    ):
        with pytest.raises(ValueError):
            await log.append(wrong, None)
    assert (await log.identity()).last == BATCH_MESSAGES_MAX


async def test_a_transaction_stores_outputs_and_then_its_checkpoints(log: Log):
    lasts = await log.transact(
        trades(2), [Checkpoint("ckpt.g.00", b"a", 0), Checkpoint("ckpt.g.01", b"b", 0)]
    )
    assert lasts == {"ckpt.g.00": 3, "ckpt.g.01": 4}
    lasts = await log.transact([], [Checkpoint("ckpt.g.01", b"c", 4)])
    assert lasts == {"ckpt.g.01": 5}
    assert [m[0] for m in await everything(log)] == [1, 2, 3, 5]
    assert await log.lasts("ckpt.g.*") == [
        Message(3, "ckpt.g.00", b"a"),
        Message(5, "ckpt.g.01", b"c"),
    ]


async def test_one_stale_checkpoint_refuses_the_whole_transaction(log: Log):
    if isinstance(log, ArchivedLog):
        pytest.skip("LOG, which alone has an archive, has no checkpoints")
    await log.transact([], [Checkpoint("ckpt.g.00", b"a", 0)])
    await log.transact([], [Checkpoint("ckpt.g.01", b"a", 0)])
    for stale in (0, 2, 3):
        with pytest.raises(Fenced):
            await log.transact(
                trades(3), [Checkpoint("ckpt.g.00", b"z", stale), Checkpoint("ckpt.g.01", b"z", 2)]
            )
    with pytest.raises(Fenced):
        await log.transact(
            trades(3), [Checkpoint("ckpt.g.00", b"z", 1), Checkpoint("ckpt.g.01", b"z", 1)]
        )
    assert len(await everything(log)) == 2
    await log.transact(
        trades(3), [Checkpoint("ckpt.g.00", b"b", 1), Checkpoint("ckpt.g.01", b"b", 2)]
    )
    assert [m[2] for m in await everything(log)] == [b"0", b"1", b"2", b"b", b"b"]


async def test_a_transaction_names_each_checkpoint_once_and_none_as_output(log: Log):
    one = Checkpoint("ckpt.g.00", b"", 0)
    for outputs, checkpoints in (
        (trades(1), []),
        (trades(1), [one, one]),
        ([("ckpt.g.00", b"")], [one]),
        (trades(BATCH_MESSAGES_MAX), [one]),
    ):
        with pytest.raises(ValueError):
            await log.transact(outputs, checkpoints)
    assert (await log.identity()).last == 0


async def test_last_is_read_after_write_over_wildcards(log: Log):
    assert await log.last("md.>") is None
    for at in range(1, 4):
        await log.append([("time", b""), *trades(at)], None)
        newest = await log.last("md.trade.*.*.*")
        assert newest is not None and newest.payload == b"%d" % (at - 1)
    assert await log.last("time") == Message(6, "time", b"")
    assert await log.last("cmd.>") is None


async def test_lasts_are_the_newest_of_each_subject_by_subject(log: Log):
    for symbol in ("B", "A", "C"):
        await log.append(trades(2, symbol), None)
    found = await log.lasts("md.trade.BINANCE.*.*")
    assert [(m.sequence, m.subject.split(".")[3]) for m in found] == [(4, "A"), (2, "B"), (6, "C")]
    assert await log.lasts("ckpt.>") == []


async def test_one_message_is_found_by_its_sequence(log: Log):
    await log.append(trades(2), None)
    await log.transact([], [Checkpoint("ckpt.g.00", b"a", 0)])
    await log.transact([], [Checkpoint("ckpt.g.00", b"b", 3)])
    assert await log.get(2) == Message(2, "md.trade.BINANCE.BTCUSDT.07", b"1")
    assert [await log.get(sequence) for sequence in (0, 3, 5)] == [None, None, None]


async def test_a_reader_starts_where_it_is_told_and_takes_only_its_filters(log: Log):
    await log.append([*trades(3), ("time", b"t"), *trades(3, "ETHUSDT"), ("cmd.a.b", b"")], None)
    reader = await log.read(3, ["md.*.*.ETHUSDT.*", "time"])
    assert [m.sequence for m in await drain(reader)] == [4, 5, 6, 7]
    assert reader.pending == 0
    await reader.close()
    later = await log.read(100, ["md.>"])
    await log.append(trades(95), None)
    assert [m.sequence for m in await drain(later)] == [100, 101, 102, 103]
    await later.close()


async def test_filters_that_another_covers_are_one_and_overlaps_are_refused(log: Log):
    await log.append(trades(2), None)
    covered = await log.read(1, ["md.trade.>", "md.>", "md.>"])
    assert len(await drain(covered)) == 2
    await covered.close()
    for wrong in ([], ["md.*.BINANCE.>", "md.trade.>"], ["other.>"]):
        with pytest.raises(ValueError):
            await log.read(1, wrong)


async def test_a_pull_is_bounded_by_messages_and_bytes_but_gives_at_least_one(log: Log):
    await log.append([("time", bytes(1000))] * 10, None)
    reader = await log.read(1, ["time"])
    assert [m.sequence for m in await reader.pull(3, 1 << 20, 5)] == [1, 2, 3]
    await asyncio.sleep(0.2)  # let the rest arrive here, where the bytes are counted
    assert [m.sequence for m in await reader.pull(10, 2500, 5)] == [4, 5]
    assert [m.sequence for m in await reader.pull(10, 10, 5)] == [6]
    assert reader.pending == 4
    await reader.close()


async def test_a_reader_waits_for_what_is_appended_later(log: Log):
    reader = await log.read(1, ["time"])
    start = time.monotonic()
    assert await reader.pull(10, 1 << 20, 0.2) == []
    assert 0.15 < time.monotonic() - start < 8
    waiting = asyncio.create_task(reader.pull(10, 1 << 20, 10))
    await asyncio.sleep(0.05)
    await log.append(trades(1), None)
    await log.append([("time", b"now")], None)
    start = time.monotonic()
    assert await waiting == [Message(2, "time", b"now")]
    assert time.monotonic() - start < 5
    await reader.close()


async def test_a_closed_reader_is_not_read_again(log: Log):
    await log.append(trades(2), None)
    reader = await log.read(1, ["md.>"])
    await reader.pull(1, 1 << 20, 5)
    await reader.close()
    with pytest.raises(RuntimeError):
        await reader.pull(1, 1 << 20, 0.1)


async def test_a_reader_gives_all_in_order_while_writers_write(log: Log):
    reader = await log.read(1, ["md.>", "time"])

    async def write(subject: str, count: int) -> None:
        for at in range(count):
            await log.append([(subject, b"%d" % at)] * (1 + at % 3), None)

    writers = asyncio.gather(write("md.a.B.C.00", 60), write("time", 60), write("cmd.a", 20))
    found: list[Message] = []
    while len(found) < 240:
        messages = await reader.pull(7, 1 << 20, 5)
        assert messages
        found += messages
    await writers
    assert await reader.pull(1, 1, 0.1) == []
    sequences = [m.sequence for m in found]
    assert sequences == sorted(set(sequences))
    for subject in ("md.a.B.C.00", "time"):
        values = [int(m.payload) for m in found if m.subject == subject]
        assert values == sorted(values) and len(values) == 120
    await reader.close()


async def test_only_one_of_two_writers_with_the_same_fence_wins(log: Log):
    outcomes = await asyncio.gather(
        *(log.append([("md.a.B.C.00", b"%d" % at)] * 2, Fence("md.>", 0)) for at in range(5)),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in outcomes) == ["Fenced"] * 4 + ["int"]
    stored = await everything(log)
    assert len(stored) == 2 and stored[0][2] == stored[1][2]


async def test_identity_says_which_stream_and_what_it_holds(log: Log):
    empty = await log.identity()
    assert len(empty.uuid) == 32 and (empty.first, empty.last) == (1, 0)
    await log.append(trades(3), None)
    full = await log.identity()
    assert full.uuid == empty.uuid and (full.first, full.last) == (1, 3)
    await log.transact([], [Checkpoint("ckpt.g.00", b"", 0)])
    await log.transact([], [Checkpoint("ckpt.g.00", b"", 4)])
    assert ((await log.identity()).first, (await log.identity()).last) == (1, 5)


async def test_live_shows_what_is_committed_and_nothing_that_was_refused(log: Log):
    if not isinstance(log, AnyLog):
        pytest.skip("no part of the port")
    queue = await log.live(["md.trade.>", "time"])
    await log.append(trades(2), Fence("md.>", 0))
    with pytest.raises(Fenced):
        await log.append([("md.trade.BINANCE.BTCUSDT.07", b"refused")] * 5, Fence("md.>", 1))
    await log.append([("cmd.a.b", b""), ("time", b"t")], None)
    found: list[Message] = []
    while messages := await queue.pull(10, 0.5):
        found += messages
    assert found == [
        Message(1, "md.trade.BINANCE.BTCUSDT.07", b"0"),
        Message(2, "md.trade.BINANCE.BTCUSDT.07", b"1"),
        Message(4, "time", b"t"),
    ]
    await queue.close()
    await log.append(trades(1), None)
    assert await queue.pull(10, 0.1) == []


async def test_a_slow_live_queue_keeps_the_newest_and_counts_the_rest(log: Log):
    if not isinstance(log, AnyLog):
        pytest.skip("no part of the port")
    queue = await log.live(["time"], bytes_max=1_000)
    for _ in range(10):
        await log.append([("time", bytes(300))], None)
    await asyncio.sleep(0.2)
    assert [m.sequence for m in await queue.pull(10, 1)] == [8, 9, 10]
    assert queue.dropped == 7
    await queue.close()
