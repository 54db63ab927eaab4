"""Arbitrage against an oracle, and the rules one by one."""

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.processors.arbitrage import ARBITRAGE
from tidemill.processors.kernels.arbitrage_walk import fee_of
from tidemill.schemas.enums import Legs, OpportunityFlag, OpportunityStatus
from tidemill.schemas.exact import from_int, to_int
from tidemill.tests.processors import oracle_arbitrage
from tidemill.tests.processors.runs import (
    MIDNIGHT,
    SECOND,
    Levels,
    Log,
    assert_any_cut_is_the_same,
    drive,
    instruments,
    of_kind,
    only,
)

SEEDS = st.integers(0, 2**32)
T = MIDNIGHT
UNIT = 10**8
KNOWN = {"fees_known": 1, "taker_ppm": 1_000}
TWO = instruments(
    {"venue": "A", "symbol": "X-1", **KNOWN}, {"venue": "B", "symbol": "X-2", **KNOWN}
)
STEPS_NS = (0, 10**8, SECOND, 10 * SECOND, 31 * SECOND)


def busy_market(seed: int, facts: int = 100) -> Log:
    """Books and quotes of two pairs over spot, contracts and such that take no part."""
    chance = random.Random(seed)
    rows: list[dict[str, Any]] = [
        {"multiplier": 1, "kind": 0},
        {"multiplier": 1, "kind": 0},
        {"multiplier": 5, "multiplier_exponent": -2, "kind": 1},
        {"multiplier": 3, "multiplier_exponent": -9, "kind": 1},
        {"kind": chance.choice((1, 2)), "inverse": chance.choice((0, 1))},
        {"kind": 0, "trading": chance.choice((0, 1, 1))},
    ]
    for number, row in enumerate(rows):
        row |= {"venue": f"V{number}", "symbol": f"S{number}", "pair": number // 5, "feed": number}
        if chance.random() < 0.6:
            row |= {"fees_known": 1, "taker_ppm": chance.choice((-100, 0, 1, 1_000, 40_000))}
    log = Log(instruments(*chance.sample(rows, len(rows))))
    now = T + chance.randrange(10**9)
    steps = chance.choice((STEPS_NS[:3], STEPS_NS))
    finer = chance.choice((-8, -8, -11, -4))
    for _ in range(facts):
        now += chance.choice(steps)
        slot, what = chance.randrange(len(rows)), chance.random()
        if what < 0.45:
            log.time(now)
        elif what < 0.6:
            bid, ask = (_levels(chance, sign, 1)[0] for sign in (-1, 1))
            log.quote(slot, now - chance.choice((0, 20 * SECOND)), bid, ask)
        else:
            sizes = chance.choice((0, 1, 5, 20)), chance.choice((1, 1, 7, 20))
            log.told_book(
                slot, now - chance.choice((0, 0, 25 * SECOND)), _levels(chance, -1, sizes[0]),
                _levels(chance, 1, sizes[1]), chance.random() < 0.9,
                chance.choice(((-8, -8), (-8, -8), (finer, -10))),
            )  # fmt: skip
    return log


def _levels(chance: random.Random, sign: int, count: int) -> list[tuple[int, int]]:
    middle = 10**6 + chance.randrange(-3_000, 3_000)
    prices = sorted(
        {middle + sign * chance.randrange(3_000) for _ in range(count)}, reverse=sign < 0
    )
    return [(price, chance.choice((0, 1, 10**3, 10**9, 2**50))) for price in prices]


def told(log: Log) -> list[dict[str, Any]]:
    return of_kind(drive(ARBITRAGE, log)[1], "opportunity")


def whole(row: dict[str, Any], name: str) -> int:
    return to_int(row[f"{name}_hi"], row[f"{name}_lo"])


def two_books(asks: Levels, bids: Levels, table: Any = TWO) -> Log:
    """What the first asks and the second bids, and a time after it."""
    log = Log(table)
    log.told_book(0, T, [(1, 1)], asks)
    log.told_book(1, T, bids, [(10**9, 1)])
    log.time(T + SECOND)
    return log


# --- the oracle -----------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(SEEDS)
def test_opportunities_of_busy_markets_are_the_oracles(seed: int) -> None:
    log = busy_market(seed)
    found = [{name: value for name, value in row.items() if value} for row in told(log)]
    assert found == oracle_arbitrage.opportunities(log)


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.floats(0.02, 0.9))
def test_any_cut_of_the_input_gives_the_same_opportunities_and_the_same_state(
    seed: int, often: float
) -> None:
    log = busy_market(seed, 60)
    assert_any_cut_is_the_same(ARBITRAGE, log, seed, often)


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_many_pairs_at_once_are_each_of_them_alone(seed: int) -> None:
    log = busy_market(seed)
    state, outputs = drive(ARBITRAGE, log)
    for pair in (0, 1):
        slots = [int(slot) for slot in np.flatnonzero(log.table["pair"] == pair)]
        alone_state, alone = drive(ARBITRAGE, only(log, *slots))
        assert alone == [output for output in outputs if output[2] in slots]
        assert alone_state[slots].tobytes() == state[slots].tobytes()


