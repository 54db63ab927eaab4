"""Prices over two and more venues against an oracle, and the rules one by one."""

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.processors.price import PRICE
from tidemill.schemas.enums import BarFlag
from tidemill.schemas.events.feed import RecordsGivenUp, TradeGapDeclared, TradeGapSuspected
from tidemill.schemas.exact import to_int
from tidemill.tests.processors import oracle_prices
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
    one_run,
    only,
    pieces_of,
    run_of,
)

SEEDS = st.integers(0, 2**32)
T = MIDNIGHT
VENUES = ("OKX", "BINANCE", "BINANCE_US")
TWO = instruments({"venue": "BINANCE_US"}, {"venue": "BINANCE", "feed": 1})
STEPS_NS = (0, 10**7, 10**8, SECOND, 20 * SECOND, 40 * SECOND, 90 * MINUTE, DAY)


def busy_log(seed: int, facts: int = 120) -> Log:
    """Trades, quotes and times of seven instruments of three venues and three pairs."""
    chance = random.Random(seed)
    rows = [{"venue": venue, "feed": k, "pair": pair} for pair in (2, 0) for k, venue in
            enumerate(VENUES)]  # fmt: skip
    rows.insert(chance.randrange(6), {"venue": "BINANCE", "product": "USDM", "feed": 3, "pair": 0})
    log = Log(instruments(*rows))
    steps = chance.choice((STEPS_NS[:4], STEPS_NS[:6], STEPS_NS))
    now = T + chance.randrange(DAY)
    for _ in range(facts):
        now += chance.choice(steps)
        what, slot = chance.random(), chance.randrange(7)
        if what < 0.3:
            log.time(now)
        elif what < 0.6:
            values = [chance.choice((0, 5, 6, 10**15)) for _ in range(4)]
            log.quote(slot, now, (values[0], values[1]), (values[2], values[3]))
        elif what < 0.63:
            _lose(log, slot, now)
        else:
            _trade(log, chance, slot, now)
    return log


def _trade(log: Log, chance: random.Random, slot: int, now: int) -> None:
    rows = []
    for k in range(chance.choice((1, 1, 7))):
        ts = now - chance.choice((0, 0, 0, SECOND, 5 * MINUTE, 23 * 60 * MINUTE, -70 * SECOND))
        recv = chance.choice((now,) * 20 + (now - 2 * DAY,))
        price = chance.choice((1, 7, 300, 10**10, -1, 2**62))
        rows.append((k, ts, price, chance.choice((0, 1, 10**9, 2**63 - 1)), 1, recv))
    log.trades(slot, *rows, exponents=chance.choice(((-8, -8), (-8, -8), (-2, 0), (-12, -9))))


def _lose(log: Log, slot: int, now: int) -> None:
    if slot == 5:
        suspected = TradeGapSuspected(
            venue="BINANCE", symbol="X", ts_from=now, ts_to=now, ts_recv=now, reason="BAR_DIFFERS"
        )
        log.event(suspected, slot=slot)
    elif slot % 2:
        log.event(
            TradeGapDeclared(
                venue="BINANCE", symbol="X", first_id=1, last_id=2, ts_from=now, ts_to=now,
                ts_recv=now, reason="lost",
            ),
            slot=slot,
        )  # fmt: skip
    else:
        log.event(
            RecordsGivenUp(
                venue="BINANCE", product="SPOT", records=1, ts_from=now, ts_to=now, reason="slow"
            ),
            feed=slot % 4,
        )


def prices(log: Log) -> list[dict[str, Any]]:
    return of_kind(drive(PRICE, log)[1], "price")


def whole(price: dict[str, Any], name: str) -> int:
    return to_int(price[f"{name}_hi"], price[f"{name}_lo"])


def trade(ts: int, price: int, quantity: int = 1) -> tuple[int, ...]:
    return 1, ts, price, quantity, 1


# --- the oracle -----------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_prices_of_busy_days_are_the_oracles(seed: int) -> None:
    log = busy_log(seed)
    assert prices(log) == oracle_prices.prices(log)


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.floats(0.02, 0.9))
def test_any_cut_of_the_input_gives_the_same_prices_and_the_same_state(
    seed: int, often: float
) -> None:
    log = busy_log(seed, 60)
    assert_any_cut_is_the_same(PRICE, log, seed, often)


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_many_pairs_at_once_are_each_of_them_alone(seed: int) -> None:
    log = busy_log(seed)
    state, outputs = drive(PRICE, log)
    for pair in (0, 2):
        slots = [int(slot) for slot in np.flatnonzero(log.table["pair"] == pair)]
        alone_state, alone = drive(PRICE, only(log, *slots))
        assert alone == [output for output in outputs if output[2] in slots]
        assert alone_state[slots].tobytes() == state[slots].tobytes()


