"""The log's disk is full, or read-only for a while: writers stop and declare it, and go on later.

On a small tmpfs where that can be mounted; the server's own limit of its store is the same to the
engine, and is tried on every machine.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tidemill.schemas import frame, kinds
from tidemill.schemas.kinds.time import TIME
from tidemill.streams.feeds.disk import usage_of
from tidemill.streams.jetstream_connection import connect
from tidemill.streams.log import Log, Message
from tidemill.streams.writer import Flush, Limits, Writer
from tidemill.tests.faults.disk import means
from tidemill.tests.faults.disk.file_systems import remount, tmpfs
from tidemill.tests.flow.logs import on_server
from tidemill.tests.servers import RunningNats, nats_server

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
SUBJECT = "md.trade.BINANCE.BTCUSDT.07"
OWN = "md.*.BINANCE.*.*"
LIMITS = Limits(give_up_s=1.0, flush_bytes_max=1 << 18, queue_bytes_max=1 << 20)
RECORDS = 4_000
"""Of 8 bytes, in each item: what fills a disk of some megabytes within seconds."""
with_tmpfs = pytest.mark.skipif(bool(means.no_tmpfs()), reason=means.no_tmpfs())


class Counted:
    """A source of numbers, each a large frame; a negative one declares which were given up."""

    def __init__(self) -> None:
        self.first_lost = self.last_lost = 0
        self.declared: list[tuple[int, int]] = []

    def size(self, item: int) -> int:
        return RECORDS * 8

    def cut(self, items: Sequence[int], sequence: int) -> Flush:
        messages = []
        for at, item in enumerate(items):
            record = TIME.empty(RECORDS if item > 0 else 2)
            record["ts"] = item
            messages.append((SUBJECT, frame.encode(TIME, record, sequence + at)))
        return messages

    def give_up(self, items: Sequence[int]) -> None:
        self.first_lost = self.first_lost or items[0]
        self.last_lost = items[-1]

    def declare(self) -> Sequence[int]:
        self.declared.append((self.first_lost, self.last_lost))
        self.first_lost = 0
        return [-self.last_lost]


@asynccontextmanager
async def writing(log: Log) -> AsyncIterator[tuple[Writer[int], Counted]]:
    """A writer that is offered the numbers from 1 on, 200 a second, whether it can or not."""
    source = Counted()
    writer = Writer(log, OWN, source, LIMITS)
    await writer.open()
    running = asyncio.create_task(writer.run())
    offering = asyncio.create_task(_offer(writer))
    try:
        yield writer, source
    finally:
        offering.cancel()
        with suppress(asyncio.CancelledError):
            await offering
        await writer.drain()
        running.cancel()
        await asyncio.wait({running})


async def _offer(writer: Writer[int]) -> None:
    number = 0
    while True:
        number += 1
        await writer.put([number])
        await asyncio.sleep(0.005)


async def given_up(writer: Writer[int]) -> None:
    """Wait until the writer had to give something up."""
    async with asyncio.timeout(60):
        while not writer.given_up:
            await asyncio.sleep(0.02)


async def goes_on(writer: Writer[int]) -> None:
    """Wait until much is stored again."""
    wanted = writer.sequence + 20
    async with asyncio.timeout(60):
        while writer.sequence < wanted:
            await asyncio.sleep(0.02)


async def messages(log: Log) -> list[Message]:
    end, found = (await log.identity()).last, list[Message]()
    reader = await log.read(1, [">"])
    while not found or found[-1].sequence < end:
        found += await reader.pull(1_000, 8 << 20, 5.0)
    await reader.close()
    return found


async def assert_that_what_is_missing_is_declared(log: Log, source: Counted) -> None:
    """Each number once, in order, or within a gap that a record in its place declares."""
    frames = [kinds.decode(message.payload) for message in await messages(log)]
    assert [one.sequence for one in frames] == list(range(1, len(frames) + 1))
    numbers = [int(one.records["ts"][0]) for one in frames]
    expected = 1
    gaps = iter(source.declared)
    for number in numbers:
        if number < 0:
            first, last = next(gaps)
            assert (first, -last) == (expected, number)
            expected = last + 1
        else:
            assert number == expected
            expected += 1
    assert list(gaps) == [] and source.declared and expected > 40


async def test_a_store_that_reached_its_limit_stops_writers_who_declare_it(
    nats: RunningNats,
) -> None:
    async with on_server(nats) as opened, writing(opened.log) as (writer, source):
        admin = await connect(nats.url, name="admin")
        config = (await admin.api("STREAM.INFO.LOG"))["config"]
        await goes_on(writer)
        await admin.api("STREAM.UPDATE.LOG", config | {"max_bytes": 2 << 20})
        await given_up(writer)
        await admin.api("STREAM.UPDATE.LOG", config)
        await goes_on(writer)
        await admin.close()
    async with on_server(nats) as opened:
        await assert_that_what_is_missing_is_declared(opened.log, source)


@with_tmpfs
async def test_a_full_disk_stops_writers_who_declare_it_and_go_on_when_there_is_room(
    tmp_path: Path,
) -> None:
    with tmpfs(tmp_path, megabytes=12) as disk:
        async with nats_server(disk) as nats:
            async with on_server(nats) as opened, writing(opened.log) as (writer, source):
                await given_up(writer)
                assert usage_of(disk)() > 0.9
                remount(disk, "size=96m")
                try:
                    await asyncio.wait_for(goes_on(writer), 10)
                except TimeoutError:  # what could not be written leaves the stream closed
                    await nats.restart()
                    await goes_on(writer)
            async with on_server(nats) as opened:
                await assert_that_what_is_missing_is_declared(opened.log, source)


@with_tmpfs
async def test_a_disk_that_is_read_only_for_a_while_is_as_one_that_is_full(tmp_path: Path) -> None:
    with tmpfs(tmp_path, megabytes=96) as disk:
        async with nats_server(disk) as nats:
            async with on_server(nats) as opened, writing(opened.log) as (writer, source):
                await goes_on(writer)
                nats.kill()  # a file that is open for writing keeps a disk from being read-only
                remount(disk, "ro")
                await given_up(writer)
                remount(disk, "rw")
                await nats.start()
                await goes_on(writer)
            async with on_server(nats) as opened:
                await assert_that_what_is_missing_is_declared(opened.log, source)
