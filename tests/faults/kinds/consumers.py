"""Consumers deleted by an administrator while they are read from: readers make new ones."""

import time
from random import Random

from tidemill.streams.jetstream_connection import Connection, connect
from tidemill.tests.faults.stage import Stage, Struck

STREAMS = ("LOG", "OUT")


async def deleted(stage: Stage, random: Random) -> Struck:
    """Delete some of the consumers, or all, of LOG or OUT."""
    stream = random.choice(STREAMS)
    connection = await connect(stage.observer.urls.nats_admin, name="administrator")
    try:
        there = await consumers(connection, stream)
        assert there, f"nobody reads {stream}"
        chosen = there if random.random() < 0.5 else random.sample(there, (len(there) + 1) // 2)
        for name in chosen:
            await connection.api(f"CONSUMER.DELETE.{stream}.{name}")
        ts = time.time_ns()
        left = await consumers(connection, stream)
        assert not set(left) & set(chosen)
        flowed = await stage.flows()
    finally:
        await connection.close()
    return Struck(
        f"{len(chosen)} of {len(there)} consumers of {stream} deleted",
        f"{len(chosen)} are gone",
        ts,
        flowed,
    )


async def consumers(connection: Connection, stream: str) -> list[str]:
    """Return the names of a stream's consumers."""
    return list((await connection.api(f"CONSUMER.NAMES.{stream}"))["consumers"] or ())
