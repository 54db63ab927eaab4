"""Any exchange by ccxt: the bridge, the feed behind it, and ccxt itself where it is installed."""

import asyncio
import importlib.util
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import orjson
import pytest

from tidemill.schemas import events, kinds
from tidemill.schemas.enums import AggressorSide, RecordFlag
from tidemill.streams.feeds import ccxt_bridge
from tidemill.streams.feeds.capture import rest_message
from tidemill.streams.feeds.ccxt_bridge import MINUTE_MS, Bridge, exchange_of, plain, step
from tidemill.streams.feeds.ccxt_venue import CcxtVenue, identity, symbol_of
from tidemill.streams.feeds.feed import Endpoints, Instruments, Said
from tidemill.streams.feeds.registry import venue_of
from tidemill.streams.feeds.role import Feed, Subscription
from tidemill.streams.log import Message
from tidemill.streams.memory import MemoryLog
from tidemill.streams.subjects import LOG_SUBJECTS
from tidemill.tests.deploy.simulated_exchange import venue as simulated

VENUE = CcxtVenue("KRAKEN")
MS = 1_000_000
NOW = 1_790_000_000_000
MARKET = {
    "symbol": "BTC/USDT", "base": "BTC", "quote": "USDT", "settle": None, "type": "spot",
    "inverse": False, "active": True, "tick": "0.1", "lot": "0.00001", "contract": None,
    "expiry": None,
}  # fmt: skip


def decode(*messages: Any, instruments: Instruments | None = None) -> Said:
    raws = [m if isinstance(m, bytes) else orjson.dumps(m) for m in messages]
    received = [NOW * MS + at for at in range(len(raws))]
    return VENUE.decode(received, raws, instruments or Instruments(infer=VENUE.infer))


def trade(number: int, **more: Any) -> dict[str, Any]:
    return {"id": str(number), "timestamp": NOW + number, "price": "100.5", "amount": "0.25",
            "side": "buy", **more}  # fmt: skip


# --- the venue file ------------------------------------------------------------------------------


def test_trades_are_exact_and_told_apart_by_their_ids():
    data = [trade(1), trade(2, side="sell"), trade(3, side=None)]
    said = decode({"stream": "trades", "symbol": "BTC/USDT", "data": data})
    assert said.trades is not None and said.identities is not None and not said.malformed
    records = said.trades.records
    assert records["price"].tolist() == [10_050_000_000] * 3
    assert records["quantity"].tolist() == [25_000_000] * 3
    assert records["trade_id"].tolist() == [NOW + 1, NOW + 2, NOW + 3]
    assert records["aggressor_side"].tolist() == [
        AggressorSide.BUYER, AggressorSide.SELLER, AggressorSide.NO_AGGRESSOR,
    ]  # fmt: skip
    assert len(set(said.identities.tolist())) == 3


def test_trades_without_ids_are_told_apart_by_their_values_and_order():
    same = {**trade(1), "id": None}
    said = decode({"stream": "trades", "symbol": "BTC/USDT", "data": [same, same]})
    again = decode({"stream": "trades", "symbol": "BTC/USDT", "data": [same]})
    assert said.identities is not None and again.identities is not None
    assert len(set(said.identities.tolist())) == 2
    assert again.identities[0] == said.identities[0]
    assert identity(trade(7), 0) == identity(trade(7), 1), "an id needs no order"


def test_the_best_levels_are_a_quote_and_an_empty_side_is_zero():
    data = {"id": 4, "timestamp": None, "bid": ["99.5", "2"], "ask": None}
    said = decode({"stream": "quote", "symbol": "BTC/USDT", "data": data})
    assert said.quotes is not None
    (quote,) = said.quotes.records
    assert quote["bid_price"] == 9_950_000_000 and quote["bid_quantity"] == 200_000_000
    assert quote["ask_price"] == quote["ask_quantity"] == 0 and quote["update_id"] == 4


