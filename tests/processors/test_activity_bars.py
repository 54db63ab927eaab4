"""Activity bars: against an oracle that keeps every trade, cut anywhere, and one rule at a time."""

import dataclasses
import random
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.processors.activity_bars import ACTIVITY_BARS, SPECS, fold
from tidemill.processors.kernels.activity_plan import Plan, Plans
from tidemill.processors.kernels.activity_state import STATE
from tidemill.processors.kernels.activity_thresholds import rounded as rounded_down
from tidemill.processors.processor import Processor
from tidemill.schemas.enums import BarAggregation, BarFlag
from tidemill.schemas.events.activity_bars import ActivityBarsDefined, ActivityBarsRemoved
from tidemill.schemas.events.event import Event
from tidemill.schemas.events.feed import (
    FeedConnected,
    FeedDisconnected,
    RecordsGivenUp,
    TradeGapDeclared,
    TradeGapSuspected,
)
from tidemill.schemas.exact import from_int, from_ints, to_int
from tidemill.tests.processors import oracle_activity_bars as oracle
from tidemill.tests.processors.oracle_logs import BadDay
from tidemill.tests.processors.runs import (
    MIDNIGHT,
    SECOND,
    Log,
    assert_any_cut_is_the_same,
    drive,
    instruments,
    of_kind,
    one_run,
    only,
    pieces_of,
    run_of,
)

INSTRUMENT = instruments({})
T = MIDNIGHT + 3_600 * SECOND
SEEDS = st.integers(0, 2**32)
NONE = (0,) * len(SPECS)
UNIT = 10**18
"""A step or threshold of 1 in a record."""


class Everywhere(Plans):
    """Every aggregation of every instrument, with the same mantissas of steps."""

    def __init__(self, steps: Sequence[int]) -> None:
        super().__init__(())
        self.plan = Plan((1 << len(SPECS)) - 1, from_ints(list(steps)))

    def of(self, instrument: Any) -> Plan:
        return self.plan


def with_steps(steps: Sequence[int] = NONE, **named: int) -> Processor:
    """The processor with steps given: all of them, or some by the name of their aggregation."""
    listed = [named.get(spec, one) for spec, one in zip(SPECS, steps, strict=True)]
    return dataclasses.replace(ACTIVITY_BARS, step=partial(fold, of=Everywhere(listed)))


