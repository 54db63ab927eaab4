"""One symbol of the exchange: its book, its order flow, its ids and its memory.

A market is advanced by events (trades and quotes), not by time: at `rate` events a second, event
`n` belongs to second `n / rate` of the fundamental. The clock's reading is stamped on what happens
and decides nothing, so seed, venue, symbol and rate decide every trade.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from tidemill.deploy.exchange import flow
from tidemill.deploy.exchange.contract import Contract
from tidemill.deploy.exchange.depth import Rows
from tidemill.deploy.exchange.fundamental import STEPS_A_SECOND, Fundamental, Outlook, rng_of
from tidemill.deploy.exchange.history import History
from tidemill.deploy.exchange.record import Record
from tidemill.deploy.exchange.symbols import Symbol, symbol_of
from tidemill.processors.kernels import matching, order_book

DRAWS_BLOCK = 2_048  # steps whose draws are taken from the generator at once
OUTPUT_ROWS = 2 * flow.ORDERS_MAX
QUOTE_ROWS = 2_048
LEVELS_SHOWN = 5_000  # of a side in a snapshot: Binance's limit


class Status(StrEnum):
    """Whether a market trades."""

    TRADING = "TRADING"
    HALTED = "HALTED"
    DELISTED = "DELISTED"


@dataclass(frozen=True)
class Liquidation:
    """A taker order that a liquidation sent, as it was filled: the trades `first_id` to `last_id`.

    `side` is the order's (SELL: a long was liquidated); `price` the worst it met, in ticks.
    """

    side: int
    price: int
    qty: int
    ticks_times_lots: int
    first_id: int
    last_id: int
    time_us: int


@dataclass(frozen=True)
class Happened:
    """What one advance did, in order: quote `k` came after `quotes[k]["fills"]` of the trades."""

    time_us: int
    trades: NDArray[np.void]  # history.TRADE_DTYPE
    quotes: NDArray[np.void]  # flow.QUOTE_DTYPE
    changes: NDArray[np.void]  # matching.CHANGE_DTYPE; update ids have no holes
    liquidations: tuple[Liquidation, ...] = ()


class Market:
    """A market that has been open for no event yet: a filled book and no trade."""

    def __init__(
        self,
        symbol: Symbol,
        *,
        venue: str,
        seed: int,
        rate: float,
        outlook: Outlook,
        trades_kept: int,
        liquidation_share: float = flow.LIQUIDATION_SHARE,
    ) -> None:
        self.symbol = symbol
        self.status = Status.TRADING
        self.events = 0  # trades and quotes since the market opened
        self._rate_milli = max(1, round(rate * 1_000))
        self.history = History(trades_kept)
        self._fundamental = Fundamental(seed, venue, symbol.name, symbol.price_ticks, outlook)
        names = (venue, symbol.name, *((symbol.product,) if symbol.derivative else ()))
        self._rng = rng_of(seed, "flow", *names)
        self.contract = (
            Contract(symbol, rng_of(seed, "contract", *names)) if symbol.derivative else None
        )
        self._draws = np.zeros((0, flow.DRAWS))
        self._book = order_book.empty_book(flow.ORDERS_MAX, flow.LEVELS_MAX)
        share = liquidation_share if symbol.derivative else 0.0
        self._flow = flow.new_flow(symbol.price_ticks, symbol.order_lots, share)
        self._fills = np.zeros(OUTPUT_ROWS, matching.FILL_DTYPE)
        self._changes = np.zeros(OUTPUT_ROWS, matching.CHANGE_DTYPE)
        self._quotes = np.zeros(QUOTE_ROWS, flow.QUOTE_DTYPE)
        draws = self._rng.random((flow.SEED_ORDERS, flow.DRAWS))
        flow.open_book(self._book, self._flow, self._fundamental.at(0), draws, self._changes)
        sides = self.depth(order_book.BUY), self.depth(order_book.SELL)
        self.record = Record(self.update_id, *sides)
        self._price_contract(0, self._fundamental.at(0))

    @property
    def steps(self) -> int:
        return int(self._flow[0]["steps"])

    @property
    def update_id(self) -> int:
        return int(self._book.head[0]["update_id"])

    def advance(self, events_until: int, time_us: int) -> Happened:
        """Let the market live until `events_until` events have happened in all, or somewhat less
        when its output is full (call again); stamp what happens with `time_us`, which never goes
        back."""
        # Integers, so that the value changes at the same event however the calls are cut.
        step = self.events * 1_000 * STEPS_A_SECOND // self._rate_milli
        next_value = -(-(step + 1) * self._rate_milli // (1_000 * STEPS_A_SECOND))
        value = self._fundamental.at(step)
        self._price_contract(step, value)
        if not len(self._draws):
            self._draws = self._rng.random((DRAWS_BLOCK, flow.DRAWS))
        steps, fills, changes, quotes = flow.advance(
            self._book,
            self._flow,
            value,
            min(events_until, next_value),
            self._draws,
            self._fills,
            self._changes,
            self._quotes,
        )
        self._draws = self._draws[steps:]
        self.events += fills + quotes
        trades = self.history.record(self._fills[:fills], time_us)
        changed = self._changes[:changes].copy()
        self.record.add(changed)
        liquidations = self._liquidations(self._fills[:fills], time_us)
        return Happened(time_us, trades, self._quotes[:quotes].copy(), changed, liquidations)

    def _price_contract(self, step: int, value: float) -> None:
        if self.contract is not None:
            bid, _, ask, _ = self.best()
            self.contract.at(step, value, (bid + ask) / 2)

    def _liquidations(self, fills: NDArray[np.void], time_us: int) -> tuple[Liquidation, ...]:
        """The liquidated among the takers of `fills`, an order each."""
        if self.contract is None or not fills.size:
            return ()
        self.contract.traded(int(fills["qty"].sum()))
        mine = fills[fills["taker_owner"] == flow.LIQUIDATED]
        found = []
        for order_id in dict.fromkeys(mine["taker_order_id"].tolist()):
            rows = mine[mine["taker_order_id"] == order_id]
            found.append(
                Liquidation(
                    side=int(rows["aggressor"][0]),
                    price=int(rows["price"][-1]),
                    qty=int(rows["qty"].sum()),
                    ticks_times_lots=int((rows["price"] * rows["qty"]).sum()),
                    first_id=int(rows["trade_id"][0]),
                    last_id=int(rows["trade_id"][-1]),
                    time_us=time_us,
                )
            )
        return tuple(found)

    def best(self) -> tuple[int, int, int, int]:
        """(bid, bid lots, ask, ask lots), prices in ticks."""
        bid = self._book.levels[order_book.best(self._book, order_book.BUY)]
        ask = self._book.levels[order_book.best(self._book, order_book.SELL)]
        return int(bid["price"]), int(bid["qty"]), int(ask["price"]), int(ask["qty"])

    def depth(self, side: int, limit: int = LEVELS_SHOWN) -> Rows:
        """At most `limit` (price in ticks, lots) of a side, best first."""
        size = min(limit, LEVELS_SHOWN)
        prices, quantities = np.zeros(size, np.int64), np.zeros(size, np.int64)
        count = order_book.depth(self._book, side, prices, quantities)
        return list(zip(prices[:count].tolist(), quantities[:count].tolist(), strict=True))

    def snapshot(self) -> bytes:
        """The book's bytes: equal for equal histories."""
        return order_book.to_bytes(self._book)


def warm_up() -> None:
    """Have the kernels compiled or loaded, so that the first events do not wait for it."""
    market = Market(
        symbol_of("BTCUSDT"),
        venue="WARM",
        seed=0,
        rate=100.0,
        outlook=Outlook(),
        trades_kept=1_000,
    )
    while market.history.last_id == 0:
        market.advance(market.events + 100, 0)
    market.depth(order_book.BUY, 1)
