"""Bridges to exchanges by ccxt as children: which there are, and that one lives by itself."""

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from websockets.asyncio.client import connect

from tidemill.deploy.children import bridge, bridged
from tidemill.deploy.embedded.ports import LOOPBACK, free_port
from tidemill.deploy.roles.feeds import chosen
from tidemill.deploy.settings import FeedSettings
from tidemill.deploy.supervisor.child import State
from tidemill.deploy.supervisor.supervisor import Supervisor

STAND_IN = """
import asyncio, pathlib
exchanges = ["someday"]

class someday:
    id, has, precisionMode, markets = "someday", {}, 4, None

    def __init__(self, options):
        pass

    async def load_markets(self, reload=False):
        if not pathlib.Path(OPEN).exists():
            raise ConnectionError("the exchange is away")
        self.markets = {"BTC/USDT": {"symbol": "BTC/USDT", "base": "BTC", "quote": "USDT",
                                     "type": "spot", "precision": {}}}

    async def watch_trades(self, symbol):
        await asyncio.sleep(0.05)
        return [{"id": "1", "timestamp": 1, "price": "2", "amount": "3", "side": "buy"}]

    async def watch_order_book(self, symbol):
        await asyncio.sleep(600)

    async def close(self):
        pass
"""


def feed(venue: str, product: str, **more: Any) -> FeedSettings:
    return FeedSettings(venue=venue, product=product, symbols=("BTC-USDT",), **more)


def test_each_exchange_by_ccxt_without_an_address_has_a_bridge_of_its_own():
    there = feed("GATE", "CCXT", websocket="ws://there:1", rest="http://there:1")
    feeds = [feed("KRAKEN", "CCXT"), feed("OKX", "SPOT"), there, feed("BITSTAMP", "CCXT")]
    children, addressed = bridged(feeds)
    assert [child.name for child in children] == ["bridge-kraken", "bridge-bitstamp"]
    kraken, okx, gate, bitstamp = addressed
    assert okx == feeds[1] and gate == there
    for child, mine in zip(children, (kraken, bitstamp), strict=True):
        port = child.argv[-1]
        assert mine.websocket == f"ws://{LOOPBACK}:{port}"
        assert mine.rest == f"http://{LOOPBACK}:{port}"
        assert child.argv[2:4] == ("tidemill.streams.feeds.ccxt_bridge", mine.venue.lower())
    assert kraken.rest != bitstamp.rest


def test_a_venue_without_an_address_is_its_own():
    (subscription,) = chosen([feed("OKX", "SPOT")], ())["OKX"]
    assert subscription.endpoints == ("wss://ws.okx.com", "https://openapi.okx.com")


@pytest.mark.integration
async def test_a_bridge_starts_while_its_exchange_is_away_and_again_when_it_is_killed(
    tmp_path: Path,
):
    package, told = tmp_path / "modules" / "ccxt", tmp_path / "open"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "pro.py").write_text(f"OPEN = {str(told)!r}\n{STAND_IN}")
    port = free_port()
    child = replace(bridge("SOMEDAY", port), env={"PYTHONPATH": str(package.parent)})
    async with Supervisor(tmp_path / "run") as supervisor:
        await supervisor.start(child)
        (before,) = supervisor.status()
        assert before.state is State.READY and before.pid is not None
        async with httpx2.AsyncClient(base_url=f"http://{LOOPBACK}:{port}") as client:
            assert (await client.get("/markets")).status_code == 503
            async with connect(f"ws://{LOOPBACK}:{port}/stream") as socket:
                await socket.send('{"id":1,"subscribe":["BTC-USDT"]}')  # waits for the markets
                told.touch()
                assert orjson.loads(await asyncio.wait_for(socket.recv(), 10))["id"] == 1
                trade = orjson.loads(await asyncio.wait_for(socket.recv(), 10))
                assert trade["stream"] == "trades" and trade["symbol"] == "BTC/USDT"
        os.kill(before.pid, signal.SIGKILL)
        async with asyncio.timeout(20):
            while (now := supervisor.status()[0]).pid in (None, before.pid):
                await asyncio.sleep(0.02)
            while supervisor.status()[0].state is not State.READY:
                await asyncio.sleep(0.02)
        assert now.restarts == 1
