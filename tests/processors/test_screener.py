"""Screens over bars as they close: what raises a signal, the score, revisions, and any cut the
same."""

from typing import Any

import numpy as np
import pytest

from tidemill.processors.kernels.indicator import computed
from tidemill.processors.kernels.indicator_catalog import INDICATORS as CATALOG
from tidemill.processors.kernels.screen_plan import SCREENS_MAX, Screens, problems
from tidemill.processors.screener import SCREENER
from tidemill.schemas.enums import (
    BarAggregation,
    BarFlag,
    BookState,
    Momentum,
    Recommendation,
    ScreenTrend,
    SignalStatus,
    Volatility,
)
from tidemill.schemas.events.event import Event
from tidemill.schemas.events.screens import ScreenDefined, ScreenRemoved
from tidemill.schemas.kinds import KINDS
from tidemill.schemas.kinds.signal import POINTS
from tidemill.schemas.screening.language import MARKET_FIELDS
from tidemill.schemas.screening.strategies import STRATEGIES
from tidemill.tests.processors.runs import Log, Output, assert_any_cut_is_the_same, drive, only
from tidemill.tests.processors.test_indicators import MIDNIGHT, bar, market, of, table

UNIT = 1_0000_0000
RAISED, WITHDRAWN = int(SignalStatus.RAISED), int(SignalStatus.WITHDRAWN)
EVERY = tuple(
    ScreenDefined(name=name, instruments=("*",), bars="1m", condition=one.condition)
    for name, one in sorted(STRATEGIES.items())
)
SCORE = ScreenDefined(name="the-score", instruments=("*",), bars="1m", condition="")
SHORT = tuple(
    ScreenDefined(name=f"s{k:02d}", instruments=("*",), bars="1m", condition=condition)
    for k, condition in enumerate(
        (
            "close > prev(close) and prev(close) > prev(close, 2)",
            "highest(high, 5) == high or lowest(low / 2, 7) == low / 2",
            "crosses_below(close, average(close, 4)) or not volume >= average(volume, 3)",
            "rsi(3) < 40 and not (obv > prev(obv)) or -macd(2,5,3).signal > 0",
            "highest(rsi(4) - average(rsi(5), 2), 3) > 5 / (trade_count - 11 + prev(volume) - 7)",
        )
    )
)


def screen(condition: str, **more: Any) -> ScreenDefined:
    fields = {"name": "a", "instruments": ("*",), "bars": "1m", "condition": condition}
    return ScreenDefined(**fields | more)


def raised(condition: str, closes: list[float], **options: Any) -> list[int]:
    """Indices of the bars where a condition comes true, of bars with these closes."""
    log = Log(table())
    for minute, close in enumerate(closes):
        bar(log, 0, minute, int(close * UNIT))
    outputs = drive(SCREENER, log, settings=of(screen(condition)), **options)[1]
    return [r - 1 for _, r, _, _, record in outputs if record["status"] == RAISED]


def statuses(outputs: list[Output]) -> list[tuple[int, int, int]]:
    return [(r, record["status"], record["revision"]) for _, r, _, _, record in outputs]


@pytest.mark.parametrize("seed", range(3))
def test_any_cut_of_the_bars_gives_the_same_signals(seed: int) -> None:
    log = market(seed, 420)
    settings = of(*EVERY, *SHORT, SCORE)
    assert_any_cut_is_the_same(SCREENER, log, seed, 0.3, settings=settings)
    outputs = drive(SCREENER, log, settings=settings)[1]
    told = {(spec, record["status"]) for *_, spec, record in outputs}
    assert len({spec for spec, _ in told}) > 10
    assert {status for _, status in told} == {RAISED, WITHDRAWN, int(SignalStatus.SCORED)}


def test_an_instrument_says_the_same_alone_and_among_others() -> None:
    log = market(5, 400)
    settings = of(*EVERY, SCORE)
    together = drive(SCREENER, log, settings=settings)[1]
    for slot in range(2):
        alone = drive(SCREENER, only(log, slot), settings=settings)[1]
        assert alone == [output for output in together if output[2] == slot]


def test_a_condition_is_told_where_it_comes_true_and_not_while_it_stays() -> None:
    assert raised("close > 10", [9, 11, 12, 10, 11, 5]) == [1, 4]
    assert raised("close > 10", [11, 12]) == [0]


