"""The four embedded servers of a data directory, started together and found again by others."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from pydantic import BaseModel, ConfigDict

from tidemill.deploy.embedded import clickhouse_server, postgres
from tidemill.deploy.embedded.addresses import Addresses, Ports, remembered, settle
from tidemill.deploy.embedded.clickhouse_server import ClickHouseServer
from tidemill.deploy.embedded.nats import ROLES, NatsServer
from tidemill.deploy.embedded.ports import LOOPBACK
from tidemill.deploy.embedded.postgres import PostgresServer
from tidemill.deploy.embedded.secrets import secret
from tidemill.deploy.embedded.valkey import ValkeyServer
from tidemill.deploy.supervisor.child import Child, Status
from tidemill.deploy.supervisor.lock import AlreadyRunning
from tidemill.deploy.supervisor.supervisor import Supervisor, ignore
from tidemill.schemas.errors import Unavailable

DATA_DIR = Path(".tidemill")
FOUND_TIMEOUT_S = 15.0  # for servers that someone else is just starting


class ServerUrls(BaseModel):
    """How the rest of the system connects: each URL logs in as the role it is named for."""

    model_config = ConfigDict(frozen=True)

    nats_name: str  # the server's own name, to be sure who answers
    nats_admin: str  # the migrator and the trimmer
    nats_engine: str  # feeds, time, graph, projections, door
    nats_gateway: str  # with the inbox prefix `_INBOX.gateway`
    nats_reader: str  # `live.>` and `json.>`
    nats_monitor: str  # http
    postgres: str  # owner of database `tidemill`
    postgres_reader: str
    valkey: str
    clickhouse: str  # may do everything
    clickhouse_reader: str  # may only select


class Fleet:
    """The four servers as their addresses and secrets describe them; nothing runs yet."""

    def __init__(self, data_dir: Path, addresses: Addresses) -> None:
        def password(name: str) -> str:
            return secret(data_dir / "secrets", name)

        at = addresses
        passwords = MappingProxyType({role: password(f"nats-{role}") for role in ROLES})
        self.nats = NatsServer(data_dir / "nats", at.nats_name, at.nats, at.nats_monitor, passwords)
        owner, reader = password("postgres-owner"), password("postgres-reader")
        self.postgres = PostgresServer(data_dir / "postgres", at.postgres, owner, reader)
        self.valkey = ValkeyServer(data_dir / "valkey", at.valkey, password("valkey"))
        owner, reader = password("clickhouse-owner"), password("clickhouse-reader")
        self.clickhouse = ClickHouseServer(data_dir / "clickhouse", at.clickhouse, owner, reader)

    def children(self) -> tuple[Child, ...]:
        """Their processes; none waits for another, so they start at once."""
        return tuple(
            server.child() for server in (self.nats, self.postgres, self.valkey, self.clickhouse)
        )

    def urls(self) -> ServerUrls:
        """How to connect to them."""
        return ServerUrls(
            nats_name=self.nats.name,
            nats_admin=self.nats.url("admin"),
            nats_engine=self.nats.url("engine"),
            nats_gateway=self.nats.url("gateway"),
            nats_reader=self.nats.url("reader"),
            nats_monitor=f"http://{LOOPBACK}:{self.nats.monitor_port}",
            postgres=self.postgres.dsn(postgres.OWNER),
            postgres_reader=self.postgres.dsn(postgres.READER),
            valkey=self.valkey.url,
            clickhouse=self.clickhouse.url(clickhouse_server.OWNER),
            clickhouse_reader=self.clickhouse.url(clickhouse_server.READER),
        )

    async def probe(self) -> None:
        """Raises Unavailable unless all four answer."""
        for server in (self.nats, self.postgres, self.valkey, self.clickhouse):
            await server.probe()


class EmbeddedServers:
    """NATS, Postgres, Valkey and ClickHouse on `data_dir`, as long as the block lasts.

        async with EmbeddedServers(Path(".tidemill"), signals=True) as servers:
            await servers.supervisor.start(*roles)   # those that use servers.urls
            await servers.supervisor.wait()

    Everything is under `data_dir`: `nats postgres valkey clickhouse` (data), `secrets` (0600),
    `logs`, `run` (pid files, lock), `servers.json` (ports). Raises AlreadyRunning when another
    process runs them, ChildFailed when one cannot be started, OSError when a configured port is
    taken. With `signals`, SIGINT and SIGTERM end the block (see Supervisor); one that comes before
    the servers are up raises CancelledError instead, for there is no block to end.
    """

    def __init__(
        self,
        data_dir: Path = DATA_DIR,
        ports: Ports | None = None,
        on_event: Callable[[Status], Awaitable[None]] = ignore,
        signals: bool = False,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.supervisor = Supervisor(self.data_dir, on_event)
        self._ports = ports or Ports()
        self._signals = signals

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.supervisor)
            if self._signals:
                self.supervisor.handle_signals()
            fleet = await asyncio.to_thread(self._settle)
            await self.supervisor.start(*fleet.children())
            self.urls = fleet.urls()
            self._stack = stack.pop_all()
            return self
        raise asyncio.CancelledError("stopped by a signal before the servers were up")

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        return bool(await self._stack.__aexit__(kind, error, trace))

    def _settle(self) -> Fleet:
        _refuse_lost_secrets(self.data_dir)
        return Fleet(self.data_dir, settle(self.data_dir, self._ports))


@asynccontextmanager
async def servers_on(
    data_dir: Path = DATA_DIR, ports: Ports | None = None, signals: bool = False
) -> AsyncIterator[ServerUrls]:
    """The servers that run on this directory, or, when none do, our own until the block ends.

    Raises Unavailable when another process has the directory and its servers do not answer.
    """
    async with AsyncExitStack() as stack:
        try:
            servers = EmbeddedServers(data_dir, ports, signals=signals)
            urls = (await stack.enter_async_context(servers)).urls
        except AlreadyRunning:
            urls = await found_on(data_dir)
        yield urls


async def found_on(data_dir: Path) -> ServerUrls:
    """The servers that another process runs on this directory, once they answer.

    Raises Unavailable when they do not within `FOUND_TIMEOUT_S`.
    """
    deadline = time.monotonic() + FOUND_TIMEOUT_S
    while True:
        try:
            addresses = remembered(data_dir)
            if addresses is None:
                raise Unavailable(f"no server has ever run on {data_dir}")
            fleet = Fleet(data_dir.absolute(), addresses)
            await fleet.probe()
            return fleet.urls()
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)


def _refuse_lost_secrets(data_dir: Path) -> None:
    """Passwords live in Postgres too: new ones would not open it."""
    if (data_dir / "postgres" / "data").exists():
        for name in ("postgres-owner", "postgres-reader"):
            if not (data_dir / "secrets" / name).exists():
                raise FileNotFoundError(
                    f"{data_dir / 'secrets' / name} is lost, so its database cannot be opened: "
                    f"restore it, or remove {data_dir / 'postgres'} and rebuild from the log"
                )
