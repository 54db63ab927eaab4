"""Indicators over bars as they close: sets that change, revisions, flags, and any cut the same."""

from itertools import pairwise

import numpy as np
import pytest

from tidemill.processors.indicators import INDICATORS
from tidemill.processors.kernels.indicator import computed
from tidemill.processors.kernels.indicator_catalog import INDICATORS as CATALOG
from tidemill.processors.kernels.indicator_state import INSTANCES_MAX, plan, problems
from tidemill.processors.resampled_bars import RESAMPLED_BARS
from tidemill.schemas.enums import BarAggregation, BarFlag
from tidemill.schemas.events.event import Event
from tidemill.schemas.events.indicators import IndicatorSetDefined, IndicatorSetRemoved
from tidemill.schemas.kinds import KINDS
from tidemill.tests.processors.runs import (
    MIDNIGHT,
    MINUTE,
    Log,
    Output,
    assert_any_cut_is_the_same,
    drive,
    instruments,
)

ON_BARS = tuple(name for name, one in CATALOG.items() if one.source == "bar")
EVERY = IndicatorSetDefined(name="all", instruments=("*",), bars=("1m",), indicators=ON_BARS[:36])
REST = IndicatorSetDefined(name="rest", instruments=("*",), bars=("1m",), indicators=ON_BARS[36:])


def a_set(*indicators: str, bars: tuple[str, ...] = ("1m",), on: str = "*") -> IndicatorSetDefined:
    return IndicatorSetDefined(name="a", instruments=(on,), bars=bars, indicators=indicators)


def table() -> object:
    return instruments({"symbol": b"BTCUSDT"}, {"symbol": b"ETHUSDT"})


def bar(log: Log, slot: int, minute: int, close: int, **more: int) -> None:
    """One bar of a minute that closed, as the bars processor tells it."""
    record = KINDS["bar"].empty(1)
    record["at_r"], record["ts_open"] = len(log.facts) + 1, MIDNIGHT + minute * MINUTE
    record["interval_s"] = more.pop("interval_s", 60)
    record["open"], record["close"] = close - 1_0000_0000, close
    record["high"], record["low"] = close + 2_0000_0000, close - 3_0000_0000
    record["volume_lo"], record["quote_volume_lo"] = 7_0000_0000 + minute % 5, 9 * close
    record["taker_buy_volume_lo"], record["trade_count"] = 3_0000_0000, 11
    for name, value in more.items():
        record[name] = value
    log.add("bar", record, slot)


def market(seed: int = 1, count: int = 150) -> Log:
    """Minutes of two instruments with bars that are missing, revised, and revised late."""
    random = np.random.default_rng(seed)
    log = Log(table())
    closes = 100_0000_0000 + random.integers(-5_0000_0000, 5_0000_0000, count).cumsum()
    for minute, close in enumerate(closes.tolist()):
        slot = int(random.integers(2))
        flags = int(BarFlag.GAP) if random.random() < 0.02 else 0
        bar(log, slot, minute, close, flags=flags)
        if random.random() < 0.1:
            revised = int(close) + 1_0000_0000
            bar(log, slot, minute, revised, revision=1, flags=int(BarFlag.LATE))
        if random.random() < 0.05 and minute > 20:
            bar(log, slot, minute - 20, int(close), revision=1, flags=int(BarFlag.LATE))
    return log


def values(outputs: list[Output], name: str, output: str) -> list[float]:
    return [
        record["value"]
        for *_, record in outputs
        if (record["indicator"], record["output"]) == (name.encode(), output.encode())
    ]


def of(*sets: Event):
    return lambda r: sets


@pytest.mark.parametrize("seed", range(3))
def test_any_cut_of_the_bars_gives_the_same_values_of_every_indicator(seed: int) -> None:
    assert_any_cut_is_the_same(INDICATORS, market(seed), seed, 0.3, settings=of(EVERY, REST))


def test_values_are_those_of_the_kernel_over_the_bars() -> None:
    log = Log(table())
    for minute in range(120):
        bar(log, 0, minute, 100_0000_0000 + (minute * 7919 % 1000) * 100_0000)
    outputs = drive(INDICATORS, log, settings=of(a_set("macd(12,26,9)", "atr")))[1]
    closes = np.array([fact.records["close"][0] / 1e8 for fact in log.facts])
    wanted = computed(CATALOG["macd"], (12.0, 26.0, 9.0), closes[np.newaxis])
    for k, output in enumerate(("macd", "signal", "histogram")):
        assert values(outputs, "macd(12,26,9)", output) == [v for v in wanted[k] if v == v]
    columns = np.array([closes + 2, closes - 3, closes])
    ranges = computed(CATALOG["atr"], (14.0,), columns)[0]
    np.testing.assert_allclose(values(outputs, "atr(14)", "atr"), ranges[14:], rtol=1e-12)
    first = outputs[0][4]
    assert first["ts_close"] - first["ts_open"] == MINUTE


