"""A small engine: databases of its own, any LOG, and the roles that make up a pipeline."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from tidemill.deploy.children import environment
from tidemill.deploy.embedded.servers import ServerUrls
from tidemill.deploy.prepared import databases
from tidemill.deploy.rebuilding import engine_of
from tidemill.projections.live import at_one_moment
from tidemill.projections.migrations import migrate
from tidemill.projections.registry import VERSIONS
from tidemill.projections.verify import Compared, remade
from tidemill.projections.verify import verify as compare
from tidemill.projections.versions import active
from tidemill.tests.faults.observer import Observer
from tidemill.tests.servers import clickhouse_server, postgres_server

SOURCES = ("md.trade.LOAD.*.*", "time")
RATE = 5_000
ROLES: dict[str, tuple[str, ...]] = {
    "time": ("time",),
    "load": ("load", str(RATE)),
    "graph": ("graph", "main"),
    "projections": ("projections",),
}
LEASE = "was not renewed in time"
AWAY = 3
"""Exit status of a role whose server is away for too long: a supervisor starts it again."""


class Small:
    """The roles of one engine as processes; one that ends because a server is away, or because it
    lost its lease meanwhile, is restarted."""

    def __init__(self, directory: Path, urls: ServerUrls) -> None:
        self.urls = urls
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.restarts = 0
        self._directory = directory
        self._env = os.environ | environment(urls, directory, (), 1)

    def start(self, *names: str) -> None:
        """Start roles, each with a log of its own."""
        for name in names:
            argv = [sys.executable, "-m", "tidemill.deploy.cli", "run", *ROLES[name]]
            with self.log_of(name).open("ab") as log:
                self.running[name] = subprocess.Popen(
                    argv, env=self._env, stdout=log, stderr=log, stdin=subprocess.DEVNULL
                )

    def log_of(self, name: str) -> Path:
        """The file that has what a role says."""
        return self._directory / f"{name}.log"

    def said(self, name: str) -> str:
        """What a role has said."""
        return self.log_of(name).read_text(errors="replace")

    async def keep(self) -> None:
        """Start again, until cancelled, whoever ended because a server was away."""
        while True:
            for name, process in list(self.running.items()):
                status = process.poll()
                if status is not None:
                    last = self.said(name)[-2_000:]
                    assert status == AWAY or LEASE in last.rpartition("Fenced")[2], (name, last)
                    self.restarts += 1
                    self.start(name)
            await asyncio.sleep(0.1)

    async def ended(self, name: str, timeout_s: float) -> int:
        """Wait until a role has ended; return its status."""
        return await asyncio.to_thread(self.running.pop(name).wait, timeout_s)

    def end(self) -> None:
        """Kill every role that runs."""
        for process in self.running.values():
            process.kill()
        for process in self.running.values():
            process.wait()
        self.running.clear()


@contextlib.asynccontextmanager
async def small(directory: Path, nats: dict[str, str], name: str) -> AsyncIterator[Small]:
    """Start databases, and make their tables; `nats` says how each role of it connects."""
    async with postgres_server(directory) as postgres, clickhouse_server(directory) as house:
        urls = ServerUrls(
            nats_name=name,
            **{f"nats_{role}": url for role, url in nats.items()},
            nats_monitor="",
            postgres=postgres.dsn,
            postgres_reader=postgres.reader_dsn,
            valkey="",
            clickhouse=house.url,
            clickhouse_reader=house.reader_url,
        )
        async with databases(urls) as (pool, clickhouse):
            await migrate(pool, clickhouse, VERSIONS)
        made = Small(directory, urls)
        try:
            yield made
        finally:
            made.end()


async def differing(observer: Observer) -> list[str]:
    """Hold every table against what LOG gives again; return what is not equal."""
    tables = await active(observer.pool, VERSIONS)
    moment = await at_one_moment(observer.pool, observer.clickhouse, list(tables.values()))
    asked = {
        name: Compared(table, moment[table.physical][1], moment[table.physical][0])
        for name, table in tables.items()
    }
    derived = [table for table in tables.values() if table.emitted_by]
    engine = (await engine_of(derived, observer.log))()
    end = max(one.as_of for one in asked.values())
    remaking = remade(observer.log, list(tables.values()), engine, end)
    verdicts = await compare(asked, remaking)
    return [f"{name}: {one.reason}" for name, one in verdicts.items() if not one.equal]
