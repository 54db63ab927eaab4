"""Real captures, played by the simulated exchange to a live feed: the log is what a replay says."""

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tidemill.deploy.exchange.exchange import Opening
from tidemill.deploy.exchange.playback import Playback
from tidemill.deploy.exchange.server import listen
from tidemill.deploy.exchange.venues import exchange_of
from tidemill.schemas import events, kinds
from tidemill.schemas.events.feed import TradeGapDeclared
from tidemill.streams.feeds.binance_spot import BinanceSpot
from tidemill.streams.feeds.binance_usdm import BinanceUsdm
from tidemill.streams.feeds.capture import CaptureFile
from tidemill.streams.feeds.feed import Endpoints, Venue
from tidemill.streams.feeds.replay import Replay
from tidemill.streams.feeds.role import Feed, Subscription
from tidemill.streams.log import Message
from tidemill.streams.memory import MemoryLog
from tidemill.streams.subjects import LOG_SUBJECTS
from tidemill.tests.deploy.simulated_exchange import DATA
from tidemill.tests.flow.faulty_venue import contents

pytestmark = pytest.mark.integration

FOLDER = DATA / "binance_captures_hftbacktest"
SPEED = 20.0
SECONDS = 100
"""How much of a capture is played at most."""


class Heard(NamedTuple):
    """What a log or a replay says of one instrument: values, not receive times."""

    trades: dict[int, tuple[Decimal, Decimal, int, int]]
    quotes: list[tuple[int, Decimal, Decimal, Decimal, Decimal]]
    book: Mapping[tuple[int, Decimal], Decimal]
    last_update_id: int


def heard(payloads: list[tuple[str, bytes]]) -> Heard:
    trades: dict[int, tuple[Decimal, Decimal, int, int]] = {}
    quotes: list[tuple[int, Decimal, Decimal, Decimal, Decimal]] = []
    book: dict[tuple[int, Decimal], Decimal] = {}
    last_update_id = -1
    for subject, payload in payloads:
        kind = subject.removeprefix("md.").partition(".")[0]
        if kind not in ("trade", "quote", "book"):
            continue
        frame = kinds.decode(payload)

        def price(mantissa: Any, exponent: int = frame.price_exponent) -> Decimal:
            return Decimal(int(mantissa)).scaleb(exponent)

        def size(mantissa: Any, exponent: int = frame.quantity_exponent) -> Decimal:
            return Decimal(int(mantissa)).scaleb(exponent)

        for row in frame.records:
            if kind == "trade":
                values = price(row["price"]), size(row["quantity"])
                rest = int(row["ts_event"]), int(row["aggressor_side"])
                trades[int(row["trade_id"])] = (*values, *rest)
            elif kind == "quote":
                bid = price(row["bid_price"]), size(row["bid_quantity"])
                ask = price(row["ask_price"]), size(row["ask_quantity"])
                quotes.append((int(row["update_id"]), *bid, *ask))
            else:
                if row["flags"] & 32 and int(row["last_update_id"]) != last_update_id:
                    book.clear()
                last_update_id = int(row["last_update_id"])
                book[int(row["side"]), price(row["price"])] = size(row["quantity"])
    return Heard(trades, quotes, {k: v for k, v in book.items() if v}, last_update_id)


def lines_of(path: Path) -> list[tuple[int, bytes]]:
    if not path.exists():
        pytest.skip(f"no capture at {path}: set TIDEMILL_DATA")
    lines = [(received, raw.strip()) for received, raw in CaptureFile(path)]
    return [line for line in lines if line[0] <= lines[0][0] + SECONDS * 10**9]


def replayed(path: Path, venue: Venue) -> list[tuple[str, bytes]]:
    return [message for batch in Replay([path], venue).batches() for message in batch]


async def played(
    lines: list[tuple[int, bytes]], venue: Venue, symbol: str, faults: list[dict[str, str]]
) -> list[Message]:
    """Play lines to a live feed, and what is in its log then."""
    playback = Playback(lines, "BTCUSDT", SPEED)
    opening = Opening(rate=0.0)
    exchange = exchange_of("BINANCE", [venue.product], ["BTCUSDT"], playback.clock_us, opening)
    log = MemoryLog("LOG", LOG_SUBJECTS)
    for fault in faults:
        exchange.faults.arm(fault, 0.0)
    async with await listen(exchange, "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        endpoints = Endpoints(f"ws://{address}", f"http://{address}")
        feed = Feed(log, [Subscription(venue, [symbol], endpoints)])
        tasks = [asyncio.create_task(work) for work in (playback.run(exchange), feed.run())]
        try:
            async with asyncio.timeout(60):
                while not playback.over or feed.feeds[0].intake.missing():
                    assert not any(task.done() for task in tasks), tasks
                    await asyncio.sleep(0.05)
                exchange.faults.arm({"kind": "clear"}, 0.0)
                await asyncio.sleep(3.0)
        finally:
            for task in reversed(tasks):
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
    return await contents(log)


@pytest.fixture
def some(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, list[tuple[int, bytes]]]:
    """The beginning of a capture, as a file and as lines."""
    lines = lines_of(FOLDER / request.param)
    path = tmp_path / "some.capture"
    path.write_bytes(b"".join(b"%d %b\n" % line for line in lines))
    return path, lines


@pytest.mark.parametrize(
    ("some", "venue", "symbol"),
    [
        ("spot/btcusdt_20240808.gz", BinanceSpot(), "BTCUSDT"),
        ("usdm/btcusdt_20240808.gz", BinanceUsdm(), "BTCUSDT-PERP"),
    ],
    indirect=["some"],
)
async def test_a_played_capture_is_heard_as_it_is_replayed(
    some: tuple[Path, list[tuple[int, bytes]]], venue: Venue, symbol: str
):
    path, lines = some
    truth = heard(replayed(path, venue))
    ours = heard([(m.subject, m.payload) for m in await played(lines, venue, symbol, [])])
    if venue.product == "SPOT":  # of USD-M the feed asks for aggregates, which were not recorded
        assert ours.trades == truth.trades and len(truth.trades) > 1_000
    assert ours.quotes == truth.quotes and len(truth.quotes) > 5_000
    assert ours.last_update_id == truth.last_update_id
    assert ours.book == truth.book and len(truth.book) > 500


@pytest.mark.parametrize("some", ["spot/btcusdt_20240808.gz"], indirect=True)
async def test_a_played_capture_with_faults_still_ends_as_it_was_recorded(
    some: tuple[Path, list[tuple[int, bytes]]],
):
    path, lines = some
    faults = [
        {"kind": kind, "channel": channel, "rate": "0.01"}
        for kind in ("drop", "duplicate", "reorder")
        for channel in ("trade", "book")
    ]
    truth = heard(replayed(path, BinanceSpot()))
    messages = await played(lines, BinanceSpot(), "BTCUSDT", faults)
    ours = heard([(m.subject, m.payload) for m in messages])
    told = [events.decode(m.payload) for m in messages if m.payload.startswith(b"{")]
    lost = {
        trade_id
        for event in told
        if isinstance(event, TradeGapDeclared)
        for trade_id in range(event.first_id, event.last_id + 1)
    }
    assert {i: trade for i, trade in truth.trades.items() if i not in lost} == ours.trades
    names = [type(event).__name__ for event in told]
    assert "TradeGapFilled" in names and "BookGapDetected" in names and "BookResynced" in names