def test_busy_markets_have_everything_that_the_oracle_is_asked_about() -> None:
    flags, seen = OpportunityFlag.NONE, set()
    for seed in range(100):
        for row in oracle_arbitrage.opportunities(busy_market(seed)):
            flags |= OpportunityFlag(row.get("flags", 0))
            seen |= {OpportunityStatus(row.get("status", 0)), Legs(row.get("legs", 0)).name}
    assert flags == OpportunityFlag(7)
    assert seen == {*OpportunityStatus, *(legs.name for legs in Legs)}


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**126), st.integers(-100_000, 100_000))
def test_a_fee_is_exact_and_rounded_up(notional: int, ppm: int) -> None:
    hi, lo = from_int(notional)
    assert to_int(*fee_of(np.int64(hi), np.uint64(lo), np.int64(ppm))) == -(
        -notional * ppm // 10**6
    )


# --- one rule each --------------------------------------------------------------------------------


def test_two_books_give_what_one_works_out_by_hand() -> None:
    asks = [(100 * UNIT, 2 * UNIT), (101 * UNIT, 5 * UNIT), (110 * UNIT, UNIT)]
    bids = [(103 * UNIT, 3 * UNIT), (101 * UNIT, 9 * UNIT)]
    (one,) = told(two_books(asks, bids))
    # 2 at 100 to 103, 1 at 101 to 103; then 101 to 101 does not earn 0.2 %
    assert one["quantity"] == 3 * UNIT
    money = 10**18
    assert (whole(one, "buy_notional"), whole(one, "sell_notional")) == (301 * money, 309 * money)
    assert (whole(one, "buy_fee"), whole(one, "sell_fee")) == (301 * 10**15, 309 * 10**15)
    assert (whole(one, "gross"), whole(one, "net")) == (8 * money, 7_390 * 10**15)
    assert one["spread_ratio"] == 30_000_000
    assert (one["gross_ratio"], one["net_ratio"]) == (26_578_073, 24_551_495)
    assert (one["buy_price"], one["sell_price"]) == (100 * 10**10, 103 * 10**10)
    names = ("buy_venue", "buy_symbol", "sell_venue", "sell_symbol")
    assert [one[name] for name in names] == [b"A", b"X-1", b"B", b"X-2"]
    assert (one["venues"], one["flags"], one["status"]) == (2, 0, OpportunityStatus.OPENED)


def test_a_spread_that_only_pays_the_fees_is_none() -> None:
    log = two_books([(1_000_000, UNIT)], [(1_002_002, UNIT)])  # 0.1 % of each and of the other
    assert told(log) == []
    assert len(told(two_books([(1_000_000, UNIT)], [(1_002_003, UNIT)]))) == 1


def test_fees_that_no_fact_says_count_as_nothing_and_are_said_to_be_unknown() -> None:
    table = instruments({"venue": "A"}, {"venue": "B", **KNOWN})
    (one,) = told(two_books([(1_000_000, UNIT)], [(1_001_002, UNIT)], table))
    assert (one["buy_fee_ppm"], one["sell_fee_ppm"]) == (0, 1_000)
    assert one["flags"] & OpportunityFlag.FEES_UNKNOWN
    assert whole(one, "buy_fee") == 0 < whole(one, "sell_fee")