def some_steps(seed: int) -> tuple[int, ...]:
    """Small steps, so that short logs close bars of every aggregation; sometimes none is given."""
    chance = random.Random(seed)
    of_measure = [chance.choice((1, 3, 7)), chance.randint(1, 3 * 10**9), 10**18]
    price = chance.choice((1, 10, 400, 0)) * 10**8
    every = [chance.choice((1, 2, 5)) if k % 3 else of_measure[k // 3] for k in range(9)]
    return (*(0 if chance.random() < 0.1 else one for one in every), price, price)


def bad_day(seed: int, facts: int = 80, slots: int = 3) -> Log:
    made = BadDay(seed, slots)
    made.log.table["inverse"] = [slot % 2 for slot in range(slots)]
    return made.make(facts)


def trade(trade_id: int, price: int = 100, quantity: int = 1, side: int = 1) -> tuple[int, ...]:
    return trade_id, T + trade_id, price, quantity, side


def bars(log: Log, spec: str, processor: Processor | None = None) -> list[dict[str, Any]]:
    return [
        output[4]
        for output in drive(processor or with_steps(), log)[1]
        if output[0] == "activity_bar" and SPECS[output[3]] == spec
    ]


def number(record: dict[str, Any], name: str) -> int:
    return to_int(record[f"{name}_hi"], record[f"{name}_lo"])


def prices_of(bar: dict[str, Any]) -> tuple[int, ...]:
    return tuple(bar[name] for name in ("open", "high", "low", "close"))


# --- the oracle -----------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_activity_bars_of_bad_days_are_the_oracles(seed: int) -> None:
    log, steps = bad_day(seed), some_steps(seed)
    emitted, refused = oracle.bars(log, steps)
    outputs = drive(with_steps(steps), log)[1]
    made = [(slot, k, bar) for kind, _, slot, k, bar in outputs if kind == "activity_bar"]
    assert made == emitted
    letters = [
        (event.at_r, event.at_i, slot, event.reason.split(":")[0])
        for kind, _, slot, _, event in outputs
        if kind == "dead_letter"
    ]
    gap, wrong = ("a gap is not in activity bars", "trade")
    wanted = [(r, i, slot, gap if what == "a gap" else wrong) for r, i, slot, what in refused]
    assert [(*at, gap if what == gap else what.split()[0]) for *at, what in letters] == wanted


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.floats(0.02, 0.9))
def test_any_cut_of_the_input_gives_the_same_bars_and_the_same_state(
    seed: int, often: float
) -> None:
    assert_any_cut_is_the_same(with_steps(some_steps(seed)), bad_day(seed, 60), seed, often)


@settings(max_examples=12, deadline=None)
@given(SEEDS)
def test_many_instruments_at_once_are_each_of_them_alone(seed: int) -> None:
    log, processor = bad_day(seed, 80, slots=5), with_steps(some_steps(seed))
    state, outputs = drive(processor, log)
    for slot in range(5):
        alone_state, alone = drive(processor, only(log, slot))
        assert [o for o in alone if o[2] == slot] == [o for o in outputs if o[2] == slot]
        assert alone_state[slot].tobytes() == state[slot].tobytes()


def test_a_replay_gives_the_same_bytes() -> None:
    log, processor = bad_day(7, 400), with_steps(some_steps(7))
    first, second = drive(processor, log), drive(processor, log)
    assert len(first[1]) > 200
    assert first[1] == second[1]
    assert first[0].tobytes() == second[0].tobytes()


@pytest.mark.parametrize("at", [1, 17, 40, 71])
def test_a_restart_from_the_bytes_of_the_state_is_no_restart(at: int) -> None:
    log, processor = bad_day(11, 80), with_steps(some_steps(11))
    state, outputs = drive(processor, log)
    begun, before = drive(processor, Log(log.table, log.facts[:at]))
    again = np.frombuffer(bytearray(begun.tobytes()), STATE)
    made = []
    for pieces in pieces_of(log, lambda k: True):
        if pieces[0][0] > at:
            made += processor.step(again, run_of(pieces, log.table))
    assert sum(len(emit.slots) for emit in made) == len(outputs) - len(before)
    assert again.tobytes() == state.tobytes()


def test_bad_days_have_everything_that_the_oracle_is_asked_about() -> None:
    """Otherwise the equalities above could hold for want of cases."""
    flags, revisions, reasons, bricks = BarFlag.NONE, 0, set(), 0
    closed = dict.fromkeys(SPECS, 0)
    thresholds: dict[str, set[int]] = {spec: set() for spec in SPECS}
    for seed in range(40):
        for kind, _, _, k, value in drive(with_steps(some_steps(seed)), bad_day(seed))[1]:
            if kind == "dead_letter":
                reasons.add(value.reason.rsplit(": ")[1])
                continue
            flags |= BarFlag(value["flags"])
            revisions = max(revisions, value["revision"])
            closed[SPECS[k]] += 1
            thresholds[SPECS[k]].add(number(value, "threshold"))
            bricks += SPECS[k] == "renko" and value["trade_count"] == 0
    assert flags == BarFlag.GAP | BarFlag.PARTIAL
    assert revisions == 1, "a bar is told once that a gap touches it"
    assert len(reasons) == 2
    assert min(closed.values()) > 40
    assert bricks > 40
    adaptive = [spec for spec in SPECS if spec.endswith(("imbalance", "runs"))]
    assert {spec: len(thresholds[spec]) for spec in adaptive if len(thresholds[spec]) < 5} == {}


# --- how bars close -------------------------------------------------------------------------------


def test_a_tick_bar_closes_with_its_last_trade_and_the_next_one_opens_with_the_next() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, *(trade(k, 100 + k, quantity=k) for k in range(1, 8)))
    first, second = bars(log, "tick", with_steps(tick=3))
    assert (first["at_i"], first["ts_open"], first["ts_close"]) == (2, T + 1, T + 3)
    assert (first["first_trade_id"], first["last_trade_id"], first["trade_count"]) == (1, 3, 3)
    assert prices_of(first) == (101, 103, 101, 103)
    assert (number(first, "volume"), number(first, "step")) == (6, 3 * UNIT)
    assert number(first, "quote_volume") == 101 + 2 * 102 + 3 * 103
    assert (second["sequence"], second["first_trade_id"], second["flags"]) == (1, 4, 0)
    assert first["aggregation"] == BarAggregation.TICK


