"""Bybit's messages as text: numbers are strings with the places of their step, times milliseconds.

After the response examples of websocket/public/{orderbook,trade,ticker,kline,all-liquidation} and
market/{instrument,recent-trade,kline,tickers} of Bybit's V5 documents (bybit-exchange.github.io,
2026-07-15) and a capture of 2026-08-09.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid5
from zlib import crc32

import numpy as np
import orjson
from numpy.typing import NDArray

from tidemill.deploy.exchange.contract import FUNDING_US, next_funding_us
from tidemill.deploy.exchange.depth import Rows
from tidemill.deploy.exchange.market import Liquidation, Market, Status
from tidemill.deploy.exchange.numbers import DECIMALS, fixed, plain
from tidemill.deploy.exchange.symbols import Symbol
from tidemill.processors.kernels.order_book import BUY

Entry = dict[str, Any]

SPOT = "SPOT"
STATUSES = {Status.TRADING: "Trading", Status.HALTED: "Delivering", Status.DELISTED: "Closed"}
LAUNCHED_MS = 1_584_230_400_000
"""When every contract was launched that is there from the start: BTCUSDT's own."""
SEQ_BASE = 700_000_000_000
SPOT_ID_BASE = 2_290_000_000_000_000_000
_TRADES = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")


def push(topic: str, kind: str, data: Any, time_us: int, **more: Any) -> str:
    """A message of a topic."""
    message = {"topic": topic, "type": kind, "ts": time_us // 1_000, "data": data, **more}
    return orjson.dumps(message).decode()


def price(symbol: Symbol, ticks: int) -> str:
    """A price with the places of the tick."""
    return fixed(ticks, symbol.price_places)


def quantity(symbol: Symbol, lots: int) -> str:
    """A quantity with the places of the lot; nothing is "0"."""
    return fixed(lots, symbol.qty_places) if lots else "0"


def trade_id(symbol: Symbol, number: int) -> str:
    """A UUID of a contract's trade; a number of a spot trade, unique over all symbols."""
    if symbol.product == SPOT:
        return str(SPOT_ID_BASE + number * 1_000 + crc32(symbol.raw.encode()) % 1_000)
    return str(uuid5(_TRADES, f"{symbol.raw}:{number}"))


def trade(symbol: Symbol, row: Sequence[int]) -> Entry:
    """One trade of publicTrade (history.TRADE_DTYPE as a tuple)."""
    number, ticks, lots, time_us, order, buyer_is_maker = row
    tick = {} if symbol.product == SPOT else {"L": "ZeroPlusTick"}
    return {
        "T": time_us // 1_000,
        "s": symbol.raw,
        "S": "Sell" if buyer_is_maker else "Buy",
        "v": quantity(symbol, lots),
        "p": price(symbol, ticks),
        **tick,
        "i": trade_id(symbol, number),
        "BT": False,
        "RPI": False,
        "seq": SEQ_BASE + order,
    }


def past_trade(symbol: Symbol, row: Sequence[int]) -> Entry:
    """One trade of recent-trade."""
    said = trade(symbol, row)
    return {
        "execId": said["i"],
        "symbol": symbol.raw,
        "price": said["p"],
        "size": said["v"],
        "side": said["S"],
        "time": str(said["T"]),
        "isBlockTrade": False,
        "isRPITrade": False,
        "seq": str(said["seq"]),
    }


def levels(symbol: Symbol, rows: Rows) -> list[list[str]]:
    """(price, quantity)."""
    return [[price(symbol, ticks), quantity(symbol, lots)] for ticks, lots in rows]


def book(symbol: Symbol, bids: Rows, asks: Rows, number: int, update_id: int) -> Entry:
    """A snapshot or what changed; `number` is u."""
    return {
        "s": symbol.raw,
        "b": levels(symbol, bids),
        "a": levels(symbol, asks),
        "u": number,
        "seq": SEQ_BASE + update_id,
    }


def kline(
    symbol: Symbol, row: NDArray[np.void], before: NDArray[np.void] | None, time_us: int
) -> Entry:
    """One bar (1,) KLINE_DTYPE of a minute; it opens at the close of the one `before`."""
    one = row[0]
    opened = int(one["open"]) if before is None else int(before[0]["close"])
    start_ms = int(one["open_us"]) // 1_000
    closed = time_us // 1_000 >= start_ms + 60_000
    return {
        "start": start_ms,
        "end": start_ms + 59_999,
        "interval": "1",
        "open": plain(opened, symbol.price_places),
        "close": plain(int(one["close"]), symbol.price_places),
        "high": plain(max(opened, int(one["high"])), symbol.price_places),
        "low": plain(min(opened, int(one["low"])), symbol.price_places),
        "volume": plain(int(one["volume"]), symbol.qty_places),
        "turnover": plain(int(one["quote_volume"]), symbol.price_places + symbol.qty_places),
        "confirm": closed,
        "timestamp": time_us // 1_000,
    }


def past_kline(symbol: Symbol, row: NDArray[np.void]) -> list[str]:
    """One bar of GET kline: start, open, high, low, close, volume, turnover."""
    one = row[0]
    return [
        str(int(one["open_us"]) // 1_000),
        *(price(symbol, int(one[name])) for name in ("open", "high", "low", "close")),
        quantity(symbol, int(one["volume"])),
        fixed(int(one["quote_volume"]), symbol.price_places + symbol.qty_places),
    ]


def liquidation(symbol: Symbol, done: Liquidation) -> Entry:
    """A liquidated position: a long's order was sold."""
    return {
        "T": done.time_us // 1_000,
        "s": symbol.raw,
        "S": "Sell" if done.side == BUY else "Buy",
        "v": quantity(symbol, done.qty),
        "p": price(symbol, done.price),
    }


def ticker(market: Market, day: Sequence[NDArray[np.void]], time_us: int) -> Entry:
    """All values; `day` are klines (1,) of it, the oldest first."""
    symbol = market.symbol
    rows = np.concatenate(day) if day else None
    last = market.history.trades(market.history.last_id, 1)
    newest = int(last["price"][0]) if last.size else market.best()[0]
    first = int(rows["open"][0]) if rows is not None else newest
    high = int(rows["high"].max()) if rows is not None else newest
    low = int(rows["low"].min()) if rows is not None else newest
    volume = int(rows["volume"].sum()) if rows is not None else 0
    turnover = int(rows["quote_volume"].sum()) if rows is not None else 0
    said = {
        "symbol": symbol.raw,
        "lastPrice": price(symbol, newest),
        "highPrice24h": price(symbol, high),
        "lowPrice24h": price(symbol, low),
        "prevPrice24h": price(symbol, first),
        "volume24h": quantity(symbol, volume),
        "turnover24h": plain(turnover, symbol.price_places + symbol.qty_places),
        "price24hPcnt": f"{(newest - first) / first:.6f}",
    }
    if symbol.product == SPOT:
        return said | {"usdIndexPrice": ""}
    return said | _of_contract(market, newest, time_us)


def _of_contract(market: Market, newest: int, time_us: int) -> Entry:
    """What only a contract's ticker says."""
    symbol, contract = market.symbol, market.contract
    assert contract is not None
    values = contract.values
    bid, bid_lots, ask, ask_lots = market.best()
    worth = values.open_interest * values.mark // symbol.tick
    return {
        "tickDirection": "ZeroPlusTick",
        "prevPrice1h": price(symbol, newest),
        "markPrice": price(symbol, values.mark // symbol.tick),
        "indexPrice": price(symbol, values.index // symbol.tick),
        "openInterest": quantity(symbol, values.open_interest),
        "openInterestValue": fixed(worth, symbol.price_places + symbol.qty_places),
        "nextFundingTime": str(next_funding_us(time_us) // 1_000),
        "fundingRate": plain(values.funding_rate, DECIMALS),
        "bid1Price": price(symbol, bid),
        "bid1Size": quantity(symbol, bid_lots),
        "ask1Price": price(symbol, ask),
        "ask1Size": quantity(symbol, ask_lots),
        "fundingIntervalHour": str(FUNDING_US // 3_600_000_000),
        "fundingCap": "0.0075",
        "preOpenPrice": "",
        "preQty": "",
        "curPreListingPhase": "",
    }


def instrument(market: Market) -> Entry:
    """What an instrument is."""
    symbol = market.symbol
    tick, lot = price(symbol, 1), fixed(1, symbol.qty_places)
    said = {
        "symbol": symbol.raw,
        "baseCoin": symbol.base,
        "quoteCoin": symbol.quote,
        "status": STATUSES[market.status],
    }
    if symbol.product == SPOT:
        return said | {
            "innovation": "0",
            "marginTrading": "utaOnly",
            "lotSizeFilter": {
                "basePrecision": lot,
                "quotePrecision": fixed(1, symbol.price_places + symbol.qty_places),
                "minOrderQty": lot,
                "maxOrderQty": "100000000",
                "minOrderAmt": "5",
                "maxOrderAmt": "8000000",
            },
            "priceFilter": {"tickSize": tick},
            "symbolId": crc32(symbol.raw.encode()) % 100_000,
            "symbolType": "",
        }
    return said | {
        "contractType": "LinearPerpetual",
        "launchTime": str(LAUNCHED_MS),
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": str(symbol.price_places),
        "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
        "priceFilter": {"minPrice": tick, "maxPrice": "199999999", "tickSize": tick},
        "lotSizeFilter": {
            "maxOrderQty": "100000000",
            "minOrderQty": lot,
            "qtyStep": lot,
            "postOnlyMaxOrderQty": "100000000",
            "maxMktOrderQty": "10000000",
            "minNotionalValue": "5",
        },
        "unifiedMarginTrade": True,
        "fundingInterval": FUNDING_US // 60_000_000,
        "settleCoin": symbol.quote,
        "copyTrading": "both",
        "upperFundingRate": "0.0075",
        "lowerFundingRate": "-0.0075",
        "isPreListing": False,
        "preListingInfo": None,
        "displayName": "",
        "symbolId": crc32(symbol.raw.encode()) % 100_000,
        "symbolType": "",
    }
