"""What Bybit's topics send of one market, when."""

from collections import deque
from collections.abc import Callable
from typing import Any

from tidemill.deploy.exchange import bybit_messages as messages
from tidemill.deploy.exchange.bybit_messages import Entry
from tidemill.deploy.exchange.depth import View
from tidemill.deploy.exchange.faults import Topic
from tidemill.deploy.exchange.history import MINUTE_US, bucket_us
from tidemill.deploy.exchange.market import Happened, Market
from tidemill.deploy.exchange.record import Book
from tidemill.deploy.exchange.sessions import Hub, Session
from tidemill.processors.kernels.order_book import BUY, SELL

DEPTHS_US = {"50": 20_000, "200": 100_000, "1000": 200_000}
BEST_US, BEST_AGAIN_US = 10_000, 3_000_000
TICKER_US = {"SPOT": 50_000, "LINEAR": 100_000}
LIQUIDATIONS_US = 500_000
BAR_US = 1_000_000
TRADES_A_MESSAGE = 1_024
HOUR_US = 3_600_000_000
NUMBERS_KEPT = 256
TOPICS = {
    "publicTrade": "trade", "orderbook.1": "quote", "orderbook.50": "book",
    "orderbook.200": "book", "orderbook.1000": "book", "kline.1": "bar", "tickers": "derivative",
    "allLiquidation": "liquidation",
}  # fmt: skip
"""Bybit's topics without their symbol, and our word for what they carry (faults.CHANNELS)."""
OF_CONTRACTS = ("allLiquidation",)

Snapshot = Callable[[Market, int], Book]


class Depth:
    """One depth of one book: its changes are numbered by `u`, which begins at 1."""

    def __init__(self, market: Market, channel: str, levels: int, snapshot: Snapshot) -> None:
        self._market, self._channel, self._levels = market, channel, levels
        self._snapshot = snapshot
        self._view = View(levels)
        self._numbers: deque[tuple[int, int]] = deque(maxlen=NUMBERS_KEPT)  # (u, update id)
        self._number = 0

    def _next(self) -> int:
        """Count a message that shows the book as it is now."""
        self._number += 1
        self._numbers.append((self._number, self._market.update_id))
        self._market.record.name(self._channel, self._number, self._market.update_id)
        return self._number

    def begin(self) -> None:
        """Count on from here, whatever changed while nobody listened."""
        market = self._market
        bids, asks = market.depth(BUY, self._levels), market.depth(SELL, self._levels)
        self._view.reset(market.update_id, bids, asks)
        self._next()

    def restart(self) -> Entry:
        """The service begins anew: a snapshot with u = 1."""
        self._number = 0
        self._numbers.clear()
        self.begin()
        return self.snapshot()

    def changes(self) -> Entry | None:
        """What changed since the last message, None if nothing did."""
        market = self._market
        bids, asks = market.depth(BUY, self._levels), market.depth(SELL, self._levels)
        changed = self._view.take(market.update_id, bids, asks)
        if changed is None:
            return None
        rows = changed.bid_rows(), changed.ask_rows()
        return messages.book(market.symbol, *rows, self._next(), market.update_id)

    def snapshot(self) -> Entry:
        """The book after the last message, or after an older one where a fault asks for that."""
        market = self._market
        number, update_id = self._numbers[-1]
        book = self._snapshot(market, self._levels)
        if book.update_id < update_id:
            older = [named for named in self._numbers if named[1] <= book.update_id]
            number, update_id = older[-1] if older else self._numbers[0]
        known = market.record.at(update_id)
        assert known is not None, "the record reaches further back than the messages that are kept"
        sides = known.bids[: self._levels], known.asks[: self._levels]
        return messages.book(market.symbol, *sides, number, update_id)


