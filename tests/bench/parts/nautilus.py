"""NautilusTrader's backtest engine on the same trades: a program for an environment of its own.

    python nautilus.py TRADES.npz SPEC...

TRADES.npz has, for instrument k, arrays `ts_k` (ns, int64), `price_k`, `quantity_k` (float64),
`side_k` (1 buyer, 2 seller) and `id_k`. A bar type is made of every SPEC, as `1-MINUTE`. For each
line on standard input the engine runs over all of it once; the answer is one line of JSON: seconds
and CPU seconds of the run alone, trades and bars. Made for 1.221, the newest for Python 3.11.
"""

import json
import sys
import time
from typing import Any

import numpy as np
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import DataEngineConfig, LoggingConfig
from nautilus_trader.model.currencies import BTC, USDT
from nautilus_trader.model.data import BarType, TradeTick
from nautilus_trader.model.enums import AccountType, OmsType
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.trading.strategy import Strategy

PRECISION = 8
VENUE = Venue("LOAD")


class Counting(Strategy):
    """Subscribes every bar type and counts what comes."""

    def __init__(self, bar_types: list[Any]) -> None:
        super().__init__()
        self.bar_types = bar_types
        self.bars = 0

    def on_start(self) -> None:
        for bar_type in self.bar_types:
            self.subscribe_bars(bar_type)

    def on_bar(self, _: Any) -> None:
        self.bars += 1


def instrument(which: int) -> Any:
    """Return the instrument of index `which`."""
    symbol = f"I{which}USDT"
    return CurrencyPair(
        instrument_id=InstrumentId(Symbol(symbol), VENUE),
        raw_symbol=Symbol(symbol),
        base_currency=BTC,
        quote_currency=USDT,
        price_precision=PRECISION,
        size_precision=PRECISION,
        price_increment=Price(1e-8, PRECISION),
        size_increment=Quantity(1e-8, PRECISION),
        ts_event=0,
        ts_init=0,
    )


def ticks(of: Any, stored: Any, which: int) -> list[Any]:
    """Return the trades of one instrument."""
    ts = stored[f"ts_{which}"].astype(np.uint64)
    found: list[Any] = TradeTick.from_raw_arrays_to_list(
        of.id,
        PRECISION,
        PRECISION,
        stored[f"price_{which}"],
        stored[f"quantity_{which}"],
        stored[f"side_{which}"].astype(np.uint8),
        [str(number) for number in stored[f"id_{which}"].tolist()],
        ts,
        ts,
    )
    return found


def main(path: str, specs: list[str]) -> None:
    """Load once, then run for every line."""
    stored = np.load(path)
    instruments = [instrument(which) for which in range(len(stored.files) // 5)]
    data = [ticks(one, stored, which) for which, one in enumerate(instruments)]
    bar_types = [
        BarType.from_str(f"{one.id}-{spec}-LAST-INTERNAL") for one in instruments for spec in specs
    ]
    for _ in sys.stdin:
        engine = BacktestEngine(
            BacktestEngineConfig(
                logging=LoggingConfig(bypass_logging=True),
                run_analysis=False,
                data_engine=DataEngineConfig(time_bars_build_with_no_updates=False),
            )
        )
        engine.add_venue(VENUE, OmsType.NETTING, AccountType.CASH, [Money(1_000_000, USDT)])
        for one, mine in zip(instruments, data, strict=True):
            engine.add_instrument(one)
            engine.add_data(mine)
        strategy = Counting(bar_types)
        engine.add_strategy(strategy)
        began, cpu = time.perf_counter(), time.process_time()
        engine.run()
        result = {
            "seconds": time.perf_counter() - began,
            "cpu_seconds": time.process_time() - cpu,
            "trades": sum(map(len, data)),
            "bars": strategy.bars,
        }
        engine.dispose()
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
