"""Writers: order, flushes, lost acknowledgements, fences, and declared losses."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from tests.contracts.logs import jetstream, memory
from tests.servers import RunningNats
from tidemill.schemas import frame, kinds
from tidemill.schemas.errors import Fenced, Regressed, Unavailable, Unreadable
from tidemill.schemas.kinds.time import TIME
from tidemill.streams.appender import Appender
from tidemill.streams.log import Fence, Log, Message
from tidemill.streams.memory import Fault, MemoryLog
from tidemill.streams.writer import Limits, Writer, sequence_of, split

OWN = "md.*.BINANCE.*.*"
SUBJECT = "md.trade.BINANCE.BTCUSDT.07"
DECLARED = -1


class Numbers:
    """A source of numbers: each is a frame with one record; losses are counted, then declared."""

    def __init__(self) -> None:
        self.lost: list[int] = []
        self.cuts: list[int] = []

    def size(self, item: int) -> int:
        return 64

    def cut(self, items: Sequence[int], sequence: int) -> list[tuple[str, bytes]]:
        self.cuts.append(len(items))
        messages = []
        for at, item in enumerate(items):
            record = TIME.empty(1)
            record["ts"] = item
            messages.append((SUBJECT, frame.encode(TIME, record, sequence + at)))
        return messages

    def give_up(self, items: Sequence[int]) -> None:
        self.lost += items

    def declare(self) -> Sequence[int]:
        return [DECLARED - len(self.lost)]


async def stored(log: Log) -> list[tuple[int, int]]:
    """(source sequence, number) of every message on the writer's subjects."""
    reader = await log.read(1, [OWN])
    found: list[Message] = []
    while messages := await reader.pull(1000, 1 << 22, 0.2):
        found += messages
    await reader.close()
    frames = [kinds.decode(message.payload) for message in found]
    return [(one.sequence, int(one.records["ts"][0])) for one in frames]


@asynccontextmanager
async def running(
    log: Log, limits: Limits | None = None, source: Numbers | None = None
) -> AsyncIterator[Writer[int]]:
    writer = Writer(log, OWN, source or Numbers(), limits)
    await writer.open()
    task = asyncio.create_task(writer.run())
    yield writer
    task.cancel()
    with suppress(asyncio.CancelledError, Fenced):
        await task


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)


async def test_what_is_put_is_stored_once_in_order_with_contiguous_sequences():
    log = memory()
    async with running(log) as writer:
        for at in range(0, 5000, 7):
            await writer.put(range(at, min(at + 7, 5000)))
        last = await writer.drain()
    assert last == 5000 == writer.sequence
    assert await stored(log) == [(at + 1, at) for at in range(5000)]


async def test_a_writer_goes_on_with_the_sequence_that_its_subjects_end_with():
    log = memory()
    for start in (0, 10):
        async with running(log) as writer:
            await writer.put(range(start, start + 10))
            await writer.drain()
        await log.append([("time", b"of another"), ("md.trade.OTHER.BTCUSDT.07", b"")], None)
    assert await stored(log) == [(at + 1, at) for at in range(20)]


async def test_what_arrives_during_a_flush_goes_with_the_next_one():
    log, source = SlowLog(), Numbers()
    async with running(log, source=source) as writer:
        await writer.put([0])
        await until(lambda: log.entered == 1)
        for at in range(1, 400):
            await writer.put([at])
            await asyncio.sleep(0)
        assert log.entered == 1  # one in flight, whatever is put
        log.open.set()
        await writer.drain()
    assert source.cuts == [1, 399]


async def test_flushes_stay_under_their_limits():
    log = RecordingLog()
    async with running(log, Limits(flush_bytes_max=64 * 1500)) as writer:
        await writer.put(range(4000))
        await writer.drain()
    assert sum(log.sizes) == 4000 and max(log.sizes) <= 1000 and len(log.sizes) <= 7
    messages = [("a", bytes(10))] * 5
    assert [len(one) for one in split(messages, 25)] == [2, 2, 1]
    assert [len(one) for one in split(messages, 5)] == [1, 1, 1, 1, 1]


