"""Trades proven by their ids: whatever happens to a stream, every id is accounted for."""

import random
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.schemas.enums import RecordFlag
from tidemill.schemas.kinds.trade import TRADE
from tidemill.streams.feeds import gaps
from tidemill.streams.feeds.gaps import (
    HOLD_NS_MAX,
    HOLE_TRADES_MAX,
    Declared,
    Detected,
    Filled,
    Held,
    Step,
    TradeSequence,
    filled,
)

SECOND = 1_000_000_000


def trades(*ids: int, received: int = 0) -> Any:
    """Trades whose event time rises with their id."""
    records = TRADE.empty(len(ids))
    records["trade_id"] = ids
    records["ts_event"] = [i * 1000 for i in ids]
    records["ts_recv"] = received
    return records


def ids(steps: list[Step]) -> list[int]:
    return [int(i) for step in steps if isinstance(step, np.ndarray) for i in step["trade_id"]]


def said(steps: list[Step]) -> list[Step]:
    return [step for step in steps if not isinstance(step, np.ndarray)]


def test_contiguous_trades_pass_as_they_are():
    sequence = TradeSequence()
    first = trades(5, 6, 7)
    assert sequence.take(first, 0)[0] is first
    assert ids(sequence.take(trades(8), 0)) == [8]
    assert sequence.last == 8 and not sequence.holes


def test_trades_seen_before_vanish_and_are_counted():
    sequence = TradeSequence(7, 7000)
    assert sequence.take(trades(6, 7, 7), 0) == []
    assert sequence.duplicates == 3


def test_a_hole_is_said_and_holds_at_once_and_later_trades_wait():
    sequence = TradeSequence(7, 7000)
    steps = sequence.take(trades(8, 11, 12), 5)
    assert ids(steps) == [8]
    assert said(steps) == [Held(True), Detected(9, 10)]
    assert sequence.missing() == [(9, 10)]


def test_filled_trades_are_appended_in_id_order_before_those_that_waited():
    sequence = TradeSequence(7, 7000)
    sequence.take(trades(10, 11), 0)
    steps = sequence.take(filled(trades(8, 9)), SECOND)
    assert ids(steps) == [8, 9, 10, 11]
    flags = [int(f) for step in steps if isinstance(step, np.ndarray) for f in step["flags"]]
    assert flags == [RecordFlag.FILLED, RecordFlag.FILLED, 0, 0]
    assert said(steps) == [Filled(8, 9), Held(False)]
    assert isinstance(steps[0], np.ndarray) and list(steps[0]["trade_id"]) == [8, 9]


def test_a_hole_that_is_not_filled_is_declared_after_two_seconds_and_not_before():
    sequence = TradeSequence(7, 7000)
    sequence.take(trades(10, 11), 0)
    assert sequence.expire(HOLD_NS_MAX - 1) == []
    steps = sequence.expire(HOLD_NS_MAX)
    assert said(steps) == [Declared(8, 9, 7000, 10_000, "not filled in time"), Held(False)]
    assert ids(steps) == [10, 11]
    assert isinstance(steps[0], Declared), "the hole is declared before the trades behind it"


def test_of_a_hole_that_is_half_filled_exactly_the_other_half_is_declared():
    sequence = TradeSequence(7, 7000)
    sequence.take(trades(14), 0)
    assert ids(sequence.take(filled(trades(8, 9, 12)), 0)) == [8, 9]
    assert sequence.missing() == [(8, 11), (13, 13)] or sequence.missing() == [(10, 11), (13, 13)]
    steps = sequence.expire(HOLD_NS_MAX)
    assert [step[:2] for step in said(steps)[:-1]] == [(8, 9), (10, 11), (12, 12), (13, 13)]
    assert ids(steps) == [12, 14]


def test_a_hole_larger_than_is_fetched_is_declared_at_once():
    sequence = TradeSequence(7, 7000)
    far = 8 + HOLE_TRADES_MAX + 1
    steps = sequence.take(trades(far), 0)
    assert ids(steps) == [far]
    assert [type(step) for step in said(steps)] == [Held, Detected, Declared, Held]


def test_what_waits_is_bounded(monkeypatch):
    monkeypatch.setattr(gaps, "WAITING_TRADES_MAX", 10)
    sequence = TradeSequence(1, 1000)
    steps = sequence.take(trades(*range(3, 14)), 0)
    assert ids(steps) == list(range(3, 14))
    assert [type(step) for step in said(steps)] == [Held, Detected, Declared, Held]


