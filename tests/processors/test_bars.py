"""Bars against an oracle that recomputes everything, and the rules of DESIGN section 7 each."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.processors.bars import BARS
from tidemill.schemas.enums import BarFlag, RecordFlag
from tidemill.schemas.events.feed import (
    FeedConnected,
    FeedDisconnected,
    RecordsGivenUp,
    TradeGapDeclared,
    TradeGapSuspected,
)
from tidemill.schemas.exact import to_int
from tidemill.tests.processors import oracle_bars
from tidemill.tests.processors.oracle_logs import BadDay
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

INSTRUMENT = instruments({})
T = MIDNIGHT + 3_600 * SECOND
SEEDS = st.integers(0, 2**32)
REFUSED_INTERVALS = dict(zip(BARS.specs, range(7), strict=True))


def trade(trade_id: int, ts: int, price: int = 100, quantity: int = 1) -> tuple[int, ...]:
    return trade_id, ts, price, quantity, 1


def bars(log: Log, spec: str = "1s") -> list[dict[str, Any]]:
    return [
        output[4]
        for output in drive(BARS, log)[1]
        if output[0] == "bar" and BARS.specs[output[3]] == spec
    ]


def declared(first: int, last: int, ts_from: int, ts_to: int) -> TradeGapDeclared:
    return TradeGapDeclared(
        venue="BINANCE", symbol="X", first_id=first, last_id=last,
        ts_from=ts_from, ts_to=ts_to, ts_recv=ts_to, reason="not filled",
    )  # fmt: skip


# --- the oracle -----------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_bars_of_bad_days_are_the_oracles(seed: int) -> None:
    log = BadDay(seed).make(80)
    emitted, refused = oracle_bars.bars(log)
    outputs = drive(BARS, log)[1]
    assert [(slot, k, bar) for kind, _, slot, k, bar in outputs if kind == "bar"] == emitted
    letters = [(slot, event) for kind, _, slot, _, event in outputs if kind == "dead_letter"]
    assert sorted((slot, _intervals(event.reason)) for slot, event in letters) == sorted(
        (slot, tuple(intervals)) for slot, _, *intervals in refused
    )


def _intervals(reason: str) -> tuple[int, ...]:
    specs = reason.split(" is not in bars of ")[1].split(":")[0].split(",")
    return tuple(REFUSED_INTERVALS[spec] for spec in specs)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.floats(0.02, 0.9))
def test_any_cut_of_the_input_gives_the_same_bars_and_the_same_state(
    seed: int, often: float
) -> None:
    log = BadDay(seed).make(60)
    assert_any_cut_is_the_same(BARS, log, seed, often)


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_many_instruments_at_once_are_each_of_them_alone(seed: int) -> None:
    log = BadDay(seed, slots=5).make(80)
    state, outputs = drive(BARS, log)
    for slot in range(5):
        alone_state, alone = drive(BARS, only(log, slot))
        assert [o for o in alone if o[2] == slot] == [o for o in outputs if o[2] == slot]
        assert alone_state[slot].tobytes() == state[slot].tobytes()


def test_a_replay_gives_the_same_bytes() -> None:
    log = BadDay(7).make(400)
    first, second = drive(BARS, log), drive(BARS, log)
    assert len(first[1]) > 200
    assert first[1] == second[1]
    assert first[0].tobytes() == second[0].tobytes()


def test_bad_days_have_everything_that_the_oracle_is_asked_about() -> None:
    """Otherwise the equalities above could hold for want of cases."""
    flags, revisions, reasons = BarFlag.NONE, 0, set()
    for seed in range(150):
        for kind, _, _, _, value in drive(BARS, BadDay(seed).make(80))[1]:
            if kind == "bar":
                flags |= BarFlag(value["flags"])
                revisions = max(revisions, value["revision"])
            else:
                reasons.add(value.reason.rsplit(": ")[1])
    assert flags == BarFlag.GAP | BarFlag.LATE | BarFlag.PARTIAL | BarFlag.STALE
    assert revisions > 3
    assert len(reasons) >= 3


# --- one rule each --------------------------------------------------------------------------------


def test_a_bar_closes_at_the_first_contiguous_trade_past_its_end() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, trade(1, T, 100), trade(2, T + 5, 300), trade(3, T + SECOND, 200))
    (bar,) = bars(log)
    assert (bar["at_r"], bar["at_i"], bar["ts_open"]) == (1, 2, T)
    assert (bar["open"], bar["high"], bar["low"], bar["close"]) == (100, 300, 100, 300)
    assert (bar["first_trade_id"], bar["last_trade_id"], bar["trade_count"]) == (1, 2, 2)


def test_a_trade_past_the_end_behind_a_hole_closes_nothing_until_the_hole_is_filled() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, trade(1, T), trade(3, T + SECOND), trade(4, T + SECOND))
    assert bars(log) == []
    log.trades(0, trade(2, T + 9, price=7))
    (bar,) = bars(log)
    assert (bar["at_r"], bar["trade_count"], bar["close"], bar["revision"]) == (2, 2, 7, 0)


def test_a_trade_of_several_fills_stands_for_the_ids_since_the_last_one() -> None:
    """Its feed says where one is missing: OKX's aggregates have the last of their ids only."""
    log = Log(INSTRUMENT)
    aggregate = int(RecordFlag.AGGREGATE)
    log.trades(0, trade(1, T), (*trade(4, T + 9, price=7), T, aggregate), trade(5, T + SECOND))
    (bar,) = bars(log)
    assert (bar["at_r"], bar["trade_count"], bar["close"]) == (1, 2, 7)
    assert (bar["first_trade_id"], bar["last_trade_id"]) == (1, 4)


