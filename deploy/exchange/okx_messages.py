"""OKX's messages as text: numbers are strings without zeros at their end, times are milliseconds.

After the push data examples of "Order Book Trading / Market Data" and "Public Data" of OKX's API
guide (www.okx.com/docs-v5/en, 2026-07-02 to 2026-08-09). Quantities of swaps are contracts.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any
from zlib import crc32

import numpy as np
import orjson
from numpy.typing import NDArray

from tidemill.deploy.exchange.contract import FUNDING_US, Derivative, next_funding_us
from tidemill.deploy.exchange.depth import Rows
from tidemill.deploy.exchange.market import Liquidation, Market, Status
from tidemill.deploy.exchange.numbers import plain
from tidemill.deploy.exchange.symbols import DECIMALS, Symbol
from tidemill.processors.kernels.order_book import BUY

Entry = dict[str, Any]

CHECKED_LEVELS = 25
STATES = {Status.TRADING: "live", Status.HALTED: "suspend", Status.DELISTED: "expired"}
LISTED_MS = 1_548_133_413_000
"""When everything was listed that is there from the start: BTC-USDT's own listing."""


def push(arg: dict[str, str], data: Sequence[Any], action: str = "") -> str:
    """A message of a channel."""
    message: Entry = {"arg": arg, "data": data}
    if action:
        message = {"arg": arg, "action": action, "data": data}
    return orjson.dumps(message).decode()