async def test_a_full_queue_makes_put_wait():
    log = memory()
    limits = Limits(queue_bytes_max=64 * 100)
    async with running(log, limits) as writer:
        log.away = True
        await writer.put(range(100))
        await asyncio.sleep(0.02)
        assert writer.queued_bytes == 0  # the first flush is in flight
        await writer.put(range(100, 300))
        waiting = asyncio.create_task(writer.put(range(300, 301)))
        await asyncio.sleep(0.02)
        assert not waiting.done() and writer.queued_bytes == 64 * 200
        log.away = False
        await waiting
        await writer.drain()
    assert [number for _, number in await stored(log)] == list(range(301))


class BusyLog(MemoryLog):
    """Takes 20 ms for each append."""

    async def append(self, messages: Sequence[tuple[str, bytes]], fence: Fence | None) -> int:
        await asyncio.sleep(0.02)
        return await super().append(messages, fence)


async def test_a_slow_log_gets_fewer_and_larger_flushes():
    log = BusyLog("TEST", ["md.>"])
    async with running(log, Limits(linger_s=0.005)) as writer:
        clock = asyncio.get_running_loop()
        began = clock.time()
        for number in range(30):
            await writer.put([number])
            await asyncio.sleep(0.01)
        # 20 ms that it takes, and 2 x (20 - 5) ms that the next flush gathers after it
        assert 2 <= writer.flushes <= (clock.time() - began) / 0.05 + 1
        await writer.drain()
    assert [number for _, number in await stored(log)] == list(range(30))


@pytest.mark.parametrize("seed", range(20))
async def test_lost_acknowledgements_neither_lose_nor_double(seed: int):
    chance, log = random.Random(seed), memory()
    log.faults = [chance.choice([None, Fault.LANDED, Fault.LOST]) for _ in range(40)]
    async with running(log, Limits(linger_s=0, linger_max_s=0)) as writer:
        at = 0
        while at < 500:
            count = chance.randint(1, 60)
            await writer.put(range(at, at + count))
            at += count
            await asyncio.sleep(chance.choice([0, 0, 0.001]))
        await writer.drain()
        assert writer.retries > 0
    assert await stored(log) == [(one + 1, one) for one in range(at)]


async def test_an_attempt_that_lands_after_the_next_was_sent_is_not_a_rival():
    """nats-py sends what it buffered when it reconnects: the first attempt lands late."""
    log = LateLog()
    async with running(log) as writer:
        await writer.put([1, 2])
        await writer.drain()
        await writer.put([3])
        await writer.drain()
    assert log.late == 1
    assert await stored(log) == [(1, 1), (2, 2), (3, 3)]


async def test_a_writer_that_was_replaced_stops_and_writes_nothing_more():
    log = memory()
    async with running(log) as old, running(log) as new:
        await new.put([1])
        await new.drain()
        await old.put([99])
        with pytest.raises(Fenced):
            await old.drain()
        with pytest.raises(Fenced):
            await old.put([98])
        await new.put([2])
        await new.drain()
    assert await stored(log) == [(1, 1), (2, 2)]


async def test_a_replaced_writer_is_told_even_if_it_does_not_know_what_landed():
    log = memory()
    async with running(log) as old:
        log.faults = [Fault.LOST]
        await old.put([99])
        async with running(log) as new:
            await new.put([1])
            await new.drain()
        with pytest.raises(Fenced):
            await old.drain()
    assert await stored(log) == [(1, 1)]


async def test_what_waits_too_long_is_given_up_and_declared_first():
    log, source = memory(), Numbers()
    async with running(log, Limits(give_up_s=0.5), source) as writer:
        await writer.put([1])
        await writer.drain()
        log.away = True
        await writer.put([2])  # in flight: never given up, it might have landed
        await asyncio.sleep(0.02)
        await writer.put([3, 4])
        await until(lambda: writer.given_up == 2)
        assert source.lost == [3, 4] and writer.queued_bytes == 0
        await writer.put([5])
        log.away = False
        await writer.drain()
    assert await stored(log) == [(1, 1), (2, 2), (3, DECLARED - 2), (4, 5)]


async def test_losses_are_declared_even_if_nothing_follows_them():
    log, source = memory(), Numbers()
    async with running(log, Limits(give_up_s=0.1), source) as writer:
        log.away = True
        await writer.put([1])
        await asyncio.sleep(0.02)
        await writer.put([2])
        await until(lambda: writer.given_up == 1)
        log.away = False
        await writer.drain()
    assert await stored(log) == [(1, 1), (2, DECLARED - 1)]