def test_a_declared_hole_closes_the_bars_that_it_held_and_they_carry_gap() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, trade(1, T), trade(4, T + SECOND))
    log.event(declared(2, 3, T, T + SECOND), slot=0)
    log.trades(0, trade(5, T + 2 * SECOND), trade(6, T + 3 * SECOND))
    closed = [(bar["ts_open"], bar["at_r"], bar["flags"] & BarFlag.GAP) for bar in bars(log)]
    assert closed == [(T, 2, 1), (T + SECOND, 3, 1), (T + 2 * SECOND, 3, 0)]


def test_a_hole_declared_before_the_trade_behind_it_marks_the_bars_that_open_later() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, trade(1, T))
    log.event(declared(2, 3, T, T + SECOND), slot=0)
    log.trades(0, trade(4, T + SECOND), trade(5, T + 2 * SECOND))
    assert [bar["flags"] & BarFlag.GAP for bar in bars(log)] == [1, 1]


def test_a_hole_in_a_closed_bar_revises_it_with_gap() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, trade(1, T))
    log.status(T + 2 * SECOND)
    log.event(declared(2, 2, T, T + 9), slot=0)
    first, second = bars(log)
    assert (first["revision"], first["flags"]) == (0, BarFlag.PARTIAL)
    assert (second["revision"], second["flags"]) == (1, BarFlag.PARTIAL | BarFlag.GAP)


def test_a_suspected_hole_marks_the_bars_it_touches_and_revises_the_closed_ones() -> None:
    log = Log(instruments({}, {}))
    for slot in range(2):
        log.trades(slot, trade(1, T), trade(2, T + SECOND))
    log.event(
        TradeGapSuspected(
            venue="BINANCE", symbol="X", ts_from=T + 1, ts_to=T + SECOND, ts_recv=T + SECOND,
            reason="RECONNECTED",
        ),
        slot=1,
    )  # fmt: skip
    log.trades(1, trade(3, T + 2 * SECOND))
    log.status(T + 4 * SECOND)
    made = [(bar["ts_open"] - T, bar["revision"], bar["flags"] & BarFlag.GAP) for bar in bars(log)]
    assert made == [
        (0, 0, 0), (0, 0, 0),  # closed by their next trades
        (0, 1, 1),
        (SECOND, 0, 1),  # of the second instrument, closed by its third trade
        (SECOND, 0, 0), (2 * SECOND, 0, 0),
    ]  # fmt: skip


def test_records_given_up_mark_the_bars_of_every_instrument_of_the_feed() -> None:
    log = Log(instruments({}, {}, {"feed": 1}))
    for slot in range(3):
        log.trades(slot, trade(1, T))
    log.event(
        RecordsGivenUp(
            venue="BINANCE", product="SPOT", records=9, ts_from=T, ts_to=T + 1, reason="slow"
        )
    )
    for feed in (0, 1):
        log.status(T + 2 * SECOND, feed=feed)
    assert [bar["flags"] & BarFlag.GAP for bar in bars(log)] == [1, 1, 0]


def test_a_bar_closes_by_the_venues_clock_one_grace_past_its_end() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, trade(1, T))
    log.status(T + 2 * SECOND - 1)
    assert bars(log) == []
    log.status(T + 2 * SECOND)
    assert [(bar["at_r"], bar["flags"]) for bar in bars(log)] == [(3, BarFlag.PARTIAL)]


