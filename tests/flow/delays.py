"""A log whose readers and writers take their time: pulls come late, short or empty."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random

from tidemill.streams.log import Checkpoint, Fence, Identity, Log, Message, Reader


class DelayedLog:
    """Another log behind random delays of up to `delay_s`; implements tidemill.streams.log.Log."""

    def __init__(self, log: Log, random: Random, delay_s: float) -> None:
        self.name = log.name
        self._log, self._random, self._delay_s = log, random, delay_s

    async def _wait(self) -> None:
        """Mostly a moment, sometimes twenty times as long."""
        long = self._random.random() < 0.05
        await asyncio.sleep(self._random.uniform(0, self._delay_s * (20 if long else 1)))

    async def append(self, messages: Sequence[tuple[str, bytes]], fence: Fence | None) -> int:
        await self._wait()
        return await self._log.append(messages, fence)

    async def transact(
        self, outputs: Sequence[tuple[str, bytes]], checkpoints: Sequence[Checkpoint]
    ) -> dict[str, int]:
        await self._wait()
        return await self._log.transact(outputs, checkpoints)

    async def read(self, start: int, filters: Sequence[str]) -> Reader:
        return DelayedReader(await self._log.read(start, filters), self._wait, self._random)

    async def last(self, subject: str) -> Message | None:
        return await self._log.last(subject)

    async def lasts(self, subject: str) -> list[Message]:
        return await self._log.lasts(subject)

    async def get(self, sequence: int) -> Message | None:
        return await self._log.get(sequence)

    async def identity(self) -> Identity:
        return await self._log.identity()


class DelayedReader:
    """Another reader whose pulls are cut anywhere; implements tidemill.streams.log.Reader."""

    def __init__(self, reader: Reader, wait: Callable[[], Awaitable[None]], random: Random) -> None:
        self._reader, self._wait, self._random = reader, wait, random

    async def pull(self, messages_max: int, bytes_max: int, timeout_s: float) -> list[Message]:
        await self._wait()
        if self._random.random() < 0.05:
            return []  # as when nothing arrives in time
        return await self._reader.pull(self._random.randint(1, messages_max), bytes_max, timeout_s)

    @property
    def pending(self) -> int:
        return self._reader.pending

    async def complete(self) -> int:
        return await self._reader.complete()

    async def close(self) -> None:
        await self._reader.close()