def test_a_replay_gives_the_same_bytes() -> None:
    log = busy_log(3, 400)
    first, second = drive(PRICE, log), drive(PRICE, log)
    assert len(first[1]) > 50
    assert first[1] == second[1]
    assert first[0].tobytes() == second[0].tobytes()


def test_busy_days_have_everything_that_the_oracle_is_asked_about() -> None:
    flags, venues, names = BarFlag.NONE, set(), set()
    for seed in range(40):
        for price in prices(busy_log(seed)):
            flags |= BarFlag(price["flags"])
            venues.add(price["venues"])
            names.add(price["best_bid_venue"])
    assert flags == BarFlag.GAP | BarFlag.PARTIAL | BarFlag.STALE
    assert venues == {0, 1, 2, 3}
    assert names == {b"", *(venue.encode() for venue in VENUES)}


@pytest.mark.parametrize("seed", range(20))
def test_the_order_in_which_venues_were_defined_does_not_matter(seed: int) -> None:
    log = busy_log(seed)
    turned = Log(log.table[::-1].copy(), [])
    for fact in log.facts:
        slot = 6 - fact.slot if fact.slot >= 0 else fact.slot
        turned.facts.append(type(fact)(**{**vars(fact), "slot": slot}))

    def by_record(made: list[dict[str, Any]]) -> list[str]:
        return sorted(map(repr, made))

    assert by_record(prices(turned)) == by_record(prices(log))


# --- one rule each --------------------------------------------------------------------------------


def test_two_venues_give_one_price_weighted_by_what_each_traded() -> None:
    log = Log(TWO)
    log.trades(0, trade(T, 100, 3), trade(T + 1, 110, 1))
    log.trades(1, trade(T + 2, 130, 2))
    log.time(T + SECOND)
    (price,) = prices(log)
    assert (whole(price, "volume"), whole(price, "quote_volume")) == (6, 100 * (300 + 110 + 260))
    assert (whole(price, "last_price_sum"), price["venues"]) == (100 * (110 + 130), 2)
    assert (price["high_price"], price["high_venue"]) == (13_000, b"BINANCE")
    assert (price["low_price"], price["low_venue"]) == (11_000, b"BINANCE_US")


def test_the_best_quotes_are_over_all_venues_and_equal_ones_go_to_the_first_name() -> None:
    log = Log(TWO)
    log.quote(0, T, (100, 5), (102, 6))
    log.quote(1, T, (100, 7), (103, 8))
    log.time(T + SECOND)
    (price,) = prices(log)
    bid = (price["best_bid"], price["best_bid_quantity"], price["best_bid_venue"])
    ask = (price["best_ask"], price["best_ask_quantity"], price["best_ask_venue"])
    assert bid == (10_000, 7, b"BINANCE")
    assert ask == (10_200, 6, b"BINANCE_US")


