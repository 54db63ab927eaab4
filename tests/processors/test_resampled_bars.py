"""Resampled bars against an oracle that remembers everything, against the trades themselves, and
the edges of the calendar."""

from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.processors.bars import BARS
from tidemill.processors.kernels.resampled_parts import begin_of, end_of
from tidemill.processors.kernels.resampled_state import STATE, TARGETS
from tidemill.processors.resampled_bars import RESAMPLED_BARS, SPECS
from tidemill.schemas.bar_type import BUILT_SPECS, RESAMPLED_SPECS
from tidemill.schemas.bar_type import SPECS as ALL_SPECS
from tidemill.schemas.enums import BarFlag
from tidemill.schemas.events.feed import (
    FeedConnected,
    FeedDisconnected,
    RecordsGivenUp,
    TradeGapDeclared,
    TradeGapSuspected,
)
from tidemill.schemas.exact import to_int
from tidemill.schemas.kinds import KINDS
from tidemill.tests.faults.checker.resampled_bars import InstrumentResampled, interval
from tidemill.tests.processors.oracle_logs import BadDay
from tidemill.tests.processors.runs import (
    DAY,
    MIDNIGHT,
    MINUTE,
    SECOND,
    Fact,
    Log,
    Output,
    assert_any_cut_is_the_same,
    drive,
    instruments,
    one_run,
    only,
    pieces_of,
    run_of,
)

INSTRUMENT = instruments({})
HOUR = 60 * MINUTE
T = MIDNIGHT + HOUR
SEEDS = st.integers(0, 2**32)
DAYS = ("minutes", "days")
Row = dict[str, Any]


class LongDay(BadDay):
    """A bad day whose trades are hours and days apart."""

    def __init__(self, seed: int, slots: int = 3) -> None:
        super().__init__(seed, slots)
        self.steps = (0, SECOND, 70 * SECOND, 1_000 * SECOND, 20_000 * SECOND, DAY, 4 * DAY)


def day(seed: int, length: str, slots: int = 3) -> BadDay:
    return BadDay(seed, slots) if length == "minutes" else LongDay(seed, slots)


def with_bars(log: Log) -> Log:
    """The same log, each fact followed by the bars that it makes, which have its position."""
    made: dict[int, list[Output]] = {}
    for output in drive(BARS, log)[1]:
        if output[0] == "bar":
            made.setdefault(output[1], []).append(output)
    longer = Log(log.table)
    for r, fact in enumerate(log.facts, 1):
        longer.facts.append(fact)
        at_r = len(longer.facts)
        for _, _, slot, _, values in made.get(r, ()):
            record = KINDS["bar"].empty(1)
            for name, value in (values | {"at_r": at_r}).items():
                record[name] = value
            longer.add("bar", record, slot)
    return longer


def expected(log: Log) -> tuple[list[tuple[int, str, Row]], list[tuple[int, int]]]:
    """(slot, spec, record) of every bar that the checker makes; (r, slot) of what it refuses."""
    ones = [InstrumentResampled() for _ in log.table]
    made: list[tuple[int, str, Row]] = []
    refused = []
    for r, fact in enumerate(log.facts, 1):
        slots = [fact.slot] if fact.slot >= 0 else np.flatnonzero(log.table["feed"] == fact.feed)
        at = (r, 0)
        if fact.kind == "bar":
            at = int(fact.records["at_r"][0]), int(fact.records["at_i"][0])
        for slot in map(int, slots):
            one = ones[slot]
            _tell(one, fact, at)
            for i, spec, values in one.emitted:
                made.append((slot, spec, {"at_r": at[0], "at_i": i, "n": 0, **values}))
            refused += [(at[0], slot) for _ in one.refused]
            one.emitted, one.refused = [], []
    return made, refused