def test_a_crossing_needs_the_bar_before_on_the_other_side_or_level() -> None:
    assert raised("crosses_above(close, 10)", [11, 9, 10, 10, 11, 12, 9, 11]) == [4, 7]
    assert raised("crosses_below(close, 10)", [9, 11, 10, 9, 12, 8]) == [3, 5]


def test_windows_are_of_the_last_bars_and_earlier_ones_of_before() -> None:
    closes = [5.0, 3.0, 8.0, 1.0, 9.0, 2.0, 7.0, 7.5]
    log = Log(table())
    for minute, close in enumerate(closes):
        bar(log, 0, minute, int(close * UNIT))

    def told(text: str) -> list[int]:
        outputs = drive(SCREENER, log, settings=of(screen(text)))[1]
        return [r - 1 for _, r, *_ in outputs]

    for k in range(3, len(closes)):
        last = closes[k - 2 : k + 1]
        for function, value in (("highest", max(last)), ("lowest", min(last))):
            assert k in told(f"{function}(close, 3) == {value} and close == {closes[k]}")
        assert k in told(f"close == {closes[k]} and prev(close, 3) == {closes[k - 3]}")
        mean = (last[0] + last[1] + last[2]) / 3
        assert k in told(f"close == {closes[k]} and average(close, 3) > {mean - 1e-9}")
    assert told("highest(close, 9) > 0") == []


def test_what_is_not_known_yet_decides_nothing() -> None:
    closes = [5.0, 6.0, 7.0]
    assert raised("prev(close, 2) > 0", closes) == [2]
    assert raised("not prev(close, 2) > 0", closes) == []
    assert raised("prev(close, 2) != 3", closes) == [2]
    assert raised("prev(close, 2) > 0 or close > 5.5", closes) == [1]
    assert raised("not (prev(close, 2) > 0 and close > 5.5)", closes) == [0]
    assert raised("close / (close - 6) > 0 or close / (close - 6) <= 0", closes) == [0, 2]
    assert raised("highest(prev(close), 2) == 6 and average(prev(close), 2) == 5.5", closes) == [2]


def test_indicators_are_those_of_their_kernels() -> None:
    alone = Log(table())
    for minute in range(300):
        bar(alone, 0, minute, 100 * UNIT + (minute * 7919 % 1000) * 100_0000)
    outputs = drive(SCREENER, alone, settings=of(SCORE))[1]
    closes = np.array([fact.records["close"][0] / 1e8 for fact in alone.facts])
    highs, lows = closes + 2, closes - 3
    assert [r for _, r, *_ in outputs] == list(range(200, 301))
    for name, indicator, given, columns, output in (
        ("rsi", "rsi", (14.0,), [closes], 0),
        ("macd_signal", "macd", (12.0, 26.0, 9.0), [closes], 1),
        ("ema_200", "ema", (200.0,), [closes], 0),
        ("upper", "bollinger", (20.0, 2.0), [closes], 0),
        ("stochastic_d", "stochastic", (14.0, 1.0, 3.0), [highs, lows, closes], 1),
        ("adx", "adx", (14.0,), [highs, lows, closes], 0),
    ):
        wanted = computed(CATALOG[indicator], given, np.array(columns))[output][199:]
        np.testing.assert_allclose([o[4][name] for o in outputs], wanted, rtol=1e-9, err_msg=name)


