"""Bybit's feed under faults: books chained by u, and trades that no id proves, joined again by REST
after every cut or suspected to be missing."""

import asyncio
from collections import Counter

import pytest

from tidemill.deploy.exchange.bybit_messages import SEQ_BASE
from tidemill.deploy.exchange.exchange import Exchange
from tidemill.deploy.exchange.market import Market
from tidemill.schemas import kinds
from tidemill.schemas.enums import RecordFlag
from tidemill.schemas.events.feed import TradeGapSuspected
from tidemill.streams.feeds.bybit import Bybit
from tidemill.streams.log import Message
from tidemill.streams.memory import MemoryLog
from tidemill.streams.subjects import LOG_SUBJECTS
from tidemill.tests.flow.faulty_venue import (
    Case,
    Told,
    Trade,
    contents,
    feeding,
    serving,
    single_trades,
)
from tidemill.tests.flow.test_feeds_under_faults import (
    books_are_right_or_declared_invalid,
    misbehave,
    until_nothing_is_waited_for,
)

pytestmark = pytest.mark.integration

RATE = 300.0
FAULTS_S, CALM_S = 20.0, 3.0
BOOK = "orderbook.1000"
MS = 1_000_000


def numbered(market: Market, last_id: int) -> int | None:
    """The market's update that a message with this u showed."""
    return market.record.named(BOOK, last_id)


CASES = [
    Case(
        Bybit(product),
        (f"BTCUSDT-{product}", f"ETHUSDT-{product}"),
        ("book",),  # a lost message of trades would be seen by the venue's bars only
        single_trades,
        numbered,
        1_000,
    )
    for product in ("SPOT", "LINEAR")
]


@pytest.mark.parametrize("case", CASES, ids=repr)
async def test_trades_are_bybits_and_books_are_right_or_declared_invalid(case: Case):
    log = MemoryLog("LOG", LOG_SUBJECTS)
    async with serving(case, RATE) as (exchange, endpoints):
        async with feeding(case, log, endpoints) as feed:
            await asyncio.sleep(1.0)
            misbehave(case, exchange)
            more_often(exchange)
            await asyncio.sleep(FAULTS_S)
            exchange.faults.arm({"kind": "clear"}, 0.0)
            calm_from = {key: market.update_id for key, market in exchange.markets.items()}
            await until_nothing_is_waited_for(feed)
            await asyncio.sleep(CALM_S)
        done = exchange.faults.done
        assert done["drop"] + done["duplicate"] + done["reorder"] > 1 and done["cut"] >= 2, done
        messages = await contents(log)
        for key, market in exchange.markets.items():
            told = Told(messages, market)
            suspected = [event for event in told.events if isinstance(event, TradeGapSuspected)]
            trades_are_the_exchanges(told, suspected)
            reached = case.update_id(market, books_are_right_or_declared_invalid(case, told))
            assert reached is not None and reached > calm_from[key], "valid again at the end"
        assert filled(messages) > 0, "cuts did bite, and REST knew what they missed"
        values = [m for m in messages if m.subject.startswith("md.derivative.")]
        assert bool(values) is (case.feed.product == "LINEAR")


async def test_what_rest_does_not_tell_after_a_cut_is_suspected_and_nothing_else_is_missing():
    case = CASES[1]
    log = MemoryLog("LOG", LOG_SUBJECTS)
    async with serving(case, RATE) as (exchange, endpoints):
        async with feeding(case, log, endpoints) as feed:
            await asyncio.sleep(1.0)
            exchange.faults.arm({"kind": "rest", "rate": "1"}, 0.0)
            exchange.faults.arm({"kind": "cut"}, 0.0)
            await asyncio.sleep(5.0)
            exchange.faults.arm({"kind": "clear"}, 0.0)
            await until_nothing_is_waited_for(feed)
            await asyncio.sleep(CALM_S)
        messages = await contents(log)
        for market in exchange.markets.values():
            told = Told(messages, market)
            suspected = [event for event in told.events if isinstance(event, TradeGapSuspected)]
            assert len(suspected) == 1
            trades_are_the_exchanges(told, suspected)


def more_often(exchange: Exchange) -> None:
    """Books are sent five times a second only: some more of their messages go wrong."""
    for kind in ("drop", "duplicate", "reorder"):
        exchange.faults.arm({"kind": kind, "channel": "book", "rate": "0.01"}, 0.0)


def sequence_of(market: Market) -> list[tuple[int, Trade]]:
    """(seq, trade) of every trade, in order."""
    rows = market.history.trades(1, market.history.last_id).tolist()
    each = single_trades(market)
    return [(SEQ_BASE + row[4], each[row[0]]) for row in rows]


def trades_are_the_exchanges(told: Told, suspected: list[TradeGapSuspected]) -> None:
    """Every trade from the first to the last in the log is there once and as it was, or within a
    suspicion."""
    found, truth = list(told.trades()), sequence_of(told.market)
    first = next(at for at, trade in enumerate(truth) if trade == found[0])
    last = max(at for at, trade in enumerate(truth) if trade == found[-1])
    missing = Counter(truth[first : last + 1])
    missing.subtract(found)
    assert all(count >= 0 for count in missing.values()), "none twice, none that never happened"
    for (_, trade), count in missing.items():
        near = [s for s in suspected if s.ts_from <= trade[2] * MS <= s.ts_to]
        assert not count or near, f"{trade} is missing, and nothing says so"
    assert len(found) > 100 and last > len(truth) * 0.75
    assert all(event.reason == "RECONNECTED" for event in suspected)


def filled(messages: list[Message]) -> int:
    """How many trades came from REST."""
    frames = [m.payload for m in messages if m.subject.startswith("md.trade.")]
    flags = [kinds.decode(frame).records["flags"] & RecordFlag.FILLED for frame in frames]
    return int(sum((each != 0).sum() for each in flags))
