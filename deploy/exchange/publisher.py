"""What happened in one market, sent to whoever listens.

Streams: <symbol>@trade, @aggTrade, @bookTicker (at once); @depth, @depth@100ms,
@depth<5|10|20>[@100ms] (on the second or tenth of a second); @kline_<interval> (every second for
1s, every two for the rest, and once when it closes).
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tidemill.deploy.exchange import messages
from tidemill.deploy.exchange.faults import Faults
from tidemill.deploy.exchange.history import INTERVALS_US, bucket_us
from tidemill.deploy.exchange.market import Happened, Market
from tidemill.deploy.exchange.sessions import Hub, Variants, frame_of, wrap
from tidemill.processors.kernels.order_book import BUY, SELL

PARTIAL_LEVELS = (5, 10, 20)


class Window:
    """The changes of a book since the last depth update of one speed."""

    def __init__(self, update_id: int) -> None:
        self._last_id = update_id
        self._changes: list[NDArray[np.void]] = []

    def add(self, changes: NDArray[np.void]) -> None:
        self._changes.append(changes)

    def take(self) -> tuple[int, int, dict[int, int], dict[int, int]] | None:
        """(first id, last id, bids, asks) of what changed, None if nothing did. Of several
        changes to a price the last counts."""
        if not self._changes:
            return None
        changes = np.concatenate(self._changes)
        self._changes.clear()
        first_id, self._last_id = self._last_id + 1, int(changes["update_id"][-1])
        sides = []
        for side in (BUY, SELL):
            mine = changes[changes["side"] == side]
            prices, quantities = mine["price"].tolist(), mine["qty"].tolist()
            sides.append(dict(zip(prices, quantities, strict=True)))
        return first_id, self._last_id, sides[0], sides[1]


class Publisher:
    """The streams of one market."""

    def __init__(self, market: Market, hub: Hub, faults: Faults) -> None:
        self._market = market
        self._hub = hub
        self._faults = faults
        self._symbol = market.symbol
        self._prefix = market.symbol.name.lower()
        self._windows = {
            f"{self._prefix}@depth@100ms": Window(market.update_id),
            f"{self._prefix}@depth": Window(market.update_id),
        }
        self._klines_sent: dict[str, int] = {}

    def send(self, stream: str, render: Callable[[int], str]) -> None:
        """One message to every listener of a stream; `render` takes the unit of time in us."""
        self._send_to(stream, self._hub.listeners(stream), render, 1)

    @staticmethod
    def _send_to(
        stream: str, listeners: Variants, render: Callable[[int], str], copies: int
    ) -> None:
        for (combined, unit_us), sessions in listeners.items():
            frame = frame_of(wrap(stream, render(unit_us), combined)) * copies
            for session in sessions:
                session.out.append(frame)

    def happened(self, what: Happened) -> None:
        """Send trades and quotes in their order, and keep the changes for the depth updates."""
        if what.changes.size:
            for window in self._windows.values():
                window.add(what.changes)
        trades = what.trades.tolist()
        ticker = f"{self._prefix}@bookTicker"
        listeners = self._hub.listeners(ticker)
        sent = 0
        if listeners:
            for quote in what.quotes.tolist():
                self._trades(trades[sent : quote[5]])
                sent = quote[5]
                self._send_to(
                    ticker, listeners, partial(messages.book_ticker, self._symbol, quote), 1
                )
        self._trades(trades[sent:])

    def _trades(self, rows: list[tuple[int, ...]]) -> None:
        if not rows:
            return
        stream = f"{self._prefix}@trade"
        listeners = self._hub.listeners(stream)
        if listeners:
            for row in rows:
                copies = self._faults.copies(self._symbol.name)
                self._send_to(stream, listeners, partial(messages.trade, self._symbol, row), copies)
        if self._hub.listeners(f"{self._prefix}@aggTrade"):
            for group in messages.aggregates(rows):
                self.send(
                    f"{self._prefix}@aggTrade",
                    partial(messages.agg_trade, self._symbol, group),
                )

    def tenth(self, now_us: int) -> None:
        """Send what is due every tenth of a second."""
        self._depth(f"{self._prefix}@depth@100ms", now_us)
        self._partial("@100ms")

    def second(self, now_us: int, number: int) -> None:
        """Send what is due every second; `number` counts them."""
        self._depth(f"{self._prefix}@depth", now_us)
        self._partial("")
        for interval in INTERVALS_US:
            stream = f"{self._prefix}@kline_{interval}"
            if not self._hub.listeners(stream):
                self._klines_sent.pop(interval, None)
            elif interval == "1s" or number % 2 == 0:
                self._kline(stream, interval, now_us)

    def _depth(self, stream: str, now_us: int) -> None:
        taken = self._windows[stream].take()
        if taken and self._hub.listeners(stream):
            self.send(stream, partial(messages.depth_update, self._symbol, now_us, *taken))

    def _partial(self, speed: str) -> None:
        for count in PARTIAL_LEVELS:
            stream = f"{self._prefix}@depth{count}{speed}"
            if self._hub.listeners(stream):
                market = self._market
                sides = market.depth(BUY, count), market.depth(SELL, count)
                render = partial(messages.depth_snapshot, self._symbol, market.update_id, *sides)
                self.send(stream, render)

    def _kline(self, stream: str, interval: str, now_us: int) -> None:
        """The current kline, after every one that closed since the last call."""
        current = bucket_us(interval, now_us)
        first = self._klines_sent.get(interval, current)
        self._klines_sent[interval] = current
        for row in self._market.history.klines(interval, first, current):
            end = int(row[0]["open_us"]) + INTERVALS_US[interval] - 1
            self.send(
                stream,
                partial(messages.kline, self._symbol, interval, row, end, now_us),
            )