def test_a_price_comes_at_the_first_time_of_each_second_whether_or_not_anything_changed() -> None:
    log = Log(TWO)
    log.quote(0, T, (1, 1), (2, 1))
    for tenth in range(1, 32):
        log.time(T + tenth * SECOND // 10)
    assert [price["ts"] - T for price in prices(log)] == [
        SECOND // 10, SECOND, 2 * SECOND, 3 * SECOND,
    ]  # fmt: skip


def test_a_venue_not_heard_for_30_seconds_is_left_out_and_said_to_be() -> None:
    log = Log(TWO)
    log.trades(0, trade(T, 100))
    log.trades(1, trade(T + SECOND, 200))
    log.time(T + 30 * SECOND)
    log.time(T + 31 * SECOND)
    log.time(T + 32 * SECOND)
    first, second = prices(log)
    assert (first["venues"], first["flags"] & BarFlag.STALE) == (2, 0)
    assert (second["venues"], second["flags"] & BarFlag.STALE) == (1, BarFlag.STALE)
    assert second["low_price"] == 20_000


def test_a_fresh_quote_keeps_the_last_price_of_a_quiet_venue() -> None:
    log = Log(TWO)
    log.trades(0, trade(T, 100))
    log.quote(0, T + 50 * SECOND, (99, 1), (101, 1))
    log.time(T + 60 * SECOND)
    (price,) = prices(log)
    assert (price["venues"], price["high_price"]) == (1, 10_000)


def test_an_old_quote_is_no_best_bid_though_its_venue_trades() -> None:
    log = Log(TWO)
    log.quote(0, T, (99, 1), (101, 1))
    log.trades(0, trade(T + 40 * SECOND, 100))
    log.time(T + 40 * SECOND)
    (price,) = prices(log)
    assert (price["best_bid"], price["best_bid_venue"], price["venues"]) == (0, b"", 1)


def test_what_was_traded_leaves_the_window_minute_by_minute_after_24_hours() -> None:
    log = Log(TWO)
    log.trades(0, trade(T + 59 * SECOND, 1, 1), trade(T + MINUTE, 1, 10))
    for at in (DAY - SECOND, DAY, DAY + MINUTE):
        log.quote(0, T + at, (1, 1), (1, 1))
        log.time(T + at)
    seen = [(whole(price, "volume"), price["flags"]) for price in prices(log)]
    assert seen == [(11, BarFlag.PARTIAL), (10, 0), (0, 0)]


def test_a_late_trade_counts_within_1440_minutes_of_the_newest_and_not_before() -> None:
    newest = T + 3 * DAY
    log = Log(TWO)
    log.trades(0, trade(newest, 1, 1))
    for age in (1_439 * MINUTE, 1_439 * MINUTE + 1, 1_440 * MINUTE):
        log.trades(0, (1, newest - age, 1, 10 if age == 1_439 * MINUTE else 100, 1, newest))
    log.time(newest)
    (price,) = prices(log)
    assert whole(price, "volume") == 11


def test_a_trade_of_the_day_that_comes_late_is_counted_but_is_not_the_last_price() -> None:
    log = Log(TWO)
    log.trades(0, trade(T + 600 * MINUTE, 200), (1, T, 100, 5, 1, T + 600 * MINUTE))
    log.time(T + 600 * MINUTE)
    (price,) = prices(log)
    assert (whole(price, "volume"), price["high_price"]) == (6, 20_000)


def test_contracts_have_no_part_in_the_price_of_the_pair() -> None:
    log = Log(instruments({"product": "USDM"}, {"venue": "OKX"}))
    log.trades(0, trade(T, 100))
    log.quote(0, T, (1, 1), (2, 1))
    log.time(T + SECOND)
    assert prices(log) == []


def test_a_price_too_fine_to_be_exact_is_not_counted_and_the_pair_says_so() -> None:
    log = Log(TWO)
    log.trades(0, trade(T, 12_345), exponents=(-12, -8))
    log.trades(0, trade(T, 12_300), exponents=(-12, -8))
    log.time(T + SECOND)
    (price,) = prices(log)
    assert (price["high_price"], whole(price, "volume")) == (123, 1)
    assert price["flags"] & BarFlag.GAP


def test_sums_beyond_128_bits_are_not_counted_and_the_pair_says_so() -> None:
    log = Log(TWO)
    most = 2**63 - 1
    log.trades(0, *(trade(T, most, most) for _ in range(3)), exponents=(-10, -8))
    log.time(T + SECOND)
    (price,) = prices(log)
    assert whole(price, "quote_volume") == 2 * most * most
    assert price["flags"] & BarFlag.GAP


def test_venues_whose_sums_together_pass_128_bits_are_left_out_of_them() -> None:
    log = Log(TWO)
    most = 2**63 - 1
    for slot in (0, 1):
        log.trades(slot, *(trade(T, most, most) for _ in range(2)), exponents=(-10, -8))
    log.time(T + SECOND)
    (price,) = prices(log)
    assert (price["venues"], price["flags"] & BarFlag.GAP) == (1, BarFlag.GAP)


def test_the_step_refuses_a_kind_that_it_does_not_read() -> None:
    log = Log(TWO)
    log.status(T)
    (pieces,) = pieces_of(log, one_run)
    with pytest.raises(ValueError, match="does not read status"):
        PRICE.step(np.zeros(2, PRICE.state), run_of(pieces, log.table))
