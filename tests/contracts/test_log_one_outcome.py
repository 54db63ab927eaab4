"""Ten thousand random operations have one outcome, in memory and on JetStream."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.contracts.logs import jetstream, memory
from tests.servers import RunningNats
from tidemill.schemas.errors import Fenced
from tidemill.streams.log import Checkpoint, Fence, Log, Message

OPERATIONS = 10_000
CHECKED_EVERY = 1_000
SUBJECTS = [f"md.{kind}.V.{symbol}.00" for kind in ("trade", "quote") for symbol in "AB"]
SUBJECTS += ["md.trade.W.A.00", "time", "cmd.x.y"]
CHECKPOINTS = ["ckpt.g.00", "ckpt.g.01", "ckpt.h.00"]
WILDCARDS = ["md.>", "md.*.V.*.*", "md.trade.*.*.00", "*.g.*", ">", "time", "md.*.V.A.00", "ckpt.>"]
FILTERS = [[">"], ["md.>", "time"], ["md.trade.>", "ckpt.g.*"], ["md.*.V.B.00"], ["cmd.>"]]

Operation = Callable[[Log], Awaitable[Any]]


class Script:
    """Draws operations from a seed; `model` is asked only where a fence should be right."""

    def __init__(self, seed: int, model: Log) -> None:
        self.random = random.Random(seed)
        self.model = model
        self.count = 0

    async def operation(self) -> Operation:
        draw = self.random.choices(
            [self.append, self.transact, self.lookup, self.lookups, self.read, self.wrong],
            weights=[66, 14, 14, 3, 2, 1],
        )[0]
        return await draw()

    def messages(self, subjects: list[str], most: int) -> list[tuple[str, bytes]]:
        self.count += 1
        size = self.random.choice([0, 1, 10, 300])
        return [
            (self.random.choice(subjects), b"%d.%d" % (self.count, at) + bytes(size))
            for at in range(self.random.randint(1, most))
        ]

    async def expected(self, subject: str) -> int:
        """The newest sequence of a subject, mostly."""
        newest = await self.model.last(subject)
        last = newest.sequence if newest else 0
        return (
            last if self.random.random() < 0.7 else max(0, last + self.random.choice([-3, -1, 1]))
        )

    async def append(self) -> Operation:
        messages = self.messages(SUBJECTS, self.random.choice([1, 1, 1, 1, 5]))
        if self.random.random() < 0.3:
            return lambda log: log.append(messages, None)
        subject = self.random.choice(WILDCARDS)
        fence = Fence(subject, await self.expected(subject))
        return lambda log: log.append(messages, fence)

    async def transact(self) -> Operation:
        outputs = self.messages(SUBJECTS, 4) if self.random.random() < 0.5 else []
        subjects = self.random.sample(CHECKPOINTS, self.random.choice([1, 1, 1, 2, 3]))
        payload = b"%d" % self.count
        points = [Checkpoint(one, payload, await self.expected(one)) for one in subjects]
        return lambda log: log.transact(outputs, points)

    async def lookup(self) -> Operation:
        subject = self.random.choice([*SUBJECTS, *CHECKPOINTS, *WILDCARDS])
        sequence = self.random.randint(0, (await self.model.identity()).last + 2)
        if self.random.random() < 0.5:
            return lambda log: log.last(subject)
        return lambda log: log.get(sequence)

    async def lookups(self) -> Operation:
        subject = self.random.choice(WILDCARDS)
        return lambda log: log.lasts(subject)

    async def read(self) -> Operation:
        last = (await self.model.identity()).last
        start, filters = self.random.randint(0, last), self.random.choice(FILTERS)
        return lambda log: some(log, start, filters)

    async def wrong(self) -> Operation:
        messages = self.random.choice([[], [("nowhere", b"")], [("time", b"")] * 1001])
        return lambda log: log.append(messages, None)


async def some(log: Log, start: int, filters: list[str], most: int = 20) -> list[Message]:
    """Up to `most` messages from `start` on, by a reader of its own."""
    reader = await log.read(start, filters)
    found: list[Message] = []
    while len(found) < most and (pulled := await reader.pull(most - len(found), 1 << 20, 0.1)):
        found += pulled
    await reader.close()
    return found


async def outcome(log: Log, operation: Operation) -> Any:
    try:
        return await operation(log)
    except (Fenced, ValueError) as error:
        return type(error)


async def same_contents(one: Log, other: Log) -> None:
    first, last = (await one.identity()).first, (await one.identity()).last
    assert ((await other.identity()).first, (await other.identity()).last) == (first, last)
    assert await some(one, 1, [">"], last + 1) == await some(other, 1, [">"], last + 1)


@pytest.mark.integration
async def test_random_operations_agree_on_results_errors_and_contents(nats: RunningNats):
    twin = memory()
    script = Script(seed=20_260_101, model=twin)
    outcomes: dict[Any, int] = {}
    async with jetstream(nats) as real:
        for at in range(OPERATIONS):
            operation = await script.operation()
            expected = await outcome(twin, operation)
            assert await outcome(real, operation) == expected, f"operation {at}"
            key = expected if isinstance(expected, type) else type(expected)
            outcomes[key] = outcomes.get(key, 0) + 1
            if at % CHECKED_EVERY == 0:
                await same_contents(twin, real)
        await same_contents(twin, real)
    assert outcomes[Fenced] > OPERATIONS / 20 and outcomes[int] > OPERATIONS / 3, outcomes
    assert outcomes[dict] > OPERATIONS / 30 and outcomes[ValueError] > 10, outcomes
