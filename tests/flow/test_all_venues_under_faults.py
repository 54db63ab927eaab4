"""Everything at once and for real: four protocols that misbehave, the role feeds, JetStream, and
projections into ClickHouse. What the tables hold is the exchanges' own record, or declared not to
be.

TIDEMILL_FEEDS_FAULTS_S says for how many seconds the venues misbehave, instead of a few.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import pytest

from tidemill.deploy.embedded.servers import ServerUrls
from tidemill.deploy.exchange.binance_usdm_messages import BOOK_ID_STEP, FIRST_BOOK_ID
from tidemill.deploy.exchange.bybit_messages import SEQ_BASE
from tidemill.deploy.exchange.exchange import Exchange
from tidemill.deploy.exchange.market import Market
from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.tests.flow.faulty_engine import (
    COMPARED,
    Instrument,
    Said,
    Shown,
    Sides,
    Tables,
    Trade,
    aggregated_trades,
    engine,
    exchanges,
    logged,
    sequenced_trades,
    single_trades,
)

pytestmark = pytest.mark.integration

FAULTS_S = float(os.environ.get("TIDEMILL_FEEDS_FAULTS_S", "14"))
RATE = 120.0
"""Trades and quotes a second and instrument."""
CUT_S = 4.0
START_S, CAUGHT_UP_S, FILLED_S = 40.0, 60.0, 30.0

TRADED = {
    "BINANCE": {"SPOT": "BTCUSDT", "USDM": "BTCUSDT-PERP"},
    "BYBIT": {"SPOT": "BTCUSDT-SPOT", "LINEAR": "BTCUSDT-LINEAR"},
    "OKX": {"SPOT": "BTC-USDT", "SWAP": "BTC-USDT-SWAP"},
}
CONTIGUOUS = {"BINANCE": ("trade", "book"), "BYBIT": ("book",), "OKX": ("trade", "book")}
"""Channels whose ids prove every record. Bybit's trades are complete while a connection lives."""
LEVELS = {"BINANCE": 5_000, "BYBIT": 1_000, "OKX": 400}
"""Levels of a side that the venue shows."""


def usdm_id(market: Market, last_id: int) -> int | None:
    """USD-M's update ids count up in steps."""
    update_id, rest = divmod(last_id - FIRST_BOOK_ID, BOOK_ID_STEP)
    return None if rest else update_id


def bybit_id(market: Market, last_id: int) -> int | None:
    """The update that Bybit's message with this u showed."""
    return market.record.named("orderbook.1000", last_id)


IDS: Mapping[tuple[str, str], Callable[[Market, int], int | None]] = {
    ("BINANCE", "USDM"): usdm_id,
    ("BYBIT", "SPOT"): bybit_id,
    ("BYBIT", "LINEAR"): bybit_id,
}
"""The market's update id of the id that a book has; of others it is the same."""


WRONGS = ("drop", "duplicate", "reorder")
"""What is done to messages."""


async def test_the_tables_hold_what_happened_at_every_venue_or_say_that_they_do_not(tmp_path: Path):
    async with (
        exchanges(TRADED, RATE) as (venues, feeds, instruments),
        engine(tmp_path, feeds) as urls,
    ):
        clickhouse = ClickHouse(urls.clickhouse)
        try:
            await _run(venues, instruments, clickhouse)
            tables = await _complete(urls, clickhouse)
            for one in instruments:
                said = await tables.said(one)
                _trades_are_the_exchanges(one, await tables.trades(one), said)
                _books_are_right(one, await tables.books(one))
        finally:
            await clickhouse.close()


async def _run(
    venues: list[Exchange], instruments: list[Instrument], clickhouse: ClickHouse
) -> None:
    """Let every feed begin, misbehave, and let every feed be well again."""
    await _all_valid(instruments, clickhouse, time.time_ns(), START_S)
    for exchange in venues:
        misbehave(exchange)
    await asyncio.sleep(FAULTS_S)
    for exchange in venues:
        exchange.faults.arm({"kind": "clear"}, 0.0)
    await _all_valid(instruments, clickhouse, time.time_ns(), CAUGHT_UP_S)
    for exchange in venues:
        done = exchange.faults.done
        assert min(done[kind] for kind in (*WRONGS, "cut")) > 1, done


