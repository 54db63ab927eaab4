"""LOG comes back from a dead machine shorter, or with a hole: that is found before any effect.

nats-server itself says nothing: it serves what is left and gives the sequences anew, or skips what
it cannot read. Damage is done to the files of a server that is down, so it needs no rights.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tidemill.deploy.roles.connections import Streams
from tidemill.processors.bars import BARS
from tidemill.schemas.errors import Regressed, Unavailable
from tidemill.streams.appender import Appender
from tidemill.streams.log import Identity, Log, Message
from tidemill.streams.proof import prove
from tidemill.streams.runtime.graph import Graph
from tidemill.streams.runtime.shard import Shard
from tidemill.tests.flow.logs import on_server
from tidemill.tests.projections import facts
from tidemill.tests.servers import RunningNats

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
COUNT = 120
GRAPH = Graph("main", [BARS])


class Store(NamedTuple):
    """The files of one stream."""

    messages: Path

    @property
    def block(self) -> Path:
        """The newest block."""
        return max(self.messages.glob("*.blk"), key=lambda path: int(path.stem))

    def truncate(self) -> None:
        """As a disk that had acknowledged, and not written, its last blocks."""
        with self.block.open("r+b") as file:
            file.truncate(self.block.stat().st_size * 4 // 5)

    def flip(self) -> None:
        """One bit of a message in the last fifth."""
        data = bytearray(self.block.read_bytes())
        data[len(data) * 4 // 5] ^= 1
        self.block.write_bytes(data)

    def remove(self) -> None:
        """The whole block."""
        self.block.unlink()

    def forget_index(self) -> None:
        """What the server remembers of the blocks, so that it looks at them."""
        (self.messages / "index.db").unlink(missing_ok=True)


DAMAGE: dict[str, tuple[Callable[[Store], None], ...]] = {
    "truncated": (Store.truncate,),
    "truncated, no index": (Store.truncate, Store.forget_index),
    "a bit flipped": (Store.flip, Store.forget_index),
    "removed": (Store.remove, Store.forget_index),
}


@asynccontextmanager
async def damaged(
    nats: RunningNats, directory: Path, damage: tuple[Callable[[Store], None], ...], kill: bool
) -> AsyncIterator[tuple[Streams, Appender]]:
    """A LOG that was stepped to its end, its writer still there, and then the damage."""
    async with on_server(nats) as opened:
        appender = Appender(opened.log, ">")
        await appender.own()
        await appender.append([facts.instrument(k) for k in range(3)])
        for message in facts.facts(COUNT):
            await appender.append([message])
        await Shard(opened.log, opened.out, GRAPH).run(until=appender.last)
        if kill:
            nats.kill()
        else:
            await nats.stop()
        (messages,) = directory.glob("nats/jetstream/*/streams/LOG/msgs")
        for do in damage:
            do(Store(messages))
        await nats.start()
        await ends(opened.log.inner)  # the connection is there again
        yield opened, appender


async def ends(log: Log) -> Identity:
    """What a log holds, once its server can be asked."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await log.identity()
            except Unavailable:
                await asyncio.sleep(0.02)


async def refused(effect: Awaitable[object]) -> None:
    async with asyncio.timeout(20):
        with pytest.raises(Regressed, match="LOG REGRESSED"):
            await effect


@pytest.mark.parametrize("name", DAMAGE)
async def test_a_log_that_lost_its_end_is_refused_by_everyone_before_any_effect(
    nats: RunningNats, tmp_path: Path, name: str
) -> None:
    async with damaged(nats, tmp_path, DAMAGE[name], kill=True) as (opened, appender):
        left, out = await ends(opened.log.inner), await ends(opened.out)
        assert left.last < COUNT
        await refused(prove(opened.log, opened.out))  # what every role asks that writes
        await refused(Shard(opened.log, opened.out, GRAPH).run())
        await refused(appender.append([facts.trades(COUNT)]))  # one that was there before
        assert (await ends(opened.log.inner), await ends(opened.out)) == (left, out)


async def test_a_log_that_was_written_on_after_it_lost_its_end_is_refused(
    nats: RunningNats, tmp_path: Path
) -> None:
    """Somebody appended before anybody looked: it is long enough again, and another one."""
    async with damaged(nats, tmp_path, DAMAGE["a bit flipped"], kill=True) as (opened, _):
        stranger = Appender(opened.log, ">")
        await stranger.own()
        await stranger.append(facts.facts(COUNT, start=5_000))
        assert (await ends(opened.log)).last > COUNT
        await refused(prove(opened.log, opened.out))
        await refused(Shard(opened.log, opened.out, GRAPH).run())


async def test_a_message_that_cannot_be_read_any_more_is_not_skipped_in_silence(
    nats: RunningNats, tmp_path: Path
) -> None:
    """After an orderly stop the server trusts its index; what it cannot read it leaves out."""
    async with damaged(nats, tmp_path, (Store.flip,), kill=False) as (opened, appender):
        assert (await ends(opened.log)).last == COUNT + 3
        gone = [r for r in range(1, COUNT + 4) if await opened.log.get(r) is None]
        assert len(gone) == 1
        reader = await opened.log.read(1, [">"])
        await appender.append([facts.time(COUNT)])
        await refused(until(reader.pull, COUNT + 4))


async def until(pull: Callable[[int, int, float], Awaitable[list[Message]]], r: int) -> None:
    """Pull until sequence `r` came."""
    while True:
        if [message for message in await pull(1_000, 1 << 24, 1.0) if message.sequence >= r]:
            return