def test_markets_become_definitions_and_contracts_know_their_worth():
    swap = {**MARKET, "symbol": "BTC/USD:BTC", "quote": "USD", "settle": "BTC", "type": "swap",
            "inverse": True, "contract": "100", "tick": "0.5", "lot": "1"}  # fmt: skip
    fine = {**MARKET, "symbol": "PEPE/USDT", "base": "PEPE", "tick": "0.000000000001", "lot": "1"}
    wrong = {**MARKET, "symbol": "X/USDT", "base": None}
    instruments = Instruments()
    body = orjson.dumps({"markets": [MARKET, swap, fine, wrong]})
    said = decode(rest_message("/markets", body), instruments=instruments)
    assert len(said.malformed) == 1
    assert [page.symbols for page in said.listed] == [
        {"BTC-USDT", "BTC-USD-BTC", "PEPE-USDT", "X-USDT"}
    ]
    spot = instruments.by_symbol["BTC-USDT"].definition
    assert (spot.raw, spot.kind, spot.product) == ("BTC/USDT", "SPOT", "CCXT")
    assert (spot.price_exponent, spot.quantity_exponent) == (-8, -8)
    contract = instruments.by_symbol["BTC-USD-BTC"].definition
    assert contract.inverse and contract.contract_multiplier == "100"
    assert contract.kind == "PERPETUAL" and contract.settle == "BTC"
    pepe = instruments.by_symbol["PEPE-USDT"].definition
    assert (pepe.price_exponent, pepe.quantity_exponent) == (-12, -6)


@pytest.mark.parametrize(
    "message",
    [
        b"null",
        {"stream": "trades", "symbol": "BTC/USDT", "data": [trade(1, price="x")]},
        {"stream": "trades", "symbol": "BTC/USDT", "data": [trade(1, side="hold")]},
        {"stream": "trades", "symbol": "BTC", "data": []},
        {"stream": "news"},
    ],
)
def test_what_is_no_message_of_the_bridge_is_malformed(message: Any):
    assert len(decode(message).malformed) == 1


def test_any_venue_has_the_product_ccxt():
    found = venue_of("KRAKEN", "CCXT")
    assert found.venue == "KRAKEN" and found.product == "CCXT"
    assert symbol_of("BTC/USDT:USDT-261225") == "BTC-USDT-USDT-261225"


@pytest.mark.parametrize(
    ("number", "text"),
    [("0.10", "0.10"), (1e-05, "0.00001"), (61837.63, "61837.63"), (5, "5"), ("1E-7", "0.0000001")],
)
def test_numbers_become_plain_decimals(number: Any, text: str):
    assert plain(number) == text


def test_what_is_no_number_is_refused():
    for wrong in (None, "x", [1]):
        with pytest.raises(ValueError, match="is no number"):
            plain(wrong)


def test_precisions_become_steps():
    assert step(8, 2) == "0.00000001" and step("0.01", 4) == "0.01"
    assert step(5, 3) is None and step(None, 2) is None


# --- the bridge and the feed behind it -----------------------------------------------------------


class Exchange:
    """An exchange like ccxt's, whose messages a test puts."""

    id = "fake"
    precisionMode = 4

    def __init__(self) -> None:
        self.has = {"watchTrades": True, "fetchOHLCV": True}
        self.markets = {
            "BTC/USDT": {
                "symbol": "BTC/USDT", "base": "BTC", "quote": "USDT", "type": "spot",
                "precision": {"price": "0.1", "amount": "0.00001"}, "active": True,
            }
        }  # fmt: skip
        self.trades: asyncio.Queue[Any] = asyncio.Queue()
        self.books: asyncio.Queue[Any] = asyncio.Queue()
        self.bars: asyncio.Queue[Any] = asyncio.Queue()
        self.asked: list[Any] = []
        self.done: list[dict[str, Any]] = []
        self.watches = 0

    def traded(self, *numbers: int, told: bool = True) -> None:
        made = [trade(number) for number in numbers]
        self.done += made
        if told:
            self.trades.put_nowait(made)

    async def load_markets(self, reload: bool = False) -> Any:
        return self.markets

    async def fetch_time(self) -> int:
        return NOW

    async def fetch_trades(self, symbol: str, since: Any = None, limit: Any = None) -> Any:
        return self.done[-3:]

    async def fetch_ohlcv(self, symbol: str, timeframe: str, since: int, limit: int) -> Any:
        self.asked.append((symbol, timeframe, since, limit))
        got = await self.bars.get()
        if isinstance(got, Exception):
            raise got
        return got

    async def watch_trades(self, symbol: str) -> Any:
        self.watches += 1
        got = await self.trades.get()
        if isinstance(got, Exception):
            raise got
        return got

    async def watch_order_book(self, symbol: str) -> Any:
        return await self.books.get()

    async def close(self) -> None:
        self.done.clear()