def test_a_score_is_fifty_and_its_terms_and_its_classes_follow() -> None:
    outputs = drive(SCREENER, market(3, 700), settings=of(SCORE))[1]
    assert len(outputs) > 300
    for *_, one in outputs:
        close, rsi = one["close"], one["rsi"]
        averages = (close, one["ema_20"], one["ema_50"], one["ema_200"])
        up, down = (
            sorted(averages, reverse=True) == list(averages),
            sorted(averages) == list(averages),
        )
        near = 10.0 if close > one["ema_50"] else -10.0
        wanted = {
            "rsi_points": 15.0 if rsi < 30 else -15.0 if rsi > 70 else 0.0,
            "macd_points": 10.0 if one["macd"] > one["macd_signal"] else -10.0,
            "average_points": 20.0 if up else -20.0 if down else near,
            "band_points": 10.0 if close < one["lower"] else -10.0 if close > one["upper"] else 0.0,
            "stochastic_points": 5.0 if max(one["stochastic_k"], one["stochastic_d"]) < 20
            else -5.0 if min(one["stochastic_k"], one["stochastic_d"]) > 80 else 0.0,
        }  # fmt: skip
        assert {name: one[name] for name in POINTS} == wanted
        score = min(100.0, max(0.0, 50 + sum(wanted.values())))
        assert one["score"] == score
        named = [
            name for least, name in ((70, "STRONG_BUY"), (60, "BUY"), (40, "HOLD"), (30, "SELL"))
            if score >= least
        ]  # fmt: skip
        assert Recommendation(one["recommendation"]).name == [*named, "STRONG_SELL"][0]
        trend = "BULLISH" if score >= 60 else "BEARISH" if score <= 40 else "NEUTRAL"
        assert ScreenTrend(one["trend"]).name == trend
        adx, atr = one["adx"], one["atr_percent"]
        momentum = "STRONG" if adx > 25 else "MODERATE" if adx > 15 else "WEAK"
        assert Momentum(one["momentum"]).name == momentum
        volatility = "HIGH" if atr > 3 else "MEDIUM" if atr > 1.5 else "LOW"
        assert Volatility(one["volatility"]).name == volatility
        assert one["status"] == SignalStatus.SCORED
    assert len({one["score"] for *_, one in outputs}) > 5


def test_a_signal_before_there_is_a_score_says_that_there_is_none() -> None:
    log = Log(table())
    bar(log, 0, 0, 100 * UNIT)
    ((_, _, _, _, one),) = drive(SCREENER, log, settings=of(screen("close > 1")))[1]
    assert (one["score"], one["rsi_points"], one["adx"]) == (None, None, None)
    classes = ("recommendation", "trend", "momentum", "volatility")
    assert [one[name] for name in classes] == [0, 0, 0, 0]
    assert (one["close"], one["bars"], one["ts_close"]) == (100.0, b"1m", MIDNIGHT + 60 * 10**9)


def test_a_condition_may_be_over_the_score() -> None:
    log = market(3, 700)
    scores = drive(SCREENER, only(log, 0), settings=of(SCORE))[1]
    over = [(r, one["revision"]) for _, r, _, _, one in scores if one["score"] > 60]
    some = drive(SCREENER, only(log, 0), settings=of(screen("score > 60")))[1]
    assert some and {(r, one["revision"]) for _, r, _, _, one in some if one["status"]} <= set(over)
    assert all(one["score"] > 60 for *_, one in some if one["status"] == RAISED)


def test_a_revision_of_the_newest_bar_tells_the_signal_again_or_takes_it_back() -> None:
    log = Log(table())
    bar(log, 0, 0, 9 * UNIT)
    bar(log, 0, 1, 11 * UNIT)  # raised
    bar(log, 0, 1, 12 * UNIT, revision=1)  # still
    bar(log, 0, 1, 9 * UNIT, revision=2)  # not any more
    bar(log, 0, 1, 8 * UNIT, revision=3)  # nothing to take back
    bar(log, 0, 1, 13 * UNIT, revision=4)  # again
    bar(log, 0, 2, 14 * UNIT)  # stays true
    outputs = drive(SCREENER, log, settings=of(screen("close > 10")))[1]
    assert statuses(outputs) == [
        (2, RAISED, 0), (3, RAISED, 1), (4, WITHDRAWN, 2), (6, RAISED, 4),
    ]  # fmt: skip


def test_what_a_revision_leaves_is_as_if_the_bar_had_always_been_so() -> None:
    plain, revised = Log(table()), Log(table())
    for minute in range(60):
        close = 100 * UNIT + (minute * 7919 % 1000) * 100_0000
        bar(plain, 0, minute, close)
        bar(revised, 0, minute, 2 * close if minute % 7 == 0 else close)
        if minute % 7 == 0:
            bar(revised, 0, minute, close)
    settings = of(*SHORT)
    state, _ = drive(SCREENER, plain, settings=settings)
    other, _ = drive(SCREENER, revised, settings=settings)
    assert state["words"].tobytes() == other["words"].tobytes()