def test_the_trade_that_closes_a_volume_bar_belongs_to_it_whole() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, trade(1, quantity=9), trade(2, quantity=25), trade(3, quantity=10))
    made = bars(log, "volume", with_steps(volume=10))
    assert [number(bar, "volume") for bar in made] == [34, 10]
    assert [number(bar, "threshold") for bar in made] == [10 * 10**10] * 2, "eight decimals"


def test_a_value_bar_counts_price_times_quantity_and_of_inverse_contracts_the_quantity() -> None:
    log = Log(instruments({}, {"inverse": 1}))
    for slot in range(2):
        log.trades(slot, *(trade(k, price=7, quantity=10) for k in range(1, 8)))
    made = drive(with_steps(value=100), log)[1]
    counts = [(slot, bar["trade_count"]) for _, _, slot, k, bar in made if SPECS[k] == "value"]
    assert counts == [(0, 2), (0, 2), (0, 2)]
    made = drive(with_steps(value=30), log)[1]
    counts = [(slot, bar["trade_count"]) for _, _, slot, k, bar in made if SPECS[k] == "value"]
    assert counts == [*((0, 1),) * 7, (1, 3), (1, 3)]


def test_the_first_volume_bar_has_a_thousand_trades_and_seeds_a_round_step() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, *(trade(k, quantity=7) for k in range(1, 2_400)))
    seed, second = bars(log, "volume")
    assert (seed["trade_count"], number(seed, "step"), number(seed, "threshold")) == (1_000, 0, 0)
    assert number(second, "step") == number(second, "threshold") == 5_000 * 10**10
    assert (second["trade_count"], seed["flags"], second["flags"]) == (715, BarFlag.PARTIAL, 0)


@pytest.mark.parametrize(
    ("value", "rounded"),
    [(0, 1), (1, 1), (2, 2), (4, 2), (5, 5), (9, 5), (10, 10), (4_999, 2_000), (10**30, 10**30)],
)
def test_a_seeded_step_is_one_two_or_five_times_a_power_of_ten(value: int, rounded: int) -> None:
    hi, lo = from_int(value)
    assert to_int(*rounded_down(np.int64(hi), np.uint64(lo))) == rounded


def test_a_range_bar_closes_at_the_first_trade_that_spans_the_range() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, *(trade(k, p) for k, p in enumerate((100, 104, 97, 95, 100, 101, 110), 1)))
    made = bars(log, "range", with_steps(range=7))
    assert [(prices_of(bar), bar["trade_count"]) for bar in made] == [
        ((100, 104, 97, 97), 3), ((95, 110, 95, 110), 4),
    ]  # fmt: skip


def test_a_brick_takes_one_step_on_and_two_where_it_turns() -> None:
    log = Log(INSTRUMENT)
    prices = (103, 109, 110, 119, 120, 111, 101, 100, 109, 119, 120)
    log.trades(0, *(trade(k, p) for k, p in enumerate(prices, 1)))
    made = bars(log, "renko", with_steps(renko=10))
    assert [(bar["open"], bar["close"], bar["last_trade_id"]) for bar in made] == [
        (100, 110, 3), (110, 120, 5), (110, 100, 8), (110, 120, 11),
    ]  # fmt: skip
    assert [bar["trade_count"] for bar in made] == [3, 2, 3, 3]
    assert all(prices_of(bar)[1:3] == (max(e), min(e)) for bar in made
               for e in [(bar["open"], bar["close"])])  # fmt: skip


def test_of_several_bricks_of_one_trade_the_first_has_the_trades() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, trade(1, 100), trade(2, 101), trade(3, 135))
    made = bars(log, "renko", with_steps(renko=10))
    assert [(bar["open"], bar["close"]) for bar in made] == [(100, 110), (110, 120), (120, 130)]
    assert [(bar["trade_count"], number(bar, "volume")) for bar in made] == [(3, 3), (0, 0), (0, 0)]
    assert [(bar["first_trade_id"], bar["ts_open"] - T) for bar in made] == [(1, 1), (3, 3), (3, 3)]
    assert {(bar["at_r"], bar["at_i"]) for bar in made} == {(1, 2)}


def test_a_trade_makes_at_most_sixty_four_bricks_the_last_as_high_as_what_is_left() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, trade(1, 100), trade(2, 1_100), trade(3, 1_109), trade(4, 1_089), trade(5, 1_080))
    made = bars(log, "renko", with_steps(renko=10))
    assert [(bar["open"], bar["close"]) for bar in made[62:]] == [
        (720, 730), (730, 1_100), (1_090, 1_080),
    ]  # fmt: skip


