"""What a file with a strategy of one's own imports: the strategy, what it is told, and indicators
that follow bars. `kernels/backtest/strategy.py` says how one is written."""

from tidemill.processors.kernels.backtest.built_in import BUILT_IN
from tidemill.processors.kernels.backtest.following import Following
from tidemill.processors.kernels.backtest.strategy import (
    Bar,
    Context,
    Fill,
    Parameter,
    Strategy,
    Trade,
)

__all__ = ["BUILT_IN", "Bar", "Context", "Fill", "Following", "Parameter", "Strategy", "Trade"]
