"""Trades by the minute against the venue's own bars: equal, or said with both numbers."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tidemill.schemas.enums import RecordFlag
from tidemill.schemas.exact import from_int
from tidemill.schemas.kinds.trade import TRADE
from tidemill.schemas.kinds.venue_bar import VENUE_BAR
from tidemill.streams.feeds.audit import MINUTE_NS, MINUTES_KEPT, SETTLE_NS, Audit, Differs
from tidemill.streams.feeds.feed import Records

START = 1_000 * MINUTE_NS
Trade = tuple[int, int, bool]
"""Event time (ns), quantity, whether it is a block trade."""


def trades(rows: Sequence[Trade]) -> Records:
    records = TRADE.empty(len(rows))
    for record, (time, quantity, block) in zip(records, rows, strict=True):
        record["ts_event"] = record["ts_recv"] = time
        record["quantity"], record["price"] = quantity, 1
        record["flags"] = RecordFlag.BLOCK if block else 0
    return records


def bar(minute: int, volume: int, count: int = 0, interval_s: int = 60) -> Records:
    record = VENUE_BAR.empty(1)
    record["ts_open"], record["interval_s"] = START + minute * MINUTE_NS, interval_s
    record["ts_recv"] = START + (minute + 1) * MINUTE_NS
    hi, lo = from_int(volume)
    record["volume_hi"], record["volume_lo"] = hi, lo
    record["trade_count"] = count
    return record


def audit(heard: int = START - MINUTE_NS) -> Audit:
    """An audit of an instrument with two decimals that was heard before START."""
    made = Audit(-2)
    made.heard(heard)
    return made


def due(minute: int) -> int:
    return START + (minute + 1) * MINUTE_NS + SETTLE_NS


def test_a_minute_that_adds_up_is_not_mentioned():
    made = audit()
    made.add(trades([(START, 150, False), (START + MINUTE_NS - 1, 25, False)]))
    made.bars(bar(0, 175, 2))
    assert made.judge(due(0)) == []


def test_a_difference_is_said_with_both_volumes():
    made = audit()
    made.add(trades([(START, 150, False), (START + MINUTE_NS, 25, False)]))
    made.bars(bar(0, 175))
    assert made.judge(due(0) - 1) == [], "late trades are waited for"
    assert made.judge(due(0)) == [Differs(START, START + MINUTE_NS - 1, "1.75", "1.50")]
    assert made.judge(due(0)) == []


def test_trades_that_come_late_are_counted():
    made = audit()
    made.bars(bar(0, 175))
    made.add(trades([(START + 5, 175, False)]))
    assert made.judge(due(0)) == []


def test_a_minute_without_any_trade_of_ours_differs_from_a_bar_with_some():
    made = audit()
    made.bars(bar(0, 1))
    made.bars(bar(1, 0))
    assert [d.received for d in made.judge(due(1))] == ["0.00"]


def test_equal_volumes_with_another_number_of_trades_differ_where_it_is_told():
    made = audit()
    made.add(trades([(START, 100, False)]))
    made.bars(bar(0, 100, 2))
    assert made.judge(due(0)) == [Differs(START, START + MINUTE_NS - 1, "2 trades", "1 trades")]


def test_block_trades_may_count_or_not():
    for volume, fits in ((100, True), (130, True), (30, False)):
        made = audit()
        made.add(trades([(START, 100, False), (START + 1, 30, True)]))
        made.bars(bar(0, volume))
        assert (made.judge(due(0)) == []) is fits


def test_a_minute_that_was_not_heard_from_its_beginning_is_not_judged():
    made = audit(heard=START + 1)
    made.bars(bar(0, 100))
    made.bars(bar(1, 100))
    assert [d.ts_from for d in made.judge(due(1))] == [START + MINUTE_NS]


def test_without_a_word_of_connections_the_first_trade_begins_the_listening():
    made = Audit(-2)
    made.add(trades([(START + 30, 100, False)]))
    made.bars(bar(0, 500))
    made.bars(bar(1, 500))
    assert [d.ts_from for d in made.judge(due(1))] == [START + MINUTE_NS]


def test_bars_of_other_intervals_and_bars_that_come_twice_are_passed_over():
    made = audit()
    made.bars(bar(0, 100, interval_s=300))
    made.bars(bar(1, 100))
    made.bars(bar(1, 100))
    assert len(made.judge(due(1))) == 1
    made.bars(bar(1, 100))
    assert made.judge(due(9)) == []


def test_other_exponents_begin_the_audit_anew_with_a_whole_minute():
    made = audit()
    made.add(trades([(START, 100, False)]))
    made.rescale(-3)
    made.bars(bar(0, 1000))
    made.bars(bar(1, 5))
    made.bars(bar(2, 5))
    assert [d.ts_from for d in made.judge(due(2))] == [START + 2 * MINUTE_NS]


def test_what_is_kept_is_bounded():
    made = audit()
    for minute in range(100):
        made.add(trades([(START + minute * MINUTE_NS, 1, False)]))
        made.bars(bar(minute, 1))
    assert len(made._minutes) <= MINUTES_KEPT and len(made._bars) <= MINUTES_KEPT


ROWS = st.lists(
    st.tuples(
        st.integers(START, START + 3 * MINUTE_NS - 1), st.integers(1, 2**62), st.booleans()
    ),
    max_size=30,
)  # fmt: skip


@given(ROWS, st.lists(st.integers(0, 29), max_size=3), st.integers(1, 7))
def test_exactly_the_minutes_that_miss_a_trade_differ(
    rows: list[Trade], lost: list[int], size: int
):
    """The venue counts all trades; we heard all but `lost`, in batches of any size."""
    made = audit()
    heard = [row for at, row in enumerate(rows) if at not in lost]
    for at in range(0, len(heard), size):
        made.add(trades(heard[at : at + size]))
    expected = []
    for minute in range(3):
        begin = START + minute * MINUTE_NS
        all_of_it = [row for row in rows if begin <= row[0] < begin + MINUTE_NS]
        ours = [row for row in heard if begin <= row[0] < begin + MINUTE_NS]
        made.bars(bar(minute, sum(quantity for _, quantity, _ in all_of_it)))
        without_blocks = sum(quantity for _, quantity, block in ours if not block)
        volume = sum(quantity for _, quantity, _ in all_of_it)
        if volume not in (sum(quantity for _, quantity, _ in ours), without_blocks):
            expected.append(begin)
    assert [differs.ts_from for differs in made.judge(due(2))] == expected