@pytest.mark.parametrize("slot", [-1, 0])
def test_a_hold_keeps_bars_open_until_it_ends(slot: int) -> None:
    log = Log(INSTRUMENT)
    log.trades(0, trade(1, T))
    log.status(T + SECOND, 1, slot=slot)
    log.status(T + 9 * SECOND, 0 if slot < 0 else 1, slot=0)
    assert bars(log) == []
    log.status(T + SECOND, 0, slot=slot)
    assert [bar["at_r"] for bar in bars(log)] == [4]


def test_one_hold_does_not_end_the_other() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, trade(1, T))
    log.status(T, 1)
    log.status(T, 1, slot=0)
    log.status(T + 9 * SECOND, 0)
    assert bars(log) == []


def test_a_hold_does_not_keep_ids_from_closing_a_bar() -> None:
    log = Log(INSTRUMENT)
    log.status(T, 1)
    log.trades(0, trade(1, T), trade(2, T + SECOND))
    assert len(bars(log)) == 1


def test_a_trade_for_a_closed_bar_is_a_revision_never_dropped() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, trade(1, T, 100), trade(3, T + 5, 300))
    log.status(T + 5 * SECOND)
    log.trades(0, trade(2, T + 4, 900, 10))
    first, second = bars(log)
    assert (first["revision"], first["volume_lo"], first["flags"]) == (0, 2, BarFlag.PARTIAL)
    assert second["flags"] == BarFlag.PARTIAL | BarFlag.LATE
    assert (second["revision"], second["volume_lo"], second["high"]) == (1, 12, 900)
    assert (second["open"], second["close"]) == (100, 300), "open and close go by id"


def test_a_late_trade_for_an_interval_that_closed_empty_is_revision_one() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, trade(1, T), trade(3, T + 9 * SECOND))
    log.status(T + 20 * SECOND)
    log.trades(0, trade(2, T + 5 * SECOND))
    bar = bars(log)[-1]
    assert (bar["ts_open"], bar["revision"], bar["trade_count"]) == (T + 5 * SECOND, 1, 1)
    assert bar["flags"] == BarFlag.LATE


def test_a_trade_older_than_the_bars_kept_is_a_dead_letter_and_in_every_longer_bar() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, *(trade(k + 10, T + k * SECOND) for k in range(121)))
    log.trades(0, trade(9, T))
    (letter,) = of_kind(drive(BARS, log)[1], "dead_letter")
    assert (letter.at_r, letter.at_i, letter.processor) == (2, 0, "bars")
    assert letter.reason.startswith("trade 9 is not in bars of 1s:")
    log.status(T + DAY + SECOND)
    assert bars(log, "5m")[-1]["trade_count"] == 122


def test_a_bar_that_must_go_while_a_hold_keeps_it_open_closes_with_gap() -> None:
    log = Log(INSTRUMENT)
    log.status(T, 1)
    log.trades(0, *(trade(2 * k, T + k * SECOND) for k in range(1, 122)))
    (bar,) = bars(log)
    assert (bar["ts_open"], bar["flags"]) == (T + SECOND, BarFlag.PARTIAL | BarFlag.GAP)


def test_a_sum_that_would_leave_128_bits_refuses_the_trade_and_marks_the_bars() -> None:
    most = 2**63 - 1
    log = Log(INSTRUMENT)
    rows = [(k, T + k, most, most, 1) for k in range(1, 4)]
    log.trades(0, *rows, trade(4, T + SECOND))
    outputs = drive(BARS, log)[1]
    (letter,) = of_kind(outputs, "dead_letter")
    assert (letter.at_i, "128 bits" in letter.reason) == (2, True)
    bar = bars(log)[0]
    assert to_int(bar["quote_volume_hi"], bar["quote_volume_lo"]) == 2 * most * most
    assert (bar["trade_count"], bar["flags"]) == (2, BarFlag.PARTIAL | BarFlag.GAP)


def test_an_event_time_far_ahead_or_a_negative_quantity_closes_nothing() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, trade(1, T), (2, T + 300 * DAY, 1, 1, 1, T), trade(3, T, 1, -1))
    outputs = drive(BARS, log)[1]
    assert [output[0] for output in outputs] == ["dead_letter", "dead_letter"]
    log.trades(0, trade(4, T + SECOND))
    assert bars(log)[0]["trade_count"] == 1


