"""Correlations and betas, against Python's own statistics."""

import math
import random
import statistics
from typing import Any

import numpy as np
import pytest

from tidemill.gateway.queries.statistics import betas, correlated
from tidemill.tests.gateway.asking import Client
from tidemill.tests.gateway.market import CLOSES, at

asked = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]
CORRELATION, BETA = "/api/analytics/correlation", "/api/analytics/beta/ETHUSDT"
FIVE = {"timeframe": "5m", "window": "3"}


def moves(seed: int, rows: int, length: int, holes: float) -> np.ndarray[Any, Any]:
    chance = random.Random(seed)
    return np.array([
        [math.nan if chance.random() < holes else chance.gauss(0, 1e-3) for _ in range(length)]
        for _ in range(rows)
    ])  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_correlations_are_those_of_the_intervals_that_both_have(seed: int) -> None:
    of = moves(seed, 5, 60, 0.2)
    matrix, observations = correlated(of)
    for i, one in enumerate(of.tolist()):
        for j, other in enumerate(of.tolist()):
            both = [(x, y) for x, y in zip(one, other, strict=True) if not math.isnan(x + y)]
            assert observations[i][j] == len(both)
            assert matrix[i][j] == pytest.approx(statistics.correlation(*zip(*both, strict=True)))
        assert matrix[i][i] == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(4))
def test_betas_are_the_slopes_of_every_window(seed: int) -> None:
    y, x = moves(seed, 2, 80, 0.1)
    times, window = np.arange(80) * 60, 20
    both = [k for k in range(80) if not math.isnan(x[k] + y[k])]
    found = betas(y, x, times, window)
    assert [one["ts_open"] for one in found] == [60 * k for k in both[window - 1 :]]
    for end, one in enumerate(found, window):
        ys, xs = ([float(of[k]) for k in both[end - window : end]] for of in (y, x))
        slope, intercept = statistics.linear_regression(xs, ys)
        assert one["beta"] == pytest.approx(slope)
        assert one["alpha"] == pytest.approx(intercept)
        assert one["r2"] == pytest.approx(statistics.correlation(xs, ys) ** 2)


def test_what_does_not_move_has_no_correlation_and_explains_nothing() -> None:
    flat, moving = np.zeros(10), moves(1, 1, 10, 0.0)[0]
    matrix, observations = correlated(np.array([flat, moving]))
    assert matrix[0] == [None, None]
    assert observations[0] == [10, 10]
    assert betas(moving, flat, np.arange(10), 5) == []
    assert {(one["beta"], one["r2"]) for one in betas(flat, moving, np.arange(10), 5)} == {
        (0, None)
    }
    assert correlated(moves(2, 2, 2, 0.0))[0] == [[None, None], [None, None]], "two are no trend"


def returns(symbol: str) -> dict[int, float]:
    """By place of the later bar."""
    closes = CLOSES[symbol]
    return {k: math.log(closes[k] / closes[k - 1]) for k in closes if k - 1 in closes}


class TestAsked:
    pytestmark = asked

    async def test_a_hole_is_no_return_of_either_interval(self, client: Client) -> None:
        found = await client.data(CORRELATION, symbols="BTCUSDT,ETHUSDT", **FIVE | {"window": "5"})
        btc, eth = returns("BTCUSDT"), returns("ETHUSDT")
        common = sorted(btc.keys() & eth.keys())
        assert found["observations"] == [[5, 3], [3, 3]]
        expected = statistics.correlation([btc[k] for k in common], [eth[k] for k in common])
        assert found["matrix"][0][1] == found["matrix"][1][0] == pytest.approx(expected)
        assert (found["ts_from"], found["ts_to"]) == (at(-1_500), at(0))

    async def test_beta_is_to_a_pair_at_the_same_venue(self, client: Client) -> None:
        found = await client.data(BETA, benchmark="BTC-USDT", limit="3", **FIVE)
        btc, eth = returns("BTCUSDT"), returns("ETHUSDT")
        common = sorted(btc.keys() & eth.keys())
        slope, _ = statistics.linear_regression([btc[k] for k in common], [eth[k] for k in common])
        (one,) = found["series"]
        assert (one["ts_open"], one["beta"]) == (at(-300), pytest.approx(slope))
        assert (found["symbol"], found["benchmark"]) == ("ETHUSDT", "BTCUSDT")

    async def test_the_past_is_asked_by_its_position_and_flags_are_told(
        self, client: Client
    ) -> None:
        both = {"symbols": "BTCUSDT,ETHUSDT", **FIVE}
        assert (await client.get(CORRELATION, **both)).json()["meta"]["as_of"]["flags"] == ["GAP"]
        before = await client.data(CORRELATION, as_of="52", **both)
        assert before["observations"] == [[0, 0], [0, 0]]
        assert await client.error(CORRELATION, as_of="5", **both) == (404, "NO_DATA")

    @pytest.mark.parametrize(
        "wrong",
        [
            {"symbols": "BTCUSDT"}, {"symbols": "BTCUSDT,BTCUSDT"}, {"symbols": "a,b"}, {},
            {"symbols": ",".join(f"S{k}" for k in range(51))}, {"symbols": "A,B", "window": "2"},
            {"symbols": "A,B", "timeframe": "1M"}, {"symbols": "A,B", "window": "1001"},
        ],
    )  # fmt: skip
    async def test_what_is_no_question_is_refused(
        self, client: Client, wrong: dict[str, str]
    ) -> None:
        assert await client.error(CORRELATION, **wrong) == (400, "VALIDATION_ERROR")

    async def test_an_instrument_that_there_is_not_is_named(self, client: Client) -> None:
        unknown = await client.error(CORRELATION, symbols="BTCUSDT,NOUSDT")
        assert unknown == (404, "SYMBOL_NOT_FOUND")
        assert await client.error("/api/analytics/beta/NOUSDT") == (404, "SYMBOL_NOT_FOUND")