def _tell(one: InstrumentResampled, fact: Fact, at: tuple[int, int]) -> None:
    match fact.kind, fact.event:
        case "bar", _:
            record = fact.records[0]
            one.part(at, dict(zip(record.dtype.names or (), record.item(), strict=True)))
        case "status", _:
            record = fact.records[0]
            values = (int(record[name]) for name in ("venue_time", "hold", "ts_recv"))
            one.status(at, *values, fact.slot < 0)
        case _, FeedConnected() | FeedDisconnected():
            one.lapse(isinstance(fact.event, FeedConnected))
        case _, TradeGapDeclared() | TradeGapSuspected() | RecordsGivenUp() as event:
            one.declared(at, event.ts_from, event.ts_to)


def bars(log: Log, spec: str = "3m") -> list[Row]:
    return [
        output[4]
        for output in drive(RESAMPLED_BARS, with_bars(log))[1]
        if output[0] == "resampled_bar" and SPECS[output[3]] == spec
    ]


def trade(trade_id: int, ts: int, price: int = 100, quantity: int = 1) -> tuple[int, ...]:
    return trade_id, ts, price, quantity, 1


def test_with_the_built_ones_they_are_all_specs() -> None:
    assert sorted((*BUILT_SPECS, *RESAMPLED_SPECS)) == sorted(ALL_SPECS)
    assert RESAMPLED_SPECS == SPECS == ("3m", "30m", "2h", "6h", "8h", "12h", "3d", "1w", "1M")


# --- oracles --------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(SEEDS, st.sampled_from(DAYS))
def test_bars_of_bad_days_are_the_oracles(seed: int, length: str) -> None:
    log = with_bars(day(seed, length).make(80))
    made, refused = expected(log)
    outputs = drive(RESAMPLED_BARS, log)[1]
    found = [(slot, SPECS[k], bar) for kind, _, slot, k, bar in outputs if kind != "dead_letter"]
    assert found == made
    letters = [(r, slot) for kind, r, slot, _, _ in outputs if kind == "dead_letter"]
    assert sorted(letters) == sorted(refused)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.sampled_from(DAYS))
def test_what_a_closed_bar_says_last_is_what_its_trades_say(seed: int, length: str) -> None:
    """Straight from the trades, but for those that its parts refused."""
    log = day(seed, length).make(80)
    refused = _refused(log)
    newest: dict[tuple[int, str, int], Row] = {}
    for kind, _, slot, k, bar in drive(RESAMPLED_BARS, with_bars(log))[1]:
        if kind == "resampled_bar":
            newest[slot, SPECS[k], bar["ts_open"]] = bar
    for (slot, spec, begin), bar in newest.items():
        end = interval(spec, begin)[1]
        rows = [
            record
            for r, fact in enumerate(log.facts, 1)
            if fact.kind == "trade" and fact.slot == slot
            for i, record in enumerate(fact.records)
            if begin <= record["ts_event"] < end and TARGETS[spec].source not in refused[r, i]
        ]
        assert bar["ts_close"] == end
        ids = [int(row["trade_id"]) for row in rows]
        assert (bar["trade_count"], bar["first_trade_id"]) == (len(rows), min(ids))
        assert bar["last_trade_id"] == max(ids)
        prices = [int(row["price"]) for row in rows]
        assert (bar["high"], bar["low"]) == (max(prices), min(prices))
        if len(set(ids)) == len(ids):
            assert bar["open"] == prices[ids.index(min(ids))]
            assert bar["close"] == prices[ids.index(max(ids))]
        for name, value in _sums(rows).items():
            assert to_int(bar[f"{name}_hi"], bar[f"{name}_lo"]) == value


def _refused(log: Log) -> dict[tuple[int, int], list[str]]:
    """The specs of `bars` that a trade is not in, by its position."""
    refused: dict[tuple[int, int], list[str]] = defaultdict(list)
    for kind, _, _, _, event in drive(BARS, log)[1]:
        if kind == "dead_letter" and event.reason.startswith("trade "):
            specs = event.reason.split(" is not in bars of ")[1].split(":")[0]
            refused[event.at_r, event.at_i] += specs.split(",")
    return refused


