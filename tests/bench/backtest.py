"""`bench backtest`: EMA-cross and RSI over bars and trades, beside NautilusTrader and
backtesting.py, and a year of minutes of a hundred instruments.

Ours runs over 5 million bars and 20 million trades; the others over fewer of the same, counted by
bar or trade. Measured is a run alone: from data in memory to fills, trips and the equity of every
bar; of trades, with making minutes of them. Before that, each other engine and ours run over the
same bars or trades under the same rules, and their fills and final equity must be equal:

- backtesting.py: orders fill at the next open; 10 whole units; 0.1 % commission. Its indicators are
  TA-Lib's.
- NautilusTrader: an order sent on a bar fills at once at the last price, so ours fills at the close
  (`fill_at="close"`). Its averages are worked out in its strategies, in our order of operations:
  its own begin otherwise. It rounds fees to 8 decimals: so equity is equal to a millionth.

Not equal, and not used here: what all-in comes to (backtesting.py buys whole units), and limits
and stops within a bar, whose order each engine guesses in its own way.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.parts.beside import Beside
from tests.bench.rounds import answer, say, summary
from tidemill.processors.kernels.backtest.built_in import BUILT_IN
from tidemill.processors.kernels.backtest.market import Market, Prices
from tidemill.processors.kernels.backtest.ran import Ran
from tidemill.processors.kernels.backtest.rules import Rules
from tidemill.processors.kernels.backtest.simulation import Simulation

NAUTILUS = "nautilus-trader==1.221.0"
BACKTESTING = "backtesting==0.6.6,TA-Lib==0.8.2"
MINUTE = 60_000_000_000
BEGINS = 1_704_067_200_000_000_000
STRATEGIES = ("ema_cross", "rsi")
YEAR_BARS = 365 * 24 * 60
FEES = Rules(Decimal(10_000_000), 1_000, 1_000, 0, quantity=Decimal(1))


def bars(count: int, seed: int = 1) -> Market:
    """Return seeded minutes around 1,000.00."""
    random = np.random.default_rng(seed)
    steps = random.normal(0, 5e-4, count)
    close = (100_000 * np.exp(steps.cumsum() - np.linspace(0, steps.sum(), count))).astype(np.int64)
    opened = np.concatenate([close[:1], close[:-1]]) + random.integers(-5, 6, count)
    high = np.maximum(opened, close) + random.integers(0, 40, count)
    low = np.minimum(opened, close) - random.integers(0, 40, count)
    ts = BEGINS + np.arange(count, dtype=np.int64) * MINUTE
    prices = Prices(ts, ts + MINUTE, opened, high, low, close, np.ones(count))
    return Market("BTCUSDT.SIM", -2, -3, prices)


def trades(count: int, each: int) -> Market:
    """Return seeded trades, `each` a minute, and the minutes that they make. The first is at a
    minute's begin, from which NautilusTrader counts; no other is: it is of the minute before."""
    random = np.random.default_rng(2)
    steps = random.normal(0, 1e-4, count)
    price = (100_000 * np.exp(steps.cumsum() - np.linspace(0, steps.sum(), count))).astype(np.int64)
    places = np.arange(count, dtype=np.int64)
    ts = BEGINS + places // each * MINUTE + (places % each + 1) * (MINUTE // (each + 1))
    ts[0] = BEGINS
    return Market.of_trades("BTCUSDT.SIM", (-2, -3), ts, price, np.ones(count), MINUTE)


def fresh(market: Market) -> Market:
    """Return the same market without what it has made of its bars or trades already."""
    if market.ts is None or market.price is None:
        return replace(market)
    exponents = market.price_exponent, market.quantity_exponent
    ones = np.ones(len(market.ts))
    return Market.of_trades(market.instrument, exponents, market.ts, market.price, ones, MINUTE)


def run(market: Market, name: str, rules: Rules) -> tuple[float, Ran]:
    """Return the seconds of a run, of trades with making their minutes, and what came of it."""
    began = time.perf_counter()
    market = fresh(market)
    ran = Simulation([market], rules).run(BUILT_IN[name]())
    return time.perf_counter() - began, ran


def equal(name: str, ran: Ran, fills: float, equity: float) -> None:
    """Hold our fills and equity to theirs."""
    assert len(ran.fills) == fills > 0, (name, len(ran.fills), fills)
    assert abs(float(ran.final) - equity) < 1e-6 * max(1.0, fills), (name, ran.final, equity)


