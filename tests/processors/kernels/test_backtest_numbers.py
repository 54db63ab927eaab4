"""Backtests against an independent computation: NumPy for what is decided, Decimal for money."""

from collections.abc import Callable
from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext
from typing import Any

import numpy as np
import pytest

from tidemill.processors.kernels.backtest.built_in import BUILT_IN
from tidemill.processors.kernels.backtest.outcome import Outcome, trips_of
from tidemill.processors.kernels.backtest.rules import Rules
from tidemill.processors.kernels.backtest.simulation import Simulation
from tidemill.processors.kernels.backtest.together import WINDOW
from tidemill.tests.processors.kernels.markets import real_hours, walk

Floats = np.ndarray[Any, np.dtype[np.float64]]
Wanted = np.ndarray[Any, np.dtype[np.int64]]
"""What is to be held after each bar: 1, 0, -1; 2 where nothing is decided."""


def crossed(fast: Floats, slow: Floats, below: int) -> Wanted:
    """Return a decision wherever the sign of the difference is not what it was."""
    sign = np.sign(fast - slow)
    known = np.flatnonzero(~np.isnan(sign) & (sign != 0))
    turns = known[1:][sign[known[1:]] != sign[known[:-1]]]
    wanted = np.full(len(fast), 2)
    wanted[turns] = np.where(sign[turns] > 0, 1, below)
    return wanted


def reversed_(value: Floats, low: float, high: float, below: int) -> Wanted:
    """Return a decision at the first of every stretch of extremes of one kind."""
    side = np.where(value < low, 1, np.where(value > high, -1, 0))
    extremes = np.flatnonzero(side)
    firsts = extremes[np.concatenate([[True], side[extremes[1:]] != side[extremes[:-1]]])]
    wanted = np.full(len(value), 2)
    wanted[firsts] = np.where(side[firsts] > 0, 1, below)
    return wanted


def sma(close: Floats, period: int) -> Floats:
    windows = np.lib.stride_tricks.sliding_window_view(close, period)
    return np.concatenate([np.full(period - 1, np.nan), windows.mean(axis=1)])


def bollinger_b(close: Floats, period: int, times: float) -> Floats:
    windows = np.lib.stride_tricks.sliding_window_view(close, period)
    middle, reach = windows.mean(axis=1), times * windows.std(axis=1)
    found = (close[period - 1 :] - middle + reach) / (2 * reach)
    return np.concatenate([np.full(period - 1, np.nan), found])


def wilder_rsi(close: Floats, period: int) -> Floats:
    change = np.diff(close)
    weights = (1 - 1 / period) ** np.arange(len(change))[::-1]
    found = np.full(len(close), np.nan)
    for k in range(period, len(close)):
        rest, w = change[period:k], weights[len(change) - (k - period) :]
        first = change[:period]
        up, down = (
            np.maximum(s * first, 0).mean() * (1 - 1 / period) ** (k - period)
            + (np.maximum(s * rest, 0) * w).sum() / period
            for s in (1, -1)
        )
        found[k] = 100 * up / (up + down)
    return found


STRATEGIES: dict[str, tuple[str, dict[str, float], Callable[[Floats, int], Wanted]]] = {
    "sma": (
        "sma_cross",
        {"fast": 10, "slow": 30},
        lambda c, below: crossed(sma(c, 10), sma(c, 30), below),
    ),
    "rsi": (
        "rsi",
        {"period": 14, "oversold": 35, "overbought": 65},
        lambda c, below: reversed_(wilder_rsi(c, 14), 35, 65, below),
    ),
    "bollinger": (
        "bollinger",
        {"period": 20, "deviations": 2},
        lambda c, below: reversed_(bollinger_b(c, 20, 2.0), 0, 1, below),
    ),
}