def test_ids_that_begin_anew_are_declared_and_counted_from_there():
    sequence = TradeSequence(1_000_000, 5 * SECOND)
    again = trades(1, 2, 3)
    again["ts_event"] = [9 * SECOND, 9 * SECOND, 9 * SECOND]
    steps = sequence.take(again, 0)
    assert ids(steps) == [1, 2, 3]
    (declared,) = said(steps)
    assert isinstance(declared, Declared) and "began anew" in declared.reason
    assert sequence.last == 3


@st.composite
def mangled(draw: Any) -> tuple[int, list[list[int]], list[list[int]]]:
    """A contiguous stream of ids with drops, copies and swaps, and what REST answers later."""
    count = draw(st.integers(1, 60))
    rng = random.Random(draw(st.integers(0, 1 << 30)))
    stream: list[int] = []
    for i in range(1, count + 1):
        stream += [i] * rng.choice((0, 1, 1, 1, 1, 2))
    for _ in range(rng.randrange(6)):
        if len(stream) > 1:
            at = rng.randrange(len(stream) - 1)
            stream[at], stream[at + 1] = stream[at + 1], stream[at]
    runs: list[list[int]] = []
    while stream:
        size = rng.randint(1, 8)
        runs.append(stream[:size])
        stream = stream[size:]
    answers = [sorted(rng.sample(range(1, count + 1), rng.randint(0, count))) for _ in range(3)]
    return count, runs, answers


def account(steps: list[Step], start: int) -> None:
    """Every id from `start` on is appended or declared once, in order, and holds alternate."""
    at, held = start, False
    open_ids: set[int] = set()
    for step in steps:
        if isinstance(step, np.ndarray):
            for i in step["trade_id"]:
                assert int(i) == at, "ids rise by one but for declared holes"
                at += 1
        elif isinstance(step, Detected):
            assert held
            open_ids |= set(range(step.first, step.last + 1))
        elif isinstance(step, Filled):
            part = set(range(step.first, step.last + 1))
            assert part and part <= open_ids and step.last < at
            open_ids -= part
        elif isinstance(step, Declared):
            part = set(range(step.first, step.last + 1))
            assert part and part <= open_ids and step.first == at
            assert step.ts_from <= step.ts_to
            open_ids -= part
            at = step.last + 1
        else:
            assert step.hold != held
            held = step.hold
    assert not open_ids and not held


@settings(max_examples=400, deadline=None)
@given(mangled(), st.booleans())
def test_any_drop_copy_or_swap_gives_the_full_sequence_or_declared_holes(case, begun):
    _, runs, answers = case
    sequence = TradeSequence(0, 0) if begun else TradeSequence()
    steps: list[Step] = []
    now = 0
    for number, run in enumerate(runs):
        now += HOLD_NS_MAX // 5
        steps += sequence.take(trades(*run), now)
        if number % 3 == 2 and answers:
            answer = answers.pop()
            fetched = [i for first, last in sequence.missing() for i in range(first, last + 1)]
            if wanted := [i for i in answer if i in fetched]:
                steps += sequence.take(filled(trades(*wanted)), now)
        steps += sequence.expire(now)
    steps += sequence.give_up("the end")
    first = next((i for i in ids(steps)), 0)
    account(steps, 1 if begun else first)
    assert not sequence.holes
    highest = max((i for run in runs for i in run), default=None)
    assert highest is None or sequence.last == highest


@settings(max_examples=200, deadline=None)
@given(mangled())
def test_any_split_of_the_input_gives_the_same_steps(case):
    _, runs, _ = case
    whole, single = TradeSequence(0, 0), TradeSequence(0, 0)
    everything = [i for run in runs for i in run]
    at_once = whole.take(trades(*everything), 0) if everything else []
    one_by_one = [step for i in everything for step in single.take(trades(i), 0)]
    assert ids(at_once) == ids(one_by_one)
    events = [s for s in said(at_once) if not isinstance(s, Held)]
    assert events == [s for s in said(one_by_one) if not isinstance(s, Held)]
    assert whole.last == single.last and whole.missing() == single.missing()


# trades that stand for a range of ids


def ranges(*pairs: tuple[int, int]) -> tuple[Any, Any]:
    """Trades of ids `first` to `last`, and their first ids; `quantity` tells how many ids."""
    records = trades(*(last for _, last in pairs))
    records["quantity"] = [last - first + 1 for first, last in pairs]
    return records, np.array([first for first, _ in pairs], np.int64)


