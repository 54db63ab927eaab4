"""What a strategy is: parameters with ranges, inputs that it asks for, and what it does on each.

The same object runs wherever a `Context` is: simulated, on paper, live. It has no clock, no account
and no connection of its own; all that it knows comes by callbacks, all that it wants goes through
the context. A whole strategy, in a file of its own:

    from tidemill.processors.kernels.indicator_catalog import INDICATORS
    from tidemill.processors.strategies import Bar, Context, Following, Parameter, Strategy


    class Dip(Strategy):
        name = "dip"
        parameters = (Parameter("period", 14, 2, 100),)

        def on_start(self) -> None:
            self.rsi = Following(INDICATORS["rsi"], period=self["period"])

        def on_bar(self, context: Context, bar: Bar) -> None:
            (value,) = self.rsi(bar)
            if value < 25:
                context.buy(bar.instrument, "0.5", stop_loss=bar.close * 0.97)
            elif value > 60:
                context.close(bar.instrument)
"""

from abc import ABC, abstractmethod
from decimal import Decimal
from typing import ClassVar, Literal, NamedTuple, Protocol

from tidemill.processors.kernels.indicator import Parameter, Values
from tidemill.processors.kernels.signals import Targets

__all__ = ["Bar", "Context", "Fill", "Number", "Parameter", "Strategy", "Trade"]

Number = Decimal | str | int | float
Input = Literal["bars", "trades", "book", "fills"]


class Bar(NamedTuple):
    """A bar that closed, in units of price and quantity; times in ns UTC."""

    instrument: str
    ts_open: int
    ts_close: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class Trade(NamedTuple):
    """A trade of the market."""

    instrument: str
    ts_event: int
    price: float


class Fill(NamedTuple):
    """A fill of one of our orders; `side` 1 bought, -1 sold; exact numbers."""

    instrument: str
    order: int
    ts: int
    side: int
    price: Decimal
    quantity: Decimal
    fee: Decimal
    maker: bool


class Context(Protocol):
    """All that a strategy can ask and do."""

    @property
    def ts(self) -> int:
        """The moment that is worked through, ns UTC."""

    @property
    def equity(self) -> float:
        """Cash and positions at last prices."""

    def position(self, instrument: str) -> Decimal:
        """What is held, below zero when sold short."""

    def target(self, instrument: str, part: float) -> None:
        """Hold `part` of what the sizing says, -1 to 1; nothing when that is the newest target."""

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

    def close(self, instrument: str) -> int:
        """Sell what is held, or buy it back, at market."""

    def cancel(self, order: int) -> bool:
        """Take an order back; whether it was there."""


class Strategy:
    """What decides. `given` are its parameters by name; `short`: whether it may sell short."""

    name: ClassVar[str] = ""
    parameters: ClassVar[tuple[Parameter, ...]] = ()
    inputs: ClassVar[tuple[Input, ...]] = ("bars",)

    def __init__(self, short: bool = False, **given: float) -> None:
        """Raises ValueError for a parameter that there is not, or out of its range."""
        names = [parameter.name for parameter in self.parameters]
        if unknown := sorted(set(given) - set(names)):
            raise ValueError(
                f"{self.name} has no {', '.join(unknown)}; it has {', '.join(names) or 'none'}"
            )
        self.short = short
        self.given = {p.name: p.checked(given.get(p.name, p.default)) for p in self.parameters}
        if wrong := self.valid():
            raise ValueError(f"{self.name}: {wrong}")

    def __getitem__(self, name: str) -> float:
        return self.given[name]

    def valid(self) -> str:
        """Say what is wrong with parameters that are each allowed, but not together."""
        return ""

    def warm_up(self) -> int:
        """Return how many bars it needs before it decides as if it had seen all of them."""
        return 0

    def on_start(self) -> None:
        """Begin: forget everything."""

    def on_bar(self, context: Context, bar: Bar) -> None:
        """Decide on a bar."""

    def on_trade(self, context: Context, trade: Trade) -> None:
        """Decide on a trade of the market."""

    def on_book(self, context: Context, book: object) -> None:
        """Decide on a change of the book."""

    def on_fill(self, context: Context, fill: Fill) -> None:
        """Decide on a fill."""


class Compiled(Strategy, ABC):
    """A strategy that has besides `on_bar` a form for whole columns, with the same decisions."""

    @abstractmethod
    def targets(self, columns: dict[str, Values]) -> Targets:
        """Return the targets (B,) of one instrument's bars (columns (B,) by name), from its first
        bar on: millionths, HOLD where nothing changes."""
