"""Bybit's public REST endpoints, of markets in memory.

After the requests and responses of market/* of Bybit's V5 documents (bybit-exchange.github.io,
2026-07-15): paths, parameters, defaults, codes, bodies. What is newest comes first. Different here:
history reaches back as far as it is kept, klines are of one minute to one day, and numbers that are
out of range are cut to it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from tidemill.deploy.exchange import bybit_messages as messages
from tidemill.deploy.exchange.bybit_streams import Publisher
from tidemill.deploy.exchange.history import INTERVALS_US, bucket_us
from tidemill.deploy.exchange.market import Market, Status
from tidemill.deploy.exchange.record import Book

Query = dict[str, str]
Key = tuple[str, str]
"""Product and Bybit's symbol."""
PREFIX = "/v5/market/"
PRODUCTS = {"spot": "SPOT", "linear": "LINEAR"}
STATUSES = {"PreLaunch", "Trading", "Delivering", "Closed"}
INTERVALS = {"1": "1m", "3": "3m", "5": "5m", "15": "15m", "30": "30m", "60": "1h", "120": "2h",
             "240": "4h", "360": "6h", "720": "12h", "D": "1d"}  # fmt: skip


class Refused(Exception):
    """A request that Bybit answers with a code."""

    def __init__(self, code: int, msg: str) -> None:
        super().__init__(msg)
        self.code = code


class Rest:
    """The endpoints over the markets that are listed and their `publishers`."""

    def __init__(
        self,
        markets: Mapping[Key, Market],
        closed: Sequence[Market],
        publishers: Mapping[Key, Publisher],
        snapshot: Callable[[Market, int], Book],
        now_us: Callable[[], int],
    ) -> None:
        self._markets, self._closed, self._publishers = markets, closed, publishers
        self.page_max = 1_000
        self._snapshot, self._now_us = snapshot, now_us
        self._routes: dict[str, Callable[[Query], dict[str, Any]]] = {
            "time": self._time,
            "instruments-info": self._instruments,
            "recent-trade": self._trades,
            "orderbook": self._book,
            "kline": self._klines,
            "tickers": self._tickers,
        }

    def known(self, path: str) -> bool:
        """Whether there is anything at `path`."""
        return path.startswith(PREFIX) and path.removeprefix(PREFIX) in self._routes

    def answer(self, path: str, query: Query) -> dict[str, Any]:
        """The body of a GET."""
        try:
            result, code, msg = self._routes[path.removeprefix(PREFIX)](query), 0, "OK"
        except Refused as refused:
            result, code, msg = {}, refused.code, str(refused)
        return body(result, code, msg, self._now_us())

    def _category(self, query: Query) -> tuple[str, str]:
        category = query.get("category", "")
        product = PRODUCTS.get(category)
        if product is None:
            raise Refused(10001, "params error: Category is invalid")
        return category, product

    def _market(self, query: Query) -> Market:
        _, product = self._category(query)
        market = self._markets.get((product, query.get("symbol", "")))
        if market is None:
            raise Refused(10001, "Not supported symbols")
        return market

    def _of(self, query: Query) -> list[Market]:
        """The markets of a category, or one of them."""
        _, product = self._category(query)
        if "symbol" in query:
            return [self._market(query)]
        return [market for (of, _), market in self._markets.items() if of == product]

    def _time(self, query: Query) -> dict[str, Any]:
        now_us = self._now_us()
        return {"timeSecond": str(now_us // 1_000_000), "timeNano": f"{now_us}000"}

    def _instruments(self, query: Query) -> dict[str, Any]:
        """Those that trade, unless another status or one of them is asked for; in pages.

        Spot has those that trade only. A cursor names the last one of its page, escaped.
        """
        category, product = self._category(query)
        status = query.get("status") or ("" if "symbol" in query else "Trading")
        if status and status not in STATUSES:
            raise Refused(10001, "params error: status invalid")
        asked = self._of(query)
        if status == "Closed":
            asked = [market for market in self._closed if market.symbol.product == product]
        kept = {"Trading"} if product == messages.SPOT else {status} if status else STATUSES
        asked = [market for market in asked if messages.STATUSES[market.status] in kept]
        found = [messages.instrument(market) for market in asked]
        if product == messages.SPOT:
            return {"category": category, "list": found if status in ("", "Trading") else []}
        after, limit = query.get("cursor", ""), _number(query, "limit", 500, self.page_max)
        found.sort(key=lambda entry: str(entry["symbol"]))
        rest = [entry for entry in found if f"last={entry['symbol']}" > after]
        page = rest[:limit]
        more = quote(f"last={page[-1]['symbol']}", safe="") if len(rest) > limit else ""
        return {"nextPageCursor": more, "category": category, "list": page}

    def _trades(self, query: Query) -> dict[str, Any]:
        market, (category, product) = self._market(query), self._category(query)
        most = 60 if product == "SPOT" else 1_000
        limit = _number(query, "limit", min(most, 500), most)
        history = market.history
        rows = history.trades(max(1, history.last_id - limit + 1), limit).tolist()
        trades = [messages.past_trade(market.symbol, row) for row in reversed(rows)]
        return {"category": category, "list": trades}

    def _book(self, query: Query) -> dict[str, Any]:
        """The number is that of the deepest channel that shows as much."""
        market, (_, product) = self._market(query), self._category(query)
        limit = _number(query, "limit", 1 if product == "SPOT" else 25, 1_000)
        book, now_ms = self._snapshot(market, limit), self._now_us() // 1_000
        said = messages.book(market.symbol, book.bids, book.asks, book.update_id, book.update_id)
        return {**said, "ts": now_ms, "cts": now_ms}

    def _klines(self, query: Query) -> dict[str, Any]:
        market, (category, _) = self._market(query), self._category(query)
        interval = INTERVALS.get(query.get("interval", ""))
        if interval is None:
            raise Refused(10001, "Invalid period!")
        length = INTERVALS_US[interval]
        limit = _number(query, "limit", 200, 1_000)
        end = _number(query, "end", self._now_us() // 1_000, 1 << 50) * 1_000
        last = bucket_us(interval, min(end, self._now_us()))
        start = _number(query, "start", 0, 1 << 50) * 1_000
        first = max(last - (limit - 1) * length, -(-start // length) * length)
        first = max(first, market.history.oldest_kline_us(interval))
        rows = market.history.klines(interval, first, last)
        bars = [messages.past_kline(market.symbol, row) for row in reversed(rows)]
        return {"symbol": market.symbol.raw, "category": category, "list": bars}

    def _tickers(self, query: Query) -> dict[str, Any]:
        category, product = self._category(query)
        found = [m for m in self._of(query) if m.status == Status.TRADING]
        now_us = self._now_us()
        values = [self._publishers[product, m.symbol.raw].values(now_us) for m in found]
        return {"category": category, "list": values}


def body(result: dict[str, Any], code: int, msg: str, now_us: int) -> dict[str, Any]:
    """What every answer looks like."""
    return {
        "retCode": code,
        "retMsg": msg,
        "result": result,
        "retExtInfo": {},
        "time": now_us // 1_000,
    }


def _number(query: Query, name: str, default: int, maximum: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise Refused(10001, f"params error: {name} invalid")
    return min(int(text), maximum)
