"""Trades that no id proves: each comes out once, and what may be missing is said."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tidemill.schemas.enums import RecordFlag
from tidemill.schemas.kinds.trade import TRADE
from tidemill.streams.feeds import session as machine
from tidemill.streams.feeds.connections import State, Turn
from tidemill.streams.feeds.coverage import SILENT_NS, Coverage
from tidemill.streams.feeds.feed import Records
from tidemill.streams.feeds.gaps import HOLD_NS_MAX, Held
from tidemill.streams.feeds.session import SessionStep, Suspected, TradeSession

MS = 1_000_000
NOW = 10_000 * MS


def trades(
    numbers: Sequence[int], filled: bool = False, received: int = NOW
) -> tuple[Records, NDArray[np.uint64]]:
    """Trade k happened at k ms; two neighbours share a sequence number."""
    records = TRADE.empty(len(numbers))
    records["ts_event"] = np.array(numbers, np.int64) * MS
    records["ts_recv"] = received
    records["trade_id"] = [1_000 + number // 2 for number in numbers]
    records["price"] = records["quantity"] = [number + 1 for number in numbers]
    records["flags"] = RecordFlag.FILLED if filled else 0
    # 64 bits without an order of their own
    return records, np.array([(n + 1) * 0x9E3779B97F4A7C15 % 2**64 for n in numbers], np.uint64)


def numbers(steps: Sequence[SessionStep]) -> list[int]:
    found: list[int] = []
    for step in steps:
        if isinstance(step, np.ndarray):
            found += (step["ts_event"] // MS).tolist()
    return found


def told(steps: Sequence[SessionStep]) -> list[SessionStep]:
    return [step for step in steps if not isinstance(step, np.ndarray)]


def lapsed(before: Sequence[int] = range(10)) -> TradeSession:
    session = TradeSession()
    session.take(*trades(before), NOW)
    session.lapsed(NOW)
    return session


def test_trades_of_two_connections_come_out_once_in_the_order_received():
    session = TradeSession()
    steps = session.take(*trades([1, 2, 3]), NOW)
    steps += session.take(*trades([2, 3, 4]), NOW)
    steps += session.take(*trades([4, 5]), NOW)
    assert numbers(steps) == [1, 2, 3, 4, 5] and session.duplicates == 3
    assert not told(steps) and not session.missing() and not session.holes


def test_what_was_missed_is_filled_from_the_newest_trades_without_a_suspicion():
    session = lapsed()
    assert session.resumed(NOW) == [Held(True)] and session.missing()
    steps = session.take(*trades([14, 15]), NOW)
    assert not numbers(steps) and session.holes, "something may be missing before them"
    steps = session.take(*trades(range(5, 16), filled=True), NOW)
    assert numbers(steps) == [10, 11, 12, 13, 14, 15]
    assert told(steps) == [Held(False)] and not session.missing() and not session.holes
    flags = {
        int(t["ts_event"]) // MS: t["flags"] for s in steps if isinstance(s, np.ndarray) for t in s
    }
    assert flags == {n: RecordFlag.FILLED if n < 14 else 0 for n in range(10, 16)}
    assert numbers(session.take(*trades([15, 16]), NOW)) == [16]


def test_an_answer_before_any_live_trade_ends_the_hold_and_must_hold_the_next_one():
    session = lapsed()
    session.resumed(NOW)
    steps = session.take(*trades(range(5, 14), filled=True), NOW)
    assert numbers(steps) == [10, 11, 12, 13] and told(steps) == [Held(False)]
    assert not session.missing(), "nothing more to ask for until something comes"
    steps = session.take(*trades([13, 14]), NOW)
    assert numbers(steps) == [14] and not told(steps), "13 was in the answer: nothing between"


def test_a_live_trade_that_no_answer_held_is_looked_for_again():
    session = lapsed()
    session.resumed(NOW)
    session.take(*trades(range(5, 13), filled=True), NOW)
    steps = session.take(*trades([14]), NOW)
    assert not numbers(steps) and told(steps) == [Held(True)] and session.missing()
    steps = session.take(*trades(range(6, 15), filled=True), NOW)
    assert numbers(steps) == [13, 14] and told(steps) == [Held(False)]


def test_an_answer_older_than_the_first_live_trade_is_not_the_last_one():
    session = lapsed()
    session.resumed(NOW)
    session.take(*trades([20]), NOW)
    steps = session.take(*trades(range(5, 12), filled=True), NOW)
    assert numbers(steps) == [10, 11] and not told(steps) and session.missing()
    steps = session.take(*trades(range(8, 21), filled=True), NOW)
    assert numbers(steps) == [*range(12, 20), 20] and told(steps) == [Held(False)]


def test_answers_that_do_not_reach_back_leave_a_suspicion():
    session = lapsed()
    session.resumed(NOW)
    session.take(*trades([25]), NOW)
    steps = session.take(*trades(range(20, 26), filled=True), NOW)
    assert told(steps) == [Suspected(9 * MS, 20 * MS), Held(False)]
    assert numbers(steps) == [20, 21, 22, 23, 24, 25]


def test_without_an_answer_in_time_what_waited_is_appended_and_suspected():
    session = lapsed()
    session.resumed(NOW)
    session.take(*trades([14, 15]), NOW)
    assert session.expire(NOW + HOLD_NS_MAX - 1) == []
    steps = session.expire(NOW + HOLD_NS_MAX)
    assert numbers(steps) == [14, 15]
    assert told(steps) == [Suspected(9 * MS, 14 * MS), Held(False)]
    late = session.take(*trades(range(5, 16), filled=True), NOW)
    assert not late, "what was declared is not filled any more"


def test_a_silent_instrument_without_an_answer_is_suspected_until_now():
    session = lapsed()
    session.resumed(NOW)
    assert told(session.expire(NOW + HOLD_NS_MAX)) == [
        Suspected(9 * MS, NOW + HOLD_NS_MAX), Held(False),
    ]  # fmt: skip


def test_another_end_while_trades_wait_is_another_suspicion():
    session = lapsed()
    session.resumed(NOW)
    session.take(*trades([14]), NOW)
    steps = session.lapsed(NOW)
    assert numbers(steps) == [14] and told(steps) == [Suspected(9 * MS, 14 * MS), Held(False)]
    session.resumed(NOW)
    steps = session.take(*trades(range(10, 17), filled=True), NOW)
    assert numbers(steps) == [15, 16]


def test_an_answer_that_reaches_back_fills_what_was_suspected_late():
    session = lapsed()
    session.resumed(NOW)
    session.take(*trades([14]), NOW)
    session.lapsed(NOW)
    session.resumed(NOW)
    steps = session.take(*trades(range(5, 17), filled=True), NOW)
    assert numbers(steps) == [10, 11, 12, 13, 15, 16]


def test_what_is_not_remembered_any_more_is_not_appended_again(monkeypatch):
    monkeypatch.setattr(machine, "IDENTITIES_KEPT", 6)
    monkeypatch.setattr(machine, "KEPT_NS", 0)
    session = lapsed()
    session.resumed(NOW)
    session.take(*trades([14, 15]), NOW)
    session.lapsed(NOW)
    session.resumed(NOW)
    steps = session.take(*trades(range(9, 17), filled=True), NOW)
    assert numbers(steps) == [10, 11, 12, 13, 16], "late, after 14 and 15"
    assert numbers(session.take(*trades([16, 17]), NOW)) == [17]
    session.lapsed(NOW)
    session.resumed(NOW)
    steps = session.take(*trades(range(11, 19), filled=True), NOW)
    assert numbers(steps) == [18], "14 and 15 were forgotten before 11 to 13"


def test_trades_before_the_connection_says_that_it_is_up_wait_too():
    session = lapsed()
    steps = session.take(*trades([12]), NOW)
    assert told(steps) == [Held(True)] and not numbers(steps)
    assert session.resumed(NOW) == []


def test_after_a_restart_newer_trades_are_filled_and_always_suspected():
    session = TradeSession(last=1_004, ts_last=9 * MS)
    assert session.resumed(NOW) == [Held(True)]
    session.take(*trades([13]), NOW)
    steps = session.take(*trades(range(5, 14), filled=True), NOW)
    assert numbers(steps) == [10, 11, 12, 13]
    assert told(steps) == [Suspected(9 * MS, 10 * MS), Held(False)]


def test_after_a_restart_of_a_silent_instrument_an_answer_suffices():
    session = TradeSession(last=1_004, ts_last=9 * MS)
    session.resumed(NOW)
    steps = session.take(*trades(range(5, 10), filled=True), NOW)
    assert told(steps) == [Suspected(9 * MS, NOW), Held(False)] and not numbers(steps)


def test_the_first_connection_of_all_suspects_nothing():
    session = TradeSession()
    assert session.resumed(NOW) == []
    assert numbers(session.take(*trades([1]), NOW)) == [1]


def test_answers_that_nobody_waits_for_are_not_appended():
    session = TradeSession()
    session.take(*trades([5]), NOW)
    assert session.take(*trades(range(3, 7), filled=True), NOW) == []


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(machine, "IDENTITIES_KEPT", 8)
    monkeypatch.setattr(machine, "KEPT_NS", 20 * MS)
    session = TradeSession()
    for number in range(100):
        session.take(*trades([number]), NOW)
    assert len(session._seen) == 20
    assert not session.take(*trades(range(85, 100)), NOW)


def test_too_many_trades_do_not_wait(monkeypatch):
    monkeypatch.setattr(machine, "WAITING_TRADES_MAX", 5)
    session = lapsed()
    session.resumed(NOW)
    steps = session.take(*trades(range(12, 22)), NOW)
    assert numbers(steps) == list(range(12, 22))
    assert told(steps) == [Suspected(9 * MS, 12 * MS), Held(False)]


# any course of events


@dataclass
class Venue:
    """Trades happen; a connection hears all of them from when it came up, and tells them a little
    later; what it has not told at its end nobody hears of it. REST knows the newest."""

    session: TradeSession
    coverage: Coverage = field(default_factory=lambda: Coverage(["public"]))
    happened: int = 0
    appended: list[int] = field(default_factory=list)
    suspected: list[Suspected] = field(default_factory=list)
    held: bool = False
    up: dict[int, int] = field(default_factory=dict)  # connection: next trade to tell

    def heed(self, steps: Sequence[SessionStep]) -> None:
        for step in steps:
            if isinstance(step, Suspected):
                self.suspected.append(step)
            elif isinstance(step, Held):
                assert step.hold != self.held
                self.held = step.hold
            else:
                self.appended += numbers([step])

    def _turn(self, connection: int, state: State, now: int) -> None:
        turned = self.coverage.take(Turn("public", connection + 1, state, "", ("A",)), now)
        if turned.lapsed:
            self.heed(self.session.lapsed(now))
        if turned.resumed:
            self.heed(self.session.resumed(now))

    def connect(self, connection: int, now: int) -> None:
        if connection not in self.up:
            self.up[connection] = self.happened
            self._turn(connection, "UP", now)

    def cut(self, connection: int, now: int) -> None:
        if self.up.pop(connection, None) is not None:
            self._turn(connection, "DOWN" if now % 2 else "CLOSED", now)

    def tell(self, connection: int, count: int, now: int) -> None:
        if (start := self.up.get(connection)) is not None:
            end = min(self.happened, start + count)
            if end > start:
                self.up[connection] = end
                self.heed(self.session.take(*trades(range(start, end), received=now), now))

    def answer(self, behind: int, limit: int, now: int) -> None:
        end = max(0, self.happened - behind)
        if (start := max(0, end - limit)) < end:
            answer = trades(range(start, end), filled=True, received=now)
            self.heed(self.session.take(*answer, now))

    def move(self, name: str, values: list[int], now: int) -> int:
        """Let something happen at `now`; return the time after it."""
        if name == "happen":
            self.happened += values[0]
        elif name == "connect":
            self.connect(values[0], now)
        elif name == "cut":
            self.cut(values[0], now)
        elif name == "tell":
            self.tell(values[0], values[1], now)
        elif name == "answer" and self.session.missing():
            self.answer(values[0], values[1], now)
        elif name == "wait":
            for connection in (0, 1):  # nothing is on its way for long
                self.tell(connection, self.happened, now)
            now += values[0] * MS
            self.heed(self.session.expire(now))
        return now


MOVES = st.one_of(
    st.tuples(st.just("happen"), st.integers(1, 12)),
    st.tuples(st.just("connect"), st.integers(0, 1)),
    st.tuples(st.just("cut"), st.integers(0, 1)),
    st.tuples(st.just("tell"), st.integers(0, 1), st.integers(1, 20)),
    st.tuples(st.just("answer"), st.integers(0, 5), st.integers(1, 40)),
    st.tuples(st.just("wait"), st.sampled_from([1, 500, 3_000, 20_000])),
)


@settings(max_examples=600, deadline=None)
@given(st.lists(MOVES, max_size=60))
def test_every_trade_comes_once_or_is_within_a_suspicion(moves: list[tuple[object, ...]]):
    venue, now = Venue(TradeSession()), NOW
    for name, *rest in moves:
        now = venue.move(str(name), [int(str(value)) for value in rest], now + MS)
    # In the end everybody is told everything, and what waits is given up.
    venue.connect(0, now)
    venue.happened += 1
    for connection in (0, 1):
        venue.tell(connection, venue.happened, now)
    venue.heed(venue.session.give_up(now))
    assert len(venue.appended) == len(set(venue.appended)), "none twice"
    assert not venue.held and not venue.session.holes
    first = min(venue.appended)
    missing = set(range(first, venue.happened)) - set(venue.appended)
    for number in missing:
        assert any(s.ts_from < number * MS < s.ts_to for s in venue.suspected), number


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.data())
def test_any_split_of_the_input_gives_the_same_output(sizes: list[int], draw: st.DataObject):
    """The trades of one run, cut anywhere, come out the same."""
    total = sum(sizes)
    order = draw.draw(st.lists(st.integers(0, total - 1), min_size=total, max_size=2 * total))
    whole, pieces = lapsed(), lapsed()
    whole.resumed(NOW)
    pieces.resumed(NOW)
    together = whole.take(*trades([20 + n for n in order]), NOW)
    one_by_one: list[SessionStep] = []
    at = 0
    for size in [*sizes, len(order)]:
        if part := order[at : at + size]:
            one_by_one += pieces.take(*trades([20 + n for n in part]), NOW)
        at += size
    for session, steps in ((whole, together), (pieces, one_by_one)):
        steps += session.take(*trades(range(5, 60), filled=True), NOW)
    assert numbers(together) == numbers(one_by_one)
    assert told(together) == told(one_by_one)


# which connections were heard since when


def turn(connection: int, state: State, socket: str = "public") -> Turn:
    return Turn(socket, connection, state, "", ("A", "B"))


def test_trades_lapse_with_the_last_connection_and_resume_with_the_next():
    coverage = Coverage(["public"])
    assert coverage.take(turn(1, "OPENING"), NOW) == ([], [])
    assert coverage.take(turn(1, "UP"), NOW) == ([], ["A", "B"])
    assert coverage.take(turn(2, "UP"), NOW) == ([], [])
    later = NOW + SILENT_NS
    assert coverage.take(turn(1, "DOWN"), later) == ([], []), "the other one heard it all"
    assert coverage.take(turn(1, "DOWN"), later) == ([], []), "said again"
    assert coverage.take(turn(2, "DOWN"), later) == (["A", "B"], [])
    assert coverage.take(turn(3, "UP"), later) == ([], ["A", "B"])


def test_one_that_came_up_just_before_may_not_have_heard_what_the_other_missed():
    coverage = Coverage(["public"])
    coverage.take(turn(1, "UP"), NOW)
    coverage.take(turn(2, "UP"), NOW + SILENT_NS)
    for state in ("DOWN", "CLOSED"):
        assert coverage.take(turn(1, state), NOW + SILENT_NS + 1) == (["A", "B"], ["A", "B"])
        coverage.take(turn(1, "UP"), NOW + SILENT_NS + 1)


def test_when_the_loop_begins_anew_every_connection_is_gone():
    coverage = Coverage(["public"])
    coverage.take(turn(1, "UP"), NOW)
    assert coverage.take(Turn("", 0, "DOWN", "the feed began", ()), NOW) == (["A", "B"], [])
    assert coverage.take(turn(1, "DOWN"), NOW) == ([], [])


def test_other_sockets_are_not_listened_to():
    assert Coverage(["public"]).take(turn(1, "UP", "business"), NOW) == ([], [])
