"""Funding, open interest and basis against an oracle, and the rules one by one."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.processors.derivatives import DERIVATIVES
from tidemill.schemas.enums import DerivativeFlag, FundingSignal, InterestSignal
from tidemill.schemas.events.feed import RecordsGivenUp, TradeGapDeclared, TradeGapSuspected
from tidemill.schemas.exact import to_int
from tidemill.tests.processors import oracle_derivatives
from tidemill.tests.processors.runs import (
    DAY,
    MIDNIGHT,
    MINUTE,
    SECOND,
    Log,
    assert_any_cut_is_the_same,
    drive,
    instruments,
    of_kind,
    only,
)

SEEDS = st.integers(0, 2**32)
T = MIDNIGHT
HOUR = 60 * MINUTE
SWAP = {"kind": 1, "product": "SWAP", "funding_interval_s": 28_800}
ONE = instruments(SWAP)
STEPS_NS = (0, 10**8, 20 * SECOND, 4 * MINUTE, 50 * MINUTE, 7 * HOUR, 23 * HOUR)


def busy_log(seed: int, facts: int = 150) -> Log:
    """Everything of two contracts and a spot instrument of two feeds."""
    chance = random.Random(seed)
    log = Log(instruments({**SWAP, "feed": 1}, {"feed": 0}, {"kind": 2, "feed": 0, "pair": 1}))
    steps = chance.choice((STEPS_NS[:3], STEPS_NS[:5], STEPS_NS))
    now = T + chance.randrange(DAY)
    middle = 10**6
    for _ in range(facts):
        now += chance.choice(steps)
        middle = max(10, middle + chance.randrange(-30_000, 30_001))
        slot = chance.choice((0, 0, 2, 1))
        what = chance.random()
        if what < 0.4:
            log.time(now)
        elif what < 0.7 and slot != 1:
            log.derivative(slot, now, *(_values(chance, middle) for _ in range(2)))
        elif what < 0.95:
            _trade(log, chance, slot, now, middle)
        else:
            _lose(log, chance, slot, now)
    return log


def _values(chance: random.Random, middle: int) -> dict[str, int]:
    values = {
        "mark_price": middle,
        "index_price": middle + chance.randrange(-500, 500),
        "funding_rate": chance.choice((0, 10**8, 10**8 + 1, -(10**8) - 1, 2 * 10**9, -(10**10))),
        "next_funding_time": chance.choice((T, T + DAY)),
        "funding_interval_s": chance.choice((0, 3_600, 14_400)),
        "open_interest": chance.choice((0, 5, 10**6, 10**6 + 10**5 + 1, 2 * 10**6, 2**62, -3)),
    }  # fmt: skip
    if chance.random() < 0.05:
        values["funding_rate"] = 2**60
    return {name: value for name, value in values.items() if chance.random() < 0.6}


def _trade(log: Log, chance: random.Random, slot: int, now: int, middle: int) -> None:
    ts = now - chance.choice((0, 0, SECOND, 6 * MINUTE, 23 * HOUR, 25 * HOUR, -2 * HOUR))
    quantity = chance.choice((1, 10**6, 2**62, -1))
    log.trades(slot, (1, ts, middle, quantity, 1, now), (2, now, middle + 1, 3, 2, now))


def _lose(log: Log, chance: random.Random, slot: int, now: int) -> None:
    same: dict[str, Any] = {"ts_from": now, "ts_to": now}
    ids: dict[str, Any] = {"venue": "V", "symbol": "S", "ts_recv": now}
    what = chance.randrange(3)
    if what == 0:
        log.event(
            RecordsGivenUp(venue="V", product="P", records=1, reason="", **same), feed=slot % 2
        )
    elif what == 1:
        event = TradeGapDeclared(first_id=1, last_id=2, reason="", **ids, **same)
        log.event(event, slot=slot)
    else:
        log.event(TradeGapSuspected(reason="RECONNECTED", **ids, **same), slot=slot)


def told(log: Log) -> list[dict[str, Any]]:
    return of_kind(drive(DERIVATIVES, log)[1], "derivative_metrics")


# --- the oracle -----------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_what_busy_contracts_say_is_the_oracles(seed: int) -> None:
    log = busy_log(seed)
    found = [
        (slot, {name: value for name, value in row.items() if value})
        for _, _, slot, _, row in drive(DERIVATIVES, log)[1]
    ]
    assert found == oracle_derivatives.derivatives(log)


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.floats(0.02, 0.9))
def test_any_cut_of_the_input_gives_the_same_metrics_and_the_same_state(
    seed: int, often: float
) -> None:
    log = busy_log(seed, 80)
    assert_any_cut_is_the_same(DERIVATIVES, log, seed, often)


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_many_contracts_at_once_are_each_of_them_alone(seed: int) -> None:
    log = busy_log(seed)
    state, outputs = drive(DERIVATIVES, log)
    for slot in (0, 2):
        alone_state, alone = drive(DERIVATIVES, only(log, slot))
        assert alone == [output for output in outputs if output[2] == slot]
        assert alone_state[slot].tobytes() == state[slot].tobytes()


def test_busy_contracts_have_everything_that_the_oracle_is_asked_about() -> None:
    flags, funding, interest = DerivativeFlag.NONE, set(), set()
    for seed in range(150):
        for _, row in oracle_derivatives.derivatives(busy_log(seed)):
            flags |= DerivativeFlag(row.get("flags", 0))
            funding.add(row.get("funding_signal", 0))
            interest.add(row.get("interest_signal", 0))
    assert flags == DerivativeFlag(15)
    assert funding == set(FundingSignal) and interest == set(InterestSignal)


# --- one rule each --------------------------------------------------------------------------------


def test_a_contract_says_what_one_works_out_by_hand() -> None:
    log = Log(ONE)
    log.derivative(0, T, {"mark_price": 20_000, "open_interest": 1_000, "funding_rate": 3 * 10**8})
    log.derivative(0, T + HOUR, {"funding_rate": 10**8})
    log.derivative(0, T + DAY, {"mark_price": 21_000, "index_price": 20_000})
    log.derivative(0, T + DAY, {"open_interest": 1_200, "funding_rate": -(5 * 10**8)})
    log.trades(0, (1, T + 1, 20_500, 7, 1), (2, T + DAY, 20_800, 5, 2))
    log.time(T + DAY)
    made = told(log)[-1]
    assert (made["basis"], made["basis_ratio"]) == (1_000, 50_000_000)
    assert made["funding_annualized"] == -5 * 10**8 * 3 * 365
    assert made["funding_24h"] == (10**8 - 5 * 10**8) // 2
    assert made["funding_7d"] == -33_333_333  # of 3, 1 and -5, rounded to zero
    assert (made["open_interest_change"], made["open_interest_change_ratio"]) == (200, 200_000_000)
    assert (made["price_change"], made["price_change_ratio"]) == (800, 40_000_000)
    assert to_int(made["volume_hi"], made["volume_lo"]) == 5  # one is 24 hours old
    assert made["funding_signal"] == FundingSignal.BEARISH
    assert made["interest_signal"] == InterestSignal.BULLISH
    assert made["flags"] == DerivativeFlag.PARTIAL_7D | DerivativeFlag.ALERT


@pytest.mark.parametrize(
    ("rate", "signal"),
    [
        (10**9 + 1, FundingSignal.EXTREME_LONGS),
        (10**9, FundingSignal.BULLISH),
        (10**8, FundingSignal.NEUTRAL),
        (-(10**8), FundingSignal.NEUTRAL),
        (-(10**8) - 1, FundingSignal.BEARISH),
        (-(10**9) - 1, FundingSignal.EXTREME_SHORTS),
    ],
)
def test_funding_rates_are_classified_at_a_tenth_and_a_hundredth_of_a_percent(
    rate: int, signal: FundingSignal
) -> None:
    log = Log(ONE)
    log.derivative(0, T, {"funding_rate": rate})
    log.time(T)
    assert told(log)[0]["funding_signal"] == signal


def test_a_change_is_told_within_the_minute_a_signal_at_once_and_silence_each_hour() -> None:
    log = Log(ONE)
    log.derivative(0, T, {"funding_rate": 5})
    for tenth in range(3):
        log.time(T + tenth * SECOND)
    log.derivative(0, T + 3 * SECOND, {"funding_rate": 6})
    log.time(T + 3 * SECOND)
    log.time(T + MINUTE)
    log.derivative(0, T + 62 * SECOND, {"funding_rate": 2 * 10**8})
    log.time(T + 62 * SECOND)
    log.derivative(0, T + 63 * SECOND, {"funding_rate": 2 * 10**8})
    log.time(T + 5 * MINUTE)
    log.time(T + HOUR)
    log.time(T + HOUR + 5 * MINUTE)
    log.time(T + 2 * HOUR)
    assert [made["ts"] - T for made in told(log)] == [
        0, MINUTE, 62 * SECOND, HOUR, 2 * HOUR,
    ]  # fmt: skip


def test_a_day_ago_is_between_23_and_25_hours_and_24_where_there_is_that() -> None:
    for hours, known in ((22, False), (23, True), (25, True), (26, False)):
        log = Log(ONE)
        log.derivative(0, T, {"mark_price": 100, "open_interest": 100})
        log.derivative(0, T + hours * HOUR, {"open_interest": 50})
        log.time(T + hours * HOUR)
        (made,) = told(log)
        assert made["open_interest_change"] == (-50 if known else 0)
        assert bool(made["flags"] & DerivativeFlag.PARTIAL_24H) != known
    log = Log(ONE)
    for hours, interest in ((0, 1), (1, 10), (2, 100)):
        log.derivative(0, T + hours * HOUR, {"mark_price": 100, "open_interest": interest})
    log.derivative(0, T + 25 * HOUR, {"open_interest": 1_000})
    log.time(T + 25 * HOUR)
    assert told(log)[-1]["open_interest_change"] == 990


def test_other_exponents_begin_anew() -> None:
    log = Log(ONE)
    log.derivative(0, T, {"mark_price": 100, "open_interest": 100})
    log.trades(0, (1, T, 1, 7, 1), exponents=(-2, -8))
    log.time(T)
    assert told(log) == []
    log.derivative(0, T, {"index_price": 5})
    log.time(T)
    (made,) = told(log)
    assert (made["mark_price"], made["fields"], made["volume_lo"]) == (0, 0b10, 0)


def test_spot_trades_and_contracts_without_derivative_records_are_not_told() -> None:
    log = Log(instruments({}, SWAP))
    log.trades(0, (1, T, 1, 7, 1))
    log.trades(1, (1, T, 1, 7, 1))
    log.time(T + DAY)
    state, outputs = drive(DERIVATIVES, log)
    assert outputs == [] and state[0].tobytes() == bytes(state.itemsize)
