"""Backing off: a task that is cancelled while what it asks fails ends all the same."""

import asyncio

from tidemill.projections.limits import Backoff, Limits
from tidemill.schemas.errors import Unavailable


async def test_a_cancellation_that_was_lost_in_a_failure_ends_the_task() -> None:
    """As asyncio.wait_for loses it in Python 3.11: the sink took over again, for ever."""
    asked = asyncio.Event()

    async def ask() -> None:
        asked.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise Unavailable("the connection was refused at that very moment") from None

    async def run() -> None:
        backoff = Backoff(Limits(backoff_min_s=0.01, backoff_max_s=0.01))
        while True:
            try:
                await ask()
            except Unavailable:
                await backoff.wait()

    task = asyncio.create_task(run())
    await asked.wait()
    task.cancel()
    await asyncio.wait({task}, timeout=5)
    assert task.cancelled()