def take(sequence: TradeSequence, *pairs: tuple[int, int], now: int = 0) -> list[Step]:
    records, firsts = ranges(*pairs)
    return sequence.take(records, now, firsts)


def covered(steps: list[Step]) -> list[tuple[int, int]]:
    """First and last ids of what was appended."""
    rows = [row for step in steps if isinstance(step, np.ndarray) for row in step]
    return [(int(r["trade_id"]) - int(r["quantity"]) + 1, int(r["trade_id"])) for r in rows]


def test_ranges_that_follow_each_other_are_no_holes():
    sequence = TradeSequence(7, 7000)
    records, firsts = ranges((8, 10), (11, 11), (12, 15))
    assert sequence.take(records, 0, firsts)[0] is records and sequence.last == 15
    assert take(sequence, (16, 17)) and not sequence.holes


def test_before_a_range_only_what_is_before_its_first_id_is_missing():
    sequence = TradeSequence(7, 7000)
    assert said(take(sequence, (10, 14))) == [Held(True), Detected(8, 9)]
    steps = take(sequence, (8, 9))
    assert covered(steps) == [(8, 9), (10, 14)]
    assert said(steps) == [Filled(8, 9), Held(False)]


def test_a_range_of_which_a_part_came_vanishes_and_the_rest_of_it_is_fetched():
    sequence = TradeSequence(7, 7000)
    assert take(sequence, (8, 9)) and said(take(sequence, (9, 12))) == [
        Held(True),
        Detected(10, 12),
    ]
    assert sequence.duplicates == 1 and sequence.missing() == [(10, 12)]
    assert ids(sequence.take(filled(trades(10, 11, 12)), 0)) == [10, 11, 12]
    assert take(sequence, (8, 12)) == [] and sequence.duplicates == 2


def test_a_range_and_the_single_trades_of_it_are_never_both_appended():
    sequence = TradeSequence(7, 7000)
    take(sequence, (14, 16))
    take(sequence, (9, 11))
    assert sequence.missing() == [(8, 8), (12, 13)]
    assert covered(take(sequence, *((i, i) for i in range(8, 17)))) == [
        (8, 8), (9, 11), (12, 12), (13, 13), (14, 16),
    ]  # fmt: skip
    assert not sequence.holes and sequence.duplicates == 6


@st.composite
def rearranged(draw: Any) -> tuple[int, list[tuple[int, int]], random.Random]:
    """Ranges of contiguous ids, some dropped, doubled, swapped, or told otherwise cut again."""
    rng = random.Random(draw(st.integers(0, 1 << 30)))
    count = draw(st.integers(1, 80))

    def cut() -> list[tuple[int, int]]:
        at, pairs = 1, list[tuple[int, int]]()
        while at <= count:
            end = min(count, at + rng.choice((0, 0, 0, 1, 3)))
            pairs.append((at, end))
            at = end + 1
        return pairs

    stream = [p for p in cut() for _ in range(rng.choice((0, 1, 1, 1, 1, 2)))]
    stream += [pair for pair in cut() if rng.random() < 0.1]
    for _ in range(rng.randrange(8)):
        if len(stream) > 1:
            at = rng.randrange(len(stream) - 1)
            stream[at], stream[at + 1] = stream[at + 1], stream[at]
    return count, stream, rng


@settings(max_examples=400, deadline=None)
@given(rearranged())
def test_however_ranges_are_dropped_or_overlap_every_id_is_appended_or_declared_once(case):
    _, stream, rng = case
    sequence = TradeSequence(0, 0)
    steps: list[Step] = []
    now = 0
    while stream:
        size = rng.randint(1, 6)
        some, stream = stream[:size], stream[size:]
        steps += take(sequence, *some, now=now)
        now += HOLD_NS_MAX // 4
        if rng.random() < 0.5:
            missing = [i for first, last in sequence.missing() for i in range(first, last + 1)]
            if wanted := [i for i in missing if rng.random() < 0.7]:
                steps += take(sequence, *((i, i) for i in wanted), now=now)
        steps += sequence.expire(now)
    steps += sequence.give_up("the end")
    singles: list[Step] = []
    for step in steps:
        if isinstance(step, np.ndarray):
            whole = [i for first, last in covered([step]) for i in range(first, last + 1)]
            singles.append(trades(*whole))
        else:
            singles.append(step)
    account(singles, 1)
    assert not sequence.holes and not sequence._ranges