def test_a_set_counts_from_its_position_on_and_what_stays_goes_on() -> None:
    log = Log(table())
    for minute in range(30):
        bar(log, 0, minute, 100_0000_0000 + minute * 1_0000_0000)

    def settings(r: int) -> tuple[Event, ...]:
        return (a_set("sma(3)") if r <= 15 else a_set("ema(4)", "sma(3)"),)

    outputs = drive(INDICATORS, log, lambda k: True, settings=settings)[1]
    of_sma = [r for _, r, _, _, record in outputs if record["indicator"] == b"sma(3)"]
    of_ema = [r for _, r, _, _, record in outputs if record["indicator"] == b"ema(4)"]
    assert of_sma == list(range(3, 31))
    assert of_ema == list(range(19, 31))


def test_a_set_that_is_no_more_tells_nothing_and_begins_anew() -> None:
    log = Log(table())
    for minute in range(9):
        bar(log, 0, minute, 100_0000_0000)
    outputs = drive(
        INDICATORS, log, lambda k: True,
        settings=lambda r: (IndicatorSetRemoved(name="a") if 5 <= r < 7 else a_set("sma(2)"),),
    )[1]  # fmt: skip
    assert [r for _, r, *_ in outputs] == [2, 3, 4, 8, 9]


def test_a_revision_of_the_newest_bar_is_taken_in_its_place() -> None:
    log = Log(table())
    for minute, close in enumerate((1, 2, 3)):
        bar(log, 0, minute, close * 100_0000_0000)
    bar(log, 0, 2, 6 * 100_0000_0000, revision=1, flags=int(BarFlag.LATE))
    bar(log, 0, 3, 7 * 100_0000_0000)
    outputs = drive(INDICATORS, log, settings=of(a_set("sma(3)")))[1]
    told = [(record["value"], record["revision"], record["flags"]) for *_, record in outputs]
    late = int(BarFlag.LATE)
    assert told == [(200.0, 0, 0), (300.0, 1, late), (500.0, 0, late)]


def test_values_say_late_while_an_older_revision_is_within_reach() -> None:
    log = Log(table())
    for minute in range(4):
        bar(log, 0, minute, 100_0000_0000)
    bar(log, 0, 1, 200_0000_0000, revision=1, flags=int(BarFlag.LATE))
    for minute in range(4, 9):
        bar(log, 0, minute, 100_0000_0000)
    outputs = drive(INDICATORS, log, settings=of(a_set("sma(3)")))[1]
    late = [bool(record["flags"] & BarFlag.LATE) for *_, record in outputs]
    assert late == [False, False, True, True, False, False, False]


def test_activity_bars_are_followed_by_their_sequence() -> None:
    log = Log(table())
    for sequence in range(6):
        record = KINDS["activity_bar"].empty(1)
        record["at_r"], record["sequence"] = len(log.facts) + 1, sequence
        record["aggregation"], record["ts_open"] = BarAggregation.RENKO, MIDNIGHT
        record["ts_close"], record["close"] = MIDNIGHT + 5, (sequence + 1) * 1_0000_0000
        log.add("activity_bar", record, 1)
    outputs = drive(INDICATORS, log, settings=of(a_set("sma(2)", bars=("renko", "1m"))))[1]
    assert values(outputs, "sma(2)", "sma") == [1.5, 2.5, 3.5, 4.5, 5.5]
    assert {(slot, INDICATORS.specs[spec]) for _, _, slot, spec, _ in outputs} == {(1, "renko")}
    assert outputs[0][4]["ts_close"] == MIDNIGHT + 5


@pytest.mark.parametrize(
    ("on", "slots"),
    [("*", {0, 1}), ("*.BINANCE", {0, 1}), ("ETHUSDT.BINANCE", {1}), ("*.X", set())],
)
def test_a_set_runs_on_the_instruments_that_it_names(on: str, slots: set[int]) -> None:
    log = Log(table())
    for minute in range(3):
        bar(log, 0, minute, 100_0000_0000)
        bar(log, 1, minute, 100_0000_0000)
    outputs = drive(INDICATORS, log, settings=of(a_set("obv", on=on)))[1]
    assert {slot for _, _, slot, *_ in outputs} == slots


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (a_set("sma(0)"), "period is a whole number from 1 to 1000"),
        (a_set("nothing(3)"), "there is no indicator nothing"),
        (a_set("sma(1,2)"), "sma has 1 parameters, not 2"),
        (a_set("microprice"), "made of quotes"),
        (a_set("sma(3)", bars=("7m",)), "there are no bars 7m"),
        (a_set(*(f"sma({900 + k})" for k in range(6))), "words of state"),
    ],
)
def test_what_cannot_run_is_said_before_it_is_a_fact_and_left_out_if_it_is(
    wrong: IndicatorSetDefined, said: str
) -> None:
    assert said in " ".join(problems([wrong]))
    left = plan((wrong,), "BTCUSDT", "BINANCE").wanted
    assert len(left) < max(1, len(wrong.indicators)) <= INSTANCES_MAX