def misbehave(exchange: Exchange) -> None:
    """Have 1 % of the messages of contiguous channels lost, sent twice and out of order, some at
    once (where few messages come, 1 % may be none), and every connection cut every few seconds."""
    for channel in CONTIGUOUS[exchange.venue]:
        for kind in WRONGS:
            exchange.faults.arm({"kind": kind, "channel": channel, "rate": "0.01"}, 0.0)
            exchange.faults.arm({"kind": kind, "channel": channel, "count": "2"}, 0.0)
    exchange.faults.arm({"kind": "cut", "every": str(CUT_S)}, 0.0)


async def _all_valid(
    instruments: list[Instrument], clickhouse: ClickHouse, since_ns: int, timeout_s: float
) -> None:
    tables = Tables(clickhouse)
    waiting = list(instruments)
    deadline = time.monotonic() + timeout_s
    while waiting:
        assert time.monotonic() < deadline, waiting
        await asyncio.sleep(0.5)
        waiting = [one for one in waiting if not await tables.valid_again(one, since_ns)]


async def _complete(urls: ServerUrls, clickhouse: ClickHouse) -> Tables:
    """Wait until the tables hold all that JetStream does now: nothing hidden, nothing twice."""
    last, expected = await logged(urls)
    tables = Tables(clickhouse, last)
    deadline = time.monotonic() + FILLED_S
    for table in COMPARED:
        while len(found := await tables.positions(table)) < len(expected[table]):
            assert time.monotonic() < deadline, (table, len(found), len(expected[table]))
            await asyncio.sleep(0.5)
        assert found == expected[table], table
    return tables


def _trades_are_the_exchanges(one: Instrument, found: list[Trade], said: list[Said]) -> None:
    assert len(found) > 100, (one, len(found))
    assert not [event for event in said if event.event == "RecordsGivenUp"]
    if one.venue == "BYBIT":
        _session_trades(one, found, said)
    else:
        _contiguous_trades(one, found, said)


def _contiguous_trades(one: Instrument, found: list[Trade], said: list[Said]) -> None:
    """Each once, in order, in every column; what is missing is exactly what is declared lost."""
    aggregated = one.product == "USDM"
    true = aggregated_trades(one.market) if aggregated else single_trades(one.market)
    truth = {trade.trade_id: trade for trade in true}
    ids = [trade.trade_id for trade in found]
    assert all(before < after for before, after in pairwise(ids)), one
    assert found == [truth[trade_id] for trade_id in ids], one
    lost = {
        trade_id
        for event in said
        if event.event == "TradeGapDeclared"
        for trade_id in range(event.first_id, event.last_id + 1)
    }
    assert set(range(ids[0], ids[-1] + 1)) - set(ids) == lost, one
    assert [event for event in said if event.event == "TradeGapDetected"], "faults did bite"


def _session_trades(one: Instrument, found: list[Trade], said: list[Said]) -> None:
    """Each as it was and as often; what is missing lies within a suspicion."""
    truth = sequenced_trades(one.market, SEQ_BASE)
    first = next(at for at, trade in enumerate(truth) if trade == found[0])
    last = max(at for at, trade in enumerate(truth) if trade == found[-1])
    missing = Counter(truth[first : last + 1])
    missing.subtract(found)
    assert all(count >= 0 for count in missing.values()), (one, "twice, or never happened")
    suspected = [event for event in said if event.event == "TradeGapSuspected"]
    for trade, count in missing.items():
        near = any(event.ts_from <= trade.ts_event <= event.ts_to for event in suspected)
        assert not count or near, (one, trade, "is missing, and nothing says so")


def _true_book(one: Instrument, last_id: int) -> Sides:
    """The exchange's own book at an id of the feed's."""
    of = IDS.get((one.venue, one.product))
    update_id = last_id if of is None else of(one.market, last_id)
    book = None if update_id is None else one.market.record.at(update_id)
    assert book is not None, f"the exchange has had no book {last_id} of {one}"
    shown = LEVELS[one.venue]
    return {"BUY": dict(book.bids[:shown]), "SELL": dict(book.asks[:shown])}


def _books_are_right(one: Instrument, books: Iterator[Shown]) -> None:
    """Whenever the tables call the book valid it is the exchange's at that id, all of it."""
    seen: Counter[str] = Counter()
    for shown in books:
        seen["invalid" if shown.sides is None else "valid"] += 1
        if shown.sides is not None:
            assert shown.sides == _true_book(one, shown.last_id), (one, shown.r, shown.last_id)
    assert seen["valid"] > 10 and seen["invalid"] > 0, (one, seen)