def _sums(rows: list[Any]) -> dict[str, int]:
    each = [(int(r["price"]), int(r["quantity"]), int(r["aggressor_side"])) for r in rows]
    return {
        "volume": sum(q for _, q, _ in each),
        "quote_volume": sum(p * q for p, q, _ in each),
        "taker_buy_volume": sum(q for _, q, side in each if side == 1),
    }


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from(DAYS), st.floats(0.02, 0.9))
def test_any_cut_of_the_input_gives_the_same_bars_and_the_same_state(
    seed: int, length: str, often: float
) -> None:
    log = with_bars(day(seed, length).make(60))
    assert_any_cut_is_the_same(RESAMPLED_BARS, log, seed, often)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.sampled_from(DAYS))
def test_many_instruments_at_once_are_each_of_them_alone(seed: int, length: str) -> None:
    log = with_bars(day(seed, length, slots=5).make(80))
    state, outputs = drive(RESAMPLED_BARS, log)
    for slot in range(5):
        alone_state, alone = drive(RESAMPLED_BARS, only(log, slot))
        assert [o for o in alone if o[2] == slot] == [o for o in outputs if o[2] == slot]
        assert alone_state[slot].tobytes() == state[slot].tobytes()


def test_bad_days_have_everything_that_the_oracles_are_asked_about() -> None:
    """Otherwise the equalities above could hold for want of cases."""
    flags, revisions, specs = BarFlag.NONE, 0, set()
    for seed in range(120):
        for length in DAYS:
            log = day(seed, length).make(80)
            for kind, _, _, k, value in drive(RESAMPLED_BARS, with_bars(log))[1]:
                if kind == "resampled_bar":
                    flags |= BarFlag(value["flags"])
                    revisions = max(revisions, value["revision"])
                    specs.add(SPECS[k])
    assert flags == BarFlag.GAP | BarFlag.LATE | BarFlag.PARTIAL | BarFlag.STALE
    assert specs == set(SPECS)
    assert revisions > 3


# --- the calendar ---------------------------------------------------------------------------------


def at(text: str) -> int:
    return int(datetime.fromisoformat(f"{text}+00:00").timestamp()) * SECOND


@pytest.mark.parametrize(
    ("spec", "ts", "begin", "end"),
    [
        ("1M", "2024-02-29T23:59:59", "2024-02-01", "2024-03-01"),
        ("1M", "2023-02-28T12:00:00", "2023-02-01", "2023-03-01"),
        ("1M", "2100-02-28T00:00:00", "2100-02-01", "2100-03-01"),
        ("1M", "2000-02-29T00:00:00", "2000-02-01", "2000-03-01"),
        ("1M", "2024-12-31T23:59:59", "2024-12-01", "2025-01-01"),
        ("1M", "2025-01-01T00:00:00", "2025-01-01", "2025-02-01"),
        ("1M", "1970-01-01T00:00:00", "1970-01-01", "1970-02-01"),
        ("1w", "2024-12-30T00:00:00", "2024-12-30", "2025-01-06"),
        ("1w", "2021-01-03T23:59:59", "2020-12-28", "2021-01-04"),
        ("1w", "2024-02-29T12:00:00", "2024-02-26", "2024-03-04"),
        ("1w", "1970-01-01T00:00:00", "1969-12-29", "1970-01-05"),
        ("3d", "1970-01-03T23:59:59", "1970-01-01", "1970-01-04"),
        ("3d", "2020-12-31T00:00:00", "2020-12-31", "2021-01-03"),
        ("3d", "2021-01-02T23:59:59", "2020-12-31", "2021-01-03"),
        ("8h", "2024-08-09T08:00:00", "2024-08-09T08:00:00", "2024-08-09T16:00:00"),
        ("30m", "2024-08-09T08:29:59", "2024-08-09T08:00:00", "2024-08-09T08:30:00"),
    ],
)
def test_the_edges_of_the_calendar(spec: str, ts: str, begin: str, end: str) -> None:
    t = SPECS.index(spec)
    assert begin_of(t, at(ts)) == at(begin)
    assert end_of(t, at(begin)) == at(end)