def test_signals_say_late_while_an_older_revision_is_within_reach() -> None:
    log = Log(table())
    for minute in range(4):
        bar(log, 0, minute, 100 * UNIT)
    bar(log, 0, 1, 200 * UNIT, revision=1, flags=int(BarFlag.LATE))
    for minute in range(4, 12):
        bar(log, 0, minute, (100 + minute % 2) * UNIT)
    outputs = drive(SCREENER, log, settings=of(screen("close > prev(close)")))[1]
    late = {r: bool(record["flags"] & BarFlag.LATE) for _, r, _, _, record in outputs}
    assert late == {7: True, 9: False, 11: False, 13: False}


def test_a_screen_counts_from_its_position_on_and_what_stays_goes_on() -> None:
    log = Log(table())
    for minute in range(30):
        bar(log, 0, minute, (100 + minute % 2) * UNIT)
    first, second = screen("close > prev(close, 9)", name="b"), screen("close < sma(5)", name="a")

    def settings(r: int) -> tuple[Event, ...]:
        return (first,) if r <= 15 else (second, first)

    outputs = drive(SCREENER, log, lambda k: True, settings=settings)[1]
    names = {r: ("b",) if r <= 15 else ("a", "b") for r in range(31)}
    told = [(r, names[r][spec]) for _, r, _, spec, _ in outputs]
    assert [r for r, name in told if name == "b"] == list(range(10, 31, 2))
    assert [r for r, name in told if name == "a"] == list(range(21, 31, 2))


def test_a_screen_that_is_no_more_tells_nothing_and_begins_anew() -> None:
    log = Log(table())
    for minute in range(9):
        bar(log, 0, minute, (100 + minute) * UNIT)
    state, outputs = drive(
        SCREENER, log, lambda k: True,
        settings=lambda r: (
            ScreenRemoved(name="a") if 4 <= r < 6 else screen("close > prev(close, 2)"),
        ),
    )  # fmt: skip
    assert [r for _, r, *_ in outputs] == [3, 8]
    gone, _ = drive(
        SCREENER, log, lambda k: True,
        settings=lambda r: (screen("close > 1") if r < 5 else ScreenRemoved(name="a"),),
    )  # fmt: skip
    assert not gone.tobytes().strip(b"\0")
    assert state["count"][0] > 0


def test_activity_bars_are_followed_by_their_sequence() -> None:
    log = Log(table())
    for sequence in range(6):
        record = KINDS["activity_bar"].empty(1)
        record["at_r"], record["sequence"] = len(log.facts) + 1, sequence
        record["aggregation"], record["ts_open"] = BarAggregation.RENKO, MIDNIGHT
        record["ts_close"], record["close"] = MIDNIGHT + 5, (sequence % 2 + 1) * UNIT
        log.add("activity_bar", record, 1)
    both = (screen("close > 1.5", name="a"), screen("close > 0", bars="renko", name="b"))
    outputs = drive(SCREENER, log, settings=of(*both))[1]
    assert [(r, slot, spec) for _, r, slot, spec, _ in outputs] == [(1, 1, 1)]
    ups = drive(SCREENER, log, settings=of(screen("close > 1.5", bars="renko")))[1]
    assert [record["sequence"] for *_, record in ups] == [1, 3, 5]
    assert outputs[0][4]["bars"] == b"renko" and outputs[0][4]["ts_close"] == MIDNIGHT + 5


