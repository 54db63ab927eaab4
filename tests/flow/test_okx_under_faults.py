"""OKX's feed with the exchange's checksums wrong beside all that goes wrong elsewhere, too."""

import asyncio
from itertools import pairwise

import pytest

from tidemill.deploy.exchange import okx
from tidemill.deploy.exchange.exchange import Exchange
from tidemill.schemas.events.feed import BookGapDetected, ChecksumMismatch
from tidemill.streams.feeds import snapshots, websocket
from tidemill.streams.feeds.feed import Endpoints
from tidemill.streams.feeds.live import LiveFeed
from tidemill.streams.feeds.okx import Okx
from tidemill.streams.feeds.role import Feed, Subscription
from tidemill.streams.memory import MemoryLog
from tidemill.streams.subjects import LOG_SUBJECTS
from tidemill.tests.deploy.simulated_exchange import venue as simulated
from tidemill.tests.flow.faulty_venue import Case, Told, contents, feeding, serving, single_trades
from tidemill.tests.flow.test_feeds_under_faults import (
    books_are_right_or_declared_invalid,
    misbehave,
    own_id,
    trades_are_the_exchanges,
    until_nothing_is_waited_for,
)

pytestmark = pytest.mark.integration

RATE = 400.0
FAULTS_S, CALM_S = 15.0, 2.0
COMMANDS_AN_HOUR = 5
SHOWN = 400
"""Levels of a side in OKX's channel ``books``."""

CASES = [
    Case(Okx("SPOT"), ("BTC-USDT", "ETH-USDT"), ("trade", "book"), single_trades, own_id, SHOWN),
    Case(
        Okx("SWAP"),
        ("BTC-USDT-SWAP", "ETH-USDT-SWAP"),
        ("trade", "book"),
        single_trades,
        own_id,
        SHOWN,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=repr)
async def test_trades_are_okxs_and_books_are_right_or_declared_invalid(case: Case):
    log = MemoryLog("LOG", LOG_SUBJECTS)
    async with serving(case, RATE) as (exchange, endpoints):
        async with feeding(case, log, endpoints) as feed:
            await asyncio.sleep(1.0)
            misbehave(case, exchange)
            spoil_checksums(exchange)
            await asyncio.sleep(FAULTS_S)
            exchange.faults.arm({"kind": "clear"}, 0.0)
            calm_from = {key: market.update_id for key, market in exchange.markets.items()}
            await until_nothing_is_waited_for(feed)
            await asyncio.sleep(CALM_S)
        done = exchange.faults.done
        assert all(done[kind] > 3 for kind in ("drop", "duplicate", "reorder")), done
        assert done["cut"] >= 2 and done["checksum"] > 3, done
        messages = await contents(log)
        mismatches = 0
        for key, market in exchange.markets.items():
            told = Told(messages, market)
            trades_are_the_exchanges(case, told)
            assert books_are_right_or_declared_invalid(case, told) > calm_from[key]
            mismatches += checksums_are_told(told)
        assert mismatches


async def test_books_that_are_often_wrong_are_not_asked_for_more_often_than_okx_allows(monkeypatch):
    monkeypatch.setattr(okx, "COMMANDS_AN_HOUR", COMMANDS_AN_HOUR)
    limits = Okx.limits._replace(commands_an_hour=COMMANDS_AN_HOUR, commands_per_s=50.0)
    monkeypatch.setattr(Okx, "limits", limits)
    monkeypatch.setattr(websocket, "ROTATE_S", 0.5)
    monkeypatch.setattr(websocket, "OVERLAP_S", 0.2)
    monkeypatch.setattr(snapshots, "SENT_S", 0.2)
    case, log = CASES[0], MemoryLog("LOG", LOG_SUBJECTS)
    async with serving(case, RATE) as (exchange, endpoints):
        spoil_checksums(exchange, 0.5)
        async with feeding(case, log, endpoints) as feed:
            (it,) = feed.feeds
            await replaced(it, 3)
            exchange.faults.arm({"kind": "clear"}, 0.0)
            await until_nothing_is_waited_for(feed)
            assert not it.failures["refused"] and it.connected
            assert {b["state"] for b in it.intake.books.state().values()} == {"VALID"}


async def test_all_feeds_of_an_address_open_no_more_connections_than_okx_allows():
    """Ten at once and ten again after a cut: the exchange answers 429 to the fourth in a second."""
    log = MemoryLog("LOG", LOG_SUBJECTS)
    async with simulated("OKX", ("SPOT", "SWAP"), rate=20.0) as it:
        endpoints = Endpoints(f"ws://{it.address}", f"http://{it.address}")
        feed = Feed(log, [Subscription(c.feed, c.symbols, endpoints, 2) for c in CASES])
        running = asyncio.create_task(feed.run())
        for times in (1, 2):
            async with asyncio.timeout(30):
                while len(feed.feeds) < 2 or not all(
                    each.intake.events["FeedConnected"] == times
                    and all(line.is_up for line in each.lines.all)
                    for each in feed.feeds
                ):
                    assert not running.done()
                    await asyncio.sleep(0.02)
            assert sum(len(each.lines.all) for each in feed.feeds) == 10
            if times == 1:
                await it.fault(kind="cut")
        assert [each.failures["connect"] for each in feed.feeds] == [0, 0]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def replaced(feed: LiveFeed, times: int) -> None:
    """Wait until the connection of the books was replaced so often."""
    seen = set()
    async with asyncio.timeout(30):
        while len(seen) <= times:
            turns = [line.turn for line in feed.lines.all if line.plan.socket.name == "public"]
            seen |= {turn.connection for turn in turns if turn is not None}
            await asyncio.sleep(0.02)


def spoil_checksums(exchange: Exchange, rate: float = 0.08) -> None:
    """Have a part of the books' messages carry a wrong checksum."""
    exchange.faults.arm({"kind": "checksum", "channel": "book", "rate": str(rate)}, 0.0)


def checksums_are_told(told: Told) -> int:
    """Every mismatch is followed by the end of the book's validity; returns how many there were."""
    found = 0
    for event, following in pairwise(told.events):
        if isinstance(event, ChecksumMismatch):
            found += 1
            assert event.expected != event.computed
            if isinstance(following, BookGapDetected):
                assert following.reason == "CHECKSUM"
    return found
