"""What happened in one market of Binance, sent to whoever listens.

Streams: <symbol>@trade, @aggTrade, @bookTicker (at once); depth updates of every speed the product
has, and spot's @depth<5|10|20>[@100ms]; @kline_<interval> (every second for 1s, every two for the
rest, and once when it closes). Spot and USD-M differ in their words, and USD-M in routes: a stream
is silent for sessions on a path that does not carry it.
"""

from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tidemill.deploy.exchange.binance_messages import aggregates, depth_snapshot
from tidemill.deploy.exchange.depth import Changes, Window
from tidemill.deploy.exchange.faults import Topic
from tidemill.deploy.exchange.history import INTERVALS_US, bucket_us
from tidemill.deploy.exchange.market import Happened, Market
from tidemill.deploy.exchange.record import Book
from tidemill.deploy.exchange.sessions import Hub
from tidemill.deploy.exchange.symbols import Symbol
from tidemill.processors.kernels.order_book import BUY, SELL

PARTIAL_LEVELS = (5, 10, 20)
PARTIAL_US = {"": 1_000_000, "@100ms": 100_000}


class Variant(NamedTuple):
    """How a session wants its messages, and the path (USD-M) that it came by."""

    combined: bool
    unit_us: int
    route: str = ""


class Words(Protocol):
    """A product's payloads: a module of functions."""

    def trade(self, symbol: Symbol, row: Any, unit_us: int, /) -> str: ...

    def agg_trade(self, symbol: Symbol, rows: list[Any], unit_us: int, /) -> str: ...

    def book_ticker(self, symbol: Symbol, row: Any, time_us: int, unit_us: int, /) -> str: ...

    def depth_update(
        self, symbol: Symbol, now_us: int, changes: Changes, unit_us: int, /
    ) -> str: ...

    def kline(
        self,
        symbol: Symbol,
        interval: str,
        row: NDArray[np.void],
        close_time_us: int,
        now_us: int,
        unit_us: int,
        /,
    ) -> str: ...


class Publisher:
    """The streams of one market. `speeds` are the periods in us of the depth streams by the end of
    their names; `route` says which path carries a stream (all of them: empty)."""

    def __init__(
        self,
        market: Market,
        hub: Hub,
        words: Words,
        speeds: Mapping[str, int],
        route: Callable[[str], str] = lambda stream: "",
    ) -> None:
        self._market = market
        self._hub = hub
        self._words = words
        self._speeds = speeds
        self._route = route
        self._symbol = market.symbol
        self._prefix = market.symbol.raw.lower()
        self._topics: dict[str, Topic] = {}
        self._windows = {speed: Window(market.update_id) for speed in speeds}
        self._klines_sent: dict[str, int] = {}

    def stream(self, name: str, channel: str) -> Topic:
        """The topic of one of this market's streams."""
        topic = self._topics.get(name)
        if topic is None:
            stream, symbol = f"{self._prefix}@{name}", self._symbol
            topic = Topic(stream, channel, symbol.product, symbol.name, symbol.raw)
            self._topics[name] = topic
        return topic

    def send(self, topic: Topic, body: Callable[[int], str]) -> None:
        """One message to every listener of a stream; `body` takes the unit of time in us."""
        self._hub.publish(topic, partial(self._wrapped, topic.name, body))

    def send_text(self, topic: Topic, text: str) -> None:
        """One message without a time in a unit of the client's choice."""
        self.send(topic, partial(_whatever_unit, text))

    def _wrapped(self, stream: str, body: Callable[[int], str], variant: Hashable) -> str:
        assert isinstance(variant, Variant)
        if self._route(stream) != variant.route:
            return ""
        text = body(variant.unit_us)
        return f'{{"stream":"{stream}","data":{text}}}' if variant.combined else text

    def happened(self, what: Happened) -> None:
        """Send trades and quotes in their order, and keep the changes for the depth updates."""
        for window in self._windows.values():
            window.add(what.changes)
        trades = what.trades.tolist()
        ticker = self.stream("bookTicker", "quote")
        sent = 0
        if self._hub.listened(ticker.name):
            for quote in what.quotes.tolist():
                self._trades(trades[sent : quote[5]])
                sent = quote[5]
                body = partial(self._words.book_ticker, self._symbol, quote, what.time_us)
                self.send(ticker, body)
        self._trades(trades[sent:])

    def _trades(self, rows: list[Any]) -> None:
        if not rows:
            return
        one, aggregated = self.stream("trade", "trade"), self.stream("aggTrade", "trade")
        if self._hub.listened(one.name):
            for row in rows:
                self.send(one, partial(self._words.trade, self._symbol, row))
        if self._hub.listened(aggregated.name):
            for group in aggregates(rows):
                self.send(aggregated, partial(self._words.agg_trade, self._symbol, group))

    def beat(self, period_us: int, now_us: int) -> None:
        """Send what is due every `period_us`."""
        for speed, every_us in self._speeds.items():
            if every_us == period_us:
                self._depth(speed, now_us)
        if period_us == 1_000_000:
            self._klines(now_us)

    def _depth(self, speed: str, now_us: int) -> None:
        changes = self._windows[speed].take()
        if changes:
            body = partial(self._words.depth_update, self._symbol, now_us, changes)
            self.sent_depth(changes.last_id)
            self.send(self.stream(speed, "book"), body)

    def sent_depth(self, last_id: int) -> None:
        """A depth update that ends with `last_id` goes out: spot's ids are the market's own."""

    def partial_depth(self, period_us: int) -> None:
        """Send the best levels on the streams that show only those (spot)."""
        market = self._market
        for speed, every_us in PARTIAL_US.items():
            for count in PARTIAL_LEVELS:
                topic = self.stream(f"depth{count}{speed}", "book")
                if every_us == period_us and self._hub.listened(topic.name):
                    sides = market.depth(BUY, count), market.depth(SELL, count)
                    text = depth_snapshot(self._symbol, Book(market.update_id, *sides))
                    self.send_text(topic, text)

    def _klines(self, now_us: int) -> None:
        for interval in INTERVALS_US:
            topic = self.stream(f"kline_{interval}", "bar")
            if not self._hub.listened(topic.name):
                self._klines_sent.pop(interval, None)
            elif interval == "1s" or now_us // 1_000_000 % 2 == 0:
                self._kline(topic, interval, now_us)

    def _kline(self, topic: Topic, interval: str, now_us: int) -> None:
        """The current kline, after every one that closed since the last call."""
        current = bucket_us(interval, now_us)
        first = self._klines_sent.get(interval, current)
        self._klines_sent[interval] = current
        for row in self._market.history.klines(interval, first, current):
            end = int(row[0]["open_us"]) + INTERVALS_US[interval] - 1
            self.send(topic, partial(self._words.kline, self._symbol, interval, row, end, now_us))


def _whatever_unit(text: str, unit_us: int) -> str:
    return text