def money(wanted: Wanted, opens: list[Decimal], closes: list[Decimal], rules: Rules) -> Any:
    """Return equity after every bar, and the fees, by Decimal."""
    fee, slip = Decimal(rules.taker_ppm) / 10**6, Decimal(rules.slippage_ppm) / 10**6
    tick, lot, share = Decimal("0.01"), Decimal("0.00001"), Decimal(rules.fraction_ppm) / 10**6
    cash, held, fees, target, pending = rules.initial, Decimal(0), Decimal(0), 0, None
    equity = []

    def fill(amount: Decimal, price: Decimal) -> None:
        nonlocal cash, held, fees
        cost = abs(amount) * price * fee
        cash, held, fees = cash - amount * price - cost, held + amount, fees + cost

    def at(price: Decimal, side: int) -> Decimal:
        rounding = ROUND_CEILING if side > 0 else ROUND_FLOOR
        return (price * (1 + side * slip)).quantize(tick, rounding)

    for k, (opened, close) in enumerate(zip(opens, closes, strict=True)):
        if pending is not None:
            if held:
                side = -1 if held > 0 else 1
                fill(-held, at(opened, side))
            if pending:
                price = at(opened, pending)
                amount = (cash * share / (price * (1 + fee))).quantize(lot, ROUND_FLOOR)
                fill(pending * amount, price)
        pending = None
        equity.append(cash + held * close)
        if wanted[k] not in (2, target):
            target = pending = int(wanted[k])
    return equity, fees


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize(("fee", "slip", "part"), [(1_000, 500, 1_000_000), (0, 0, 250_000)])
def test_equity_and_fees_are_an_independent_computation_s(
    name: str, short: bool, fee: int, slip: int, part: int
) -> None:
    market = real_hours()
    rules = Rules(taker_ppm=fee, slippage_ppm=slip, fraction_ppm=part, short=short)
    which, given, decided = STRATEGIES[name]
    ran = Simulation([market], rules).run(BUILT_IN[which](short=short, **given))
    wanted = decided(market.bars.close / 100.0, -1 if short else 0)
    with localcontext(prec=60):
        opens, closes = (
            [Decimal(int(p)).scaleb(-2) for p in column]
            for column in (market.bars.open, market.bars.close)
        )
        equity, fees = money(wanted, opens, closes, rules)
        ours = [ran.money(point, "equity") for point in ran.points]
        assert len(ran.fills) > 10
        assert ours == equity
        outcome = Outcome.of(ran)
        assert (outcome.final, outcome.fees) == (equity[-1], fees)
        assert len(trips_of(ran)) == outcome.trips.trades


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("short", [False, True])
def test_bar_by_bar_in_python_it_is_the_compiled_form(name: str, short: bool) -> None:
    rules = Rules(short=short, stop_ppm=20_000, take_ppm=30_000)
    start = int(real_hours().bars.ts_open[200])
    whole, each = (
        Simulation([real_hours()], rules, start).run(BUILT_IN[name](short=short), in_python)
        for in_python in (False, True)
    )
    assert whole.fills["ts"][0] >= start
    assert len(whole.fills) > 10
    for rows in ("fills", "trips", "points", "account"):
        mine, theirs = getattr(whole, rows), getattr(each, rows)
        assert mine.tolist() == theirs.tolist(), rows
    assert whole.decisions == each.decisions


@pytest.mark.parametrize(
    "given",
    [
        {"short": True},
        {"stop_ppm": 9_000, "take_ppm": 12_000},
        {"latency_ns": 45_000_000_000, "stop_ppm": 9_000},
        {"fill_at": "close", "quantity": Decimal("0.01")},
    ],
    ids=["short", "protected", "late", "at the close"],
)
def test_many_instruments_in_one_account_together_are_each_bar_in_python(
    given: dict[str, Any],
) -> None:
    # Of differing lengths, past a window's end at differing moments; two tick as one.
    counts = (WINDOW - 1, WINDOW, WINDOW + 1, 3 * WINDOW + 7, 1, 40)
    markets = [walk(k, count, f"R{k}USDT.SIM") for k, count in enumerate(counts)]
    markets.append(replace(markets[3], instrument="R9USDT.SIM"))
    strategy = BUILT_IN["ema_cross"]
    whole, each = (
        Simulation(markets, Rules(**given)).run(
            strategy(short="short" in given, fast=5, slow=13), in_python
        )
        for in_python in (False, True)
    )
    assert len(whole.fills) > 100
    for rows in ("fills", "trips", "points", "account"):
        assert getattr(whole, rows).tolist() == getattr(each, rows).tolist(), rows