def test_a_step_of_renko_and_range_that_nobody_gave_is_a_thousandth_of_the_first_price() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, trade(1, 61_837_63), trade(2, 61_837_63 + 5_001))
    (brick,), (span,) = bars(log, "renko"), bars(log, "range")
    assert number(brick, "step") == number(span, "step") == 5_000 * 10**10
    assert (brick["open"], brick["close"]) == (61_800_00 + 5_000 - 5_000, 61_850_00)


# --- imbalance and runs ---------------------------------------------------------------------------


def flow(log: Log, sides: Sequence[int], quantity: int = 1) -> None:
    first = sum(len(fact.records) for fact in log.facts) + 1
    log.trades(0, *(trade(first + k, 100, quantity, side) for k, side in enumerate(sides)))


def test_imbalance_closes_at_what_the_bars_before_made_it_expect() -> None:
    log = Log(INSTRUMENT)
    flow(log, [1, 1, 1, 2] * 25)  # seeds: E[T] = 100, E[b] = 1/2
    flow(log, [2] * 60)
    seed, second = bars(log, "tick_imbalance", with_steps(tick_imbalance=100))
    assert (seed["trade_count"], number(seed, "threshold")) == (100, 0)
    assert (second["trade_count"], number(second, "threshold")) == (50, 50 * UNIT)


def test_imbalance_expects_no_less_than_chance_alone_brings() -> None:
    log = Log(INSTRUMENT)
    flow(log, [1, 2] * 50, quantity=3)  # E[b v] = 0, E[v] = 3, E[T] = 100
    flow(log, [1] * 12, quantity=3)
    second = bars(log, "volume_imbalance", with_steps(volume_imbalance=100))[1]
    assert (second["trade_count"], number(second, "threshold")) == (10, 30 * 10**10)


def test_runs_close_when_one_side_reaches_what_the_larger_one_was_expected_to() -> None:
    log = Log(INSTRUMENT)
    flow(log, [1, 1, 1, 2] * 25)  # P = 3/4, so 75 of either side are expected
    flow(log, [2, 1] * 74 + [2])
    made = bars(log, "tick_runs", with_steps(tick_runs=100))
    assert [(bar["trade_count"], number(bar, "threshold")) for bar in made] == [
        (100, 0), (149, 75 * UNIT),
    ]  # fmt: skip


def test_expected_lengths_stay_within_ten_times_of_where_they_begin() -> None:
    log = Log(INSTRUMENT)
    flow(log, [1] * 3_000)
    made = bars(log, "tick_imbalance", with_steps(tick_imbalance=100))
    assert [bar["trade_count"] for bar in made] == [100] * 30, "all one side: it never changes"
    log = Log(INSTRUMENT)
    flow(log, [1, 2] * 50 + [1] * 4_000)
    shortest = min(bar["trade_count"] for bar in bars(log, "tick_imbalance",
                   with_steps(tick_imbalance=100)))  # fmt: skip
    assert shortest >= 3, "the root of the least expected length, ten"


def test_a_trade_without_aggressor_counts_by_the_rule_of_ticks() -> None:
    log = Log(INSTRUMENT)
    prices = (100, 100, 101, 101, 99, 99, 99)  # bought, bought, bought, bought, sold, sold, sold
    log.trades(0, *(trade(k, p, side=0) for k, p in enumerate(prices, 1)))
    log.trades(0, *(trade(k, 99, side=0) for k in range(8, 40)))
    made = bars(log, "tick_runs", with_steps(tick_runs=7))
    assert [(bar["trade_count"], number(bar, "threshold")) for bar in made[:2]] == [
        (7, 0), (4, 4 * UNIT),
    ]  # fmt: skip
    assert all(number(bar, "taker_buy_volume") == 0 for bar in made)


def test_a_step_that_changes_counts_from_the_next_bar_on() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, *(trade(k) for k in range(1, 5)))
    log.trades(0, *(trade(k) for k in range(5, 13)))
    state = np.zeros(1, STATE)
    made = []
    for processor, pieces in zip(
        (with_steps(tick=6), with_steps(tick=3)), pieces_of(log, lambda k: k == 3), strict=True
    ):
        made += processor.step(state, run_of(pieces, log.table))
    counts = [int(r["trade_count"]) for emit in made for r in emit.records if r["aggregation"] == 1]
    assert counts == [6, 3, 3]


