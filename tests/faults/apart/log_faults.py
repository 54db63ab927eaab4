"""LOG itself is hurt while an engine runs: whoever reads it says LOG REGRESSED and writes no more.

Each way is played on a LOG that has grown for a while; nothing may be written after it.
"""

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from tidemill.projections.registry import TABLES
from tidemill.streams.declarations import streams
from tidemill.streams.jetstream import JetStreamLog
from tidemill.streams.jetstream_connection import Connection, connect
from tidemill.streams.jetstream_consumer import PULL_MESSAGES, PULLS_OPEN_MAX
from tidemill.streams.log import BATCH_MESSAGES_MAX
from tidemill.streams.migrator import migrate
from tidemill.tests.faults.apart.small import SOURCES, Small, small
from tidemill.tests.faults.observer import Observer, observer_of
from tidemill.tests.faults.stage import FLOW_S, START_S, stand_still
from tidemill.tests.servers import RunningNats, nats_server

READERS = ("graph", "projections")
"""Roles that have an effect by what they read."""
WRITERS = ("time", "load")
NOTICED_S = 60.0
UNREAD_BATCHES = 2 + PULLS_OPEN_MAX * PULL_MESSAGES // BATCH_MESSAGES_MAX
REGRESSED, REPAIR = "LOG REGRESSED", ("tidemill repair", "restore", "rebuild")
"""What they must say: what is wrong, and one of these: what to do."""


class Effects(NamedTuple):
    """All that readers of LOG may change: OUT's end, and how far each table is, with its rows."""

    out: int
    positions: dict[str, int]
    rows: dict[str, int]


@dataclass
class Theatre:
    """A server with a LOG, and an engine on it that a round starts."""

    nats: RunningNats
    engine: Small
    directory: Path
    stopped: list[int] = field(default_factory=list)

    @property
    def store(self) -> Path:
        """The server's files."""
        return self.nats.server.directory / "jetstream"

    @contextlib.asynccontextmanager
    async def administrator(self) -> AsyncIterator[Connection]:
        """Connect as who may do everything."""
        connection = await connect(self.nats.urls["admin"], name="administrator")
        try:
            yield connection
        finally:
            await connection.close()


async def purged(theatre: Theatre, random: Random) -> str:
    """Purge LOG ahead of its readers, which stand still meanwhile."""
    for name in READERS:
        await stand_still(theatre.engine.running[name].pid)
    async with theatre.administrator() as connection:
        log = await JetStreamLog.open(connection, "LOG")
        for _ in range(UNREAD_BATCHES):  # more than open pull requests bring to who stands still
            await log.append([("ctl.campaign.unread", b"{}")] * BATCH_MESSAGES_MAX, None)
        done = await connection.api("STREAM.PURGE.LOG")
    for name in READERS:
        theatre.engine.running[name].send_signal(18)
    return f"purged of {done['purged']} messages"


async def recreated(theatre: Theatre, random: Random) -> str:
    """Delete LOG, and make another one of the same name."""
    async with theatre.administrator() as connection:
        await connection.api("STREAM.DELETE.LOG")
        await asyncio.sleep(random.choice((0.0, 1.0)))
        await migrate(connection, streams(), apply=True)
    return "deleted, and made anew"


async def emptied(theatre: Theatre, random: Random) -> str:
    """Delete LOG, and make it anew under the same identity, as a careless copy would."""
    async with theatre.administrator() as connection:
        config: dict[str, Any] = (await connection.api("STREAM.INFO.LOG"))["config"]
        await connection.api("STREAM.DELETE.LOG")
        await connection.api("STREAM.CREATE.LOG", config)
    return "made anew under its old identity"


async def shortened(theatre: Theatre, random: Random) -> str:
    """Put an older copy of LOG's files in place of what they are now."""
    theatre.nats.kill()
    found = next(theatre.store.rglob("streams/LOG"))
    older = next((theatre.directory / "before").rglob("streams/LOG"))
    shutil.rmtree(found)
    shutil.copytree(older, found)
    await theatre.nats.start()
    return "put back to an older copy of its files"


WAYS: dict[str, Callable[[Theatre, Random], Awaitable[str]]] = {
    "purged": purged,
    "re-created": recreated,
    "emptied": emptied,
    "shortened": shortened,
}


class Hurt(NamedTuple):
    """One round: what was done to LOG, how it is known that it was noticed, how long that took."""

    what: str
    proof: str
    noticed_s: float
    why: tuple[str, ...]


async def play(directory: Path, random: Random, ways: list[str]) -> AsyncIterator[Hurt]:
    """Play a round of each way, each on an engine of its own: what readers wrote before LOG was
    hurt is ahead of any copy of it."""
    for way in ways:
        place = directory / way
        place.mkdir()
        async with nats_server(place) as nats:
            connection = await connect(nats.urls["admin"], name="migrator")
            await migrate(connection, streams(), apply=True)
            await connection.close()
            async with small(place, nats.urls, nats.name) as engine:
                theatre = Theatre(nats, engine, place)
                await _copied(theatre)
                yield await _played(theatre, way, random)


async def _copied(theatre: Theatre) -> None:
    """Let the engine run for a moment, and copy the server's files."""
    theatre.engine.start(*WRITERS, *READERS)
    async with observer_of(theatre.engine.urls, SOURCES) as observer:
        await observer.flowing(await observer.mark(), START_S)
    theatre.engine.end()
    await theatre.nats.stop()
    shutil.copytree(theatre.store, theatre.directory / "before")
    await theatre.nats.start()


async def _played(theatre: Theatre, way: str, random: Random) -> Hurt:
    engine = theatre.engine
    engine.start(*WRITERS, *READERS)
    async with observer_of(engine.urls, SOURCES) as observer:
        await observer.flowing(await observer.mark(), START_S)
        for name in READERS:
            engine.log_of(name).write_bytes(b"")
        said = await WAYS[way](theatre, random)
        began, why, statuses = time.monotonic(), list[str](), dict[str, int]()
        for name in READERS:
            statuses[name] = await engine.ended(name, NOTICED_S)
        noticed_s = time.monotonic() - began
        why += [f"{name}: {wrong}" for name in READERS for wrong in _wrong(engine.said(name))]
        before = await effects(observer)
        engine.start(*READERS)  # as a supervisor would: it must not get any further
        for name in READERS:
            statuses[f"{name} again"] = await engine.ended(name, FLOW_S)
        after = await effects(observer)
    why += [f"{name} ended with {status}" for name, status in statuses.items() if status != 1]
    why += [] if before == after else [f"written after LOG regressed: {before}, then {after}"]
    proof = f"{', '.join(READERS)} ended with {REGRESSED}, and again when started again"
    return Hurt(f"LOG {said}", proof, noticed_s, tuple(why))


def _wrong(said: str) -> list[str]:
    told = said[-1_500:]
    wrong = [] if REGRESSED in said else [f"does not say {REGRESSED}: {told}"]
    return wrong + ([] if any(one in said for one in REPAIR) else [f"says no remedy: {told}"])


async def effects(observer: Observer) -> Effects:
    """Return what readers have written so far."""
    tables = await observer.tables()
    rows = {
        name: int((await observer.query(f"SELECT count() FROM {tables[name].table}"))[0][0])
        for name in tables
        if TABLES[name].database == "clickhouse"
    }
    out = (await observer.out.identity()).last
    return Effects(out, {name: table.as_of for name, table in tables.items()}, rows)
