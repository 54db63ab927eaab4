"""What the log port promises when acknowledgements, consumers, servers or streams are lost."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from nats.aio.client import Client

from tests.contracts.logs import TEST, jetstream, memory
from tests.servers import RunningNats
from tidemill.schemas.errors import Fenced, Regressed, Unavailable
from tidemill.streams.jetstream import JetStreamLog
from tidemill.streams.jetstream_connection import Connection, connect
from tidemill.streams.log import Checkpoint, Fence, Message, Reader
from tidemill.streams.memory import Fault
from tidemill.streams.migrator import migrate

Api = Callable[..., Awaitable[dict[str, Any]]]


def numbered(count: int, subject: str = "time") -> list[tuple[str, bytes]]:
    return [(subject, b"%d" % at) for at in range(count)]


async def pull_within(reader: Reader, count: int, seconds: float = 20) -> list[Message]:
    """`count` messages, whatever is Unavailable meanwhile."""
    found: list[Message] = []
    async with asyncio.timeout(seconds):
        while len(found) < count:
            try:
                found += await reader.pull(count - len(found), 1 << 20, 1)
            except Unavailable:
                await asyncio.sleep(0.05)
    return found


async def test_a_lost_acknowledgement_in_memory_is_unavailable_and_may_have_landed():
    log = memory()
    log.faults = [Fault.LANDED, Fault.LOST, None, Fault.LANDED]
    for landed in (1, 1):
        with pytest.raises(Unavailable):
            await log.append(numbered(1), Fence("time", 0))
        assert (await log.identity()).last == landed
    assert await log.append(numbered(1), Fence("time", 1)) == 2
    with pytest.raises(Unavailable):
        await log.transact(numbered(1), [Checkpoint("ckpt.g.00", b"", 0)])
    assert (await log.last("ckpt.>")) == Message(4, "ckpt.g.00", b"")


async def test_a_log_in_memory_that_is_away_or_another_says_so():
    log = memory()
    await log.append(numbered(5), None)
    reader = await log.read(1, ["time"])
    assert len(await reader.pull(5, 1000, 1)) == 5
    log.away = True
    for attempt in (log.append(numbered(1), None), log.identity(), reader.pull(1, 1, 1)):
        with pytest.raises(Unavailable):
            await attempt
    log.away = False
    log.truncate(3)
    with pytest.raises(Regressed):
        await reader.pull(1, 1, 1)
    assert await log.append(numbered(1), Fence("time", 3)) == 4
    other = await log.read(1, ["time"])
    assert len(await other.pull(9, 1000, 1)) == 4
    log.recreate()
    with pytest.raises(Regressed):
        await other.pull(1, 1, 1)


@pytest.mark.integration
async def test_a_deleted_consumer_is_made_again_where_the_reader_was(nats: RunningNats):
    async with jetstream(nats) as log, admin(nats) as api:
        await log.append(numbered(10), None)
        reader = await log.read(1, ["time"])
        found = await pull_within(reader, 4)
        for _ in range(3):
            names = (await api("CONSUMER.NAMES.TEST"))["consumers"]
            assert len(names) == 1
            await api(f"CONSUMER.DELETE.TEST.{names[0]}")
            await log.append(numbered(10), None)
            found += await pull_within(reader, 10)
        found += await pull_within(reader, 6)
        assert [m.sequence for m in found] == list(range(1, 41))
        await reader.close()
        await asyncio.sleep(0.1)
        assert (await api("CONSUMER.NAMES.TEST"))["consumers"] == []


@pytest.mark.integration
async def test_a_process_that_was_busy_for_long_keeps_its_consumer(nats: RunningNats):
    async with jetstream(nats) as log, admin(nats) as api:
        reader = await log.read(1, ["time"])
        await log.append(numbered(1), None)
        found = await pull_within(reader, 1)
        before = (await api("CONSUMER.NAMES.TEST"))["consumers"]
        time.sleep(2.8)  # the point: nothing ran, no heartbeat was heard
        assert await reader.pull(1, 1, 0.3) == []
        await log.append(numbered(1), None)
        found += await pull_within(reader, 1)
        assert [m.sequence for m in found] == [1, 2]
        assert (await api("CONSUMER.NAMES.TEST"))["consumers"] == before
        await reader.close()


@pytest.mark.integration
async def test_a_consumer_that_falls_silent_is_replaced(nats: RunningNats):
    """The server forgets where to send to, without a word."""
    async with jetstream(nats) as log:
        reader = await log.read(1, ["time"])
        old = reader._consumer
        assert old is not None and old._subscription is not None
        await old._connection.client._send_unsubscribe(old._subscription._id)
        await log.append(numbered(3), None)
        assert [m.sequence for m in await pull_within(reader, 3)] == [1, 2, 3]
        assert reader._consumer is not old
        await reader.close()


@pytest.mark.integration
async def test_a_hole_in_the_consumers_own_sequence_is_read_again(nats: RunningNats):
    async with jetstream(nats) as log:
        reader = await log.read(1, ["time"])
        await log.append(numbered(3), None)
        found = await pull_within(reader, 3)
        old = reader._consumer
        assert old is not None
        old._sequence -= 1  # as if the last delivery had been dropped on its way
        await log.append(numbered(3), None)
        found += await pull_within(reader, 3)
        assert [m.sequence for m in found] == [1, 2, 3, 4, 5, 6]
        assert "missing" in old.broken
        await reader.close()


@pytest.mark.integration
async def test_a_killed_server_costs_neither_messages_nor_order(nats: RunningNats):
    async with jetstream(nats) as log:
        reader = await log.read(1, ["time"])
        found: list[Message] = []
        for _ in range(3):
            start = (await log.identity()).last
            await log.append(numbered(20), Fence("time", start))
            found += await pull_within(reader, 10)
            nats.kill()
            with pytest.raises(Unavailable):
                await log.append(numbered(1, "cmd.x"), None)
            with pytest.raises(Unavailable):
                while True:
                    found += await reader.pull(100, 1 << 20, 0.2)
            await nats.start()
            await reachable(log)
        found += await pull_within(reader, 60 - len(found))
        assert [m.sequence for m in found] == list(range(1, 61))
        assert [m.payload for m in found] == [b"%d" % at for at in range(20)] * 3


@pytest.mark.integration
async def test_an_append_cut_off_by_a_kill_is_whole_or_not_there(nats: RunningNats):
    async with jetstream(nats) as log:
        for _ in range(4):
            before = (await log.identity()).last
            attempt = asyncio.create_task(log.append(numbered(500), Fence("time", before)))
            await asyncio.sleep(0.003)
            nats.kill()
            (outcome,) = await asyncio.gather(attempt, return_exceptions=True)
            await nats.start()
            await reachable(log)
            newest = await log.last("time")
            last = 0 if newest is None else newest.sequence
            if isinstance(outcome, Unavailable):
                assert last in (before, before + 500)
            else:  # the server was quicker than the kill: acknowledged is stored
                assert outcome == last == before + 500


@pytest.mark.integration
async def test_a_stopped_server_does_not_hang_an_append_for_ever(nats: RunningNats):
    async with jetstream(nats) as log:
        os.kill(nats.pid, signal.SIGSTOP)
        with pytest.raises(Unavailable):
            async with asyncio.timeout(15):
                await log.append(numbered(1), None)
        os.kill(nats.pid, signal.SIGCONT)
        await reachable(log)


@pytest.mark.integration
async def test_a_stream_made_anew_regresses_its_readers(nats: RunningNats):
    async with jetstream(nats) as log, admin(nats) as api:
        await log.append(numbered(3), None)
        reader = await log.read(1, ["time"])
        await pull_within(reader, 3)
        old = await log.identity()
        await api("STREAM.DELETE.TEST")
        connection = await connect(nats.url)
        await migrate(connection, (TEST,), apply=True)
        await connection.close()
        await log.append(numbered(9), None)
        assert (await log.identity()).uuid != old.uuid
        with pytest.raises(Regressed):
            await pull_within(reader, 1)


@pytest.mark.integration
async def test_a_stream_with_another_past_regresses_its_readers(nats: RunningNats):
    """As after the loss of a disk's tail and new appends: the same identity, other bytes."""
    async with jetstream(nats) as log, admin(nats) as api:
        await log.append(numbered(3), None)
        reader = await log.read(1, ["time"])
        await pull_within(reader, 3)
        config = (await api("STREAM.INFO.TEST"))["config"]
        await api("STREAM.DELETE.TEST")
        await api("STREAM.CREATE.TEST", config)
        await log.append(numbered(2), None)
        shorter = await log.read(1, ["time"])
        with pytest.raises(Regressed, match="ends at 2"):
            await pull_within(reader, 1)
        await pull_within(shorter, 2)
        await api("STREAM.DELETE.TEST")
        await api("STREAM.CREATE.TEST", config)
        await log.append([("time", b"0"), ("time", b"other"), ("time", b"2")], None)
        with pytest.raises(Regressed, match="another message"):
            await pull_within(shorter, 1)


