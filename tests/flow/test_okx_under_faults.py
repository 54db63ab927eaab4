"""OKX's feed with the exchange's checksums wrong beside all that goes wrong elsewhere, too."""

import asyncio
from itertools import pairwise

import pytest

from tidemill.deploy.exchange.exchange import Exchange
from tidemill.schemas.events.feed import BookGapDetected, ChecksumMismatch
from tidemill.streams.feeds.okx import Okx
from tidemill.streams.memory import MemoryLog
from tidemill.streams.subjects import LOG_SUBJECTS
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


def spoil_checksums(exchange: Exchange) -> None:
    """Have 8 % of the books' messages carry a wrong checksum."""
    exchange.faults.arm({"kind": "checksum", "channel": "book", "rate": "0.08"}, 0.0)


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