def test_every_indicator_of_bars_fits_on_one_instrument() -> None:
    assert problems([EVERY, REST]) == []


def resampled(spec_s: int, closes: list[int]) -> Log:
    """Bars of longer intervals as the resampled_bars processor tells them, closed one by one."""
    log = Log(table())
    for k, close in enumerate(closes):
        record = KINDS["resampled_bar"].empty(1)
        record["at_r"], record["interval_s"] = len(log.facts) + 1, spec_s
        record["ts_open"] = MIDNIGHT + k * spec_s * 1_000_000_000
        record["ts_close"] = record["ts_open"] + spec_s * 1_000_000_000
        record["open"] = record["high"] = record["low"] = record["close"] = close
        log.add("resampled_bar", record, 0)
    return log


def plain_ema(closes: list[float], period: int) -> list[float]:
    """The first value is the mean of the first `period` closes; then 2 / (period + 1) of each."""
    average = 0.0
    for close in closes[:period]:
        average += close
    found = [average / period]
    for close in closes[period:]:
        found.append(found[-1] + (close - found[-1]) * 2.0 / (period + 1))
    return found


def plain_rsi(closes: list[float], period: int) -> list[float]:
    """Wilder's: means of the first `period` rises and falls, then 1 / period of each new one."""
    changes = [after - before for before, after in pairwise(closes)]
    rises, falls = [max(c, 0.0) for c in changes], [max(-c, 0.0) for c in changes]
    rise, fall = sum(rises[:period]) / period, sum(falls[:period]) / period
    found = [100.0 * rise / (rise + fall)]
    for up, down in zip(rises[period:], falls[period:], strict=True):
        rise += (up - rise) / period
        fall += (down - fall) / period
        found.append(100.0 * rise / (rise + fall))
    return found


@pytest.mark.parametrize(("spec", "seconds"), [("3m", 180), ("1w", 604_800)])
def test_indicators_of_resampled_bars_are_plain_ones_of_their_closes(
    spec: str, seconds: int
) -> None:
    mantissas = [100_0000_0000 + (k * 7_919 % 1_000) * 100_0000 for k in range(60)]
    log = resampled(seconds, mantissas)
    wanted = a_set("ema(9)", "rsi(14)", bars=(spec,))
    outputs = drive(INDICATORS, log, settings=of(wanted))[1]
    closes = [mantissa / 1e8 for mantissa in mantissas]
    for name, output, expected in (
        ("ema(9)", "ema", plain_ema(closes, 9)),
        ("rsi(14)", "rsi", plain_rsi(closes, 14)),
    ):
        found = values(outputs, name, output)
        assert len(found) == len(expected) > 40
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert {INDICATORS.specs[spec_] for _, _, _, spec_, _ in outputs} == {spec}
    assert all(o[4]["ts_close"] - o[4]["ts_open"] == seconds * 1_000_000_000 for o in outputs)


def test_indicators_of_three_minutes_are_those_of_the_bars_that_minutes_close() -> None:
    """From minutes through the processor that makes the longer bars, to a plain computation."""
    minutes = Log(table())
    closes = [100_0000_0000 + (k * 7_919 % 1_000) * 100_0000 for k in range(120)]
    for minute, close in enumerate(closes):
        bar(minutes, 0, minute, close)
    made = [o[4] for o in drive(RESAMPLED_BARS, minutes)[1] if o[4].get("interval_s") == 180]
    assert [one["close"] for one in made] == closes[2::3]
    log = Log(table())
    for one in made:
        record = KINDS["resampled_bar"].empty(1)
        for name, value in (one | {"at_r": len(log.facts) + 1}).items():
            record[name] = value
        log.add("resampled_bar", record, 0)
    outputs = drive(INDICATORS, log, settings=of(a_set("ema(5)", "rsi(4)", bars=("3m",))))[1]
    plain = [close / 1e8 for close in closes[2::3]]
    np.testing.assert_allclose(values(outputs, "ema(5)", "ema"), plain_ema(plain, 5), rtol=1e-12)
    np.testing.assert_allclose(values(outputs, "rsi(4)", "rsi"), plain_rsi(plain, 4), rtol=1e-12)