@asynccontextmanager
async def fed(bridge: Bridge, log: MemoryLog, name: str) -> AsyncIterator[Feed]:
    async with bridge.listening("127.0.0.1", 0) as server:
        address = f"127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        endpoints = Endpoints(f"ws://{address}", f"http://{address}")
        feed = Feed(log, [Subscription(CcxtVenue(name), ["BTC-USDT"], endpoints)])
        task = asyncio.create_task(feed.run())
        try:
            yield feed
        finally:
            task.cancel()
            (outcome,) = await asyncio.gather(task, return_exceptions=True)
            assert isinstance(outcome, asyncio.CancelledError), outcome


async def until(condition: Any, timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.02)


async def contents(log: MemoryLog) -> list[Message]:
    reader = await log.read(1, LOG_SUBJECTS)
    found: list[Message] = []
    while pulled := await reader.pull(1000, 1 << 24, 0.01):
        found += pulled
    await reader.close()
    return found


def records(messages: list[Message], kind: str) -> Any:
    found = [
        kinds.decode(m.payload).records for m in messages if m.subject.startswith(f"md.{kind}.")
    ]
    return np.concatenate(found)


def names(messages: list[Message]) -> list[str]:
    return [type(events.decode(m.payload)).__name__ for m in messages if m.payload[:1] == b"{"]


@pytest.mark.integration
async def test_what_is_lost_with_the_exchange_is_found_again_or_suspected():
    exchange, log = Exchange(), MemoryLog("LOG", LOG_SUBJECTS)
    bridge = Bridge(exchange)
    await bridge.load()
    async with fed(bridge, log, "FAKE") as feed:
        await until(lambda: feed.feeds and feed.feeds[0].connected)
        exchange.traded(1, 2)
        exchange.books.put_nowait(
            {"bids": [["100", "1"]], "asks": [["101", "2"]], "timestamp": NOW}
        )
        intake = feed.feeds[0].intake
        await until(lambda: intake.counts["trades"] == 2 and intake.counts["quotes"] == 1)
        exchange.traded(3, told=False)  # while ccxt connects again
        exchange.trades.put_nowait(ConnectionResetError("lost"))
        await until(lambda: intake.events["FeedDisconnected"] == 1 and feed.feeds[0].connected)
        exchange.traded(4)
        await until(lambda: intake.counts["trades"] == 4)
        exchange.traded(5, 6, 7, 8, 9, told=False)  # more than are asked for
        exchange.trades.put_nowait(ConnectionResetError("lost again"))
        await until(lambda: intake.events["FeedDisconnected"] == 2 and feed.feeds[0].connected)
        exchange.traded(10)
        await until(lambda: intake.events["TradeGapSuspected"] == 1)
        await until(lambda: intake.sequences["BTC-USDT"].last == NOW + 10 and not intake.holes)
    messages = await contents(log)
    found = records(messages, "trade")
    ids = (found["trade_id"] - NOW).tolist()
    assert ids[:4] == [1, 2, 3, 4] and ids[-1] == 10 and len(set(ids)) == len(ids)
    assert found["flags"][2] == RecordFlag.FILLED
    assert names(messages).count("TradeGapSuspected") == 1


@pytest.mark.integration
async def test_bars_that_have_ended_are_told_once_and_held_against_the_trades(monkeypatch):
    """What the exchange does not answer is asked for again, with the minutes after it."""
    monkeypatch.setattr(ccxt_bridge, "BARS_AGAIN_S", 0.01)
    begin = NOW // MINUTE_MS * MINUTE_MS
    clock = [begin + 10_000]
    exchange, log = Exchange(), MemoryLog("LOG", LOG_SUBJECTS)
    bridge = Bridge(exchange, lambda: clock[0])
    await bridge.load()

    def bar(minute: int, volume: str = "1.5") -> list[Any]:
        return [str(begin + minute * MINUTE_MS), "100", 101.5, "99", "100.5", volume]

    async with fed(bridge, log, "FAKE") as feed:
        await until(lambda: feed.feeds and feed.feeds[0].connected)
        await asyncio.sleep(0.1)
        assert not exchange.asked, "no minute has ended"
        clock[0] = begin + MINUTE_MS + 4_000
        await until(lambda: len(exchange.asked) == 1)
        exchange.bars.put_nowait(ConnectionResetError("away"))
        clock[0] = begin + 3 * MINUTE_MS + 4_000
        exchange.bars.put_nowait([bar(-1), bar(0), bar(1, "2"), [*bar(2)[:5], None], bar(3)])
        intake = feed.feeds[0].intake
        await until(lambda: intake.counts["venue_bars"] == 2)
        clock[0] = begin + 500 * MINUTE_MS
        await until(lambda: len(exchange.asked) == 3)
        exchange.bars.put_nowait([])
    assert exchange.asked == [
        ("BTC/USDT", "1m", begin, 2),
        ("BTC/USDT", "1m", begin, 4),
        ("BTC/USDT", "1m", begin + (499 - 60) * MINUTE_MS, 61),
    ]
    found = records(await contents(log), "venue_bar")
    assert found["ts_open"].tolist() == [begin * MS, (begin + MINUTE_MS) * MS]
    assert found["ts_event"].tolist() == [(begin + m * MINUTE_MS) * MS for m in (1, 2)]
    assert found["high"].tolist() == [10_150_000_000] * 2
    assert found["volume_lo"].tolist() == [150_000_000, 200_000_000]


