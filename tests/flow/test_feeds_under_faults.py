"""Feeds that refuse to lie: whatever a venue does to its messages, what is in the log is the
exchange's own record, or it says that it is not."""

import asyncio
from collections import Counter
from itertools import pairwise

import pytest

from tidemill.deploy.exchange.binance_usdm_messages import BOOK_ID_STEP, FIRST_BOOK_ID
from tidemill.deploy.exchange.exchange import Exchange
from tidemill.deploy.exchange.market import Market
from tidemill.schemas.events.feed import TradeGapDeclared, TradeGapDetected
from tidemill.streams.feeds.binance_spot import BinanceSpot
from tidemill.streams.feeds.binance_usdm import BinanceUsdm
from tidemill.streams.feeds.role import Feed
from tidemill.streams.memory import MemoryLog
from tidemill.streams.subjects import LOG_SUBJECTS
from tidemill.tests.flow.faulty_venue import (
    Case,
    Told,
    aggregated_trades,
    contents,
    feeding,
    serving,
    single_trades,
    true_book,
)

pytestmark = pytest.mark.integration

RATE = 150.0
"""Trades and quotes a second and symbol."""
FAULTS_S = 18.0
CALM_S = 2.0
CUT_S = 5.0
CAUGHT_UP_S = 40.0


def own_id(market: Market, last_id: int) -> int | None:
    """Spot's update ids are the market's own."""
    return last_id


def usdm_id(market: Market, last_id: int) -> int | None:
    """USD-M's count up in steps."""
    update_id, rest = divmod(last_id - FIRST_BOOK_ID, BOOK_ID_STEP)
    return None if rest else update_id


CASES = [
    Case(BinanceSpot(), ("BTCUSDT", "ETHUSDT"), ("trade", "book"), single_trades, own_id),
    Case(
        BinanceUsdm(),
        ("BTCUSDT-PERP", "ETHUSDT-PERP"),
        ("trade", "book"),
        aggregated_trades,
        usdm_id,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=repr)
async def test_trades_are_the_exchanges_and_books_are_right_or_declared_invalid(case: Case):
    log = MemoryLog("LOG", LOG_SUBJECTS)
    async with serving(case, RATE) as (exchange, endpoints):
        async with feeding(case, log, endpoints) as feed:
            await asyncio.sleep(1.0)
            misbehave(case, exchange)
            await asyncio.sleep(FAULTS_S)
            exchange.faults.arm({"kind": "clear"}, 0.0)
            calm_from = {key: market.update_id for key, market in exchange.markets.items()}
            await until_nothing_is_waited_for(feed)
            await asyncio.sleep(CALM_S)
        done = exchange.faults.done
        assert all(done[kind] > 3 for kind in ("drop", "duplicate", "reorder")), done
        assert done["cut"] >= 3 and done["malformed"] > 0 and done["stale"] > 0, done
        messages = await contents(log)
        for key, market in exchange.markets.items():
            told = Told(messages, market)
            trades_are_the_exchanges(case, told)
            last = books_are_right_or_declared_invalid(case, told)
            reached = case.update_id(market, last)
            assert reached is not None and reached > calm_from[key], "valid again at the end"


def misbehave(case: Case, exchange: Exchange) -> None:
    """Have 1 % of the channels' messages dropped, sent twice and out of order, some unreadable,
    two snapshots be old, and every connection be cut every few seconds."""
    for channel in case.faulty:
        for kind, rate in (
            ("drop", "0.01"),
            ("duplicate", "0.01"),
            ("reorder", "0.01"),
            ("malformed", "0.002"),
        ):
            exchange.faults.arm({"kind": kind, "channel": channel, "rate": rate}, 0.0)
    exchange.faults.arm({"kind": "stale", "count": "2"}, 0.0)
    exchange.faults.arm({"kind": "cut", "every": str(CUT_S)}, 0.0)


async def until_nothing_is_waited_for(feed: Feed) -> None:
    """Snapshots are asked for within the venue's limits, so it may take a while."""
    (live,) = feed.feeds
    async with asyncio.timeout(CAUGHT_UP_S):
        while not live.connected or live.intake.missing() or live.intake.wanting():
            await asyncio.sleep(0.1)


def trades_are_the_exchanges(case: Case, told: Told) -> None:
    """Every trade from the first to the last in the log is there once, in order of ids and as it
    was, or in a declared gap."""
    truth = case.trades(told.market)
    found = list(told.trades())
    ids = [trade_id for trade_id, _ in found]
    assert all(one < two for one, two in pairwise(ids)), "each once, in order"
    assert {trade_id: truth[trade_id] for trade_id in ids} == dict(found)
    declared = [event for event in told.events if isinstance(event, TradeGapDeclared)]
    lost = {i for event in declared for i in range(event.first_id, event.last_id + 1)}
    assert set(range(ids[0], ids[-1] + 1)) - set(ids) == lost
    assert ids[-1] > max(truth) - 0.25 * len(truth) and len(ids) > 100
    assert any(isinstance(event, TradeGapDetected) for event in told.events), "faults did bite"


def books_are_right_or_declared_invalid(case: Case, told: Told) -> int:
    """After every change a book that the log calls valid is the exchange's at that id, all of it;
    returns the last id."""
    seen: Counter[str] = Counter()
    last = -1
    for last_id, snapshot, sides in told.books():
        if sides is None:
            seen["gaps"] += 1
            last = -1
            continue
        seen["snapshots" if snapshot else "changes"] += 1
        last = last_id
        assert sides == true_book(case, told.market, last_id), (told.symbol, last_id, seen)
    # Snapshots cost more of the venue's budget than there is: a book may wait for one.
    assert seen["changes"] > 25 and seen["gaps"] and seen["snapshots"] > 1, seen
    return last
