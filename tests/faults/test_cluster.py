"""Three nats-servers as one: who is connected to one that dies goes on with the others."""

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from tidemill.streams.appender import Appender
from tidemill.streams.jetstream import JetStreamLog
from tidemill.streams.jetstream_connection import connect
from tidemill.tests.faults.apart.cluster import Cluster, cluster
from tidemill.tests.faults.apart.clustered import log_port

pytestmark = pytest.mark.integration


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path) as made:
        yield made


async def test_who_knows_one_member_goes_on_with_another_when_it_dies(three: Cluster) -> None:
    known = await three.leader("LOG")
    connection = await connect(known.urls["engine"], name="test")
    log = await JetStreamLog.open(connection, "LOG")
    appender = Appender(log, "md.trade.X.Y.00")
    assert await appender.append([(appender.subject, b"before")]) == 1
    known.kill()
    assert await appender.append([(appender.subject, b"after")]) == 2
    found = [await log.get(r) for r in (1, 2)]
    assert [m.payload for m in found if m is not None] == [b"before", b"after"]
    await connection.close()


async def test_nothing_is_lost_or_twice_when_a_leader_goes(tmp_path: Path) -> None:
    found = await log_port(tmp_path, Random(3), strikes=1)
    assert (found.lost, found.duplicated, found.why) == (0, 0, ())
    assert found.witnessed > 20