async def test_bars_of_many_symbols_are_asked_for_one_after_the_other():
    """ccxt paces requests: those that fill trades do not wait for bars of all symbols."""
    clock, exchange = [NOW // MINUTE_MS * MINUTE_MS], Exchange()
    exchange.markets["ETH/USDT"] = exchange.markets["BTC/USDT"] | {"symbol": "ETH/USDT"}
    bridge = Bridge(exchange, lambda: clock[0])
    async with bridge.listening("127.0.0.1", 0):
        await bridge.load()
        for raw in exchange.markets:
            bridge._watch(raw)
        await asyncio.sleep(0)
        clock[0] += MINUTE_MS + 4_000
        for asked in (1, 2):
            await until(lambda asked=asked: len(exchange.asked) == asked)
            await asyncio.sleep(0.1)
            assert len(exchange.asked) == asked
            exchange.bars.put_nowait([])
    assert {symbol for symbol, *_ in exchange.asked} == set(exchange.markets)


@pytest.mark.integration
async def test_bars_of_contracts_are_not_asked_for():
    """ccxt does not tell what their volume counts."""
    exchange = Exchange()
    exchange.markets["BTC/USDT"]["type"] = "swap"
    bridge = Bridge(exchange, lambda: NOW)
    await bridge.load()
    async with fed(bridge, MemoryLog("LOG", LOG_SUBJECTS), "FAKE") as feed:
        await until(lambda: feed.feeds and feed.feeds[0].connected)
        assert len(bridge._watching["BTC/USDT"]) == 2


@pytest.mark.integration
async def test_ccxt_itself_reads_the_simulated_okx_through_the_bridge_into_the_log():
    """An independent client understands our OKX, and its trades are those of the record."""
    if importlib.util.find_spec("ccxt") is None:
        pytest.skip("ccxt is not installed: the extra `exchanges`")
    log = MemoryLog("LOG", LOG_SUBJECTS)
    async with simulated("OKX", ("SPOT",), rate=400.0) as it:
        urls = {"api": {"rest": f"http://{it.address}", "ws": f"ws://{it.address}/ws/v5"}}
        options = {"fetchMarkets": {"types": ["spot"]}, "defaultType": "spot"}
        exchange = exchange_of("okx", {"urls": urls, "options": options})
        bridge = Bridge(exchange, lambda: it.clock() // 1000)
        await bridge.load()
        async with fed(bridge, log, "OKX") as feed:
            await until(lambda: feed.feeds and feed.feeds[0].intake.counts["trades"] > 60, 40.0)
            await until(lambda: feed.feeds[0].intake.counts["quotes"] > 5)
            await until(lambda: feed.feeds[0].intake.counts["venue_bars"] > 0, 90.0)
        messages = await contents(log)
        found, bars = records(messages, "trade"), records(messages, "venue_bar")
        rows = it.exchange.market("SPOT", "BTCUSDT").history.trades(1, 100_000).tolist()
    tick, lot = (it.exchange.market("SPOT", "BTCUSDT").symbol.tick, 10 ** (8 - 5))
    traded = {(row[1] * tick, row[3] // 1000) for row in rows}
    assert {(int(r["price"]), int(r["ts_event"]) // MS) for r in found} <= traded
    assert sum(int(r["quantity"]) for r in found) % lot == 0
    assert (np.diff(found["ts_event"]) >= 0).all()
    opened, volume = int(bars["ts_open"][0]), int(bars["volume_lo"][0])
    mine = [row[2] for row in rows if opened <= row[3] * 1000 < opened + MINUTE_MS * MS]
    assert volume == sum(mine) * lot
