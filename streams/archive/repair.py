"""Feeding LOG again from its archive, where LOG lost what was sealed; nothing else is mended.

What was never sealed is lost with LOG. Readers that had gone beyond the archive's end stop with
LOG REGRESSED, for the positions after it will be other messages.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tidemill.schemas.errors import Regressed
from tidemill.streams import crash_points
from tidemill.streams.appender import Appender
from tidemill.streams.archive import chain
from tidemill.streams.archive.archive import Archive
from tidemill.streams.archive.cursor import Cursor
from tidemill.streams.archive.facts import SEALED, sealed_of
from tidemill.streams.archive.sealed_file import opened
from tidemill.streams.filters import Matcher
from tidemill.streams.log import Log, Message
from tidemill.streams.writer import split

PULL_MESSAGES, PULL_BYTES, PULL_S = 1_000, 4 << 20, 10.0
EVERYTHING = Matcher((">",))
Pull = Callable[[int, int, float], Awaitable[list[Message]]]


class Plan(NamedTuple):
    """What LOG lacks: messages `first` to `last`, none where `first` > `last`.

    `anew` says that the stream itself has to be made, beginning at `first`.
    """

    first: int
    last: int
    anew: bool

    @property
    def missing(self) -> int:
        """How many messages are to be fed again."""
        return max(self.last + 1 - self.first, 0)


async def check(archive: Archive) -> None:
    """Read every byte of an archive. Raises Regressed unless it is one whole chain."""
    await asyncio.to_thread(archive.linked)
    for name in archive.names:
        await asyncio.to_thread(_checked, archive, name)


def _checked(archive: Archive, name: str) -> None:
    with opened(archive.store, name) as file:
        file.check()


async def plan(archive: Archive, log: Log | None) -> Plan:
    """Return what LOG (None: there is no stream) lacks of its archive.

    Raises Regressed where LOG has anything that the archive has not: that is not to be repaired,
    but to be looked at by a human being.
    """
    if not archive.names:
        raise Regressed(f"{archive.store.path('')} holds nothing: there is nothing to repair from")
    if log is None:
        return Plan(await _resumed(archive), archive.end, anew=True)
    identity = await log.identity()
    if identity.uuid != archive.log:
        if identity.last:
            raise Regressed(
                f"LOG is stream {identity.uuid} and holds {identity.last} messages, the archive is"
                f" of {archive.log}: they have nothing in common; move one of them away"
            )
        return Plan(await _resumed(archive), archive.end, anew=True)
    if identity.first > archive.end + 1:
        raise Regressed(
            f"LOG begins at {identity.first}, the archive ends at {archive.end}: what was between"
            " is in neither"
        )
    await _same(archive, log, identity.first, min(identity.last, archive.end))
    return Plan(identity.last + 1, archive.end, anew=False)


async def _resumed(archive: Archive) -> int:
    """Return where LOG has to begin so that it attests its archive: after what its own newest
    RangeSealed, which is in the archive, says was sealed."""
    r = (await asyncio.to_thread(lambda: archive.lasts)).get(SEALED)
    return sealed_of(await asyncio.to_thread(archive.get, r)).r1 + 1 if r else 1


async def _same(archive: Archive, log: Log, first: int, last: int) -> None:
    """Raise Regressed unless LOG's messages `first` to `last` are those of the archive."""
    if first > last:
        return
    cursor, reader = Cursor(archive, first, EVERYTHING), await log.read(first, [">"])
    try:
        told, held = await _digest(cursor.pull, last), await _digest(reader.pull, last)
    finally:
        await cursor.close()
        await reader.close()
    if told != held:
        raise Regressed(
            f"LOG holds other messages between {first} and {last} than its archive; nothing was"
            " changed: one of them is not what it was, restore that"
        )


async def _digest(pull: Pull, last: int) -> bytes:
    """Return a digest of all that is pulled up to sequence `last`."""
    digest, r = b"", 0
    while r < last:
        pulled = await pull(PULL_MESSAGES, PULL_BYTES, PULL_S)
        if not pulled:
            break
        wanted = [message for message in pulled if message.sequence <= last]
        digest = await asyncio.to_thread(chain.extend, digest, wanted)
        r = pulled[-1].sequence
    return digest


async def feed(archive: Archive, log: Log, wanted: Plan) -> None:
    """Append what LOG lacks, each message at its own sequence.

    Raises Fenced when somebody else writes to LOG meanwhile, Regressed, Unavailable.
    """
    appender = Appender(log, ">")
    await appender.own()
    cursor = Cursor(archive, wanted.first, EVERYTHING)
    try:
        while not cursor.ended:
            messages = await cursor.pull(PULL_MESSAGES, PULL_BYTES, PULL_S)
            for part in split([message[1:] for message in messages], PULL_BYTES):
                await appender.append(part)
                crash_points.reach("archive.repair.fed")
            if messages and appender.last != messages[-1].sequence:
                raise Regressed(f"LOG put {messages[-1].sequence} at {appender.last}: stop, look")
    finally:
        await cursor.close()