def test_contracts_are_counted_in_base_units() -> None:
    table = instruments(
        {"venue": "A", **KNOWN},
        {"venue": "B", "kind": 1, "multiplier": 1, "multiplier_exponent": -2, **KNOWN},
    )
    (one,) = told(two_books([(100, 9 * UNIT)], [(103, 300 * UNIT)], table))
    assert (one["quantity"], one["legs"]) == (3 * UNIT, Legs.BASIS)


@pytest.mark.parametrize("row", [{"inverse": 1}, {"trading": 0}, {"kind": 2}])
def test_inverse_halted_and_dated_instruments_take_no_part(row: dict[str, int]) -> None:
    table = instruments({"venue": "A"}, {"venue": "B", "kind": 1, **row})
    assert told(two_books([(100, 1)], [(200, 1)], table)) == []


def test_an_opportunity_opens_changes_once_a_second_and_closes() -> None:
    log = two_books([(100, UNIT)], [(103, UNIT)])
    for tenth, bid in ((1, 104), (2, 105), (12, 105), (13, 105)):
        log.told_book(1, T, [(bid, UNIT)], [])
        log.time(T + SECOND + tenth * SECOND // 10)
    log.told_book(1, T, [(100, UNIT)], [])
    log.time(T + 3 * SECOND)
    made = told(log)
    status = [(row["status"], row["sell_price"], row["changes"]) for row in made]
    assert status == [
        (OpportunityStatus.OPENED, 10_300, 0),
        (OpportunityStatus.CHANGED, 10_500, 1),
        (OpportunityStatus.CLOSED, 0, 1),
    ]
    assert {(row["opened_r"], row["ts_opened"]) for row in made} == {(5, T + SECOND)}
    assert (made[-1]["quantity"], whole(made[-1], "net")) == (0, 0)


def test_a_book_that_is_not_valid_closes_it_at_the_next_time() -> None:
    log = two_books([(100, UNIT)], [(103, UNIT)])
    log.told_book(0, T + SECOND, [], [], valid=False)
    log.quote(0, T + SECOND, (90, UNIT), (100, UNIT))
    log.time(T + SECOND + 1)
    log.time(T + 3 * SECOND)
    assert [row["status"] for row in told(log)] == [
        OpportunityStatus.OPENED, OpportunityStatus.CLOSED,
    ]  # fmt: skip


def test_what_was_received_over_30_seconds_ago_is_not_used() -> None:
    log = two_books([(100, UNIT)], [(103, UNIT)])
    log.time(T + 30 * SECOND)
    assert len(told(log)) == 1
    log.time(T + 31 * SECOND)
    assert [row["status"] for row in told(log)] == [
        OpportunityStatus.OPENED, OpportunityStatus.CLOSED,
    ]  # fmt: skip


def test_a_quote_serves_where_there_is_no_book() -> None:
    log = Log(TWO)
    log.told_book(0, T, [], [(100, UNIT), (101, UNIT)])
    log.quote(1, T, (103, 5), (104, 5))
    log.time(T)
    (one,) = told(log)
    assert one["flags"] == OpportunityFlag.QUOTED | OpportunityFlag.BOUNDED
    assert one["quantity"] == 5
    log.told_book(1, T, [(90, 1)], [(91, 1)])
    log.quote(1, T, (200, 5), (201, 5))
    log.time(T + 1)
    assert [row["status"] for row in told(log)] == [
        OpportunityStatus.OPENED, OpportunityStatus.CLOSED,
    ]  # fmt: skip


def test_prices_that_have_no_place_at_ten_decimals_are_not_traded() -> None:
    log = Log(TWO)
    log.told_book(0, T, [], [(100_001, UNIT)], exponents=(-13, -8))
    log.told_book(1, T, [(103, UNIT)], [])
    log.time(T)
    assert told(log) == []
