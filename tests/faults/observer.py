"""What flows, seen from outside: every source appends, and every table has what it appended."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tidemill.deploy.embedded.servers import ServerUrls, found_on
from tidemill.deploy.prepared import databases
from tidemill.deploy.roles.connections import streams
from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.postgres.readings import Pool, Reading, read
from tidemill.projections.registry import TABLES
from tidemill.schemas import kinds
from tidemill.schemas.errors import Unavailable
from tidemill.streams.log import Log, Message

SOURCES = ("md.trade.LOAD.*.*", "md.trade.BINANCE.*.*", "md.trade.OKX.*.*", "time")
"""Subjects of what is fed into LOG, one for each writer."""
POLL_S = 0.05
Mark = dict[str, int]
"""The newest LOG sequence of each source."""


class Observer:
    """Reads LOG and the tables' positions; waits while a server is away."""

    def __init__(
        self,
        urls: ServerUrls,
        log: Log,
        out: Log,
        pool: Pool,
        clickhouse: ClickHouse,
        sources: tuple[str, ...] = SOURCES,
    ) -> None:
        self.urls, self.log, self.out = urls, log, out
        self.pool, self.clickhouse, self.sources = pool, clickhouse, sources

    async def mark(self) -> Mark:
        """Return how far every source is. Raises Unavailable."""
        newest = [await self.log.last(subject) for subject in self.sources]
        return {
            subject: message.sequence if message is not None else 0
            for subject, message in zip(self.sources, newest, strict=True)
        }

    async def flowing(self, since: Mark, timeout_s: float) -> float:
        """Return when (time.time()) every source has appended again, and every table has it."""
        deadline = time.monotonic() + timeout_s
        wanted = 0
        seen: object = None
        while True:
            try:
                if not wanted:
                    seen = now = await self.mark()
                    if all(now[source] > since[source] for source in self.sources):
                        wanted = max(now.values())
                if wanted:
                    seen = positions = await self.positions()
                    if min(positions.values()) >= wanted:
                        return time.time()
            except Unavailable as error:
                seen = error
            assert time.monotonic() < deadline, f"since {since}, up to {wanted}: {seen}"
            await asyncio.sleep(POLL_S)

    async def positions(self) -> dict[str, int]:
        """Return how far every table is; one that is not made yet is at 0. Raises Unavailable."""
        known = await self.tables()
        return {name: known[name].as_of if name in known else 0 for name in TABLES}

    async def tables(self) -> dict[str, Reading]:
        """Return what answers queries of each table that is made. Raises Unavailable."""
        return await read(self.pool, list(TABLES))

    async def derived(self, subject: str) -> list[Message]:
        """Return all that OUT holds of a subject. Raises Unavailable."""
        newest = await self.out.last(subject)
        found: list[Message] = []
        reader = await self.out.read(1, [subject])
        try:
            while newest is not None and (not found or found[-1].sequence < newest.sequence):
                found += await reader.pull(1_000, 8 << 20, 1.0)
        finally:
            await reader.close()
        return found

    async def load_per_s(self, seconds: float = 1.0) -> int:
        """Return how many trades of the load a second LOG takes now."""
        before, began = await self._loaded(), time.monotonic()
        await asyncio.sleep(seconds)
        after, elapsed = await self._loaded(), time.monotonic() - began
        return round((after - before) / elapsed)

    async def _loaded(self) -> int:
        """Sum the newest ids: the load counts each instrument's trades from 1 on."""
        newest = await self.log.lasts(SOURCES[0])
        return sum(int(kinds.decode(m.payload).records["trade_id"][-1]) for m in newest)

    async def busy(self, within_s: float = 0.1, timeout_s: float = 20.0) -> None:
        """Return when LOG has grown within the last `within_s`, and so have the trades."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            before, began = await self._progress(), time.monotonic()
            await asyncio.sleep(within_s / 2)
            after = await self._progress()
            grown = all(b > a for a, b in zip(before, after, strict=True))
            if grown and time.monotonic() - began <= 2 * within_s:
                return
        raise AssertionError(f"nothing flows: {before}, {after}")

    async def _progress(self) -> tuple[int, int]:
        found = await read(self.pool, ["trades"])
        return (await self.log.identity()).last, found["trades"].as_of

    async def query(self, sql: str) -> list[Any]:
        """Ask ClickHouse."""
        return await self.clickhouse.query(sql, {})


@asynccontextmanager
async def observer_of(
    urls: ServerUrls, sources: tuple[str, ...] = SOURCES
) -> AsyncIterator[Observer]:
    """Watch servers, and of what is fed into LOG, these sources."""
    async with streams(urls.nats_engine, "observer") as opened, databases(urls) as (pool, house):
        yield Observer(urls, opened.log, opened.out, pool, house, sources)


@asynccontextmanager
async def observer_on(data_dir: Path) -> AsyncIterator[Observer]:
    """Watch the servers that run on a directory."""
    async with observer_of(await found_on(data_dir)) as observer:
        yield observer
