"""Binance's public REST endpoints, of markets in memory: what its products share, and spot's.

After "Public Rest API for Binance" (spot API documents, change log up to 2026-09-18): paths,
parameters, defaults, weights (6,000 a minute), error codes and bodies; times in milliseconds, or
microseconds with the header X-MBX-TIME-UNIT. Different here: no signed endpoints, no 1M klines,
and history reaches back as far as it is kept (Binance's begins at id 0), so an answer may begin
later than was asked.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import orjson
from numpy.typing import NDArray

from tidemill.deploy.exchange import binance_messages as messages
from tidemill.deploy.exchange.history import INTERVALS_US, bucket_us
from tidemill.deploy.exchange.market import Market
from tidemill.deploy.exchange.protocol import Protocol
from tidemill.deploy.exchange.symbols import Symbol

Query = dict[str, str]


class BadRequest(Exception):
    """A request that Binance answers with status 400 and an error code."""

    def __init__(self, code: int, msg: str) -> None:
        super().__init__(msg)
        self.body = {"code": code, "msg": msg}


def _number(query: Query, name: str, default: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 20:
        legal = "legal range is '^[0-9]{1,20}$'"
        raise BadRequest(-1100, f"Illegal characters found in parameter '{name}'; {legal}.")
    return min(int(text), 2**52)


def limited(query: Query, default: int, maximum: int) -> int:
    """The `limit` of a query. Raises BadRequest."""
    limit = _number(query, "limit", default)
    if limit == 0:
        raise BadRequest(-1130, "Data sent for parameter 'limit' is not valid.")
    return min(limit, maximum)


def requested_levels(query: Query, default: int) -> int:
    """The `limit` of a depth request as its weight counts it."""
    limit = query.get("limit", str(default))
    return int(limit) if limit.isascii() and limit.isdigit() and len(limit) < 9 else 5_000


class BinanceRest(ABC):
    """The endpoints of every product. `clock_us` is the venue's clock, UTC."""

    weights: ClassVar[dict[str, int]] = {}
    aggregate_end = ""  # what follows the common fields of an aggregate trade

    def __init__(self, protocol: Protocol, clock_us: Callable[[], int]) -> None:
        self.protocol = protocol
        self._markets = protocol.markets
        self.clock_us = clock_us
        self.routes: dict[str, Callable[[Query, int], bytes]] = {
            "ping": lambda query, unit_us: b"{}",
            "time": self._time,
            "exchangeInfo": self.exchange_info,
            "depth": self.depth,
            "trades": self._trades,
            "historicalTrades": self._historical_trades,
            "aggTrades": self._agg_trades,
            "klines": self._klines,
            "ticker/bookTicker": self._book_ticker,
            "ticker/price": self._price,
        }

    def known(self, name: str) -> bool:
        """Whether there is an endpoint of this name."""
        return name in self.routes

    def weight(self, name: str, query: Query) -> int:
        """What a request costs, whether it succeeds or not."""
        return self.weights.get(name, 1)

    def answer(self, name: str, query: Query, unit_us: int) -> bytes:
        """The JSON body of a GET. Raises BadRequest."""
        return self.routes[name](query, unit_us)

    def market(self, query: Query) -> Market:
        """The market that `symbol` names. Raises BadRequest."""
        name = query.get("symbol", "")
        if not name:
            text = "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."
            raise BadRequest(-1102, text)
        return self._named(name)

    def _named(self, name: object) -> Market:
        market = self._markets.get(name) if isinstance(name, str) else None
        if market is None:
            raise BadRequest(-1121, "Invalid symbol.")
        return market

    def some(self, query: Query) -> list[Market]:
        """The markets that `symbol` or `symbols` names, all without either."""
        if "symbol" in query and "symbols" in query:
            raise BadRequest(-1128, "Combination of optional parameters invalid.")
        if "symbol" in query:
            return [self.market(query)]
        if "symbols" not in query:
            return list(self._markets.values())
        try:
            names = orjson.loads(query["symbols"])
        except orjson.JSONDecodeError:
            names = None
        if not isinstance(names, list) or not names:
            text = "Illegal characters found in parameter 'symbols'"
            raise BadRequest(-1100, text + "; legal range is '^\\[(\"[A-Z0-9-_.]{1,20}\")*\\]$'.")
        return [self._named(name) for name in names]

    def _time(self, query: Query, unit_us: int) -> bytes:
        return orjson.dumps({"serverTime": self.clock_us() // unit_us})

    @abstractmethod
    def exchange_info(self, query: Query, unit_us: int) -> bytes:
        """What is traded."""

    @abstractmethod
    def depth(self, query: Query, unit_us: int) -> bytes:
        """A snapshot of a book."""

    def _trades(self, query: Query, unit_us: int) -> bytes:
        market, limit = self.market(query), limited(query, 500, 1_000)
        return self._from(market, market.history.last_id - limit + 1, limit, unit_us)

    def _historical_trades(self, query: Query, unit_us: int) -> bytes:
        market, limit = self.market(query), limited(query, 500, 1_000)
        first_id = _number(query, "fromId", market.history.last_id - limit + 1)
        return self._from(market, first_id, limit, unit_us)

    def _from(self, market: Market, first_id: int, limit: int, unit_us: int) -> bytes:
        rows = market.history.trades(first_id, limit).tolist()
        return orjson.dumps([self.trade(market.symbol, row, unit_us) for row in rows])

    def trade(self, symbol: Symbol, row: Any, unit_us: int) -> dict[str, Any]:
        """One trade, as every product answers it."""
        return messages.rest_trade(symbol, row, unit_us)

    def _agg_trades(self, query: Query, unit_us: int) -> bytes:
        market, limit = self.market(query), limited(query, 500, 1_000)
        timed = "startTime" in query or "endTime" in query
        if "fromId" in query and timed:
            raise BadRequest(-1128, "Combination of optional parameters invalid.")
        history = market.history
        kept = history.trades(history.oldest_id(), history.last_id)
        if history.oldest_id() > 1 and kept.size:
            # The oldest aggregate may have lost its beginning: it is not whole, so not shown.
            kept = kept[kept["agg_id"] > kept["agg_id"][0]]
        if "startTime" in query:
            kept = kept[kept["time_us"] >= _number(query, "startTime", 0) * unit_us]
        if "endTime" in query:
            kept = kept[kept["time_us"] < (_number(query, "endTime", 0) + 1) * unit_us]
        if "fromId" in query:
            kept = kept[kept["agg_id"] >= _number(query, "fromId", 0)]
        kept = _aggregates_within(kept, limit, first="fromId" in query or "startTime" in query)
        texts = [
            f"{{{messages.agg_fields(market.symbol, rows, unit_us)}{self.aggregate_end}}}"
            for rows in messages.aggregates(kept.tolist())
        ]
        return f"[{','.join(texts)}]".encode()

    def _klines(self, query: Query, unit_us: int) -> bytes:
        market, limit = self.market(query), limited(query, 500, 1_000)
        interval = query.get("interval", "")
        if interval not in INTERVALS_US:
            raise BadRequest(-1120, "Invalid interval.")
        now = bucket_us(interval, self.clock_us())
        length = INTERVALS_US[interval]
        end = min(now, bucket_us(interval, _number(query, "endTime", 2**52) * unit_us))
        start = _number(query, "startTime", -1)
        if start >= 0:
            # The first that opens at or after the start.
            first = bucket_us(interval, start * unit_us + length - 1)
            first = max(first, market.history.oldest_kline_us(interval))
            end = min(end, first + (limit - 1) * length)
        else:
            first = end - (limit - 1) * length
        rows = market.history.klines(interval, first, end)
        return orjson.dumps(
            [
                messages.kline_array(
                    market.symbol, row, int(row[0]["open_us"]) + length - 1, unit_us
                )
                for row in rows
            ]
        )

    def _book_ticker(self, query: Query, unit_us: int) -> bytes:
        answers = [self.book_ticker(market, unit_us) for market in self.some(query)]
        return orjson.dumps(answers[0] if "symbol" in query else answers)

    def book_ticker(self, market: Market, unit_us: int) -> dict[str, Any]:
        """The best bid and offer of a market."""
        bid, bid_qty, ask, ask_qty = market.best()
        symbol = market.symbol
        return {
            "symbol": symbol.raw,
            "bidPrice": symbol.price_text(bid),
            "bidQty": symbol.qty_text(bid_qty),
            "askPrice": symbol.price_text(ask),
            "askQty": symbol.qty_text(ask_qty),
        }

    def _price(self, query: Query, unit_us: int) -> bytes:
        answers = [self.last_price(market, unit_us) for market in self.some(query)]
        return orjson.dumps(answers[0] if "symbol" in query else answers)

    def last_price(self, market: Market, unit_us: int) -> dict[str, Any]:
        """The price of the last trade; of the best bid before there is one."""
        last = market.history.trades(market.history.last_id, 1)
        ticks = int(last["price"][0]) if last.size else market.best()[0]
        return {"symbol": market.symbol.raw, "price": market.symbol.price_text(ticks)}


class SpotRest(BinanceRest):
    """Spot's endpoints."""

    weights: ClassVar[dict[str, int]] = {
        "exchangeInfo": 20,
        "trades": 25,
        "historicalTrades": 25,
        "aggTrades": 4,
        "klines": 2,
    }
    aggregate_end = ',"M":true'

    def weight(self, name: str, query: Query) -> int:
        if name == "depth":
            count = requested_levels(query, 100)
            return 5 if count <= 100 else 25 if count <= 500 else 50 if count <= 1_000 else 250
        if name.startswith("ticker/"):
            return 2 if "symbol" in query else 4
        return super().weight(name, query)

    def trade(self, symbol: Symbol, row: Any, unit_us: int) -> dict[str, Any]:
        return {**super().trade(symbol, row, unit_us), "isBestMatch": True}

    def exchange_info(self, query: Query, unit_us: int) -> bytes:
        weight = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1}
        return orjson.dumps(
            {
                "timezone": "UTC",
                "serverTime": self.clock_us() // unit_us,
                "rateLimits": [{**weight, "limit": self.protocol.allowed.weight_max}],
                "exchangeFilters": [],
                "symbols": [
                    messages.exchange_symbol(
                        market.symbol, "TRADING" if market.status == "TRADING" else "BREAK"
                    )
                    for market in self.some(query)
                ],
                "sors": [],
            }
        )

    def depth(self, query: Query, unit_us: int) -> bytes:
        market, limit = self.market(query), limited(query, 100, 5_000)
        book = self.protocol.snapshot(market, limit)
        return messages.depth_snapshot(market.symbol, book).encode()


def _aggregates_within(kept: NDArray[np.void], limit: int, *, first: bool) -> NDArray[np.void]:
    """The trades of the first or the last `limit` aggregates."""
    if not kept.size:
        return kept
    ids = kept["agg_id"]
    wanted: NDArray[np.bool_] = ids < ids[0] + limit if first else ids > ids[-1] - limit
    within: NDArray[np.void] = kept[wanted]
    return within
