"""The checker's own screens say what the engine's do: scores, conditions, revisions, flags."""

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tidemill.processors.screener import SCREENER
from tidemill.schemas.events.screens import ScreenDefined
from tidemill.tests.faults.checker.recomputed import Row as Told
from tidemill.tests.faults.checker.recomputed import names_of
from tidemill.tests.faults.checker.screens import Screens
from tidemill.tests.faults.checker.world import Instrument, Made, World
from tidemill.tests.processors.runs import drive
from tidemill.tests.processors.test_indicators import market, of

CONDITIONS = (
    "",
    "score >= 60 and close > ema(50)",
    "rsi(14) < 40 or crosses_below(macd.macd, macd(12,26,9).signal)",
    "volume > 2 * prev(average(volume, 5)) or -obv > 3",
    "not close <= prev(highest(high, 30)) and adx(14).adx > 10",
    "close < bollinger(20,2).lower or stochastic.k > 60 and lowest(rsi(5) / 2, 4) > 5",
)
SCREENS = tuple(
    ScreenDefined(name=f"s{k}", instruments=("*",), bars="1m", condition=condition)
    for k, condition in enumerate(CONDITIONS)
)


def recomputed(log: Any, screens: tuple[ScreenDefined, ...]) -> tuple[Screens, list[Made]]:
    world = World()
    for slot, row in enumerate(log.table):
        symbol = row["symbol"].decode()
        one = Instrument(slot, "BINANCE", symbol, "SPOT", "A/B", (-8, -8))
        world.instruments.append(one)
        world.slots["BINANCE", symbol] = slot
    world.screens = {one.name: one.model_dump() for one in screens}
    own, made = Screens(world), []
    for r, fact in enumerate(log.facts, 1):
        record = fact.records[0]
        values = {name: record[name].item() for name in record.dtype.names}
        symbol = world.instruments[fact.slot].symbol
        made += own.step(r, [Made("bar", ("bars", "1m", "BINANCE", symbol, 7), r, 0, values)])
    return own, made


@pytest.mark.parametrize("seed", range(3))
def test_the_checker_computes_the_same_signals(seed: int) -> None:
    log = market(seed, 520)
    own, made = recomputed(log, SCREENS)
    assert own.judged
    outputs = drive(SCREENER, log, settings=of(*SCREENS))[1]
    assert len(outputs) > 150
    assert {spec for *_, spec, _ in outputs} == set(range(len(SCREENS)))
    assert len(outputs) == len(made)
    nan = float("nan")
    for (_, r, slot, spec, record), one in zip(outputs, made, strict=True):
        assert (r, f"s{spec}", slot) == (
            one.r,
            one.name[1],
            ("BTCUSDT", "ETHUSDT").index(one.name[3]),
        )
        wanted = {"at_r": r, "at_i": 0, "n": 0} | one.values
        rows = [
            Told(
                "",
                (0, 0),
                tuple(
                    nan if of.get(name, 0) is None else of.get(name, 0)
                    for name in names_of("signal")
                ),
            )
            for of in (wanted, record)
        ]
        assert rows[0].differs(rows[1], "signal") == ("", ""), (r, spec)


NUMBERS = st.recursive(
    st.sampled_from(
        (
            *("open", "high", "low", "close", "volume", "trade_count", "3", "0.5", "101"),
            *("sma(3)", "ema(4)", "rsi(3)", "atr(2)", "obv", "macd(2,4,3).signal"),
            "bollinger(5,2).upper",
        )
    ),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda of: f"({' '.join(of)})"),
        st.tuples(
            st.sampled_from(("prev", "highest", "lowest", "average")), inner, st.integers(1, 6)
        ).map(lambda of: f"{of[0]}({of[1]}, {of[2]})"),
        inner.map(lambda of: f"-{of}"),
    ),
    max_leaves=4,
)
PAIRS = st.tuples(NUMBERS, NUMBERS)
CONDITION_TEXTS = st.recursive(
    st.one_of(
        st.tuples(PAIRS, st.sampled_from(("<", "<=", ">", ">=", "==", "!="))).map(
            lambda of: f"{of[0][0]} {of[1]} {of[0][1]}"
        ),
        st.tuples(st.sampled_from(("crosses_above", "crosses_below")), PAIRS).map(
            lambda of: f"{of[0]}({of[1][0]}, {of[1][1]})"
        ),
    ),
    lambda inner: st.one_of(
        inner.map(lambda of: f"not ({of})"),
        st.tuples(inner, st.sampled_from(("and", "or")), inner).map(
            lambda of: f"({of[0]}) {of[1]} ({of[2]})"
        ),
    ),
    max_leaves=4,
)
SOME = market(4, 60)


@settings(max_examples=40, deadline=None)
@given(CONDITION_TEXTS)
def test_any_condition_comes_true_where_the_checker_says_so(condition: str) -> None:
    one = ScreenDefined(name="a", instruments=("*",), bars="1m", condition=condition)
    own, made = recomputed(SOME, (one,))
    assume(own.judged)  # not where a comparison hangs on how a sum was rounded
    outputs = drive(SCREENER, SOME, settings=of(one))[1]
    told = [
        (r, record["status"], record["revision"], record["flags"]) for _, r, *_, record in outputs
    ]
    assert told == [
        (each.r, *(each.values[name] for name in ("status", "revision", "flags"))) for each in made
    ]


def test_what_it_does_not_know_it_does_not_judge() -> None:
    log = market(1, 50)
    unknown = SCREENS[0].model_copy(update={"condition": "kama(10) > close"})
    own, made = recomputed(log, (unknown,))
    assert not own.judged and made == []