# --- what is known of them ------------------------------------------------------------------------


def declared(ts_from: int, ts_to: int) -> TradeGapDeclared:
    return TradeGapDeclared(
        venue="BINANCE", symbol="X", first_id=1, last_id=1, ts_from=ts_from, ts_to=ts_to,
        ts_recv=ts_to, reason="lost",
    )  # fmt: skip


def test_a_gap_marks_the_open_bar_and_the_one_that_opens_within_it() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, trade(1), trade(2), trade(3))  # one closed, one open
    log.event(declared(T + 3, T + 6), slot=0)
    log.trades(0, trade(6), trade(7), trade(8), trade(9), trade(10))
    made = bars(log, "tick", with_steps(tick=2))
    assert [(bar["first_trade_id"], bar["flags"] & BarFlag.GAP) for bar in made] == [
        (1, 0), (3, 1), (7, 0), (9, 0),
    ]  # fmt: skip
    log = Log(INSTRUMENT)
    log.trades(0, trade(1), trade(2))  # none open
    log.event(declared(T + 2, T + 4), slot=0)
    log.trades(0, trade(4), trade(5), trade(6), trade(7))
    made = bars(log, "tick", with_steps(tick=2))
    told = [(bar["sequence"], bar["revision"], bar["flags"] & BarFlag.GAP) for bar in made]
    assert told == [(0, 0, 0), (0, 1, 1), (1, 0, 1), (2, 0, 0)]


def test_trades_lost_before_the_bar_that_would_have_had_them_opens_mark_it() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, trade(1), trade(2))
    log.event(declared(T + 3, T + 4), slot=0)  # the next trade heard is later than all of it
    log.trades(0, trade(9), trade(10))
    made = bars(log, "tick", with_steps(tick=2))
    assert [(bar["sequence"], bar["flags"] & BarFlag.GAP) for bar in made] == [(0, 0), (1, 1)]


def test_a_gap_found_late_revises_the_closed_bars_that_it_touches_and_says_which_it_cannot() -> (
    None
):
    log = Log(INSTRUMENT)
    log.trades(0, *(trade(k) for k in range(1, 21)))
    log.event(
        TradeGapSuspected(
            venue="BINANCE", symbol="X", ts_from=T + 15, ts_to=T + 16, ts_recv=T + 30,
            reason="BAR_DIFFERS",
        ),
        slot=0,
    )  # fmt: skip
    made = bars(log, "tick", with_steps(tick=2))
    assert [bar["sequence"] for bar in made if bar["revision"]] == [7]
    assert {k: made[7][k] for k in made[7] if k not in ("at_r", "at_i", "revision", "flags")} == {
        k: made[-1][k] for k in made[-1] if k not in ("at_r", "at_i", "revision", "flags")
    }
    assert of_kind(drive(with_steps(tick=2), log)[1], "dead_letter") == []
    log.event(RecordsGivenUp(venue="BINANCE", product="SPOT", records=1, ts_from=T + 1, ts_to=T + 9,
                             reason="slow"))  # fmt: skip
    (letter,) = of_kind(drive(with_steps(tick=2), log)[1], "dead_letter")
    assert letter.reason.startswith("a gap is not in activity bars: bars that it touches")


def test_only_the_first_bar_and_one_in_which_ids_do_not_follow_a_reconnect_are_partial() -> None:
    log = Log(INSTRUMENT)
    link = {"venue": "BINANCE", "product": "SPOT", "connection": 1, "ts_recv": T}
    log.trades(0, trade(1), trade(2), trade(3))
    log.event(FeedDisconnected.model_validate(link | {"reason": "reset"}))
    log.event(FeedConnected.model_validate(link))
    log.trades(0, trade(4), trade(5))
    log.event(FeedConnected.model_validate(link))
    log.trades(0, trade(9), trade(10), trade(11))
    log.status(T, 1, slot=0)
    log.event(FeedConnected.model_validate(link))
    log.trades(0, trade(20), trade(21), trade(22))
    made = bars(log, "tick", with_steps(tick=2))
    told = [(bar["last_trade_id"], bar["flags"] & BarFlag.PARTIAL) for bar in made]
    assert told == [(2, 4), (4, 0), (9, 4), (11, 0), (21, 0)]