def trade(symbol: Symbol, row: Sequence[int]) -> Entry:
    """One trade, as ``trades-all`` has it (history.TRADE_DTYPE as a tuple)."""
    trade_id, price, qty, time_us, _, buyer_is_maker = row
    return {
        "instId": symbol.raw,
        "tradeId": str(trade_id),
        "px": plain(price, symbol.price_places),
        "sz": plain(qty, symbol.qty_places),
        "side": "sell" if buyer_is_maker else "buy",
        "source": "0",
        "ts": str(time_us // 1_000),
    }


def aggregates(symbol: Symbol, rows: Sequence[Sequence[int]], seq_id: int) -> Iterator[Entry]:
    """Trades by taker order and price, as ``trades`` has them: under the last of their ids."""
    for _, group in groupby(rows, key=lambda row: row[4]):
        same = list(group)
        quantity = plain(sum(row[2] for row in same), symbol.qty_places)
        last = trade(symbol, same[-1])
        yield last | {"sz": quantity, "count": str(len(same)), "seqId": seq_id}


def levels(symbol: Symbol, rows: Rows) -> list[list[str]]:
    """(price, quantity, always 0, number of orders); orders are not counted here: one, or none."""
    return [
        [plain(price, symbol.price_places), plain(qty, symbol.qty_places), "0", "1" if qty else "0"]
        for price, qty in rows
    ]


def book(
    symbol: Symbol, bids: Rows, asks: Rows, ids: tuple[int, int], time_us: int, checksum: int
) -> Entry:
    """A snapshot or change of the book; `ids` are prevSeqId and seqId."""
    return {
        "asks": levels(symbol, asks),
        "bids": levels(symbol, bids),
        "ts": str(time_us // 1_000),
        "checksum": checksum,
        "prevSeqId": ids[0],
        "seqId": ids[1],
    }


def checksum(symbol: Symbol, bids: Rows, asks: Rows) -> int:
    """CRC32 (signed) of the best 25 levels of a book, as OKX sent it until June 2026."""
    sides = levels(symbol, bids[:CHECKED_LEVELS]), levels(symbol, asks[:CHECKED_LEVELS])
    parts = [
        ":".join(side[depth][:2])
        for depth in range(CHECKED_LEVELS)
        for side in sides
        if depth < len(side)
    ]
    unsigned = crc32(":".join(parts).encode())
    return unsigned - (1 << 32) if unsigned >= 1 << 31 else unsigned


def best(symbol: Symbol, quote: Sequence[int], time_us: int) -> Entry:
    """The best level of each side (flow.QUOTE_DTYPE as a tuple)."""
    update_id, bid, bid_qty, ask, ask_qty = quote[:5]
    return {
        "asks": levels(symbol, [(ask, ask_qty)]),
        "bids": levels(symbol, [(bid, bid_qty)]),
        "ts": str(time_us // 1_000),
        "seqId": update_id,
    }


def ticker(market: Market, day: Sequence[NDArray[np.void]], time_us: int) -> Entry:
    """The last trade, the best levels and a day; `day` are klines (1,) of it, the oldest first."""
    symbol = market.symbol
    bid, bid_qty, ask, ask_qty = market.best()
    last = market.history.trades(market.history.last_id, 1)
    rows = np.concatenate(day) if day else None

    def price(ticks: int) -> str:
        return plain(int(ticks), symbol.price_places)

    def of_day(name: str, kind: str) -> str:
        return price(getattr(rows[name], kind)()) if rows is not None else ""

    volume = int(rows["volume"].sum()) if rows is not None else 0
    turnover = int(rows["quote_volume"].sum()) if rows is not None else 0
    opened = price(rows["open"][0]) if rows is not None else ""
    return {
        "instType": symbol.product,
        "instId": symbol.raw,
        "last": price(last["price"][0]) if last.size else "",
        "lastSz": plain(int(last["qty"][0]), symbol.qty_places) if last.size else "",
        "askPx": price(ask),
        "askSz": plain(ask_qty, symbol.qty_places),
        "bidPx": price(bid),
        "bidSz": plain(bid_qty, symbol.qty_places),
        "open24h": opened,
        "high24h": of_day("high", "max"),
        "low24h": of_day("low", "min"),
        "volCcy24h": _in_currency(symbol, volume, turnover),
        "vol24h": plain(volume, symbol.qty_places),
        "sodUtc0": opened,
        "sodUtc8": opened,
        "ts": str(time_us // 1_000),
    }


def candle(symbol: Symbol, row: NDArray[np.void], closed: bool) -> list[str]:
    """One bar (1,) KLINE_DTYPE; `vol` in contracts or base, `volCcyQuote` always in quote."""
    kline = row[0]
    prices = [
        plain(int(kline[name]), symbol.price_places) for name in ("open", "high", "low", "close")
    ]
    volume, turnover = int(kline["volume"]), int(kline["quote_volume"])
    return [
        str(int(kline["open_us"]) // 1_000),
        *prices,
        plain(volume, symbol.qty_places),
        _in_currency(symbol, volume, turnover),
        _in_quote(symbol, turnover),
        "1" if closed else "0",
    ]


def _in_quote(symbol: Symbol, ticks_times_lots: int) -> str:
    places = symbol.price_places + symbol.qty_places - symbol.contract_places
    return plain(ticks_times_lots, places)


def _in_currency(symbol: Symbol, lots: int, ticks_times_lots: int) -> str:
    """What OKX calls volCcy: of derivatives the base currency, of spot the quote currency."""
    if symbol.derivative:
        return plain(lots, symbol.qty_places - symbol.contract_places)
    return _in_quote(symbol, ticks_times_lots)


def funding_rate(symbol: Symbol, values: Derivative, time_us: int) -> Entry:
    """The rate that is paid next."""
    paid_us = next_funding_us(time_us)
    return {
        "formulaType": "withRate",
        "fundingRate": plain(values.funding_rate, DECIMALS),
        "fundingTime": str(paid_us // 1_000),
        "impactValue": "",
        "instId": symbol.raw,
        "instType": symbol.product,
        "interestRate": "0.0001",
        "maxFundingRate": "0.0075",
        "method": "current_period",
        "minFundingRate": "-0.0075",
        "nextFundingRate": "",
        "nextFundingTime": str((paid_us + FUNDING_US) // 1_000),
        "premium": "",
        "settFundingRate": "",
        "settState": "settled",
        "ts": str(time_us // 1_000),
    }


def mark_price(symbol: Symbol, values: Derivative, time_us: int) -> Entry:
    """The mark price."""
    return {
        "instType": symbol.product,
        "instId": symbol.raw,
        "markPx": plain(values.mark // symbol.tick, symbol.price_places),
        "ts": str(time_us // 1_000),
    }


def index_ticker(symbol: Symbol, values: Derivative, time_us: int) -> Entry:
    """The index, under its own name."""
    price = plain(values.index // symbol.tick, symbol.price_places)
    day = dict.fromkeys(("high24h", "sodUtc0", "open24h", "low24h", "sodUtc8"), price)
    return {"instId": index_of(symbol), "idxPx": price, **day, "ts": str(time_us // 1_000)}


def open_interest(symbol: Symbol, values: Derivative, time_us: int) -> Entry:
    """What is open, in contracts and in base."""
    lots = values.open_interest
    worth = lots * values.mark
    places = symbol.qty_places - symbol.contract_places
    return {
        "instType": symbol.product,
        "instId": symbol.raw,
        "oi": plain(lots, symbol.qty_places),
        "oiCcy": plain(lots, places),
        "oiUsd": plain(worth, places + DECIMALS),
        "ts": str(time_us // 1_000),
    }


def liquidation(symbol: Symbol, done: Liquidation) -> Entry:
    """A liquidation: a short's is bought, a long's sold."""
    bought = done.side == BUY
    return {
        "details": [
            {
                "bkLoss": "0",
                "bkPx": plain(done.price, symbol.price_places),
                "ccy": "",
                "posSide": "short" if bought else "long",
                "side": "buy" if bought else "sell",
                "sz": plain(done.qty, symbol.qty_places),
                "ts": str(done.time_us // 1_000),
            }
        ],
        "instFamily": index_of(symbol),
        "instId": symbol.raw,
        "instType": symbol.product,
        "uly": index_of(symbol),
    }


def instrument(market: Market) -> Entry:
    """What an instrument is."""
    symbol, contract = market.symbol, market.symbol.derivative
    lot = plain(1, symbol.qty_places)
    most = "9999999999.0000000000000000"
    return {
        "alias": "",
        "auctionEndTime": "",
        "baseCcy": "" if contract else symbol.base,
        "category": "1",
        "contTdSwTime": "",
        "ctMult": "1" if contract else "",
        "ctType": "linear" if contract else "",
        "ctVal": plain(1, -symbol.contract_places) if contract else "",
        "ctValCcy": symbol.base if contract else "",
        "expTime": "",
        "futureSettlement": False,
        "groupId": "1",
        "instCategory": "1",
        "instFamily": index_of(symbol) if contract else "",
        "instId": symbol.raw,
        "instIdCode": crc32(symbol.raw.encode()),
        "instType": symbol.product,
        "lever": "10",
        "listTime": str(LISTED_MS),
        "lotSz": lot,
        "maxIcebergSz": most,
        "maxLmtAmt": "20000000",
        "maxLmtSz": "9999999999",
        "maxMktAmt": "" if contract else "1000000",
        "maxMktSz": "1000000",
        "maxStopSz": "1000000",
        "maxTriggerSz": most,
        "maxTwapSz": most,
        "minSz": lot,
        "openType": "",
        "optType": "",
        "preMktSwTime": "",
        "quoteCcy": "" if contract else symbol.quote,
        "ruleType": "normal",
        "settleCcy": symbol.quote if contract else "",
        "state": STATES[market.status],
        "stk": "",
        "tickSz": plain(1, symbol.price_places),
        "uly": index_of(symbol) if contract else "",
        "upcChg": [],
    }


def index_of(symbol: Symbol) -> str:
    """The index of an instrument, and the name of its family."""
    return f"{symbol.base}-{symbol.quote}"