def test_bars_are_partial_until_the_feed_is_known_to_cover_their_whole_interval() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, trade(1, T + 5), trade(2, T + SECOND), trade(3, T + 2 * SECOND))
    assert [bar["flags"] for bar in bars(log)] == [BarFlag.PARTIAL, 0]
    log.status(T + 300 * SECOND)
    assert [bar["flags"] for bar in bars(log, "1m")] == [BarFlag.PARTIAL]


def connected(ts: int) -> FeedConnected:
    return FeedConnected(venue="BINANCE", product="SPOT", connection=1, ts_recv=ts)


def disconnected(ts: int) -> FeedDisconnected:
    return FeedDisconnected(
        venue="BINANCE", product="SPOT", connection=1, ts_recv=ts, reason="reset"
    )


def test_a_first_trade_long_after_the_feed_connected_makes_no_partial_bar() -> None:
    log = Log(INSTRUMENT)
    log.event(connected(T))
    log.status(T + 10)
    log.trades(0, trade(1, T + 5 * MINUTE))
    log.status(T + DAY + SECOND)
    flags = [bars(log, spec)[0]["flags"] & BarFlag.PARTIAL for spec in BARS.specs]
    assert flags == [0, 0, 0, 4, 4, 4, 4]


def test_a_reconnect_without_a_missing_id_leaves_no_mark() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, trade(1, T - SECOND), trade(2, T))
    log.event(disconnected(T + 1))
    log.event(connected(T + 2))
    log.trades(0, trade(3, T + 3), trade(4, T + SECOND))
    assert [bar["flags"] for bar in bars(log)] == [BarFlag.PARTIAL, 0]


def test_a_reconnect_after_which_ids_do_not_follow_makes_both_ends_partial() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, trade(1, T - SECOND), trade(2, T))
    log.status(T + 2 * SECOND)
    log.event(disconnected(T + 1))
    log.event(connected(T + 2))
    log.trades(0, trade(9, T + 5 * SECOND))
    log.status(T + 7 * SECOND)
    seen = [(b["ts_open"] - T, b["revision"], b["flags"] & BarFlag.PARTIAL) for b in bars(log)[1:]]
    assert seen == [(0, 0, 0), (0, 1, 4), (5 * SECOND, 0, 4)]


def test_a_bar_closed_by_a_status_after_a_silence_is_stale() -> None:
    log = Log(INSTRUMENT)
    log.status(T)
    log.trades(0, trade(1, T))
    log.status(T + 6 * SECOND)
    assert [bar["flags"] & BarFlag.STALE for bar in bars(log)] == [8]


def test_all_intervals_close_at_utc_midnight_at_one_record_shortest_first() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, trade(1, MIDNIGHT - 1), trade(2, MIDNIGHT))
    outputs = drive(BARS, log)[1]
    assert [BARS.specs[output[3]] for output in outputs] == list(BARS.specs)
    assert {(bar["at_r"], bar["at_i"]) for bar in of_kind(outputs, "bar")} == {(1, 1)}
    assert outputs[-1][4]["ts_open"] == MIDNIGHT - DAY


def test_a_status_closes_the_bars_of_its_own_feed_only_in_order_of_slots() -> None:
    log = Log(instruments({}, {"feed": 1}, {}))
    for slot in (2, 1, 0):
        log.trades(slot, trade(1, T))
    log.status(T + 2 * SECOND)
    assert [output[2] for output in drive(BARS, log)[1]] == [0, 2]


def test_ids_that_never_follow_each_other_close_by_time_alone() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, *(trade(7 * k, T + k * SECOND // 2) for k in range(1, 8)))
    assert bars(log) == []
    log.status(T + 10 * SECOND)
    assert [bar["trade_count"] for bar in bars(log)] == [1, 2, 2, 2]


def test_frames_with_other_exponents_than_their_instrument_are_dead_letters() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, trade(1, T), exponents=(-8, -8))
    log.trades(0, trade(2, T), exponents=(-2, -8))
    assert BARS.check is not None
    (pieces,) = pieces_of(log, one_run)
    assert BARS.check(run_of(pieces, log.table)).tolist() == [False, True]


def test_the_step_refuses_a_kind_that_it_does_not_read() -> None:
    log = Log(INSTRUMENT)
    log.time(T)
    (pieces,) = pieces_of(log, one_run)
    with pytest.raises(ValueError, match="does not read time"):
        BARS.step(np.zeros(1, BARS.state), run_of(pieces, log.table))
