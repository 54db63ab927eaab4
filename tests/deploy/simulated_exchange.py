"""A simulated exchange in the test's own process, on a free port of loopback, and its clients."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tidemill.deploy.exchange.exchange import Exchange, Opening
from tidemill.deploy.exchange.limits import Limits
from tidemill.deploy.exchange.server import listen
from tidemill.deploy.exchange.venues import exchange_of

DATA = Path(os.environ.get("TIDEMILL_DATA", "../shared/data"))
SYMBOLS = ("BTCUSDT", "ETHUSDT")


@dataclass
class Clock:
    """A clock that a test can set; it reads the real one's running time from there."""

    start_us: int = 1_723_161_255_000_000

    def __post_init__(self) -> None:
        self.offset_us = 0

    def __call__(self) -> int:
        running = asyncio.get_running_loop().time()
        return self.start_us + self.offset_us + int(running * 1e6) % 10**12


@dataclass
class Venue:
    exchange: Exchange
    clock: Clock
    address: str
    http: httpx2.AsyncClient

    def ws(self, path: str, **options: Any) -> connect:
        # A client that has stopped reading would not see the answer to its close frame.
        options = {"compression": None, "close_timeout": 0.1, **options}
        return connect(f"ws://{self.address}{path}", **options)

    async def answer(self, path: str, **query: Any) -> Any:
        """The JSON of a GET that must succeed."""
        answer = await self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def get(self, path: str, **query: Any) -> httpx2.Response:
        return await self.http.get(f"/api/v3/{path}", params=query)

    async def fault(self, **query: Any) -> None:
        answer = await self.http.post("/sim/faults", params=query)
        assert answer.status_code == 200, answer.text


@asynccontextmanager
async def venue(
    name: str = "BINANCE",
    products: Sequence[str] = ("SPOT",),
    *,
    rate: float | None = 300.0,
    limits: Limits | None = None,
    kept: int = 50_000,
    liquidations: float = 0.001,
) -> AsyncIterator[Venue]:
    """The venue with SYMBOLS in each of its products, until the end of the block."""
    clock = Clock()
    opening = Opening(rate=rate, trades_kept=kept, liquidation_share=liquidations)
    exchange = exchange_of(name, products, SYMBOLS, clock, opening, limits)
    async with await listen(exchange, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        running = asyncio.create_task(exchange.run())
        try:
            address = f"127.0.0.1:{port}"
            async with httpx2.AsyncClient(base_url=f"http://{address}") as http:
                yield Venue(exchange, clock, address, http)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def read(
    socket: ClientConnection, enough: Callable[[list[Any]], bool], timeout_s: float = 10.0
) -> list[Any]:
    """Messages until there are enough."""
    seen: list[Any] = []
    async with asyncio.timeout(timeout_s):
        while not enough(seen):
            seen.append(json.loads(await socket.recv()))
    return seen


def published(venue: str, path: str) -> Any:
    """One of the messages that nautilus_<venue>.json quotes; the test is skipped without them."""
    source = DATA / f"exchange_message_fixtures/nautilus_{venue}.json"
    if not source.exists():
        pytest.skip(f"no fixtures at {source}: set TIDEMILL_DATA")
    return json.loads(source.read_text())[path]


def fields(value: Any, at: str) -> set[str]:
    """Every path to a value with its type; what lists of rules hold is the venue's choice."""
    if isinstance(value, dict):
        return set().union(*(fields(item, f"{at}.{name}") for name, item in value.items()), {at})
    if isinstance(value, list):
        free = ("rateLimits", "filters", "sors", "permissions", "orderTypes", "Sets", "Modes")
        rows = [] if at.endswith(free) else value[:1]
        return set().union(*(fields(item, f"{at}[]") for item in rows), {f"{at}[]"})
    return {f"{at}:{type(value).__name__}"}