class Others:
    """Both other engines, on the first of our bars and trades."""

    def __init__(self, market: Market, ticks: Market, few: tuple[int, int], folder: Path) -> None:
        per_bar = len(ticks.ts if ticks.ts is not None else ()) // len(ticks.bars.close)
        self.market, self.ticks = market.part(0, few[0]), ticks.part(0, few[1] // per_bar)
        of = self.market.bars
        names = ("open", "high", "low", "close")
        columns = {name: getattr(of, name) / 100.0 for name in names}
        assert self.ticks.ts is not None and self.ticks.price is not None
        path = folder / "data.npz"
        np.savez(
            path,
            allow_pickle=False,
            ts=of.ts_open,
            trade_ts=self.ticks.ts,
            trade_price=self.ticks.price / 100.0,
            **columns,
        )
        self.nautilus = Beside(NAUTILUS, "with_nautilus_strategies.py", [str(path)], folder)
        self.backtesting = Beside(BACKTESTING, "with_backtesting_py.py", [str(path)], folder)
        self.trades = len(self.ticks.ts)

    def round(self, check: bool) -> dict[str, float]:
        """Return nanoseconds a bar or trade of each; with `check`, hold results to ours."""
        found: dict[str, float] = {}
        theirs: Any = self.nautilus.round() or {}
        at_close = replace(FEES, fill_at="close")
        for key, one in theirs.items():
            name, data = key.split()
            count = len(self.market.bars.close) if data == "bars" else self.trades
            found[f"nautilus {key}"] = one["seconds"] / count * 1e9
            if check:
                # No trade after the last minute: their engine never closes it.
                whole = self.ticks.part(0, len(self.ticks.bars.close) - 1)
                market = self.market if data == "bars" else whole
                equal(key, run(market, name, at_close)[1], one["fills"], one["equity"])
        other: Any = self.backtesting.round() or {}
        ten = replace(FEES, quantity=Decimal(10))
        for name, one in other.items():
            found[f"backtesting_py {name} bars"] = (
                one["seconds"] / len(self.market.bars.close) * 1e9
            )
            if check:
                ran = run(self.market, name, ten)[1]
                assert len(ran.trips) == one["trades"], (name, len(ran.trips), one)
                equal(name, ran, len(ran.fills), one["equity"])
        return found

    def close(self) -> list[str]:
        """End both; return why one did not run."""
        self.nautilus.close()
        self.backtesting.close()
        return [one.why for one in (self.nautilus, self.backtesting) if one.why]


def year(instruments: int) -> dict[str, float]:
    """Return seconds of a year of minutes: each in an account of its own, then all in one."""
    distinct = [bars(YEAR_BARS, seed) for seed in range(1, 6)]
    run(distinct[0], "ema_cross", FEES)
    found = {}
    for name in STRATEGIES:
        began = time.perf_counter()
        for k in range(instruments):
            run(distinct[k % 5], name, FEES)
        found[f"{name}_s"] = time.perf_counter() - began
    many = [replace(distinct[k % 5], instrument=f"I{k}USDT.SIM") for k in range(instruments)]
    began = time.perf_counter()
    Simulation(many, replace(FEES, initial=Decimal(10**9))).run(BUILT_IN["ema_cross"]())
    found["one_account_ema_cross_s"] = time.perf_counter() - began
    return found


def bench(options: argparse.Namespace) -> None:
    """Alternate the three; print medians."""
    market, ticks = bars(options.bars), trades(options.trades, options.trades_a_bar)
    assert ticks.ts is not None
    counts = {"bars": options.bars, "trades": len(ticks.ts)}
    ours: dict[str, list[float]] = {}
    ratios: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        few = (options.few_bars, options.few_trades)
        others = Others(market, ticks, few, Path(folder))
        for number in range(options.rounds + 1):
            used = {}
            for name in STRATEGIES:
                for data, one in (("bars", market), ("trades", ticks)):
                    seconds = run(one, name, FEES)[0]
                    used[f"{name} {data}"] = seconds / counts[data] * 1e9
            theirs = others.round(check=number == 0)
            if not number:
                continue
            for key, ns in used.items():
                ours.setdefault(key, []).append(ns)
            for key, ns in theirs.items():
                ratios.setdefault(key, []).append(ns / used[key.partition(" ")[2]])
            say(f"round {number}: ours {used}; theirs {theirs}")
        why = others.close()
    found = {key: summary(values, 1) for key, values in ratios.items()}
    answer(
        {
            "vs_nautilus": _least(found, "nautilus"),
            "vs_backtesting_py": _least(found, "backtesting_py"),
            "ratios": found,
            "ns_each": {key: summary(values, 1) for key, values in ours.items()},
            **counts,
            "their_bars": options.few_bars,
            "their_trades": options.few_trades,
            "equal_fills_and_equity": not why,
            "year_of_minutes": {
                "instruments": options.instruments,
                **{k: round(v, 2) for k, v in year(options.instruments).items()},
            },
            **({"why": why} if why else {}),
        }
    )


def _least(found: dict[str, dict[str, float]], engine: str) -> dict[str, float] | None:
    """Return the smallest of an engine's ratios."""
    of = [one for key, one in found.items() if key.startswith(engine)]
    return min(of, key=lambda one: one["median"]) if of else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bars", type=int, default=5_000_000)
    parser.add_argument("--trades", type=int, default=20_000_000)
    parser.add_argument("--trades-a-bar", type=int, default=20)
    parser.add_argument("--few-bars", type=int, default=50_000, help="of the others")
    parser.add_argument("--few-trades", type=int, default=200_000)
    parser.add_argument("--instruments", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="accepted; the result is always JSON")
    bench(parser.parse_args())


if __name__ == "__main__":
    main()