@pytest.mark.parametrize(
    ("on", "slots"),
    [("*", {0, 1}), ("*.BINANCE", {0, 1}), ("ETHUSDT.BINANCE", {1}), ("*.X", set())],
)
def test_a_screen_watches_the_instruments_that_it_names(on: str, slots: set[int]) -> None:
    log = Log(table())
    bar(log, 0, 0, 100 * UNIT)
    bar(log, 1, 0, 100 * UNIT)
    outputs = drive(SCREENER, log, settings=of(screen("close > 1", instruments=(on,))))[1]
    assert {slot for _, _, slot, *_ in outputs} == slots


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("rsi(14)", "a: at character 1: rsi(14) is a number where a condition is wanted"),
        ("rsx(14) < 3", "there is no number or indicator rsx; indicators are adl, adx, "),
        ("rsi(0) < 3", "rsi: period is a whole number from 1 to 1000"),
        ("rsi(1,2) < 3", "rsi has 1 parameters, not 2"),
        ("macd > 3", "macd() has outputs macd, signal, histogram: write macd(12,26,9).macd"),
        ("macd.up > 3", "write macd(12,26,9).macd"),
        ("microprice > 3", "microprice is made of quotes: screens look at bars"),
        ("prev(prev(prev(prev(sma(900), 999), 999), 999), 999) > 3", "it looks back on 4897 bars"),
        ("highest(close, 999) + lowest(close, 999) > average(prev(close, 999), 999)"
         " + average(open, 999)", "keep over 4096 numbers"),
    ],
)  # fmt: skip
def test_what_cannot_run_is_said_before_it_is_a_fact_and_left_out_if_it_is(
    condition: str, said: str
) -> None:
    wrong = screen(condition)
    assert said in " ".join(problems([wrong]))
    log = Log(table())
    for minute in range(3):
        bar(log, 0, minute, 100 * UNIT)
    assert drive(SCREENER, log, settings=of(wrong))[1] == []


def test_bars_that_are_not_made_and_too_many_screens_are_refused() -> None:
    assert "there are no bars 7m; there are 1s, 1m" in problems([screen("close > 1", bars="7m")])[0]
    many = [screen("close > 1", name=f"s{k}") for k in range(SCREENS_MAX + 1)]
    assert "remove some" in problems(many)[0]
    assert problems(many[:-1]) == []
    assert len(Screens(many).names) == SCREENS_MAX


def test_every_strategy_fits_on_one_instrument_with_the_score() -> None:
    assert problems([*EVERY, *SHORT, SCORE]) == []


def test_nothing_configured_touches_nothing() -> None:
    state, outputs = drive(SCREENER, market(1, 20))
    assert outputs == [] and not state.tobytes().strip(b"\0")


# --- books and contracts -------------------------------------------------------------------------


def book(log: Log, slot: int, spread: int, **more: int) -> None:
    """What the book processor tells of a valid book of both sides; `spread` in units of 1e-8."""
    record = KINDS["book_metrics"].empty(1)
    record["at_r"], record["spread"] = len(log.facts) + 1, spread
    record["state"], record["bid_quantity"], record["ask_quantity"] = int(BookState.VALID), 5, 6
    record["bid_depth_1_lo"], record["ask_depth_1_lo"] = 3 * 10**16, 2 * 10**16
    record["bid_depth_5_lo"], record["ask_depth_5_hi"] = 4 * 10**16, 1
    record["imbalance"], record["liquidity_score"] = -250_000_000, 40
    for name, value in more.items():
        record[name] = value
    log.add("book_metrics", record, slot)


def contract(log: Log, slot: int, **values: int) -> None:
    """What the derivatives processor tells: `fields` says what its venue gave."""
    record = KINDS["derivative_metrics"].empty(1)
    record["at_r"] = len(log.facts) + 1
    for name, value in values.items():
        record[name] = value
    log.add("derivative_metrics", record, slot)


def comes_true(log: Log, condition: str) -> list[int]:
    """The positions at which a condition comes true."""
    outputs = drive(SCREENER, log, settings=of(screen(condition)))[1]
    return [r for _, r, _, _, record in outputs if record["status"] == RAISED]


def test_every_field_of_books_and_contracts_is_in_its_units() -> None:
    log = Log(table())
    book(log, 0, 3 * UNIT)
    known = {"funding_rate": 10**8, "open_interest": 7 * UNIT, "basis": -2 * UNIT}
    contract(log, 0, **known, fields=0b100111)
    bar(log, 0, 0, 100 * UNIT)
    wide = (4 * 10**16 + 2**64) / 1e16
    for name, value in {
        "spread": 3.0, "depth_1pct": 5.0, "depth_5pct": wide, "imbalance": -0.25,
        "liquidity_score": 40.0, "funding_rate": 0.0001, "open_interest": 7.0, "basis": -2.0,
    }.items():  # fmt: skip
        near = 1e-9 * max(1.0, abs(value))
        both = f"{name} > 0 - {-value + near:.12f}" if value < near else f"{name} > {value - near}"
        less = f"{name} < 0 - {-value - near:.12f}" if value < -near else f"{name} < {value + near}"
        assert comes_true(log, f"{both} and {less}") == [3], name