@pytest.mark.integration
async def test_large_messages_and_a_late_reader_lose_nothing(nats: RunningNats):
    async with jetstream(nats) as log:
        reader = await log.read(1, ["time"])
        for at in range(30):
            await log.append([("time", b"%02d" % at + bytes(3 << 19))] * 2, None)
        await asyncio.sleep(0.5)
        assert reader.held_bytes < 70 << 20
        found: list[tuple[int, int]] = []
        while len(found) < 60:
            for message in await reader.pull(10, 8 << 20, 5):
                found.append((message.sequence, int(message.payload[:2])))
        assert found == [(at + 1, at // 2) for at in range(60)]


@pytest.mark.integration
async def test_a_reader_keeps_its_consumer_when_pull_requests_are_used_up(nats: RunningNats):
    async with jetstream(nats) as log, admin(nats) as api:
        reader = await log.read(1, ["time"])
        before = (await api("CONSUMER.NAMES.TEST"))["consumers"]
        for _ in range(6):
            await log.append([("time", bytes(100))] * 900, None)
            assert len(await pull_within(reader, 900)) == 900
            assert await reader.pull(1, 1 << 20, 0.05) == []
        assert (await api("CONSUMER.NAMES.TEST"))["consumers"] == before and len(before) == 1


@pytest.mark.integration
async def test_a_reader_that_was_held_up_itself_keeps_its_consumer(nats: RunningNats):
    async with jetstream(nats) as log, admin(nats) as api:
        reader = await log.read(1, ["time"])
        before = (await api("CONSUMER.NAMES.TEST"))["consumers"]
        for held_up_s in (0.0, 3.0):
            asyncio.get_running_loop().call_later(0.05, time.sleep, held_up_s)
            assert await reader.pull(10, 1 << 20, 0.2) == []
        await log.append(numbered(2), None)
        assert len(await pull_within(reader, 2)) == 2
        assert (await api("CONSUMER.NAMES.TEST"))["consumers"] == before and len(before) == 1


@pytest.mark.integration
async def test_a_wrong_password_is_unavailable_not_for_ever(nats: RunningNats):
    with pytest.raises(Unavailable, match=r"[Aa]uthorization|reset by peer"):
        await connect(nats.url.replace("@", "x@"), timeout_s=2)
    with pytest.raises(ValueError):
        await connect("127.0.0.1")


async def test_connecting_ends_in_time_though_a_cancellation_is_swallowed():
    class Deaf(Client):
        async def connect(self, *_: Any, **options: Any) -> None:
            for _ in range(3):
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(60)
            await asyncio.sleep(60)

        async def close(self) -> None:
            pass

    connection = Connection()
    connection.client = Deaf()
    async with asyncio.timeout(5):
        with pytest.raises(Unavailable):
            await connection.open("nats://127.0.0.1:1", {}, timeout_s=0.1)


@pytest.mark.integration
async def test_a_batch_that_opens_and_never_commits_leaves_nothing(nats: RunningNats):
    async with jetstream(nats) as log:
        connection = await connect(nats.url)
        for at in (1, 2):
            headers = {"Nats-Batch-Id": "abandoned", "Nats-Batch-Sequence": str(at)}
            await connection.publish("time", b"orphan", headers)
        await connection.close()
        assert await log.append(numbered(2), Fence("time", 0)) == 2
        with pytest.raises(Fenced):
            await log.append(numbered(2), Fence("time", 0))


async def reachable(log: JetStreamLog) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await log.identity()
                return
            except Unavailable:
                await asyncio.sleep(0.05)


@asynccontextmanager
async def admin(nats: RunningNats) -> AsyncIterator[Api]:
    """JetStream's API, on a connection of its own."""
    connection = await connect(nats.url)
    yield connection.api
    await connection.close()


@pytest.mark.integration
async def test_a_stream_that_is_gone_is_unavailable_to_everyone(nats: RunningNats):
    async with jetstream(nats) as log, admin(nats) as api:
        await log.append(numbered(3), None)
        reader = await log.read(1, ["time"])
        await api("STREAM.DELETE.TEST")
        attempts = [log.append(numbered(1), None), log.append(numbered(2), None), log.identity()]
        attempts += [log.last("time"), log.get(1), log.lasts("time"), log.read(1, ["time"])]
        for attempt in attempts:
            with pytest.raises(Unavailable):
                await attempt
        with pytest.raises(Unavailable):
            while True:
                await reader.pull(10, 1 << 20, 0.5)


@pytest.mark.integration
async def test_a_payload_that_the_server_refuses_is_a_mistake_not_an_absence(nats: RunningNats):
    connection = await connect(nats.url)
    with pytest.raises(ValueError):
        await connection.publish("x", bytes(9 << 20))
    await connection.close()


@pytest.mark.integration
async def test_the_engine_may_write_and_read_but_not_change_the_stream(nats: RunningNats):
    async with jetstream(nats):
        connection = await connect(nats.urls["engine"])
        log = await JetStreamLog.open(connection, "TEST")
        reader = await log.read(1, ["time"])
        live = await log.live(["time"])
        assert await log.append(numbered(3), Fence("time", 0)) == 3
        lasts = await log.transact([], [Checkpoint("ckpt.g.00", b"", 0)])
        assert lasts == {"ckpt.g.00": 4}
        assert len(await pull_within(reader, 3)) == 3
        assert len(await live.pull(10, 2)) > 0
        assert await log.lasts("ckpt.>") == [Message(4, "ckpt.g.00", b"")]
        with pytest.raises(Unavailable):
            async with asyncio.timeout(10):
                await connection.api("STREAM.DELETE.TEST")
        assert (await log.identity()).last == 4
        await reader.close()
        await connection.close()
