"""What is unusual: every window against plain Python, pumps and crashes worked out by hand."""

import math
from typing import Any

import numpy as np
import pytest

from tidemill.processors.kernels.indicator import computed
from tidemill.processors.kernels.indicator_catalog import INDICATORS
from tidemill.processors.kernels.indicator_state import WORDS_MAX
from tidemill.tests.processors.kernels import oracle_anomalies as oracle
from tidemill.tests.processors.kernels.klines import Columns, hours, walk

Z = {name: getattr(oracle, name) for name in ("return_z", "volume_z", "range_z")}


def ours(name: str, bars: Columns, **given: float) -> Any:
    indicator = INDICATORS[name]
    columns = np.array([bars[head] for head in indicator.inputs])
    return computed(indicator, indicator.checked(**given), columns)


def wild(seed: int, count: int = 700) -> Columns:
    """A walk with pumps, crashes, equal values in a row and minutes without a trade."""
    random, bars = np.random.default_rng(seed), walk(seed, count)
    factor = np.ones(count)
    for at in random.integers(20, count - 20, 12).tolist():
        factor[at : at + 8] *= np.linspace(1, 1 + random.random(), 8)
        factor[at + 8 :] *= 1 + random.random() / 4
        bars["volume"][at : at + 8] *= random.integers(1, 9)
    for name in ("open", "high", "low", "close"):
        bars[name] = bars[name] * factor
    for at in random.integers(0, count - 70, 5).tolist():
        for name in ("high", "low", "close"):
            bars[name][at : at + 40] = bars["close"][at]
        bars["volume"][at : at + 70] = 0.0
    bars["volume"][::7] = 50.0
    return bars


def equal(found: Any, expected: tuple[Any, ...]) -> None:
    for values, others in zip(found, expected, strict=True):
        np.testing.assert_array_equal(np.isnan(values), np.isnan(others))
        np.testing.assert_allclose(values, others, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", Z)
@pytest.mark.parametrize("length", [5, 6, 61])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_robust_z_score_is_that_of_its_window(name: str, length: int, seed: int) -> None:
    bars = wild(seed)
    equal(ours(name, bars, period=length), Z[name](bars, length))


@pytest.mark.parametrize("length", [5, 60])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_pump_is_scored_term_by_term(length: int, seed: int) -> None:
    bars = wild(seed)
    found = ours("pump_and_dump", bars, period=length)
    equal(found, oracle.pump_and_dump(bars, length))
    assert len(np.unique(found[1:3][~np.isnan(found[1:3])])) == 5, "every class occurs"


@pytest.mark.parametrize(
    ("given", "seed"),
    [({}, 4), ({"trees": 15, "window": 10, "seed": 0}, 5), ({"trees": 1, "window": 64}, 6)],
)
def test_half_space_trees_are_the_papers(given: dict[str, int], seed: int) -> None:
    for bars in (wild(seed), walk(seed, 700)):
        equal(ours("half_space_trees", bars, **given), oracle.half_space_trees(bars, **given))


def test_nine_ordinary_changes_and_one_that_is_not() -> None:
    """1 to 9 and 30: median 5.5, distances 4.5 3.5 2.5 1.5 0.5 twice and 24.5."""
    bars = {"volume": np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 9, 30])}
    z, middle, deviation = ours("volume_z", bars, period=10)[:, -1]
    assert middle == 5.5 and deviation == pytest.approx(1.4826 * 2.5, rel=1e-4)
    assert z == pytest.approx(24.5 / (1.4826 * 2.5), rel=1e-4)


def test_where_most_are_equal_the_mean_distance_measures() -> None:
    bars = {"volume": np.array([2.0, 2, 2, 2, 12])}
    z, middle, deviation = ours("volume_z", bars, period=5)[:, -1]
    assert middle == 2 and deviation == pytest.approx(math.sqrt(math.pi / 2) * 2)
    assert z == pytest.approx(10 / deviation)


def test_a_pump_that_is_dumped() -> None:
    """Up 60 % in four bars, the largest rise 30 %, six times the volume; then half is lost."""
    bars = {
        "close": np.array([100.0, 100, 100, 100, 130, 145, 160, 130]),
        "volume": np.array([10.0, 10, 10, 10, 10, 10, 10, 71]),
    }
    found = ours("pump_and_dump", bars, period=7)[:, -1]
    assert found.tolist() == pytest.approx([30 + 30 + 20 + 10, 30, 30, 20, 10])


@pytest.mark.parametrize(
    ("more", "points"),
    [(100, 0), (101, 15), (200, 15), (201, 20), (300, 20), (301, 25), (500, 25), (501, 30)],
)
def test_bounds_of_volume_are_exclusive(more: float, points: float) -> None:
    volume = np.array([100.0] * 5 + [100.0 + more])
    bars = {"close": np.full(6, 7.0), "volume": volume}
    assert ours("pump_and_dump", bars, period=5)[:, -1].tolist() == [points, points, 0, 0, 0]


def test_a_trade_after_silence_is_beyond_every_bound_of_volume() -> None:
    bars = {"close": np.full(6, 7.0), "volume": np.array([0.0] * 5 + [1e-9])}
    assert ours("pump_and_dump", bars, period=5)[1, -1] == 30


def test_a_crash_stands_out_of_real_hours() -> None:
    """The first hour of 2020-05-10, when BTCUSDT fell by 8.8 % at twelve times the volume."""
    bars = hours()
    worst = int(np.argmin(np.diff(bars["close"]) / bars["close"][:-1])) + 1
    assert ours("return_z", bars)[0, worst] < -10
    assert ours("volume_z", bars)[0, worst] > 10
    assert ours("range_z", bars)[0, worst] > 5
    for seed in range(1, 7):
        scores = ours("half_space_trees", bars, window=100, seed=seed)[0]
        assert scores[worst] > np.nanquantile(scores, 0.98)


def test_another_seed_grows_other_trees() -> None:
    """Not the same ones in another order."""
    bars = walk(1, 300)
    one, other = (ours("half_space_trees", bars, window=50, seed=seed)[0] for seed in (2, 3))
    assert np.abs(one - other)[60:].max() > 0.1


@pytest.mark.parametrize("name", [*Z, "pump_and_dump", "half_space_trees"])
def test_the_most_that_may_be_asked_for_fits_an_instruments_state(name: str) -> None:
    indicator = INDICATORS[name]
    assert indicator.words(tuple(parameter.high for parameter in indicator.parameters)) < WORDS_MAX
