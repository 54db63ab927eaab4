"""Books against an oracle, and the rules one by one."""

import random
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.processors.book import BOOK
from tidemill.processors.kernels.book_state import LEVELS_MAX
from tidemill.schemas.enums import BookFlag, BookState, Signal, SpreadQuality
from tidemill.schemas.events.event import Event
from tidemill.schemas.events.feed import (
    BookGapDetected,
    BookResynced,
    ChecksumMismatch,
    FeedConnected,
    RecordsGivenUp,
    TradeGapDeclared,
)
from tidemill.schemas.exact import to_int
from tidemill.tests.processors import oracle_books
from tidemill.tests.processors.runs import (
    MIDNIGHT,
    SECOND,
    Log,
    drive,
    every_record,
    instruments,
    of_kind,
    one_run,
    only,
    pieces_of,
    run_of,
)

SEEDS = st.integers(0, 2**32)
T = MIDNIGHT
BID, ASK = 1, 2
STEPS_NS = (0, 10**6, 10**8, 4 * 10**8, SECOND, 6 * SECOND)
ONE = instruments({})


class BusyBooks:
    """Snapshots, changes, gaps and silences of three instruments of two feeds."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.log = Log(instruments({"feed": 0}, {"feed": 1, "pair": 1}, {"feed": 0, "pair": 2}))
        self.now = T + self.chance.randrange(10**10)
        self.steps = self.chance.choice((STEPS_NS[:4], STEPS_NS[:5], STEPS_NS))
        self.middle = [self.chance.choice((500, 10**6, 10**12)) for _ in range(3)]
        self.nearest = [self.chance.choice((2_800, 700, 300, 10**13)) for _ in range(3)]
        self.ids = [10, 20, 30]

    def make(self, facts: int) -> Log:
        for _ in range(facts):
            self.now += self.chance.choice(self.steps)
            slot = self.chance.randrange(3)
            what = self.chance.choices(
                (self.change, self.snapshot, self.time, self.status, self.event),
                (10, 2, 6, 3, 0.7),
            )[0]
            what(slot)
        return self.log

    def level(self, slot: int, zero: float) -> tuple[int, int, int]:
        side = self.chance.choice((BID, ASK))
        middle = self.middle[slot]
        aways = (0, 1, 2, 3, 7, middle // 200, middle // 90, middle // 15)
        away = self.chance.choice(aways) + middle // self.nearest[slot]
        wrong = self.chance.random() < 0.02
        price = middle + (away + 1) * (1 if (side == ASK) != wrong else -1)
        if self.chance.random() < zero:
            return side, price, 0
        if self.chance.random() < 0.004:
            return self.chance.choice(((0, price, 5), (side, price, -1)))
        return side, price, self.chance.choice((1, 2, 3, 40, 10**9, 2**62))

    def change(self, slot: int) -> None:
        self.ids[slot] += 1
        levels = [self.level(slot, 0.4) for _ in range(self.chance.choice((1, 2, 9, 130)))]
        self.log.book(slot, self.now, self.ids[slot], *levels, exponents=self.exponents(0.002))

    def exponents(self, other: float) -> tuple[int, int]:
        return (-2, -8) if self.chance.random() < other else (-8, -8)

    def snapshot(self, slot: int) -> None:
        self.ids[slot] += self.chance.choice((1, 5))
        if self.chance.random() < 0.1:
            self.log.book(slot, self.now, self.ids[slot], (0, 0, 0), snapshot=True)
            return
        levels = [self.level(slot, 0) for _ in range(self.chance.choice((1, 4, 30, 60)))]
        cut = self.chance.randrange(len(levels))
        exponents = self.exponents(0.02)
        if cut:
            self.log.book(
                slot, self.now, self.ids[slot], *levels[:cut], snapshot=True, last=False,
                exponents=exponents,
            )  # fmt: skip
            if self.chance.random() < 0.1:
                return  # never comes whole
            if self.chance.random() < 0.2:
                self.log.time(self.now + SECOND)
        self.log.book(
            slot, self.now, self.ids[slot], *levels[cut:], snapshot=True, exponents=exponents
        )

    def time(self, _: int) -> None:
        self.log.time(self.now)

    def status(self, slot: int) -> None:
        self.log.status(self.now, feed=slot % 2, slot=self.chance.choice((-1, -1, slot)))

    def event(self, slot: int) -> None:
        what = self.chance.randrange(5)
        if what < 2:
            self.log.event(gap(self.now), slot=slot)
        elif what == 2:
            self.log.event(resynced(self.now), slot=slot)
        else:
            self.log.event((given_up, connected)[what - 3](self.now), feed=slot)


def gap(ts: int) -> Event:
    return BookGapDetected(
        venue="V", symbol="S", last_update_id=1, expected_id=1, received_id=3, ts_recv=ts,
        reason="GAP",
    )  # fmt: skip


def resynced(ts: int) -> Event:
    return BookResynced(
        venue="V", symbol="S", last_update_id=9, invalid_ns=5, attempts=1, ts_recv=ts
    )


def given_up(ts: int) -> Event:
    return RecordsGivenUp(venue="V", product="P", records=1, ts_from=ts, ts_to=ts, reason="slow")


def connected(ts: int) -> Event:
    return FeedConnected(venue="V", product="P", connection=1, ts_recv=ts)


def told(log: Log, kind: str = "book_metrics") -> list[dict[str, Any]]:
    return of_kind(drive(BOOK, log)[1], kind)


def states(log: Log) -> list[BookState]:
    return [BookState(one["state"]) for one in told(log)]


def whole(record: dict[str, Any], name: str) -> int:
    return to_int(record[f"{name}_hi"], record[f"{name}_lo"])


def valid(*levels: tuple[int, int, int]) -> Log:
    """A log with one whole snapshot of these levels."""
    log = Log(ONE)
    log.book(0, T, 7, *levels, snapshot=True)
    return log


# --- the oracle -----------------------------------------------------------------------------------


@settings(max_examples=120, deadline=None)
@given(SEEDS)
def test_books_of_busy_days_are_the_oracles(seed: int) -> None:
    log = BusyBooks(seed).make(120)
    found = oracle_books.as_told(drive(BOOK, log)[1])
    wanted = oracle_books.without_zeros(oracle_books.books(log))
    for kind in BOOK.emits:
        assert [one for one in found if one[0] == kind] == [x for x in wanted if x[0] == kind]


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.floats(0.02, 0.9))
def test_any_cut_of_the_input_gives_the_same_books_and_the_same_state(
    seed: int, often: float
) -> None:
    log = BusyBooks(seed).make(50)
    state, outputs = drive(BOOK, log)
    chance = random.Random(seed)
    for cut in (every_record, lambda _: chance.random() < often):
        other_state, other_outputs = drive(BOOK, log, cut)
        for kind in BOOK.emits:
            assert of_kind(other_outputs, kind) == of_kind(outputs, kind)
        assert other_state.tobytes() == state.tobytes()


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_many_books_at_once_are_each_of_them_alone(seed: int) -> None:
    log = BusyBooks(seed).make(80)
    state, outputs = drive(BOOK, log)
    for slot in range(3):
        alone_state, alone = drive(BOOK, only(log, slot))
        mine = [output for output in outputs if output[2] == slot]
        assert [output for output in alone if output[2] == slot] == mine
        assert alone_state[slot].tobytes() == state[slot].tobytes()


def test_busy_days_have_everything_that_the_oracle_is_asked_about() -> None:
    seen: dict[str, set[int]] = {}
    for seed in range(60):
        for kind, _, row in oracle_books.books(BusyBooks(seed).make(120)):
            seen.setdefault(kind, set())
            for name in ("state", "signal", "spread_quality", "flags"):
                seen.setdefault(name, set()).add(row.get(name, 0))
    assert seen["state"] == set(BookState) and seen["signal"] == set(Signal)
    assert seen["spread_quality"] == set(SpreadQuality)
    assert {BookFlag.CROSSED, BookFlag.STALE} <= seen["flags"]
    assert {"book_metrics", "book_level", "book_snapshot"} <= seen.keys()


# --- one rule each --------------------------------------------------------------------------------


def test_a_book_says_what_one_works_out_by_hand() -> None:
    log = valid(
        (BID, 99_900, 10), (BID, 99_000, 20), (BID, 98_999, 5), (BID, 90_000, 9),
        (ASK, 100_100, 5), (ASK, 101_000, 5), (ASK, 105_000, 300), (ASK, 105_001, 7),
    )  # fmt: skip
    log.time(T + SECOND)
    book = told(log)[-1]
    assert (book["bid_price"], book["ask_price"], book["spread"]) == (99_900, 100_100, 200)
    assert book["spread_ratio"] == 2_000_000  # 0.2 %
    assert whole(book, "bid_depth_1") == 99_900 * 10 + 99_000 * 20
    assert whole(book, "ask_depth_1") == 100_100 * 5 + 101_000 * 5
    assert whole(book, "bid_depth_5") == whole(book, "bid_depth_1") + 98_999 * 5
    assert whole(book, "ask_depth_5") == whole(book, "ask_depth_1") + 105_000 * 300
    assert (whole(book, "bid_volume_1"), whole(book, "ask_volume_1")) == (30, 10)
    assert (book["imbalance"], book["liquidity_score"]) == (500_000_000, 50)
    # 345 in 6 levels are 57.5 on average; only the 300 is over 287.5
    assert (book["bid_walls"], book["ask_walls"], book["ask_wall_quantity"]) == (0, 1, 300)
    assert (book["ask_wall_price"], book["bid_levels"], book["ask_levels"]) == (105_000, 4, 4)
    assert book["spread_quality"] == SpreadQuality.FAIR
    assert (book["signal"], book["confidence"]) == (Signal.BUY, 750_000_000)


def test_a_book_is_told_once_a_second_and_only_if_it_changed() -> None:
    log = valid((BID, 100, 1), (ASK, 101, 1))
    for tenth in range(1, 26):
        log.time(T + tenth * SECOND // 10)
    log.book(0, T + 3 * SECOND, 8, (BID, 100, 2))
    log.time(T + 3 * SECOND)
    log.book(0, T + 3 * SECOND, 9, (BID, 100, 3))
    log.time(T + 3 * SECOND + 1)
    log.time(T + 4 * SECOND)
    assert [(one["ts"] - T, one["last_update_id"]) for one in told(log)] == [
        (0, 7), (SECOND // 10, 7), (3 * SECOND, 8), (4 * SECOND, 9),
    ]  # fmt: skip


def test_changes_without_a_whole_snapshot_make_no_book() -> None:
    log = Log(ONE)
    log.book(0, T, 6, (BID, 100, 1))
    log.book(0, T, 7, (BID, 100, 1), snapshot=True, last=False)
    log.time(T + SECOND)
    log.book(0, T, 8, (ASK, 101, 1))
    log.time(T + 2 * SECOND)
    assert BookState.VALID not in states(log)
    assert told(log, "book_level") == told(log, "book_snapshot") == []


def test_a_book_is_invalid_from_an_event_on_until_the_next_snapshot() -> None:
    log = valid((BID, 100, 1), (ASK, 101, 1))
    log.event(gap(T + 1), slot=0)
    log.book(0, T + 2, 8, (BID, 100, 5))
    log.time(T + SECOND)
    log.book(0, T + SECOND, 20, (BID, 50, 1), (ASK, 51, 1), snapshot=True)
    log.time(T + 2 * SECOND)
    made = told(log)
    assert [one["state"] for one in made] == [
        BookState.VALID, BookState.INVALID, BookState.INVALID, BookState.VALID, BookState.VALID,
    ]  # fmt: skip
    assert (made[1]["at_r"], made[1]["ts"]) == (2, T + 1)
    assert made[2]["bid_price"] == made[2]["bid_levels"] == 0
    assert made[3]["bid_price"] == 50
    assert {row["price"] for row in told(log, "book_level")} == {50, 51}


def test_what_was_given_up_says_nothing_of_books_their_feed_says_it_of_each() -> None:
    log = valid((BID, 100, 1), (ASK, 101, 1))
    log.event(given_up(T))
    assert states(log) == [BookState.VALID]


def test_a_wrong_checksum_ends_a_book_and_a_hole_in_trades_does_not() -> None:
    log = valid((BID, 100, 1), (ASK, 101, 1))
    log.event(
        TradeGapDeclared(
            venue="V", symbol="S", first_id=1, last_id=2, ts_from=T, ts_to=T, ts_recv=T, reason=""
        ),
        slot=0,
    )
    log.event(connected(T))
    assert states(log) == [BookState.VALID]
    log.event(
        ChecksumMismatch(
            venue="V", symbol="S", last_update_id=7, expected=1, computed=2, ts_recv=T
        ),
        slot=0,
    )
    assert states(log) == [BookState.VALID, BookState.INVALID]


def test_a_second_snapshot_replaces_and_never_merges() -> None:
    log = valid((BID, 100, 1), (ASK, 101, 1))
    log.book(0, T, 9, (BID, 90, 2), snapshot=True, last=False)
    log.book(0, T, 9, (ASK, 91, 2), snapshot=True)
    log.time(T + SECOND)
    assert [(row["price"], row["quantity"]) for row in told(log, "book_level")] == [
        (90, 2), (91, 2),
    ]  # fmt: skip


def test_a_message_is_told_whole_or_not_at_all() -> None:
    log = valid((BID, 100, 1), (ASK, 101, 1))
    log.time(T + SECOND)
    log.book(0, T, 8, (BID, 100, 0), last=False)
    log.time(T + 2 * SECOND)
    log.book(0, T, 8, (BID, 99, 4))
    log.time(T + 2 * SECOND + 1)
    assert [one["bid_price"] for one in told(log)] == [100, 100, 99]


def test_a_crossed_book_is_invalid_while_it_is_crossed() -> None:
    log = valid((BID, 100, 1), (ASK, 101, 1))
    log.book(0, T, 8, (BID, 101, 1))
    log.time(T + SECOND)
    log.book(0, T + SECOND, 9, (BID, 101, 0))
    made = told(log)
    assert [(one["state"], one["flags"]) for one in made] == [
        (BookState.VALID, 0),
        (BookState.INVALID, BookFlag.CROSSED),
        (BookState.INVALID, BookFlag.CROSSED),
        (BookState.VALID, 0),
    ]
    assert told(log, "book_level") == []


def test_the_book_of_a_silent_feed_is_stale_until_its_next_message() -> None:
    log = valid((BID, 100, 1), (ASK, 101, 1))
    log.status(T)
    log.time(T + 5 * SECOND)
    log.time(T + 5 * SECOND + 1)
    log.time(T + 9 * SECOND)
    log.status(T + 9 * SECOND)
    log.time(T + 10 * SECOND)
    log.book(0, T + 10 * SECOND, 8, (BID, 99, 1))
    log.time(T + 11 * SECOND)
    assert [(one["ts"] - T, one["state"], one["flags"]) for one in told(log)] == [
        (0, BookState.VALID, 0),
        (5 * SECOND, BookState.VALID, 0),
        (5 * SECOND + 1, BookState.INVALID, BookFlag.STALE),
        (10 * SECOND, BookState.VALID, 0),
        (11 * SECOND, BookState.VALID, 0),
    ]


def test_an_empty_book_is_valid_and_says_that_it_is_empty() -> None:
    log = valid((0, 0, 0))
    log.time(T + SECOND)
    assert states(log) == [BookState.VALID] * 2
    (row,) = told(log, "book_snapshot")
    assert (row["side"], row["price"], row["quantity"], row["last_update_id"]) == (0, 0, 0, 7)
    assert len(told(log, "book_level")) == 1
    assert told(log)[1]["confidence"] == 300_000_000


def test_the_twenty_best_of_a_side_are_told_best_first() -> None:
    levels = [(BID, 1_000 - k, k + 1) for k in range(30)] + [(ASK, 2_000 + k, 5) for k in range(3)]
    random.Random(1).shuffle(levels)
    log = valid(*levels)
    log.time(T + SECOND)
    rows = told(log, "book_level")
    assert [(row["side"], row["level"], row["price"]) for row in rows] == [
        *((BID, k, 1_000 - k) for k in range(20)), *((ASK, k, 2_000 + k) for k in range(3)),
    ]  # fmt: skip


def test_a_whole_book_is_told_at_most_as_often_as_it_was_read() -> None:
    log = valid(*((BID, 1 + k, 1) for k in range(300)), (ASK, 1_000, 1))
    for update in range(1_000):
        log.book(0, T, 8 + update, (BID, 300, 2 + update), (ASK, 1_000, 2))
    rows = told(log, "book_snapshot")
    at = sorted({row["at_r"] for row in rows})
    assert at == [1, 152, 303, 454, 605, 756, 907]  # after 302 changes each: more than 301 levels
    assert len(rows) == 301 * len(at)


def test_the_past_is_the_newest_whole_book_with_the_changes_after_it() -> None:
    log = BusyBooks(11).make(300)
    rows = [output for output in drive(BOOK, log)[1] if output[0] == "book_snapshot"]
    assert len({row[1] for row in rows}) > 10
    for at_r, slot in {(row[1], row[2]) for row in rows}:
        books = {slot: oracle_books.Book() for slot in range(3)}
        for r, fact in enumerate(log.facts[:at_r], 1):
            if fact.kind == "book" and fact.slot == slot:
                for index, record in enumerate(fact.records):
                    books[slot].take(record, fact.exponents, (-8, -8))
                    mine = [x[4] for x in rows if x[1:3] == (r, slot) and x[4]["at_i"] == index]
                    held = {(x["side"], x["price"]): x["quantity"] for x in mine if x["side"]}
                    if mine:
                        sides = books[slot].levels
                        assert held == {(s, p): q for s in (1, 2) for p, q in sides[s].items()}


def test_more_levels_than_are_kept_lose_the_worst_and_say_so() -> None:
    log = Log(ONE)
    some = LEVELS_MAX + 5
    log.book(
        0, T, 7, (ASK, 10**6, 1), *((BID, 1 + k, 1) for k in range(some)), snapshot=True
    )  # fmt: skip
    log.book(0, T, 8, (BID, 2, 1), (BID, some, 0))
    log.time(T + SECOND)
    book = told(log)[-1]
    assert (book["flags"], book["bid_levels"]) == (BookFlag.TRUNCATED, LEVELS_MAX - 1)
    full = [row for row in told(log, "book_snapshot") if row["side"] == BID]
    assert (full[0]["price"], full[-1]["price"]) == (some, 6)
    log.book(0, T, 9, (BID, 5, 1), (ASK, 10**6, 1), snapshot=True)
    log.time(T + 2 * SECOND)
    assert told(log)[-1]["flags"] == 0


def test_levels_in_other_exponents_than_the_definitions_are_no_book() -> None:
    log = valid((BID, 100, 1), (ASK, 101, 1))
    log.book(0, T, 8, (BID, 99, 1), exponents=(-2, -8))
    assert states(log) == [BookState.VALID, BookState.INVALID]
    changed = valid((BID, 100, 1), (ASK, 101, 1))
    changed.time(T + 1)
    state, _ = drive(BOOK, changed)
    table = instruments({"price_exponent": -2})
    run_later = Log(table)
    run_later.time(T + SECOND)
    (pieces,) = pieces_of(run_later, one_run)
    (emit,) = BOOK.step(state, run_of(pieces, table))
    assert emit.records["state"].tolist() == [BookState.INVALID]


def test_sums_beyond_128_bits_are_not_told_as_numbers() -> None:
    most = 2**63 - 1
    log = valid(*((BID, most - 2 - k, most) for k in range(5)), (ASK, most, most))
    book = told(log)[0]
    assert book["flags"] == BookFlag.OVERFLOW and book["state"] == BookState.VALID
    assert whole(book, "bid_depth_1") == whole(book, "bid_volume_1") == book["imbalance"] == 0
    assert np.array_equal(book["confidence"], 300_000_000)
