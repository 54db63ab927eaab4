"""Leaving NATS works whatever became of the server a moment before."""

import asyncio
import time
from contextlib import suppress

import pytest

from tidemill.schemas.errors import Unavailable
from tidemill.streams.jetstream_connection import connect
from tidemill.tests.servers import RunningNats


@pytest.mark.integration
async def test_closing_at_any_moment_after_the_server_was_killed_ends_and_leaves_no_task(
    nats: RunningNats,
) -> None:
    before = asyncio.all_tasks()
    for turns in range(8):
        connection = await connect(nats.url)
        nats.kill()
        time.sleep(0.05)  # the loop must not see yet that the socket is gone
        for _ in range(turns):
            await asyncio.sleep(0)
        with suppress(Unavailable):
            await connection.publish("what.waits", b"x" * 1_000)
            await connection.publish("what.waits", b"x" * 1_000)
        await connection.close()
        assert not connection.connected
        await asyncio.sleep(0.01)
        assert asyncio.all_tasks() <= before, turns
        await nats.start()
