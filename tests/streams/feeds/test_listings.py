"""A listing, a halt and a delisting while a feed runs, at every venue that is simulated."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tidemill.deploy.exchange.bybit import Bybit
from tidemill.deploy.exchange.exchange import Exchange, Opening
from tidemill.deploy.exchange.market import Status, warm_up
from tidemill.deploy.exchange.server import listen
from tidemill.deploy.exchange.venues import exchange_of
from tidemill.schemas.events.feed import FeedDisconnected
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.streams.feeds import asking, websocket
from tidemill.streams.feeds.feed import Endpoints
from tidemill.streams.feeds.items import Fact, Item
from tidemill.streams.feeds.live import LiveFeed
from tidemill.streams.feeds.registry import venue_of
from tidemill.streams.feeds.role import Nowhere

pytestmark = pytest.mark.integration

NAMES = {
    ("BINANCE", "SPOT"): "{}USDT",
    ("BINANCE", "USDM"): "{}USDT-PERP",
    ("OKX", "SPOT"): "{}-USDT",
    ("OKX", "SWAP"): "{}-USDT-SWAP",
    ("BYBIT", "SPOT"): "{}USDT-SPOT",
    ("BYBIT", "LINEAR"): "{}USDT-LINEAR",
}
SAY_NO_HALT = {("BYBIT", "SPOT")}
"""What does not trade is not on Bybit's list of spot at all."""
EARLY, LATE, GONE = "BTC", "SOL", "ETH"


class Kept(Nowhere):
    """An outlet that keeps what it is given."""

    def __init__(self) -> None:
        self.items: list[Item] = []

    async def put(self, items: list[Item]) -> None:
        self.items += items

    def statuses(self, symbol: str) -> list[str]:
        """What was said of an instrument, in order."""
        events = [i.event for i in self.items if isinstance(i, Fact)]
        said = [e for e in events if isinstance(e, InstrumentDefined) and e.symbol == symbol]
        return [event.status for event in said]

    def kinds(self, symbol: str) -> set[str]:
        batches = [i for i in self.items if not isinstance(i, Fact)]
        return {batch.kind.name for batch in batches if f".{symbol}." in batch.subject}


@asynccontextmanager
async def serving(venue: str, product: str) -> AsyncIterator[tuple[Exchange, Endpoints]]:
    names = [f"{EARLY}USDT", f"{GONE}USDT"]
    warm_up()
    opening = Opening(seed=3, rate=60.0)
    exchange = exchange_of(venue, [product], names, lambda: time.time_ns() // 1_000, opening)
    for protocol in exchange.protocols:
        if isinstance(protocol, Bybit):
            protocol.requests.page_max = 1
    async with await listen(exchange, "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        running = asyncio.create_task(exchange.run())
        try:
            yield exchange, Endpoints(f"ws://{address}", f"http://{address}")
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(("venue", "product"), NAMES)
async def test_what_is_listed_later_joins_and_what_is_halted_or_delisted_is_said(
    monkeypatch, venue: str, product: str
):
    monkeypatch.setattr(asking, "LISTING_S", 0.5)
    monkeypatch.setattr(asking, "DEFINITIONS_S", 0.5)
    monkeypatch.setattr(websocket, "OVERLAP_S", 0.5)
    early, late, gone = (NAMES[venue, product].format(name) for name in (EARLY, LATE, GONE))
    kept = Kept()
    async with serving(venue, product) as (exchange, endpoints):
        feed = LiveFeed(venue_of(venue, product), [early, late, gone], endpoints, kept)
        task = asyncio.create_task(feed.run())
        try:
            await until(lambda: {"trade", "book"} <= kept.kinds(early), 90)  # kernels may compile
            assert kept.statuses(late) == [] and kept.statuses(gone) == ["TRADING"]
            exchange.open(product, f"{LATE}USDT")
            await until(lambda: {"trade", "book"} <= kept.kinds(late))
            assert kept.statuses(late) == ["TRADING"]
            if (venue, product) not in SAY_NO_HALT:
                exchange.change(product, f"{GONE}USDT", Status.HALTED)
                await until(lambda: kept.statuses(gone) == ["TRADING", "HALTED"])
                asked = feed.asking.rounds
                await until(lambda: feed.asking.rounds > asked + 1)
                assert kept.statuses(gone) == ["TRADING", "HALTED"]
                assert feed.lines.symbols == {early, late, gone}
            exchange.change(product, f"{GONE}USDT", Status.DELISTED)
            await until(lambda: kept.statuses(gone)[-1:] == ["DELISTED"])
            await until(lambda: feed.lines.symbols == {early, late})
            await until(lambda: all(line.carries(late) for line in feed.lines.all))
            await asyncio.sleep(1.0)
            assert feed.connected and not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert kept.statuses(gone).count("DELISTED") == 1
    downs = [i.event for i in kept.items if isinstance(i, Fact)]
    assert not [event for event in downs if isinstance(event, FeedDisconnected)]
