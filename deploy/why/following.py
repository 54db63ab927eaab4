"""Messages of LOG up to a root, of any subjects: also of such as have none, without a wait."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from tidemill.schemas.errors import Unavailable
from tidemill.streams.log import Log, Message

PULL_MESSAGES, PULL_BYTES, PULL_S = 1_000, 8 << 20, 0.02
PATIENCE_S = 10.0
"""How long nothing may come before the log counts as away."""


async def messages(log: Log, subjects: Sequence[str], last: int) -> AsyncIterator[list[Message]]:
    """Yield the messages of `subjects` with r <= `last`, in order. Raises Unavailable, Regressed.

    Whether any is left is asked again after each short wait: of many subjects that one instrument
    may have, most have never had a message.
    """
    reader = await log.read(1, subjects)
    clock = asyncio.get_running_loop().time
    heard = clock()
    try:
        while await reader.complete() < last:
            pulled = await reader.pull(PULL_MESSAGES, PULL_BYTES, PULL_S)
            if pulled:
                heard = clock()
                yield [message for message in pulled if message.sequence <= last]
                if pulled[-1].sequence >= last:
                    return
            elif clock() - heard > PATIENCE_S:
                raise Unavailable(f"{log.name} gave nothing for {PATIENCE_S} s")
    finally:
        await reader.close()
