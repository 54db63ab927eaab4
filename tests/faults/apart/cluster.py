"""Three nats-servers as one cluster, every stream on all of them: members killed and cut off."""

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tidemill.deploy.embedded.nats import ROLES, NatsServer
from tidemill.deploy.embedded.ports import LOOPBACK, free_port
from tidemill.schemas.errors import Unavailable
from tidemill.streams.declarations import streams
from tidemill.streams.jetstream_connection import ApiError, Connection, connect
from tidemill.streams.migrator import migrate
from tidemill.tests.servers import RunningNats

MEMBERS = 3
LEADER_S = 60.0
"""How long a stream may be without a leader."""


@dataclass(frozen=True, slots=True)
class Member(NatsServer):
    """One of a cluster's servers; `routes` are the ports of all members for each other."""

    routes: tuple[int, ...] = ()
    route: int = 0

    def configuration(self) -> dict[str, Any]:
        """The server's configuration file: that of one alone, and who the others are."""
        alone = super(Member, self).configuration()
        return alone | {
            "cluster": {
                "name": "tidemill-test",
                "listen": f"{LOOPBACK}:{self.route}",
                "routes": [f"nats://{LOOPBACK}:{port}" for port in self.routes],
            }
        }


class Cluster:
    """Three members; each may be killed, stopped and started again."""

    def __init__(self, members: list[RunningNats]) -> None:
        self.members = members

    def url(self, role: str) -> str:
        """How `role` connects: to whichever member is there."""
        return ",".join(member.urls[role] for member in self.members)

    async def leader(self, stream: str) -> RunningNats:
        """Return the member that leads a stream, once one does."""
        async with asyncio.timeout(LEADER_S):
            while True:
                with contextlib.suppress(Unavailable, ApiError):
                    async with self.administrator() as connection:
                        info = await connection.api(f"STREAM.INFO.{stream}")
                        name = info["cluster"].get("leader")
                        found = [one for one in self.members if one.name == name]
                        if found:
                            return found[0]
                await asyncio.sleep(0.1)

    async def current(self, stream: str) -> None:
        """Return when all members hold a stream, each up to its end."""
        async with asyncio.timeout(LEADER_S):
            while True:
                with contextlib.suppress(Unavailable, ApiError):
                    async with self.administrator() as connection:
                        info = await connection.api(f"STREAM.INFO.{stream}")
                        others = info["cluster"].get("replicas") or []
                        if len(others) == MEMBERS - 1 and all(one["current"] for one in others):
                            return
                await asyncio.sleep(0.1)

    @contextlib.asynccontextmanager
    async def administrator(self) -> AsyncIterator[Connection]:
        """Connect as admin. Raises Unavailable."""
        connection = await connect(self.url("admin"), name="administrator")
        try:
            yield connection
        finally:
            await connection.close()

    async def strike(self, stream: str, random: Random) -> str:
        """Kill or cut off a member, the leader more often than not; have it back; say what."""
        leader = await self.leader(stream)
        victim = leader if random.random() < 0.7 else random.choice(self.members)
        who = f"{'the leader' if victim is leader else 'a member'} of {stream}"
        for_s = random.choice((0.2, 1.0, 4.0, 8.0))
        if random.random() < 0.5:
            victim.kill()
            await asyncio.sleep(for_s)
            await victim.start()
            return f"{who} killed, started {for_s:g} s later"
        os.kill(victim.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(for_s)
        finally:
            os.kill(victim.pid, signal.SIGCONT)
        return f"{who} cut off for {for_s:g} s"


@contextlib.asynccontextmanager
async def cluster(directory: Path) -> AsyncIterator[Cluster]:
    """Start three members and make the streams on all of them."""
    passwords = {role: secrets.token_hex(16) for role in ROLES}
    routes = tuple(free_port() for _ in range(MEMBERS))
    members = []
    for k in range(MEMBERS):
        folder = directory / f"member-{k}"
        folder.mkdir(parents=True)
        server = Member(
            directory=folder / "nats",
            name=f"member-{k}",
            port=free_port(),
            monitor_port=free_port(),
            passwords=passwords,
            routes=routes,
            route=routes[k],
        )
        members.append(RunningNats(server, folder))
    made = Cluster(members)
    try:
        await asyncio.gather(*(member.start() for member in members))
        async with asyncio.timeout(LEADER_S):
            while True:
                with contextlib.suppress(Unavailable, ApiError):
                    async with made.administrator() as connection:
                        await migrate(connection, streams(3), apply=True)
                        break
                await asyncio.sleep(0.2)
        for stream in streams(3):
            await made.current(stream.name)
        yield made
    finally:
        for member in members:
            with contextlib.suppress(ProcessLookupError, AssertionError):
                os.kill(member.pid, signal.SIGCONT)
            await member.stop()