async def test_a_foreign_last_message_is_unreadable_not_guessed():
    log = memory()
    await log.append([(SUBJECT, b"\x00garbage")], None)
    with pytest.raises(Unreadable):
        await Writer(log, OWN, Numbers()).open()


async def test_a_stopped_writer_takes_nothing_more():
    async with running(memory()) as writer:
        await writer.put([1])
        await writer.drain()
    with pytest.raises(RuntimeError):
        await writer.put([1])


async def test_only_own_subjects_may_be_appended_to():
    appender = Appender(memory(), OWN)
    with pytest.raises(ValueError):
        await appender.append([(SUBJECT, b""), ("time", b"")])


def test_the_sequence_of_an_event_is_its_field():
    assert sequence_of(b'{"event":"CodeDeployed.v1","sequence":7,"graph":"g","code_hash":"h"}') == 7


@pytest.mark.integration
async def test_on_a_server_killed_again_and_again_nothing_is_lost_or_doubled(nats: RunningNats):
    async with jetstream(nats) as log, running(log, Limits(give_up_s=60)) as writer:
        total = 0
        for _ in range(5):
            for _ in range(50):
                await writer.put(range(total, total + 20))
                total += 20
                await asyncio.sleep(0.001)
            nats.kill()
            await writer.put(range(total, total + 20))
            total += 20
            await nats.start()
        await writer.drain()
        assert writer.retries > 0
        assert await stored(log) == [(at + 1, at) for at in range(total)]
        assert await log.append([(SUBJECT, b"")], Fence(OWN, writer.last)) == writer.last + 1


class SlowLog(MemoryLog):
    """Its first append waits until `open` is set."""

    def __init__(self) -> None:
        super().__init__("TEST", ["md.>"])
        self.open = asyncio.Event()
        self.entered = 0

    async def append(self, messages: Sequence[tuple[str, bytes]], fence: Fence | None) -> int:
        self.entered += 1
        await self.open.wait()
        return await super().append(messages, fence)


class RecordingLog(MemoryLog):
    """Notes how many messages each append has."""

    def __init__(self) -> None:
        super().__init__("TEST", ["md.>"])
        self.sizes: list[int] = []

    async def append(self, messages: Sequence[tuple[str, bytes]], fence: Fence | None) -> int:
        self.sizes.append(len(messages))
        return await super().append(messages, fence)


class LateLog(MemoryLog):
    """Its first append is not known to have landed, and lands just before the next one."""

    def __init__(self) -> None:
        super().__init__("TEST", ["md.>"])
        self.late = 0
        self._held: tuple[Sequence[tuple[str, bytes]], Fence | None] | None = None

    async def append(self, messages: Sequence[tuple[str, bytes]], fence: Fence | None) -> int:
        if self.late == 0 and self._held is None:
            self._held = (messages, fence)
            raise Unavailable("the connection went away with the request in its buffer")
        if self._held is not None:
            held, self._held = self._held, None
            self.late += 1
            await super().append(*held)
        return await super().append(messages, fence)


async def test_an_owner_whose_confirmed_message_is_gone_says_so_and_appends_nothing():
    """It tried the same again for ever, under a fence that could never hold."""
    before, after = memory(), memory()
    appender = Appender(before, OWN)
    await before.append([("time", b"1")], None)
    await appender.append([(SUBJECT, b"1")])
    await after.append([("time", b"1")], None)
    appender._log = after  # what a server is after it lost the end of its files
    with pytest.raises(Regressed, match="ended at 2"):
        await asyncio.wait_for(appender.append([(SUBJECT, b"2")]), 5)
    assert (await after.identity()).last == 1


async def test_an_owner_whose_message_was_purged_is_not_told_that_the_log_is_shorter():
    log = memory()
    appender = Appender(log, OWN)
    await appender.append([(SUBJECT, b"1")])
    await log.append([("time", b"1")], None)
    await log.purge(1)
    with pytest.raises(TimeoutError):  # such a log is to be read with its archive
        await asyncio.wait_for(appender.append([(SUBJECT, b"2")]), 0.2)