@pytest.mark.parametrize("slot", [-1, 0])
def test_a_hold_ends_for_whom_it_was_said(slot: int) -> None:
    log = Log(INSTRUMENT)
    link = {"venue": "BINANCE", "product": "SPOT", "connection": 1, "ts_recv": T}
    log.trades(0, trade(1), trade(2))
    log.status(T, 1, slot=slot)
    log.status(T, 0, slot=slot)
    log.event(FeedConnected.model_validate(link))
    log.trades(0, trade(9), trade(10))
    made = bars(log, "tick", with_steps(tick=2))
    assert [bar["flags"] & BarFlag.PARTIAL for bar in made] == [4, 4]


def test_a_trade_that_comes_late_counts_where_it_stands_and_revises_nothing() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, trade(1), trade(5), trade(3), trade(4))
    made = bars(log, "tick", with_steps(tick=2))
    assert [(b["first_trade_id"], b["last_trade_id"], b["revision"]) for b in made] == [
        (1, 5, 0), (3, 4, 0),
    ]  # fmt: skip
    assert made[1]["flags"] == 0


@pytest.mark.parametrize(
    "row",
    [
        (1, T, 1 << 61, 1, 1), (1, T, -(1 << 61), 1, 1), (1, T, 1, 1 << 61, 1), (1, T, 1, -1, 1),
        (1, -1, 1, 1, 1), (1, T + 3_601 * SECOND, 1, 1, 1, T), (1, T, 1 << 60, 1 << 46, 1),
    ],
)  # fmt: skip
def test_a_trade_that_cannot_be_is_a_dead_letter_and_in_no_bar(row: tuple[int, ...]) -> None:
    log = Log(INSTRUMENT)
    log.trades(0, trade(1), row, trade(2))
    outputs = drive(with_steps(tick=2), log)[1]
    (letter,) = of_kind(outputs, "dead_letter")
    assert (letter.at_r, letter.at_i, letter.processor) == (1, 1, "activity_bars")
    assert [bar["trade_count"] for bar in bars(log, "tick", with_steps(tick=2))] == [2]


def test_sums_that_near_128_bits_close_every_bar_with_gap_and_begin_anew() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, trade(1), trade(2, 1 << 60, 1 << 45), trade(3), trade(4))
    state = np.zeros(1, STATE)
    first, second = list(pieces_of(log, lambda k: k == 0))
    processor = with_steps(tick=2, renko=1 << 61, range=1 << 60)
    assert processor.step(state, run_of(first, log.table)) == []
    near = (1 << 125) - (1 << 105)
    for name in ("total", "bars"):
        sums = state[name] if name == "total" else state[name]["since"]
        sums["quote_volume_hi"], sums["quote_volume_lo"] = from_int(near)
    (emit,) = processor.step(state, run_of(second, log.table))
    full = [bar for bar in emit.records if bar["at_i"] == 1]
    assert [SPECS[list(BarAggregation).index(bar["aggregation"])] for bar in full] == [
        spec for spec in SPECS if spec != "renko"
    ]
    assert all(bar["flags"] & BarFlag.GAP for bar in full)
    sums_of = {to_int(bar["quote_volume_hi"], bar["quote_volume_lo"]) for bar in full}
    assert sums_of == {1 << 105}
    assert [int(bar["trade_count"]) for bar in emit.records if bar["aggregation"] == 1] == [2, 2]
    assert int(state["total"]["trades"][0]) == 2


def test_steps_too_large_to_tell_are_told_as_the_largest_number_there_is() -> None:
    log = Log(instruments({"price_exponent": 9, "quantity_exponent": 9}))
    log.trades(0, *(trade(k, 1 << 59, 1 << 46) for k in range(1, 4)), exponents=(9, 9))
    made = bars(log, "value", with_steps(value=1 << 100))
    assert [number(bar, "step") for bar in made] == [10**38 - 1] * 3


def test_frames_with_other_exponents_than_their_instrument_are_dead_letters() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, trade(1), exponents=(-8, -8))
    log.trades(0, trade(2), exponents=(-8, -2))
    assert ACTIVITY_BARS.check is not None
    (pieces,) = pieces_of(log, one_run)
    run = run_of(pieces, log.table)
    asked = a_set("TICK")
    assert ACTIVITY_BARS.check(run._replace(settings=(asked,))).tolist() == [False, True]
    assert ACTIVITY_BARS.check(run).tolist() == [False, False], "no bars that it could hurt"
    elsewhere = asked.model_copy(update={"instruments": ("*.OKX",)})
    assert ACTIVITY_BARS.check(run._replace(settings=(elsewhere,))).tolist() == [False, False]