class Publisher:
    """The topics of one market. `snapshot` answers the book as a new listener gets to see it."""

    def __init__(self, market: Market, hub: Hub, snapshot: Snapshot) -> None:
        self._market, self._symbol, self._hub = market, market.symbol, hub
        self._topics = {
            channel: Topic(
                f"{channel}.{market.symbol.raw}:{market.symbol.product}",
                ours,
                market.symbol.product,
                market.symbol.name,
                market.symbol.raw,
            )
            for channel, ours in TOPICS.items()
            if market.symbol.derivative or channel not in OF_CONTRACTS
        }
        self.depths = {
            depth: Depth(market, f"orderbook.{depth}", int(depth), snapshot) for depth in DEPTHS_US
        }
        self._best: tuple[int, ...] = ()
        self._best_number, self._best_us = 0, 0
        self._ticker: Entry = {}
        self._ticker_us = -1
        self._liquidations: list[Entry] = []
        self._bar_us = -1

    def stream(self, channel: str) -> str | None:
        """The name of the stream of a topic; None if there is no such topic."""
        topic = self._topics.get(channel)
        return None if topic is None else topic.name

    def _listened(self, channel: str) -> bool:
        return channel in self._topics and self._hub.listened(self._topics[channel].name)

    def _text(self, channel: str, kind: str, data: Any, now_us: int, **more: Any) -> str:
        return messages.push(f"{channel}.{self._symbol.raw}", kind, data, now_us, **more)

    def _send(self, channel: str, kind: str, data: Any, now_us: int, **more: Any) -> None:
        text = self._text(channel, kind, data, now_us, **more)
        self._hub.publish(self._topics[channel], lambda _: text)

    # at once

    def happened(self, what: Happened) -> None:
        """Send trades, and keep liquidations."""
        rows = what.trades.tolist() if self._listened("publicTrade") else []
        for start in range(0, len(rows), TRADES_A_MESSAGE):
            some = rows[start : start + TRADES_A_MESSAGE]
            data = [messages.trade(self._symbol, row) for row in some]
            self._send("publicTrade", "snapshot", data, what.time_us)
        if self._listened("allLiquidation"):
            self._liquidations += [messages.liquidation(self._symbol, d) for d in what.liquidations]

    def changed(self, now_us: int) -> None:
        """The market was halted or goes on: its book service begins anew."""
        for depth, book in self.depths.items():
            if self._listened(f"orderbook.{depth}"):
                data = book.restart()
                self._send(f"orderbook.{depth}", "snapshot", data, now_us, cts=now_us // 1_000)

    # on a beat

    def beat(self, period_us: int, now_us: int) -> None:
        """Send what is due every `period_us`."""
        if period_us == BEST_US and self._listened("orderbook.1"):
            self._quote(now_us)
        for depth, every_us in DEPTHS_US.items():
            if every_us == period_us and self._listened(f"orderbook.{depth}"):
                self._changes(depth, now_us)
        if period_us == TICKER_US[self._symbol.product] and self._listened("tickers"):
            self._values(now_us)
        if period_us == LIQUIDATIONS_US and self._liquidations:
            self._send("allLiquidation", "snapshot", self._liquidations, now_us)
            self._liquidations = []
        if period_us == BAR_US:
            self._bars(now_us)

    def _quote(self, now_us: int) -> None:
        """The best levels where they changed, or after three seconds."""
        best = self._market.best()
        if best == self._best and now_us - self._best_us < BEST_AGAIN_US:
            return
        self._best_number += best != self._best
        self._best, self._best_us = best, now_us
        self._send("orderbook.1", "snapshot", self._best_entry(), now_us, cts=now_us // 1_000)

    def _best_entry(self) -> Entry:
        bid, bid_lots, ask, ask_lots = self._best
        rows = [(bid, bid_lots)], [(ask, ask_lots)]
        return messages.book(self._symbol, *rows, self._best_number, self._market.update_id)

    def _changes(self, depth: str, now_us: int) -> None:
        data = self.depths[depth].changes()
        if data is not None:
            self._send(f"orderbook.{depth}", "delta", data, now_us, cts=now_us // 1_000)

    def values(self, now_us: int) -> Entry:
        """The ticker as it is now."""
        hour = bucket_us("1h", now_us)
        day = self._market.history.klines("1h", hour - 23 * HOUR_US, hour)
        return messages.ticker(self._market, day, now_us)

    def _values(self, now_us: int) -> None:
        """What changed of the ticker; all of it on spot."""
        now = self.values(now_us)
        changed = {name: value for name, value in now.items() if self._ticker.get(name) != value}
        self._ticker = now
        if not changed:
            return
        if self._symbol.product == messages.SPOT:
            self._send("tickers", "snapshot", now, now_us, cs=self._cross())
        else:
            data = {"symbol": self._symbol.raw, **changed}
            self._send("tickers", "delta", data, now_us, cs=self._cross())

    def _cross(self) -> int:
        return messages.SEQ_BASE + self._market.update_id

    def _bars(self, now_us: int) -> None:
        """The current bar, with every one that closed since the last call before it."""
        if not self._listened("kline.1"):
            self._bar_us = -1
            return
        current = bucket_us("1m", now_us)
        first = current if self._bar_us < 0 else self._bar_us
        self._bar_us = current
        rows = self._market.history.klines("1m", first - MINUTE_US, current)
        data = []
        before = None
        for row in rows:
            if int(row[0]["open_us"]) >= first:
                data.append(messages.kline(self._symbol, row, before, now_us))
            before = row
        if data:
            self._send("kline.1", "snapshot", data, now_us)

    # on subscribing

    def begin(self, session: Session, channel: str, now_us: int) -> None:
        """Have a session listen to a topic, and send it what that begins with."""
        kind, depth = TOPICS[channel], channel.rpartition(".")[2]
        topic, more = self._topics[channel], {"cts": now_us // 1_000}
        data: Any = None
        if kind == "book":
            if self._listened(channel):
                self._changes(depth, now_us)  # others get what changed before the snapshot
            else:
                self.depths[depth].begin()
            data = self.depths[depth].snapshot()
        elif kind == "quote":
            best = self._market.best()
            self._best_number += best != self._best
            self._best, self._best_us = best, now_us
            data = self._best_entry()
        elif kind == "derivative":
            if self._listened(channel):
                self._values(now_us)
            data = self._ticker = self.values(now_us)
            more = {"cs": self._cross()}
        self._hub.subscribe(session, [topic.name])
        if data is not None:
            text = self._text(channel, "snapshot", data, now_us, **more)
            self._hub.publish_to(session, topic, text)
