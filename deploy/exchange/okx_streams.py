"""What OKX's channels send of one market, when."""

from collections.abc import Callable

from tidemill.deploy.exchange import okx_messages as messages
from tidemill.deploy.exchange.contract import Derivative
from tidemill.deploy.exchange.depth import View
from tidemill.deploy.exchange.faults import Topic
from tidemill.deploy.exchange.history import bucket_us
from tidemill.deploy.exchange.market import Happened, Market
from tidemill.deploy.exchange.okx_messages import Entry
from tidemill.deploy.exchange.record import Book
from tidemill.deploy.exchange.sessions import Hub, Session
from tidemill.processors.kernels.order_book import BUY, SELL

BOOK_LEVELS = 400
QUIET_US = 60_000_000
"""A book without changes says after this time that its connection lives."""
DAY_US = 86_400_000_000
CHANNELS = {
    "trades": "trade", "trades-all": "trade", "books": "book", "bbo-tbt": "quote",
    "tickers": "quote", "candle1m": "bar", "funding-rate": "derivative",
    "mark-price": "derivative", "index-tickers": "derivative", "open-interest": "derivative",
    "liquidation-orders": "liquidation", "instruments": "instrument",
}  # fmt: skip
"""OKX's channels, and our word for what they carry (faults.CHANNELS)."""
BUSINESS = ("trades-all", "candle1m")
OF_CONTRACTS = ("funding-rate", "mark-price", "index-tickers", "open-interest")
BY_TYPE = ("liquidation-orders", "instruments")
EVERY_US = {
    "index-tickers": 100_000, "mark-price": 200_000, "open-interest": 3_000_000,
    "funding-rate": 30_000_000,
}  # fmt: skip


def argument(channel: str, symbol_raw: str, product: str, index: str) -> dict[str, str]:
    """What a subscription of a channel names, and its messages repeat."""
    if channel in BY_TYPE:
        return {"channel": channel, "instType": product}
    return {"channel": channel, "instId": index if channel == "index-tickers" else symbol_raw}


def stream_of(arg: dict[str, str]) -> str:
    """The name of the stream that an argument stands for."""
    return f"{arg['channel']}:{arg.get('instId', arg.get('instType', ''))}"


