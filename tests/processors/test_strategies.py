"""A strategy over bars that the engine made of a LOG decides as in a backtest of its trades."""

from decimal import Decimal

import numpy as np
import pytest

from tidemill.processors.bars import BARS
from tidemill.processors.kernels.backtest.market import Market
from tidemill.processors.kernels.backtest.rules import Rules
from tidemill.processors.kernels.backtest.simulation import Simulation
from tidemill.processors.kernels.backtest.strategy import Context, Number
from tidemill.processors.strategies import BUILT_IN, Bar
from tidemill.tests.processors.kernels.markets import BTC
from tidemill.tests.processors.runs import DAY, MIDNIGHT, SECOND, drive, of_kind
from tidemill.tests.processors.test_captures import FILES, capture, logged

pytestmark = pytest.mark.skipif(
    not all(file.exists() for file in FILES), reason="no captures: set TIDEMILL_DATA"
)


class Deciding(Context):
    """A context that only writes down what is to be held: no account, no fills."""

    def __init__(self) -> None:
        self.now, self.held = 0, 0.0
        self.decided: list[tuple[int, str, str, float, float]] = []

    @property
    def ts(self) -> int:
        return self.now

    @property
    def equity(self) -> float:
        raise NotImplementedError

    def position(self, instrument: str) -> Decimal:
        raise NotImplementedError

    def target(self, instrument: str, part: float) -> None:
        if part != self.held:
            self.decided.append((self.now, instrument, "target", part, 0.0))
            self.held = part

    def buy(self, instrument: str, quantity: Number, **at: Number | None) -> int:
        raise NotImplementedError

    def sell(self, instrument: str, quantity: Number, **at: Number | None) -> int:
        raise NotImplementedError

    def close(self, instrument: str) -> int:
        raise NotImplementedError

    def cancel(self, order: int) -> bool:
        raise NotImplementedError


def backtested() -> Market:
    trades = capture()
    ts = np.array([trade["T"] * 10**6 for trade in trades], np.int64)
    price = np.array([int(Decimal(trade["p"]).scaleb(2)) for trade in trades], np.int64)
    quantity = np.array([float(trade["q"]) for trade in trades])
    return Market.of_trades(BTC, (-2, -5), ts, price, quantity, SECOND)


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_same_object_decides_the_same_on_bars_of_the_engine_and_in_a_backtest(
    name: str,
) -> None:
    log = logged(times=False)
    log.status(MIDNIGHT + 2 * DAY)
    context, strategy = Deciding(), BUILT_IN[name]()
    strategy.on_start()
    for bar in of_kind(drive(BARS, log)[1], "bar"):
        if bar["interval_s"] == 1:
            context.now = bar["ts_open"] + SECOND
            prices = (bar[field] / 10.0**8 for field in ("open", "high", "low", "close"))
            strategy.on_bar(context, Bar(BTC, bar["ts_open"], context.now, *prices, volume=0.0))
    market = backtested()
    assert len(market.bars.close) > 500
    ran = Simulation([market], Rules()).run(strategy, in_python=True)
    assert context.decided == list(ran.decisions) and len(context.decided) > 5
    assert ran.decisions == Simulation([market], Rules()).run(strategy).decisions
