"""What a strategy may ask and do: the account that it trades through."""

from collections.abc import Sequence
from decimal import Decimal

from tidemill.processors.kernels.backtest import fills as kernels
from tidemill.processors.kernels.backtest.arrays import (
    FEE_DIGITS,
    books_of,
    price_of,
    quantity_of,
)
from tidemill.processors.kernels.backtest.market import Market
from tidemill.processors.kernels.backtest.money import MILLION, approximate
from tidemill.processors.kernels.backtest.ran import Decided
from tidemill.processors.kernels.backtest.rules import Rules
from tidemill.processors.kernels.backtest.state import LIMIT, MARKET, STOP
from tidemill.processors.kernels.backtest.strategy import Number
from tidemill.schemas.decimals import decimal_of


class Trading:
    """An account over markets, a `Context`. What is decided before `start` (ns) is not done.

    Raises ValueError for markets or rules whose money does not fit 128 bits.
    """

    def __init__(self, markets: Sequence[Market], rules: Rules, start: int = 0) -> None:
        if not markets or len({one.instrument for one in markets}) != len(markets):
            raise ValueError("an account trades at least one instrument, each once")
        if len({one.ts is None for one in markets}) > 1:
            raise ValueError("either every market has trades, or none has")
        self.markets, self.rules = tuple(markets), rules
        self._start = start
        self._decided = Decided([], [])
        self._index = {one.instrument: j for j, one in enumerate(markets)}
        finest = min(one.price_exponent + one.quantity_exponent for one in markets)
        self.exponent = finest - FEE_DIGITS
        self._books = books_of(self.markets, rules, finest)

    @property
    def ts(self) -> int:
        """The moment that is worked through, ns UTC."""
        return int(self._books[1]["ts"][0])

    @property
    def equity(self) -> float:
        """Cash and positions at last prices."""
        account = self._books[1][0]
        cash = approximate(account["cash_hi"], account["cash_lo"])
        return float(cash + approximate(account["value_hi"], account["value_lo"])) * (
            10.0**self.exponent
        )

    def position(self, instrument: str) -> Decimal:
        """What is held, below zero when sold short."""
        j = self._index[instrument]
        held = int(self._books[2]["position"][j])
        return decimal_of(held, self.markets[j].quantity_exponent)

    def target(self, instrument: str, part: float) -> None:
        """Hold `part` of what the sizing says, -1 to 1; nothing when that is the newest target."""
        if not -1.0 <= part <= 1.0:
            raise ValueError(f"a target is from -1 to 1, not {part}")
        j = self._index[instrument]
        wanted = round(part * MILLION)
        if self.ts >= self._start and wanted != self._books[2]["target"][j]:
            self._note(instrument, "target", wanted / MILLION)
            kernels.aim(self._books, j, wanted)

    def buy(
        self,
        instrument: str,
        quantity: Number,
        *,
        limit: Number | None = None,
        stop: Number | None = None,
        stop_loss: Number | None = None,
        take_profit: Number | None = None,
    ) -> int:
        """Order: market, or at `limit`, or at market from `stop` on; return its id, 0 if denied."""
        return self._order(instrument, 1, quantity, (limit, stop), (stop_loss, take_profit))

    def sell(
        self,
        instrument: str,
        quantity: Number,
        *,
        limit: Number | None = None,
        stop: Number | None = None,
        stop_loss: Number | None = None,
        take_profit: Number | None = None,
    ) -> int:
        """As `buy`, on the other side."""
        return self._order(instrument, -1, quantity, (limit, stop), (stop_loss, take_profit))

    def close(self, instrument: str) -> int:
        """Sell what is held, or buy it back, at market."""
        j = self._index[instrument]
        held = int(self._books[2]["position"][j])
        if held == 0 or self.ts < self._start:
            return 0
        self._note(instrument, "close", 0.0)
        side = -1 if held > 0 else 1
        return int(kernels.place(self._books, j, MARKET, side, abs(held), 0, 0, True))

    def cancel(self, order: int) -> bool:
        """Take an order back; whether it was there."""
        orders = self._books[3]
        for j, row in enumerate(self._books[2]):
            for k in range(row["orders"]):
                if orders[j, k]["id"] == order and orders[j, k]["kind"]:
                    orders[j, k]["kind"] = 0
                    self._note(self.markets[j].instrument, "cancel", order)
                    return True
        return False

    def _order(
        self,
        instrument: str,
        side: int,
        quantity: Number,
        at: tuple[Number | None, Number | None],
        protect: tuple[Number | None, Number | None],
    ) -> int:
        j = self._index[instrument]
        one = self.markets[j]
        limit, stop = at
        if limit is not None and stop is not None:
            raise ValueError("an order has a limit, or a stop, or neither")
        amount = quantity_of(one, quantity)
        kind = LIMIT if limit is not None else STOP if stop is not None else MARKET
        given = limit if limit is not None else stop
        price = 0 if given is None else price_of(one, given, up=(kind == STOP) == (side > 0))
        if self.ts < self._start:
            return 0
        self._note(instrument, "buy" if side > 0 else "sell", amount, price)
        made = int(kernels.place(self._books, j, kind, side, amount, 0, price, False))
        if made:
            order = self._books[3][j, int(self._books[2]["orders"][j]) - 1]
            for name, value in zip(("stop", "take"), protect, strict=True):
                order[name] = 0 if value is None else price_of(one, value, up=side > 0)
        return made

    def _note(self, instrument: str, what: str, amount: float, price: float = 0.0) -> None:
        self._decided.told.append((self.ts, instrument, what, float(amount), float(price)))