class Publisher:
    """The channels of one market. `snapshot` answers the book as a new listener gets to see it."""

    def __init__(self, market: Market, hub: Hub, snapshot: Callable[[Market, int], Book]) -> None:
        self._market = market
        self._symbol = market.symbol
        self._hub = hub
        self._snapshot = snapshot
        self._view = View(BOOK_LEVELS)
        self._seq_id = -1  # of the last message of books
        self._said_us = 0  # when that was sent
        self._bar_us = -1  # the bar that was sent last opened then
        self._prices: dict[str, int] = {}  # by channel
        self._ticker: tuple[int, int] = (-1, -1)
        self._arguments: dict[str, dict[str, str]] = {}
        self._topics: dict[str, Topic] = {}
        index = messages.index_of(market.symbol)
        for channel, ours in CHANNELS.items():
            symbol = market.symbol
            arg = argument(channel, symbol.raw, symbol.product, index)
            self._arguments[channel] = arg
            self._topics[channel] = Topic(
                stream_of(arg), ours, symbol.product, symbol.name, symbol.raw
            )

    def _listened(self, channel: str) -> bool:
        return self._hub.listened(self._topics[channel].name)

    def _send(self, channel: str, *data: Entry | list[str], action: str = "") -> None:
        """One message to every listener of a channel."""
        text = messages.push(self._arguments[channel], data, action)
        self._hub.publish(self._topics[channel], lambda _: text)

    def _send_to(self, session: Session, channel: str, *data: Entry, action: str = "") -> None:
        text = messages.push(self._arguments[channel], data, action)
        self._hub.publish_to(session, self._topics[channel], text)

    # at once

    def happened(self, what: Happened) -> None:
        """Send trades one by one and by taker order, the newest best levels, and liquidations."""
        rows = what.trades.tolist()
        if rows and self._listened("trades-all"):
            for row in rows:
                self._send("trades-all", messages.trade(self._symbol, row))
        if rows and self._listened("trades"):
            for entry in messages.aggregates(self._symbol, rows, self._market.update_id):
                self._send("trades", entry)
        if what.quotes.size and self._listened("bbo-tbt"):
            quote = what.quotes[-1].item()
            self._send("bbo-tbt", messages.best(self._symbol, quote, what.time_us))
        if self._listened("liquidation-orders"):
            for done in what.liquidations:
                self._send("liquidation-orders", messages.liquidation(self._symbol, done))

    def changed(self) -> None:
        """Say what the instrument is now."""
        self._send("instruments", messages.instrument(self._market))

    # on a beat

    def beat(self, period_us: int, now_us: int) -> None:
        """Send what is due every `period_us`."""
        if period_us == 100_000:
            self._books(now_us)
            self._tickers(now_us)
        if period_us == 1_000_000 and self._listened("candle1m"):
            self._bars(now_us)
        for channel, every_us in EVERY_US.items():
            if every_us == period_us and self._listened(channel):
                self._derivative(channel, now_us)

    def _books(self, now_us: int) -> None:
        if not self._listened("books"):
            return
        market, symbol = self._market, self._symbol
        bids, asks = market.depth(BUY, BOOK_LEVELS), market.depth(SELL, BOOK_LEVELS)
        changes = self._view.take(market.update_id, bids, asks)
        if changes is None:
            if now_us - self._said_us < QUIET_US:
                return
            changed_bids, changed_asks, ids = [], [], (self._seq_id, self._seq_id)
        else:
            changed_bids, changed_asks = changes.bid_rows(), changes.ask_rows()
            ids = changes.previous_id, changes.last_id
        self._seq_id, self._said_us = ids[1], now_us
        checksum = messages.checksum(symbol, bids, asks)
        entry = messages.book(symbol, changed_bids, changed_asks, ids, now_us, checksum)
        self._send("books", entry, action="update")

    def _tickers(self, now_us: int) -> None:
        state = self._market.history.last_id, self._market.update_id
        if state != self._ticker and self._listened("tickers"):
            self._ticker = state
            self._send("tickers", self.ticker(now_us))

    def ticker(self, now_us: int) -> Entry:
        """The ticker as it is now."""
        hour = bucket_us("1h", now_us)
        day = self._market.history.klines("1h", hour - DAY_US + 3_600_000_000, hour)
        return messages.ticker(self._market, day, now_us)

    def _bars(self, now_us: int) -> None:
        """The current bar, after every one that closed since the last call."""
        current = bucket_us("1m", now_us)
        first = current if self._bar_us < 0 else self._bar_us
        self._bar_us = current
        for row in self._market.history.klines("1m", first, current):
            closed = int(row[0]["open_us"]) < current
            self._send("candle1m", messages.candle(self._symbol, row, closed))

    def _derivative(self, channel: str, now_us: int) -> None:
        """Send a contract's value; prices only when they changed."""
        values = self.values()
        if values is None:
            return
        price = {"mark-price": values.mark, "index-tickers": values.index}.get(channel)
        if price is None or price != self._prices.get(channel):
            self._send(channel, self.derivative(channel, values, now_us))
        if price is not None:
            self._prices[channel] = price

    def values(self) -> Derivative | None:
        """The contract's values; None of spot."""
        contract = self._market.contract
        return None if contract is None else contract.values

    def derivative(self, channel: str, values: Derivative, now_us: int) -> Entry:
        """What a channel of OF_CONTRACTS says."""
        words = {
            "funding-rate": messages.funding_rate,
            "mark-price": messages.mark_price,
            "index-tickers": messages.index_ticker,
            "open-interest": messages.open_interest,
        }
        return words[channel](self._symbol, values, now_us)

    # on subscribing

    def subscribed(self, session: Session, channel: str, now_us: int) -> None:
        """Send a new listener what the channel begins with."""
        if channel == "books":
            self._send_book(session, now_us)
        elif channel == "bbo-tbt":
            quote = (self._market.update_id, *self._market.best())
            self._send_to(session, channel, messages.best(self._symbol, quote, now_us))
        elif channel == "tickers":
            self._send_to(session, channel, self.ticker(now_us))
        elif channel == "trades":
            rows = self._market.history.trades(self._market.history.last_id, 1).tolist()
            for entry in messages.aggregates(self._symbol, rows, self._market.update_id):
                self._send_to(session, channel, entry)
        elif channel in OF_CONTRACTS and (values := self.values()) is not None:
            self._send_to(session, channel, self.derivative(channel, values, now_us))

    def _send_book(self, session: Session, now_us: int) -> None:
        """A snapshot that the next change follows: others get what changed before it at once."""
        name = self._topics["books"].name
        self._hub.unsubscribe(session, [name])
        if self._listened("books"):
            self._books(now_us)
        else:
            bids = self._market.depth(BUY, BOOK_LEVELS)
            self._view.reset(self._market.update_id, bids, self._market.depth(SELL, BOOK_LEVELS))
            self._seq_id, self._said_us = self._market.update_id, now_us
        self._hub.subscribe(session, [name])
        book = self._snapshot(self._market, BOOK_LEVELS)
        fresh = book.update_id == self._market.update_id
        ids = -1, self._seq_id if fresh else book.update_id
        checksum = messages.checksum(self._symbol, book.bids, book.asks)
        entry = messages.book(self._symbol, book.bids, book.asks, ids, now_us, checksum)
        self._send_to(session, "books", entry, action="snapshot")
