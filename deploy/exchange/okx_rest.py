"""OKX's public REST endpoints, of markets in memory.

After OKX's API guide (www.okx.com/docs-v5/en, 2026-07 and 08): paths, parameters, defaults, error
codes, bodies. What is newest comes first. Different here: history reaches back as far as it is
kept, and candles are of one minute to one day.
"""

from collections.abc import Callable, Iterable
from typing import Any

from tidemill.deploy.exchange import okx_messages as messages
from tidemill.deploy.exchange.history import INTERVALS_US, bucket_us
from tidemill.deploy.exchange.market import Market
from tidemill.deploy.exchange.okx_streams import OF_CONTRACTS, Publisher
from tidemill.deploy.exchange.record import Book

Query = dict[str, str]
PREFIX = "/api/v5/"
BARS = {"1m": "1m", "3m": "3m", "5m": "5m", "15m": "15m", "30m": "30m", "1H": "1h", "2H": "2h",
        "4H": "4h", "6H": "6h", "12H": "12h", "1Dutc": "1d"}  # fmt: skip
TYPES = ("SPOT", "SWAP")


class Refused(Exception):
    """A request that OKX answers with an error code; `status` is that of HTTP."""

    def __init__(self, code: str, msg: str, status: int = 200) -> None:
        super().__init__(msg)
        self.body = {"code": code, "data": [], "msg": msg}
        self.status = status


class Rest:
    """The endpoints over the `publishers` of the markets that are listed, by instrument id."""

    def __init__(
        self,
        publishers: dict[str, Publisher],
        markets: dict[str, Market],
        snapshot: Callable[[Market, int], Book],
        now_us: Callable[[], int],
    ) -> None:
        self._publishers = publishers
        self._markets = markets
        self._snapshot = snapshot
        self._now_us = now_us
        self._routes: dict[str, Callable[[Query], list[Any]]] = {
            "public/time": self._time,
            "public/instruments": self._instruments,
            "market/trades": self._trades,
            "market/history-trades": self._history_trades,
            "market/books": self._books,
            "market/candles": self._candles,
            "market/history-candles": self._candles,
            "market/ticker": self._ticker,
            "market/tickers": self._tickers,
            "market/index-tickers": self._index,
            **{f"public/{name}": self._of_contract(name) for name in OF_CONTRACTS},
        }

    def known(self, path: str) -> bool:
        """Whether there is anything at `path`."""
        return path.removeprefix(PREFIX) in self._routes and path.startswith(PREFIX)

    def answer(self, path: str, query: Query) -> dict[str, Any]:
        """The body of a GET. Raises Refused."""
        return {"code": "0", "data": self._routes[path.removeprefix(PREFIX)](query), "msg": ""}

    def _market(self, query: Query) -> Market:
        name = query.get("instId", "")
        if not name:
            raise Refused("50014", "Parameter instId cannot be empty", 400)
        market = self._markets.get(name)
        if market is None:
            raise Refused("51001", f"Instrument ID, {name} doesn't exist.")
        return market

    def _of_type(self, query: Query) -> Iterable[Market]:
        product = query.get("instType", "")
        if product not in TYPES:
            raise Refused("51000", "Parameter instType error", 400)
        found = [m for m in self._markets.values() if m.symbol.product == product]
        if "instId" in query:
            found = [market for market in found if market.symbol.raw == query["instId"]]
            if not found:
                raise Refused("51001", f"Instrument ID, {query['instId']} doesn't exist.")
        return found

    def _time(self, query: Query) -> list[Any]:
        return [{"ts": str(self._now_us() // 1_000)}]

    def _instruments(self, query: Query) -> list[Any]:
        return [messages.instrument(market) for market in self._of_type(query)]

    def _trades(self, query: Query) -> list[Any]:
        market, limit = self._market(query), _number(query, "limit", 100, 500)
        return _newest(market, market.history.last_id - limit + 1, limit)

    def _history_trades(self, query: Query) -> list[Any]:
        """Trades below the id `after`, or above the id `before` (type 1)."""
        market, limit = self._market(query), _number(query, "limit", 100, 100)
        if query.get("type", "1") != "1":
            raise Refused("51000", "Parameter type error", 400)
        below = _number(query, "after", market.history.last_id + 1, 1 << 62)
        first = max(below - limit, _number(query, "before", 0, 1 << 62) + 1, 1)
        return _newest(market, first, max(0, below - first))

    def _books(self, query: Query) -> list[Any]:
        market = self._market(query)
        book = self._snapshot(market, _number(query, "sz", 1, 400))
        symbol = market.symbol
        return [
            {
                "asks": messages.levels(symbol, book.asks),
                "bids": messages.levels(symbol, book.bids),
                "ts": str(self._now_us() // 1_000),
                "seqId": book.update_id,
            }
        ]

    def _candles(self, query: Query) -> list[Any]:
        """Bars that open before `after` and after `before` (ms), the newest first."""
        market, limit = self._market(query), _number(query, "limit", 100, 300)
        interval = BARS.get(query.get("bar", "1m"))
        if interval is None:
            raise Refused("51000", "Parameter bar error", 400)
        length, current = INTERVALS_US[interval], bucket_us(interval, self._now_us())
        after = _number(query, "after", 1 << 50, 1 << 50) * 1_000
        before = _number(query, "before", 0, 1 << 50) * 1_000
        last = min(current, bucket_us(interval, after - 1))
        first = max(last - (limit - 1) * length, bucket_us(interval, before) + length)
        first = max(first, market.history.oldest_kline_us(interval))
        rows = market.history.klines(interval, first, last)
        return [
            messages.candle(market.symbol, row, int(row[0]["open_us"]) < current)
            for row in reversed(rows)
        ]

    def _ticker(self, query: Query) -> list[Any]:
        publisher = self._publishers[self._market(query).symbol.raw]
        return [publisher.ticker(self._now_us())]

    def _tickers(self, query: Query) -> list[Any]:
        now_us = self._now_us()
        return [self._publishers[m.symbol.raw].ticker(now_us) for m in self._of_type(query)]

    def _index(self, query: Query) -> list[Any]:
        return self._contracts("index-tickers", {"instId": query.get("instId", "") + "-SWAP"})

    def _of_contract(self, channel: str) -> Callable[[Query], list[Any]]:
        def answer(query: Query) -> list[Any]:
            return self._contracts(channel, query)

        return answer

    def _contracts(self, channel: str, query: Query) -> list[Any]:
        """What a channel says now, of one contract or of all of a type."""
        markets = self._of_type(query) if "instType" in query else [self._market(query)]
        entries = []
        for market in markets:
            publisher = self._publishers[market.symbol.raw]
            values = publisher.values()
            if values is None:
                raise Refused("51000", "Parameter instId error", 400)
            entries.append(publisher.derivative(channel, values, self._now_us()))
        return entries


def _newest(market: Market, first_id: int, count: int) -> list[Any]:
    """Trades from `first_id` on, the newest first."""
    rows = market.history.trades(max(1, first_id), count).tolist()
    return [messages.trade(market.symbol, row) for row in reversed(rows)]


def _number(query: Query, name: str, default: int, maximum: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise Refused("51000", f"Parameter {name} error", 400)
    return min(int(text), maximum)
