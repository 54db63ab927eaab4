"""Ratios of performance: published results on real returns, and small cases by hand."""

import csv
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.processors.kernels.performance import (
    DAY_NS,
    Trips,
    daily,
    fall,
    growth,
    omega,
    performance,
    sharpe,
    sortino,
)
from tidemill.tests.processors.kernels.klines import DATA, there

DAYS = DATA / "ohlcv" / "binance_raw_klines_BTCUSDT_1d_20181229-20200104.json"
OUTPUTS = DATA / "risk_reference" / "library_outputs_on_real_BTC.json"


def real_days() -> tuple[Any, Any]:
    """Return when 372 days of BTCUSDT ended, and their closes."""
    rows = orjson.loads(there(DAYS).read_bytes())
    ts = np.array([row[0] for row in rows], np.int64) * 1_000_000 + DAY_NS
    return ts, np.array([float(row[4]) for row in rows])


def test_on_real_days_every_ratio_is_the_published_one() -> None:
    ts, close = real_days()
    expected = orjson.loads(there(OUTPUTS).read_bytes())["library_outputs_on_real_BTC"]
    library = expected["empyrical_reloaded_0_7_1"]
    found = performance(ts[1:], close[1:], float(close[0]), int(ts[0]), 0.0)
    assert found.sharpe == pytest.approx(library["sharpe_365"], rel=1e-12)
    assert found.sortino == pytest.approx(library["sortino_365"], rel=1e-12)
    assert found.calmar == pytest.approx(library["calmar_365"], rel=1e-12)
    assert found.omega == pytest.approx(library["omega"], rel=1e-12)
    assert found.cagr == pytest.approx(library["annual_return_365"], rel=1e-12)
    assert found.volatility == pytest.approx(library["annual_volatility_365"], rel=1e-12)
    assert found.total_return == pytest.approx(library["cum_return"], rel=1e-12)
    assert -found.max_drawdown == pytest.approx(library["max_drawdown"], rel=1e-12)
    other = expected["skfolio_1_12_2"]["max_drawdown_compounded"]
    assert found.max_drawdown == pytest.approx(other, rel=1e-12)


def test_the_information_ratio_is_the_sharpe_ratio_of_active_returns() -> None:
    path = there(DATA / "risk_reference" / "empyrical_returns.csv")
    lines = path.read_text().splitlines()
    rows = [float(row[1]) / 100 for row in csv.reader(lines)]
    returns, benchmark = np.array(rows), np.roll(np.array(rows), 7)
    equity = np.cumprod(1 + returns)
    ts = np.arange(1, len(equity) + 1) * DAY_NS
    found = performance(ts, equity, 1.0, 0, 0.02, benchmark)
    active = returns - benchmark
    expected = active.mean() / active.std(ddof=1) * np.sqrt(365)
    assert found.information_ratio == pytest.approx(expected, rel=1e-9)


def test_days_end_at_midnight_and_one_without_anything_is_as_the_one_before() -> None:
    hour = DAY_NS // 24
    ts = np.array([hour, 24 * hour, 25 * hour, 73 * hour], np.int64)
    found = daily(ts, np.array([110.0, 121.0, 60.5, 121.0]), 100.0)
    assert found == pytest.approx([0.21, -0.5, 0.0, 1.0])


def test_a_fall_lasts_from_its_peak_until_that_is_reached_again() -> None:
    ts = np.arange(1, 8, dtype=np.int64)
    worst, longest, _ = fall(ts, np.array([100.0, 120, 90, 110, 120, 119, 120]), 100.0)
    assert (worst, longest) == (0.25, 3.0)
    assert fall(ts[:3], np.array([100.0, 120, 90]), 100.0)[1] == 1.0
    assert fall(ts[:2], np.array([80.0, 90]), 100.0)[:2] == (pytest.approx(0.2), 1.0)


def test_ulcer_is_the_root_mean_square_of_falls_in_percent() -> None:
    ts = np.arange(1, 5) * DAY_NS
    found = performance(ts, np.array([100.0, 90, 80, 100]), 100.0, 0, 0.0)
    assert found.ulcer == pytest.approx(np.sqrt((100 + 400) / 4))


def test_what_is_not_defined_is_none() -> None:
    steady = np.full(5, 0.01)
    assert sharpe(steady) is None and sortino(steady) is None and omega(steady) is None
    assert sharpe(np.empty(0)) is None and sortino(np.empty(0)) is None
    assert growth(-1.0, 10.0) is None and growth(0.5, 0.0) is None
    empty = Trips.of(np.empty(0))
    assert (empty.trades, empty.win_rate, empty.profit_factor) == (0, None, None)


def test_trips_count_what_was_won_and_lost() -> None:
    found = Trips.of(np.array([3.0, 1.0, -2.0, 0.0, -1.0, -1.0, 4.0]))
    assert (found.trades, found.wins, found.losses) == (7, 3, 3)
    assert (found.wins_in_a_row, found.losses_in_a_row) == (2, 2)
    assert found.profit_factor == 2.0 and found.expectancy == pytest.approx(4 / 7)
    assert (found.average_win, found.average_loss) == (pytest.approx(8 / 3), pytest.approx(-4 / 3))
    assert (found.largest_win, found.largest_loss) == (4.0, -2.0)


@given(st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=60))
def test_the_greatest_fall_is_that_of_all_pairs(returns: list[float]) -> None:
    equity = np.cumprod(1 + np.array(returns))
    peaks = np.maximum.accumulate(np.concatenate([[1.0], equity]))[1:]
    found = fall(np.arange(len(equity)), equity, 1.0)[0]
    assert found == pytest.approx(float((1 - equity / peaks).max()), abs=1e-12)