def test_an_instrument_without_a_book_or_a_contract_never_fires() -> None:
    log = Log(table())
    book(log, 1, UNIT)
    contract(log, 1, funding_rate=5, open_interest=5, basis=5, fields=0b111111)
    for minute in range(3):
        bar(log, 0, minute, 100 * UNIT)
    for name in MARKET_FIELDS:
        for condition in (f"{name} >= 0", f"{name} < 0", f"not {name} == 1", f"{name} != {name}"):
            assert comes_true(log, condition) == []


@pytest.mark.parametrize(
    "more", [{"state": 0}, {"state": 2}, {"bid_quantity": 0}, {"ask_quantity": 0}]
)
def test_of_a_book_that_is_not_proven_or_has_one_side_nothing_is_known(
    more: dict[str, int],
) -> None:
    log = Log(table())
    book(log, 0, UNIT)
    bar(log, 0, 0, 100 * UNIT)
    book(log, 0, UNIT, **more)
    bar(log, 0, 1, 100 * UNIT)
    book(log, 0, UNIT)
    bar(log, 0, 2, 100 * UNIT)
    assert comes_true(log, "spread > 0") == [2, 6]


def test_what_a_venue_never_gave_of_a_contract_is_not_known() -> None:
    log = Log(table())
    contract(log, 0, funding_rate=5, open_interest=5, basis=5, fields=0b000101)
    bar(log, 0, 0, 100 * UNIT)
    assert comes_true(log, "funding_rate > 0") == [2]
    assert comes_true(log, "basis > 0") == comes_true(log, "open_interest > 0") == []


def test_the_newest_value_before_the_close_counts_and_stays_that_of_the_bar() -> None:
    log = Log(table())
    book(log, 0, UNIT)
    book(log, 0, 5 * UNIT)
    bar(log, 0, 0, 100 * UNIT)
    book(log, 0, 2 * UNIT)
    bar(log, 0, 0, 90 * UNIT, revision=1)
    condition = "spread == 5 and close > 95"
    outputs = drive(SCREENER, log, settings=of(screen(condition)))[1]
    assert statuses(outputs) == [(3, RAISED, 0), (5, WITHDRAWN, 1)]
    again = drive(SCREENER, log, settings=of(screen("spread == 5 and close > 85")))[1]
    assert statuses(again) == [(3, RAISED, 0), (5, RAISED, 1)], "a revision is judged by its close"
    bar(log, 0, 1, 100 * UNIT)
    assert comes_true(log, "spread == 2") == [6]


def test_values_are_known_that_were_told_before_the_screen_was_defined() -> None:
    log = Log(table())
    book(log, 0, UNIT)
    bar(log, 0, 0, 100 * UNIT)
    bar(log, 0, 1, 100 * UNIT)
    wanted = (screen("spread == 1"),)
    outputs = drive(SCREENER, log, settings=lambda r: wanted if r > 2 else ())[1]
    assert statuses(outputs) == [(3, RAISED, 0)]


@pytest.mark.parametrize("seed", range(3))
def test_any_cut_gives_the_same_signals_of_books_and_contracts(seed: int) -> None:
    random, bars = np.random.default_rng(seed), market(seed, 200)
    log = Log(bars.table)
    for fact in bars.facts:
        while random.random() < 0.5:
            slot, spread = int(random.integers(2)), int(random.integers(1, 9)) * UNIT
            if random.random() < 0.5:
                book(log, slot, spread, state=int(random.random() < 0.8))
            else:
                given = int(random.integers(64))
                contract(log, slot, funding_rate=spread, basis=-spread, fields=given)
        record = fact.records.copy()
        record["at_r"] = len(log.facts) + 1
        log.add(fact.kind, record, fact.slot)
    conditions = ("spread > 4", "basis < 0 - 3 or average(spread, 2) < 3", "funding_rate > 0.0004")
    wanted = of(
        *(screen(condition, name=f"s{k}") for k, condition in enumerate(conditions)), *SHORT
    )
    assert_any_cut_is_the_same(SCREENER, log, seed, 0.3, settings=wanted)
    told = {spec for *_, spec, _ in drive(SCREENER, log, settings=wanted)[1]}
    assert {0, 1, 2} <= told
