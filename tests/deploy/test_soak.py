"""A soak finds what grows, and only that; its report says so."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from xml.etree import ElementTree

import pytest

from tests.bench import soak
from tests.bench.parts.plot import charts
from tests.bench.parts.trend import after, slope, trend
from tests.bench.soak import Series

HOUR_S = 3_600


def sampled(value: Callable[[float], float], noise: float = 0.0) -> list[tuple[float, float]]:
    random = Random(5)
    return [(t, value(t) + random.uniform(-noise, noise)) for t in range(0, HOUR_S, 10)]


def test_the_slope_of_a_line_is_its_own_whatever_the_noise_and_a_few_far_off() -> None:
    line = sampled(lambda t: 200 + t / 100, noise=2.0)
    assert slope(line) == pytest.approx(0.01, rel=0.1)
    for at in (3, 90, 200, 350):
        line[at] = (line[at][0], 5_000.0)
    assert slope(line) == pytest.approx(0.01, rel=0.15)
    assert slope([(0.0, 1.0), (2.0, 5.0)]) == 2.0
    with pytest.raises(ValueError, match="1 samples have no slope"):
        slope([(0.0, 1.0)])


@pytest.mark.parametrize(
    ("growth_an_hour", "flat"), [(0.0, True), (1.5, True), (2.5, False), (-50.0, True)]
)
def test_memory_of_200_mb_may_grow_by_less_than_2_mb_an_hour(
    growth_an_hour: float, flat: bool
) -> None:
    samples = sampled(lambda t: 200 + growth_an_hour * t / HOUR_S, noise=1.0)
    assert trend(samples, *soak.LIMITS["memory_mb"]).flat is flat


def test_one_handle_more_is_no_leak_and_one_a_minute_is() -> None:
    limits = soak.LIMITS["handles"]
    assert trend(sampled(lambda t: 30 + (t > 900)), *limits).flat
    assert not trend(sampled(lambda t: 30 + t // 60), *limits).flat


def test_a_warm_up_is_left_out() -> None:
    samples = sampled(lambda t: min(t, 300))
    assert not trend(samples[:60], 0.01, 1.0).flat
    assert trend(after(samples, 300), 0.01, 1.0).flat


def series(leak: float) -> Series:
    made = Series(restarts={"graph": 0, "nats": 0})
    for t, value in sampled(lambda t: 300 + leak * t / HOUR_S, noise=0.5):
        made.add("memory_mb", "graph", t, value)
        made.add("handles", "graph", t, 40)
        made.add("lag_s", "hindmost table", t, 0.1)
        made.add("latency_ms", "p50", t, 12.5)
    return made


def options(report: Path | None) -> argparse.Namespace:
    return argparse.Namespace(seconds=3_600.0, warm_up=300.0, every=10.0, rate=2_000, report=report)


def test_the_report_has_every_series_its_plot_and_the_verdict(tmp_path: Path) -> None:
    found = soak.result(options(tmp_path), series(leak=0.0), messages=12_345)
    assert found["flat"] and found["memory_mb"]["graph"]["flat"]
    text = (tmp_path / "soak.md").read_text()
    assert "**Verdict: nothing grew.**" in text and "12,345 messages" in text
    assert all(f"| {name} |" in text for name in ("memory mb", "handles", "lag s", "latency ms"))
    assert ElementTree.fromstring((tmp_path / "soak.svg").read_text()).tag.endswith("svg")


def test_a_leak_or_a_process_that_ended_is_not_flat(tmp_path: Path) -> None:
    leaking = soak.result(options(tmp_path), series(leak=30.0), messages=1)
    assert not leaking["flat"] and not leaking["memory_mb"]["graph"]["flat"]
    assert leaking["memory_mb"]["graph"]["growth_percent"] == pytest.approx(10, abs=1)
    assert "not everything is flat" in (tmp_path / "soak.md").read_text()
    ended = series(leak=0.0)
    ended.restarts["nats"] = 1
    assert not soak.result(options(None), ended, messages=1)["flat"]


def test_this_process_has_memory_and_handles_and_belongs_to_its_parent() -> None:
    assert soak.memory_mb(os.getpid()) > 10
    before = soak.handles(os.getpid())
    with Path(__file__).open():
        assert soak.handles(os.getpid()) == before + 1
    assert os.getpid() in soak.tree(os.getppid(), soak.descendants())
    assert (soak.memory_mb(2**30), soak.handles(2**30)) == (0.0, 0)


def test_charts_are_logarithmic_for_sizes_and_linear_for_time() -> None:
    logarithmic = charts({"seconds": {"verify": [(1e6, 2.0), (1e8, 90.0)]}})
    assert all(f">1e{power}<" in logarithmic for power in (6, 7, 8, 0, 1, 2))
    linear = charts({"MB": {"graph": [(0.0, 300.0), (3_600.0, 300.0)]}}, linear=True)
    assert all(f">{label}<" in linear for label in ("0", "1,800", "3,600", "150"))
    assert 'points="48.0' in linear
