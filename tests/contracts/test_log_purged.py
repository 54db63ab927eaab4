"""What a log promises that was purged of its beginning, in memory and on JetStream."""

from collections.abc import AsyncIterator

import pytest

from tests.contracts.logs import jetstream, memory
from tests.servers import nats_server
from tidemill.schemas.errors import Fenced
from tidemill.streams.jetstream import JetStreamLog
from tidemill.streams.log import Fence, Message
from tidemill.streams.memory import MemoryLog

AnyLog = MemoryLog | JetStreamLog


@pytest.fixture(params=["memory", pytest.param("jetstream", marks=pytest.mark.integration)])
async def log(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[AnyLog]:
    if request.param == "memory":
        yield memory()
        return
    async with nats_server(tmp_path_factory.mktemp("nats")) as nats, jetstream(nats) as real:
        yield real


async def test_what_was_purged_is_gone_and_the_rest_as_it_was(log: AnyLog):
    await log.append([("md.a", b"1"), ("md.b", b"2"), ("md.a", b"3"), ("time", b"4")], None)
    await log.purge(2)
    identity = await log.identity()
    assert (identity.first, identity.last) == (3, 4)
    assert [await log.get(r) for r in (1, 2)] == [None, None]
    assert await log.get(3) == Message(3, "md.a", b"3")
    assert await log.last("md.b") is None
    assert [m.sequence for m in await log.lasts("md.*")] == [3]
    reader = await log.read(1, ["md.>", "time"])
    found = [*await reader.pull(1, 100, 5), *await reader.pull(9, 100, 5)]
    assert [m.sequence for m in found] == [3, 4]
    await reader.close()
    await log.purge(2)
    await log.purge(4)
    assert ((await log.identity()).first, (await log.identity()).last) == (5, 4)
    assert await log.append([("time", b"5")], Fence("time", 0)) == 5


async def test_a_fence_at_what_was_purged_is_a_fence_at_none(log: AnyLog):
    await log.append([("md.a", b"1"), ("md.b", b"2"), ("time", b"3")], Fence("md.*", 0))
    await log.purge(2)
    for wrong in (1, 2):
        with pytest.raises(Fenced):
            await log.append([("md.a", b"4"), ("md.b", b"5")], Fence("md.*", wrong))
    assert await log.append([("md.a", b"4"), ("md.b", b"5")], Fence("md.*", 0)) == 5
    assert await log.append([("md.a", b"6")], Fence("md.*", 5)) == 6


async def test_a_reader_that_was_overtaken_goes_on_behind_the_purge(log: AnyLog):
    await log.append([("time", b"%d" % at) for at in range(10)], None)
    reader = await log.read(1, ["time"])
    assert [m.sequence for m in await reader.pull(2, 100, 5)] == [1, 2]
    await log.purge(6)
    await reader.close()
    reader = await log.read(3, ["time"])
    assert (await reader.pull(1, 100, 5))[0].sequence == 7
    await reader.close()
