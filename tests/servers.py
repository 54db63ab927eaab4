"""Real servers for tests: on loopback, on ephemeral ports, their data in the test's directory."""

import asyncio
import os
import secrets
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tidemill.deploy.embedded import clickhouse_server as front
from tidemill.deploy.embedded.nats import ROLES, NatsServer
from tidemill.deploy.embedded.ports import free_port
from tidemill.deploy.embedded.postgres import OWNER, READER, PostgresServer
from tidemill.deploy.embedded.valkey import ValkeyServer
from tidemill.deploy.supervisor.child import Child
from tidemill.deploy.supervisor.running import command
from tidemill.schemas.errors import Unavailable


class RunningServer:
    """One server process that a test may kill and start again."""

    def __init__(self, child: Child, directory: Path) -> None:
        self._child = child
        self._log = directory / f"{child.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not running"
        return self._process.pid

    async def start(self) -> None:
        """Start, and return when its probe passes; an early end shows the log's tail."""
        if self._child.before is not None:
            await asyncio.to_thread(self._child.before)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command(self._child, parent=os.getpid()),
                env=self._child.environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + self._child.ready_timeout_s
        while True:
            assert self._process.poll() is None, self._log.read_text()[-4000:]
            try:
                return await asyncio.wait_for(self._child.probe(), timeout=5)
            except (Unavailable, TimeoutError):
                assert time.monotonic() < deadline, self._log.read_text()[-4000:]
                await asyncio.sleep(0.02)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    async def stop(self) -> None:
        """Ask it to stop as the supervisor would; kill it when it does not."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(self._child.stop_signal)
        try:
            await asyncio.to_thread(self._process.wait, self._child.stop_timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    async def restart(self) -> None:
        """Start again on the same ports and data, whether it was killed or still runs."""
        await self.stop()
        await self.start()


class RunningNats(RunningServer):
    """nats-server with JetStream, `sync_interval: always`, and the users of every role."""

    def __init__(self, server: NatsServer, directory: Path) -> None:
        super().__init__(server.child(), directory)
        self.server = server
        self.name = server.name
        self.url = server.url("admin")
        self.urls = {role: server.url(role) for role in ROLES}
        self.monitor_url = f"http://127.0.0.1:{server.monitor_port}"


@asynccontextmanager
async def nats_server(directory: Path) -> AsyncIterator[RunningNats]:
    """nats-server on fresh ports; `url` logs in as admin, `urls[role]` as that role."""
    server = NatsServer(
        directory=directory / "nats",
        name=f"test-{secrets.token_hex(8)}",
        port=free_port(),
        monitor_port=free_port(),
        passwords={role: secrets.token_hex(16) for role in ROLES},
    )
    running = RunningNats(server, directory)
    try:
        await running.start()
        yield running
    finally:
        await running.stop()


class RunningPostgres(RunningServer):
    """Postgres with database `tidemill`: `dsn` is the owner's, `reader_dsn` may only select."""

    def __init__(self, server: PostgresServer, directory: Path) -> None:
        super().__init__(server.child(), directory)
        self.server = server
        self.dsn = server.dsn(OWNER)
        self.reader_dsn = server.dsn(READER)


@asynccontextmanager
async def postgres_server(directory: Path) -> AsyncIterator[RunningPostgres]:
    """Postgres on a fresh port."""
    server = PostgresServer(
        directory=directory / "postgres",
        port=free_port(),
        owner_password=secrets.token_urlsafe(16),
        reader_password=secrets.token_urlsafe(16),
    )
    running = RunningPostgres(server, directory)
    try:
        await running.start()
        yield running
    finally:
        await running.stop()


class RunningValkey(RunningServer):
    """Valkey, its data gone when it stops."""

    def __init__(self, server: ValkeyServer, directory: Path) -> None:
        super().__init__(server.child(), directory)
        self.server = server
        self.url = server.url


@asynccontextmanager
async def valkey_server(directory: Path) -> AsyncIterator[RunningValkey]:
    """Valkey on a fresh port."""
    server = ValkeyServer(directory / "valkey", free_port(), secrets.token_urlsafe(16))
    running = RunningValkey(server, directory)
    try:
        await running.start()
        yield running
    finally:
        await running.stop()


class RunningClickHouse(RunningServer):
    """The ClickHouse front: `url` may do everything, `reader_url` may only select.

    Both are the DSN that `clickhouse_connect.get_client(dsn=...)` takes.
    """

    def __init__(self, server: front.ClickHouseServer, directory: Path) -> None:
        super().__init__(server.child(), directory)
        self.server = server
        self.url = server.url(front.OWNER)
        self.reader_url = server.url(front.READER)


@asynccontextmanager
async def clickhouse_server(directory: Path) -> AsyncIterator[RunningClickHouse]:
    """The ClickHouse front on a fresh port."""
    server = front.ClickHouseServer(
        directory=directory / "clickhouse",
        port=free_port(),
        owner_password=secrets.token_urlsafe(16),
        reader_password=secrets.token_urlsafe(16),
    )
    running = RunningClickHouse(server, directory)
    try:
        await running.start()
        yield running
    finally:
        await running.stop()