def test_the_step_refuses_a_kind_that_it_does_not_read() -> None:
    log = Log(INSTRUMENT)
    log.time(T)
    (pieces,) = pieces_of(log, one_run)
    with pytest.raises(ValueError, match="does not read time"):
        with_steps().step(np.zeros(1, STATE), run_of(pieces, log.table))


# --- which ones, by what LOG says -----------------------------------------------------------------


def a_set(*bars: str, on: str = "*", name: str = "a") -> ActivityBarsDefined:
    return ActivityBarsDefined(name=name, instruments=(on,), bars=bars)


def some_settings(r: int) -> tuple[Event, ...]:
    """Sets that come, change and go in a log of 80 facts."""
    every = [spec.upper() for spec in SPECS]
    sets: list[Event] = []
    if 5 <= r < 60:
        sets.append(a_set("3-TICK", "7-VOLUME_RUNS", *(every[1:5] if r < 30 else every[6:])))
    elif r >= 60:
        sets.append(ActivityBarsRemoved(name="a"))
    if r >= 20:
        sets.append(a_set("5-TICK", "2-TICK_RUNS", "1-RANGE", on="*.BINANCE", name="b"))
    return tuple(sets)


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_any_cut_is_the_same_while_sets_change(seed: int) -> None:
    log = bad_day(seed)
    assert_any_cut_is_the_same(ACTIVITY_BARS, log, seed, 0.3, settings=some_settings)


def test_where_log_asks_for_none_there_are_none_and_no_state() -> None:
    state, outputs = drive(
        ACTIVITY_BARS, bad_day(3), settings=lambda r: (a_set("TICK", on="*.OKX"),)
    )
    assert outputs == []
    assert not any(state.tobytes())
    state, outputs = drive(ACTIVITY_BARS, bad_day(3))
    assert outputs == []
    assert not any(state.tobytes())


def test_steps_are_amounts_of_the_instrument() -> None:
    log = Log(instruments({"price_exponent": -2, "quantity_exponent": -3}))
    log.trades(0, *(trade(k, 100 * k, 1_000) for k in range(1, 8)), exponents=(-2, -3))
    asked = a_set("4-TICK", "1.5-VOLUME", "5-VALUE", "2-RANGE", "0.001-RENKO")
    made = drive(ACTIVITY_BARS, log, settings=lambda r: (asked,))[1]
    closed = {spec: [bar for *_, k, bar in made if SPECS[k] == spec] for spec in SPECS}
    last = {spec: [bar["last_trade_id"] for bar in of] for spec, of in closed.items() if of}
    assert last == {"tick": [4], "volume": [2, 4, 6], "value": [3, 5, 6, 7], "range": [3, 6]}, (
        "and no bricks: prices have two decimals"
    )
    assert number(closed["volume"][0], "step") == 3 * UNIT // 2


def test_a_set_begins_goes_on_ends_and_begins_anew_under_the_next_number() -> None:
    log = Log(INSTRUMENT)
    for k in range(1, 31):
        log.trades(0, trade(k, 100 + k))

    def sets(r: int) -> tuple[Event, ...]:
        if r < 4:
            return ()
        if r < 12:
            return (a_set("3-TICK"),)
        if r < 18:
            return (a_set("3-TICK", "0.00000005-RANGE"),)
        return (ActivityBarsRemoved(name="a"),) if r < 24 else (a_set("2-TICK"),)

    made = drive(ACTIVITY_BARS, log, settings=sets)[1]
    told = [
        (SPECS[k], bar["sequence"], bar["first_trade_id"], bar["last_trade_id"], bar["flags"])
        for *_, k, bar in made
    ]
    partial = int(BarFlag.PARTIAL)
    assert told == [
        ("tick", 0, 4, 6, partial), ("tick", 1, 7, 9, 0), ("tick", 2, 10, 12, 0),
        ("tick", 3, 13, 15, 0), ("range", 0, 12, 17, partial), ("tick", 4, 24, 25, partial),
        ("tick", 5, 26, 27, 0), ("tick", 6, 28, 29, 0),
    ]  # fmt: skip
    highs = [bar["high"] for *_, k, bar in made if SPECS[k] == "tick"]
    assert highs[:4] == [106, 109, 112, 115], "what goes on keeps its extremes"