@settings(max_examples=400)
@given(st.integers(0, at("2260-01-01")), st.sampled_from(SPECS))
def test_the_calendar_is_pythons(ts: int, spec: str) -> None:
    t = SPECS.index(spec)
    begin = int(begin_of(t, ts))
    assert (begin, int(end_of(t, begin))) == interval(spec, ts)


def test_weeks_begin_on_monday_and_have_iso_numbers_of_their_own() -> None:
    t, begins = SPECS.index("1w"), []
    for days in range(0, 3_000, 7):
        begin = datetime.fromtimestamp(begin_of(t, at("2019-01-01") + days * DAY) // SECOND, UTC)
        assert begin.weekday() == 0
        begins.append(begin.isocalendar()[:2])
    assert len(set(begins)) == len(begins)


# --- one rule each --------------------------------------------------------------------------------


def known_from(ts: int) -> Log:
    """A log whose trades are known to be complete from a time on."""
    log = Log(INSTRUMENT)
    names = {"venue": "BINANCE", "product": "SPOT", "connection": 1, "ts_recv": ts}
    log.event(FeedConnected.model_validate(names))
    log.status(ts)
    return log


def declared(ts_from: int, ts_to: int) -> TradeGapSuspected:
    return TradeGapSuspected(
        venue="BINANCE",
        symbol="X",
        ts_from=ts_from,
        ts_to=ts_to,
        ts_recv=ts_to,
        reason="RECONNECTED",
    )


def test_a_bar_closes_with_its_last_part() -> None:
    log = known_from(T - SECOND)
    log.trades(0, trade(1, T, 100), trade(2, T + MINUTE, 300), trade(3, T + 2 * MINUTE, 50))
    log.trades(0, trade(4, T + 3 * MINUTE, 7))
    (bar,) = bars(log)
    assert (bar["ts_open"], bar["ts_close"], bar["interval_s"]) == (T, T + 3 * MINUTE, 180)
    assert [bar[name] for name in ("open", "high", "low", "close")] == [100, 300, 50, 50]
    ids = bar["first_trade_id"], bar["last_trade_id"]
    assert (bar["trade_count"], *ids, bar["revision"], bar["flags"]) == (3, 1, 3, 0, 0)


def test_where_the_last_part_has_no_trade_time_closes_it_at_the_next_status() -> None:
    log = known_from(T - SECOND)
    log.trades(0, trade(1, T))
    log.status(T + 3 * MINUTE)
    log.status(T + 3 * MINUTE + SECOND)
    assert bars(log) == []
    log.status(T + 3 * MINUTE + SECOND + 1)
    (bar,) = bars(log)
    assert (bar["ts_open"], bar["trade_count"]) == (T, 1)
    assert bar["flags"] == BarFlag.STALE  # of its part, which the first status closed


def test_a_part_that_the_same_status_closes_is_in_the_bar() -> None:
    log = known_from(T - SECOND)
    log.trades(0, trade(1, T), trade(2, T + 2 * MINUTE))
    log.status(T + 10 * MINUTE)
    log.status(T + 10 * MINUTE + SECOND // 2)
    (bar,) = bars(log)
    assert (bar["trade_count"], bar["revision"]) == (2, 0)


def test_a_hold_keeps_it_open() -> None:
    log = known_from(T - SECOND)
    log.trades(0, trade(1, T))
    log.status(T + 4 * MINUTE, 1)
    log.status(T + 5 * MINUTE, 1)
    assert bars(log) == []
    log.status(T + 5 * MINUTE)
    log.status(T + 5 * MINUTE)
    assert [bar["ts_open"] for bar in bars(log)] == [T]


def test_a_late_trade_revises_the_closed_bar() -> None:
    log = known_from(T - SECOND)
    log.trades(0, trade(1, T, 100), trade(2, T + 2 * MINUTE), trade(3, T + 3 * MINUTE))
    log.trades(0, trade(4, T + MINUTE, 900))
    first, again = bars(log)
    assert (first["revision"], first["high"], first["flags"]) == (0, 100, 0)
    assert (again["revision"], again["high"], again["trade_count"]) == (1, 900, 3)
    assert again["flags"] == BarFlag.LATE


def test_a_late_trade_for_an_interval_that_closed_empty_is_revision_1() -> None:
    log = known_from(T - SECOND)
    log.trades(0, trade(1, T + 6 * MINUTE), trade(2, T + 7 * MINUTE), trade(3, T + MINUTE))
    (bar,) = bars(log)
    assert (bar["ts_open"], bar["revision"], bar["trade_count"]) == (T, 1, 1)


def test_months_of_a_trade_a_day_are_the_calendars() -> None:
    begin = at("2023-12-31")
    log = known_from(begin - SECOND)
    log.trades(0, *(trade(k, begin + k * DAY + HOUR) for k in range(100)))
    months = [(bar["ts_open"], bar["trade_count"]) for bar in bars(log, "1M")]
    days = (("2023-12-01", 1), ("2024-01-01", 31), ("2024-02-01", 29), ("2024-03-01", 31))
    assert months == [(at(month), count) for month, count in days]
    weeks = bars(log, "1w")
    assert {bar["trade_count"] for bar in weeks[1:]} == {7}
    assert (weeks[0]["ts_open"], weeks[0]["trade_count"]) == (at("2023-12-25"), 1)


def test_a_trade_four_days_late_revises_week_and_month() -> None:
    begin = at("2024-07-01")
    log = known_from(begin - SECOND)
    log.trades(0, *(trade(k, begin + k * DAY) for k in range(1, 33)))
    log.trades(0, trade(99, at("2024-07-31T12:00:00"), 999))
    last = bars(log, "1M")[-1]
    assert (last["revision"], last["high"], last["trade_count"]) == (1, 999, 31)
    assert last["close"] == 999


def test_a_gap_where_no_part_is_marks_the_bar_whenever_it_opens() -> None:
    log = known_from(T - SECOND)
    log.event(declared(T + 61 * SECOND, T + 62 * SECOND), slot=0)
    log.trades(0, *(trade(k, T + m * MINUTE) for k, m in enumerate((2, 3, 5, 6), 1)))
    assert [bar["flags"] for bar in bars(log)] == [BarFlag.GAP, 0]


def test_a_gap_where_no_part_is_revises_the_closed_bar() -> None:
    log = known_from(T - SECOND)
    log.trades(0, trade(1, T + 2 * MINUTE), trade(2, T + 3 * MINUTE))
    log.event(declared(T + 61 * SECOND, T + 62 * SECOND), slot=0)
    assert [(bar["revision"], bar["flags"]) for bar in bars(log)] == [(0, 0), (1, BarFlag.GAP)]


def test_a_gap_that_a_part_has_is_said_once() -> None:
    log = known_from(T - SECOND)
    log.trades(0, trade(1, T), trade(2, T + 2 * MINUTE), trade(3, T + 3 * MINUTE))
    log.event(declared(T + 1, T + 2), slot=0)
    assert [(bar["revision"], bar["flags"]) for bar in bars(log)] == [(0, 0), (1, BarFlag.GAP)]


def test_a_feed_that_begins_inside_it_makes_it_partial_though_no_part_is() -> None:
    log = known_from(T + 10 * SECOND)
    log.trades(0, *(trade(k, T + m * MINUTE) for k, m in enumerate((1, 2, 3, 5, 6), 1)))
    assert [bar["flags"] for bar in bars(log)] == [BarFlag.PARTIAL, 0]
    assert [bar["flags"] for bar in bars(log, "30m")] == []


def test_a_first_trade_without_a_connection_makes_it_partial() -> None:
    log = Log(INSTRUMENT)
    log.trades(0, *(trade(k, T + m * MINUTE) for k, m in enumerate((1, 2, 3, 5, 6), 1)))
    assert [bar["flags"] for bar in bars(log)] == [BarFlag.PARTIAL, 0]


def test_time_that_closes_it_after_a_silence_makes_it_stale() -> None:
    log = known_from(T - SECOND)
    log.trades(0, trade(1, T), trade(2, T + MINUTE))
    log.status(T + 2 * MINUTE)
    log.status(T + 4 * MINUTE)
    log.status(T + 4 * MINUTE + SECOND)
    (bar,) = bars(log)
    assert bar["flags"] == BarFlag.STALE


def part(log: Log, ts_open: int, volume: int = 1, interval_s: int = 60) -> None:
    """A bar as `bars` would not make it."""
    record = KINDS["bar"].empty(1)
    record["at_r"] = len(log.facts) + 1
    record["ts_open"], record["interval_s"], record["trade_count"] = ts_open, interval_s, 1
    record["volume_hi"], record["volume_lo"] = volume >> 64, volume & (1 << 64) - 1
    log.add("bar", record, 0)


def test_a_part_older_than_those_kept_is_a_dead_letter_that_names_what_lacks_it() -> None:
    log = Log(INSTRUMENT)
    for k in range(1, 40):
        part(log, T + k * MINUTE)
    part(log, T)
    outputs = drive(RESAMPLED_BARS, log)[1]
    (letter,) = [event for kind, _, _, _, event in outputs if kind == "dead_letter"]
    assert letter.at_r == 40
    assert letter.reason == (f"bar 1m of {T} is not in bars of 3m: it is older than the bars kept")


def test_a_sum_over_128_bits_is_a_dead_letter_and_the_bar_without_it_has_a_gap() -> None:
    log = Log(INSTRUMENT)
    for k, volume in enumerate((1 << 126, 1 << 126, 5)):
        part(log, T + k * MINUTE, volume)
    outputs = drive(RESAMPLED_BARS, log)[1]
    letters = [event.reason for kind, _, _, _, event in outputs if kind == "dead_letter"]
    assert letters[0].endswith("is not in bars of 3m: a sum would leave 128 bits")
    (bar,) = [value for kind, _, _, _, value in outputs if kind == "resampled_bar"]
    assert to_int(bar["volume_hi"], bar["volume_lo"]) == 1 << 126
    assert bar["flags"] == BarFlag.GAP


def test_a_gap_older_than_the_bars_kept_is_a_dead_letter() -> None:
    log = Log(INSTRUMENT)
    for k in range(60):
        part(log, T + k * MINUTE)
    log.event(declared(T, T + 1), slot=0)
    outputs = drive(RESAMPLED_BARS, log)[1]
    (letter,) = [event for kind, _, _, _, event in outputs if kind == "dead_letter"]
    assert letter.reason.startswith("a gap is not in bars of 3m: ")


def test_bars_that_are_no_parts_change_nothing() -> None:
    log = Log(INSTRUMENT)
    for k in range(200):
        part(log, T + k * SECOND, interval_s=1)
    part(log, T, interval_s=300)
    state, outputs = drive(RESAMPLED_BARS, log)
    assert outputs == []
    assert state.tobytes() == np.zeros(1, STATE).tobytes()


def test_what_it_does_not_read_is_an_error() -> None:
    log = known_from(T)
    log.time(T)
    pieces = next(one for one in pieces_of(log, one_run) if one[0][1].kind == "time")
    with pytest.raises(ValueError, match="does not read time"):
        RESAMPLED_BARS.step(np.zeros(1, STATE), run_of(pieces, log.table))
