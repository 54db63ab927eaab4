"""The time role: one writes, another takes over, time never falls and is never made up."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest

from tests.contracts.logs import jetstream, memory
from tests.servers import RunningNats
from tidemill.schemas import kinds
from tidemill.streams.log import Fence, Log, Message
from tidemill.streams.memory import Fault
from tidemill.streams.time_writer import TimeWriter

INTERVAL_S, SILENCE_S = 0.02, 0.15


def clock(start: int, step: int = 1_000) -> Callable[[], int]:
    ticks: Iterator[int] = itertools.count(start, step)
    return lambda: next(ticks)


@asynccontextmanager
async def running(writer: TimeWriter) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(writer.run())
    yield task
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def until(true: Callable[[], bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)


async def records(log: Log) -> list[tuple[int, int]]:
    """(source sequence, ts) of every time record."""
    reader = await log.read(1, ["time"])
    found: list[Message] = []
    while messages := await reader.pull(1000, 1 << 20, 0.2):
        found += messages
    await reader.close()
    frames = [kinds.decode(message.payload) for message in found]
    return [(one.sequence, int(one.records["ts"][0])) for one in frames]


def candidate(log: Log, now: Callable[[], int]) -> TimeWriter:
    return TimeWriter(log, now, INTERVAL_S, SILENCE_S)


def proven(found: list[tuple[int, int]]) -> None:
    """Sequences without a hole or a repeat; time that never falls."""
    assert [sequence for sequence, _ in found] == list(range(1, len(found) + 1))
    times = [ts for _, ts in found]
    assert times == sorted(times)


async def takeover(log: Log, first: TimeWriter, second: TimeWriter) -> None:
    async with running(first) as leading:
        await until(lambda: first.written >= 5)
        async with running(second):
            await asyncio.sleep(2 * SILENCE_S)
            assert first.writing and not second.writing and second.written == 0
            leading.cancel()
            await until(lambda: second.written >= 5)
            assert second.writing and not first.writing
    proven(await records(log))


async def test_a_standby_takes_over_when_the_leader_dies():
    log = memory()
    await takeover(log, candidate(log, clock(1_000_000)), candidate(log, clock(2_000_000)))


async def test_time_does_not_fall_when_the_standbys_clock_is_behind():
    log = memory()
    await takeover(log, candidate(log, clock(9_000_000)), candidate(log, clock(5)))
    assert all(ts >= 9_000_000 for _, ts in await records(log))


async def test_time_does_not_fall_when_the_clock_is_set_back():
    log, times = memory(), iter([100, 200, 50, 60, 300, *range(400, 10_000)])
    writer = candidate(log, lambda: next(times))
    async with running(writer):
        await until(lambda: writer.written >= 6)
    assert [ts for _, ts in await records(log)][:6] == [100, 200, 200, 200, 300, 400]


async def test_what_was_missed_is_not_made_up_for():
    log = memory()
    writer = candidate(log, clock(1))
    async with running(writer):
        await until(lambda: writer.written >= 3)
        log.away = True
        await asyncio.sleep(20 * INTERVAL_S)
        before = writer.written
        log.away = False
        await until(lambda: writer.written > before)
        await asyncio.sleep(2.5 * INTERVAL_S)
        assert writer.written <= before + 5
    proven(await records(log))


async def test_a_lost_acknowledgement_is_one_record():
    log = memory()
    log.faults = [None, Fault.LANDED, Fault.LOST, Fault.LANDED, Fault.LOST]
    writer = candidate(log, clock(1))
    async with running(writer):
        await until(lambda: writer.written >= 8)
    found = await records(log)
    proven(found)
    assert len(found) == writer.written


async def test_two_that_start_together_are_one_writer():
    log = memory()
    both = [candidate(log, clock(1)), candidate(log, clock(500))]
    async with running(both[0]), running(both[1]):
        await until(lambda: sum(writer.written for writer in both) >= 20)
        await asyncio.sleep(3 * INTERVAL_S)
        assert [writer.writing for writer in both].count(True) == 1
    proven(await records(log))


async def test_a_zombie_is_fenced_and_stands_by():
    log, gate = memory(), asyncio.Event()
    gate.set()
    zombie, heir = TimeWriter(Gated(log, gate), clock(1), INTERVAL_S, SILENCE_S), None
    async with running(zombie):
        await until(lambda: zombie.written >= 3)
        gate.clear()  # paused in the middle of an append
        heir = candidate(log, clock(10_000))
        async with running(heir):
            await until(lambda: heir.written >= 3)
            written = zombie.written
            gate.set()
            await until(lambda: not zombie.writing)
            await asyncio.sleep(2 * SILENCE_S)
            assert zombie.written == written and heir.writing
    proven(await records(log))


@pytest.mark.integration
async def test_on_a_real_server_a_standby_takes_over_and_a_zombie_is_fenced(nats: RunningNats):
    async with jetstream(nats) as log, jetstream(nats) as other:
        gate = asyncio.Event()
        gate.set()
        zombie = TimeWriter(Gated(log, gate), clock(5_000_000), INTERVAL_S, SILENCE_S)
        async with running(zombie):
            await until(lambda: zombie.written >= 3)
            gate.clear()
            heir = candidate(other, clock(1))
            async with running(heir) as leading:
                await until(lambda: heir.written >= 3)
                gate.set()
                await until(lambda: not zombie.writing)
                written = zombie.written
                leading.cancel()
                await until(lambda: zombie.written > written + 2)
        proven(await records(log))


@pytest.mark.integration
async def test_time_goes_on_after_the_server_was_killed(nats: RunningNats):
    async with jetstream(nats) as log:
        writer = candidate(log, clock(1))
        async with running(writer):
            for enough in (3, 6, 9):
                await until(partial(has_written, writer, enough))
                nats.kill()
                await nats.start()
            await until(partial(has_written, writer, 12))
        proven(await records(log))


def has_written(writer: TimeWriter, enough: int) -> bool:
    return writer.written >= enough


class Gated:
    """A log whose appends wait at a gate, as those of a paused process do."""

    def __init__(self, log: Log, gate: asyncio.Event) -> None:
        self.name = log.name
        self._log = log
        self._gate = gate
        self.transact, self.read, self.last = log.transact, log.read, log.last
        self.lasts, self.get, self.identity = log.lasts, log.get, log.identity

    async def append(self, messages: Sequence[tuple[str, bytes]], fence: Fence | None) -> int:
        await self._gate.wait()
        return await self._log.append(messages, fence)
