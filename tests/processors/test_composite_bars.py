"""Composites against an oracle that remembers everything, against the trades themselves, and rule
by rule."""

import subprocess
import sys
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.processors.bars import BARS
from tidemill.processors.composite_bars import COMPOSITE_BARS
from tidemill.processors.kernels.composite_state import SPECS
from tidemill.schemas.enums import BarFlag
from tidemill.schemas.errors import Unreadable
from tidemill.schemas.events.composites import CompositeDefined, CompositeRemoved
from tidemill.schemas.events.event import Event
from tidemill.schemas.exact import to_int
from tidemill.schemas.kinds import KINDS
from tidemill.tests.faults.checker import world as checked
from tidemill.tests.faults.checker.composite_bars import CompositeBars
from tidemill.tests.processors.runs import (
    DAY,
    MIDNIGHT,
    MINUTE,
    SECOND,
    Log,
    Output,
    drive,
    every_record,
    instruments,
)

SEEDS = st.integers(0, 2**32)
T = MIDNIGHT
ROWS: tuple[dict[str, Any], ...] = (
    {"venue": "A", "price_exponent": -2, "quantity_exponent": -3, "feed": 0},
    {"venue": "B", "price_exponent": -4, "quantity_exponent": -3, "feed": 1},
    {"venue": "C", "price_exponent": -2, "quantity_exponent": -5, "feed": 2},
    {"venue": "COMPOSITE", "price_exponent": -4, "quantity_exponent": -5, "feed": -1},
)
TABLE = instruments(*({**row, "symbol": "X", "product": "P"} for row in ROWS))
COMPOSITE = 3
Row = dict[str, Any]


def defined(*venues: str, **other: Any) -> CompositeDefined:
    """A composite of these venues; of every interval unless said otherwise."""
    fields = {
        "name": "x",
        "instrument": "X.COMPOSITE",
        "members": tuple(f"X.{venue}" for venue in venues),
        "bars": SPECS,
    }
    return CompositeDefined.read(fields | other)


ALL = defined("A", "B", "C")


def day(seed: int, count: int) -> tuple[Log, list[tuple[int, tuple[Event, ...]]]]:
    """Trades of three venues, late ones and silences among them, and what LOG asks for from which
    `r` on."""
    random = Random(seed)
    log, now, ids = Log(TABLE), T - 70 * SECOND, [0, 0, 0]
    silent = {random.randrange(3): random.random() < 0.5}
    asked: list[tuple[int, tuple[Event, ...]]] = [(1, (ALL,))]
    for k in range(count):
        steps = (0, SECOND // 3, SECOND, 2 * SECOND, 7 * SECOND, 61 * SECOND)
        now += random.choice((*steps[: random.randrange(2, 7)], 0))
        if random.random() < 0.02:
            now += random.choice((1_000 * SECOND, 20_000 * SECOND, DAY))
        for slot in range(3):
            what = random.random()
            late = random.choice((0, 0, 0, 0, SECOND, 3 * SECOND, 20 * SECOND, 100 * SECOND))
            if what < 0.5:
                rows = []
                for _ in range(random.randrange(1, 4)):
                    ids[slot] += 1
                    price = random.choice((1, 99, 10_001, 1 << (61 if what < 0.01 else 20)))
                    quantity = random.randrange(1, 1_000)
                    rows.append((ids[slot], now - late, price, quantity, random.randrange(3), now))
                log.trades(slot, *rows, exponents=(-8, -8))
            elif what < 0.8 and not (silent.get(slot) and k % 60 > 20):
                log.status(now, int(random.random() < 0.1), feed=slot)
            elif what < 0.85:
                log.status(now, random.randrange(2), slot=slot)
        if random.random() < 0.5:
            log.time(now)
        if random.random() < 0.02:
            others = (
                (defined("B", "A"),),
                (CompositeRemoved(name="x"),),
                (defined("C", "A", "D", bars=("1s", "1m"), hold_s=2),),
                (ALL,),
            )
            asked.append((len(log.facts) + 1, random.choice(others)))
    return log, asked


def with_bars(log: Log, asked: list[tuple[int, tuple[Event, ...]]]) -> tuple[Log, Any]:
    """The same log, each fact followed by the bars that it makes, which have its position."""
    made: dict[int, list[Output]] = {}
    plain = Log(instruments(*({**r, "price_exponent": -8, "quantity_exponent": -8} for r in ROWS)))
    plain.facts = log.facts
    for output in drive(BARS, plain)[1]:
        if output[0] == "bar":
            made.setdefault(output[1], []).append(output)
    longer, told = Log(log.table), []
    for r, fact in enumerate(log.facts, 1):
        told += [(len(longer.facts) + 1, events) for at, events in asked if at == r]
        longer.facts.append(fact)
        at_r = len(longer.facts)
        for _, _, slot, _, values in made.get(r, ()):
            record = KINDS["bar"].empty(1)
            for name, value in (values | {"at_r": at_r}).items():
                record[name] = value
            longer.add("bar", record, slot)

    def settings_at(r: int) -> tuple[Event, ...]:
        found: tuple[Event, ...] = ()
        for since, events in told:
            found = events if since <= r else found
        return found

    return longer, settings_at


def expected(
    log: Log, settings_at: Any
) -> tuple[list[tuple[int, str, Row]], list[tuple[int, int]]]:
    """(r, spec, record) of every bar that the checker makes, and (r, i) of what it refuses."""
    world = checked.World()
    for slot, row in enumerate(log.table):
        exponents = int(row["price_exponent"]), int(row["quantity_exponent"])
        one = checked.Instrument(slot, row["venue"].decode(), "X", "P", "X/Y", exponents)
        world.instruments.append(one)
        world.slots[one.venue, "X"] = slot
        world.pairs.setdefault("X/Y", []).append(slot)
    ours = CompositeBars(world)
    made: list[tuple[int, str, Row]] = []
    letters: list[checked.Letter] = []
    at = 0
    for r, fact in enumerate(log.facts, 1):
        event = settings_at(r)[0] if settings_at(r) else None
        world.composites = (
            {"ctl.composites.x": {"event": "", **event.model_dump()}}
            if isinstance(event, CompositeDefined)
            else {}
        )
        if fact.kind == "bar":
            record = fact.records[0]
            values = dict(zip(record.dtype.names or (), record.item(), strict=True))
            venue = world.instruments[fact.slot].venue
            name = ("bars", "", venue, "X", 0)
            nothing = checked.Fact(values["at_r"], "", -1, None, (0, 0), checked.NO_RECORDS, {})
            bars = [checked.Made("bar", name, values["at_r"], values["at_i"], values)]
            found, at = ours.step(nothing, bars, letters), values["at_r"]
        else:
            of = (world.instruments[fact.feed].feed) if fact.feed >= 0 else None
            told = checked.Fact(r, fact.kind, fact.slot, of, (0, 0), fact.records, {})
            found, at = ours.step(told, (), letters), r
        for one in found:
            row = {"at_r": at, "at_i": one.i, "n": 0, **one.values}
            made.append((at, one.name[1], row))
    return made, [(one.r, one.i) for one in letters]


def told(outputs: list[Output]) -> list[tuple[int, str, Row]]:
    return [(r, SPECS[k], bar) for kind, r, _, k, bar in outputs if kind == "composite_bar"]


@settings(max_examples=80, deadline=None)
@given(SEEDS)
def test_composites_of_bad_days_are_the_oracles(seed: int) -> None:
    log, settings_at = with_bars(*day(seed, 150))
    made, refused = expected(log, settings_at)
    outputs = drive(COMPOSITE_BARS, log, settings=settings_at)[1]
    assert told(outputs) == made
    letters = [(o[1], o[4].at_i) for o in outputs if o[0] == "dead_letter"]
    assert sorted(letters) == sorted(refused)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.floats(0.02, 0.9))
def test_any_cut_of_the_input_gives_the_same_bars_and_the_same_state(
    seed: int, often: float
) -> None:
    """The runtime numbers bars and dead letters each by themselves: their order is of no matter."""
    log, settings_at = with_bars(*day(seed, 80))
    state, outputs = drive(COMPOSITE_BARS, log, settings=settings_at)
    chance = Random(seed)
    for cut in (every_record, lambda _: chance.random() < often):
        other_state, others = drive(COMPOSITE_BARS, log, cut, settings=settings_at)
        for kind in COMPOSITE_BARS.emits:
            assert [o for o in others if o[0] == kind] == [o for o in outputs if o[0] == kind]
        assert other_state.tobytes() == state.tobytes()


def test_bad_days_have_everything_that_the_oracle_is_asked_about() -> None:
    """Otherwise the equalities above could hold for want of cases."""
    flags, revisions, letters = BarFlag.NONE, 0, set()
    specs, venues, missing, late = set(), set(), set(), set()
    for seed in range(60):
        log, settings_at = with_bars(*day(seed, 150))
        for kind, _, _, k, value in drive(COMPOSITE_BARS, log, settings=settings_at)[1]:
            if kind == "dead_letter":
                letters.add(value.reason.rpartition(": ")[2])
                continue
            flags |= BarFlag(value["flags"])
            revisions = max(revisions, value["revision"])
            specs.add(SPECS[k])
            venues.add(value["venues"])
            missing.add(value["missing"])
            late.add(value["late"])
    assert flags == BarFlag.GAP | BarFlag.LATE | BarFlag.PARTIAL | BarFlag.STALE
    assert specs == set(SPECS) and revisions > 2
    assert {b"A", b"A,B,C", b"B,A", b"C,A"} <= venues
    assert {b"", b"D", b"B"} <= missing and {b"", b"A", b"B"} <= late
    assert len(letters) >= 1


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_what_a_closed_bar_says_last_is_what_its_venues_trades_say(seed: int) -> None:
    """Straight from the trades of its venues, of bars of 1 s that nothing refused."""
    source, asked = day(seed, 100)
    log, settings_at = with_bars(source, asked[:1])
    newest: dict[tuple[str, int], Row] = {}
    for _, spec, bar in told(drive(COMPOSITE_BARS, log, settings=settings_at)[1]):
        newest[spec, bar["ts_open"]] = bar
    for (spec, begin), bar in newest.items():
        if spec != "1s" or bar["flags"] & BarFlag.GAP:
            continue
        rows = [
            (10 ** (ROWS[fact.slot]["price_exponent"] + 4), record, fact.slot)
            for fact in source.facts
            if fact.kind == "trade"
            and ROWS[fact.slot]["venue"].encode() in bar["venues"].split(b",")
            for record in fact.records
            if begin <= record["ts_event"] < begin + SECOND
        ]
        if not rows or any(record["ts_recv"] - begin > 60 * SECOND for _, record, _ in rows):
            continue  # `bars` may have refused it
        quantities = [
            int(record["quantity"]) * 10 ** (ROWS[slot]["quantity_exponent"] + 5)
            for _, record, slot in rows
        ]
        prices = [int(record["price"]) * up for up, record, _ in rows]
        assert bar["trade_count"] == len(rows)
        assert (bar["high"], bar["low"]) == (max(prices), min(prices))
        assert to_int(bar["volume_hi"], bar["volume_lo"]) == sum(quantities)
        products = [p * q for p, q in zip(prices, quantities, strict=True)]
        assert to_int(bar["quote_volume_hi"], bar["quote_volume_lo"]) == sum(products)


# --- one rule each --------------------------------------------------------------------------------


class Told:
    """A log of bars of members, statuses and times, and what is told of them."""

    def __init__(self, *asked: Event, table: Any = TABLE) -> None:
        self.log, self.asked = Log(table), asked or (defined("A", "B", bars=("1m",)),)
        self.log.time(T)

    def bar(
        self, slot: int, minute: int, close: int = 100, volume: int = 7, revision: int = 0
    ) -> None:
        record = KINDS["bar"].empty(1)
        record["at_r"], record["ts_open"] = len(self.log.facts) + 1, T + minute * MINUTE
        record["interval_s"], record["revision"], record["close"] = 60, revision, close
        record["open"], record["high"], record["low"] = close - 1, close + 5, close - 5
        record["volume_lo"], record["quote_volume_lo"] = volume, volume * close
        record["trade_count"] = 1
        self.log.add("bar", record, slot)

    @property
    def bars(self) -> list[Row]:
        outputs = drive(COMPOSITE_BARS, self.log, settings=lambda r: self.asked)[1]
        return [bar for _, _, bar in told(outputs)]

    @property
    def letters(self) -> list[str]:
        outputs = drive(COMPOSITE_BARS, self.log, settings=lambda r: self.asked)[1]
        return [o[4].reason for o in outputs if o[0] == "dead_letter"]


def test_a_bar_closes_with_its_last_members_bar_and_is_exact_at_the_finest_exponents() -> None:
    log = Told()
    log.bar(1, 0, close=30_000, volume=5)
    assert log.bars == []
    log.bar(0, 0, close=100, volume=7)
    (bar,) = log.bars
    assert [bar[name] for name in ("open", "high", "low", "close")] == [
        9_900,
        30_005,
        9_500,
        10_000,
    ]
    assert (bar["volume_lo"], bar["trade_count"], bar["revision"]) == (1_200, 2, 0)
    assert bar["quote_volume_lo"] == 7 * 100 * 10**4 + 5 * 30_000 * 10**2
    assert (bar["venues"], bar["missing"], bar["late"], bar["flags"]) == (b"A,B", b"", b"", 0)


def test_open_and_close_are_those_of_the_first_member_that_has_a_bar() -> None:
    log = Told(defined("B", "A", bars=("1m",)))
    log.bar(0, 0, close=100)
    log.bar(1, 0, close=30_000)
    log.bar(0, 1, close=100)
    log.bar(1, 2, close=31_000)
    first, second = log.bars
    assert (first["open"], first["close"], first["venues"]) == (29_999, 30_000, b"B,A")
    assert (second["open"], second["close"], second["venues"]) == (9_900, 10_000, b"A")


def test_a_member_without_a_trade_is_known_by_its_venues_time_and_is_not_missing() -> None:
    log = Told()
    log.bar(0, 0)
    log.log.status(T + MINUTE + SECOND, feed=1)
    assert log.bars == []
    log.log.time(T + MINUTE + SECOND)
    (bar,) = log.bars
    assert (bar["venues"], bar["missing"], bar["flags"]) == (b"A", b"", 0)


def test_a_status_with_a_hold_says_nothing() -> None:
    log = Told()
    log.bar(0, 0)
    log.log.status(T + MINUTE + SECOND, 1, feed=1)
    log.log.time(T + MINUTE + SECOND)
    assert log.bars == []
    log.log.status(T + MINUTE + SECOND, 0, feed=1)
    log.log.time(T + MINUTE + 2 * SECOND)
    assert len(log.bars) == 1


def test_a_silent_member_is_not_waited_for_and_revises_when_it_comes() -> None:
    log = Told()
    log.bar(0, 0)
    log.log.time(T + MINUTE + 5 * SECOND - 1)
    assert log.bars == []
    log.log.time(T + MINUTE + 5 * SECOND)
    (bar,) = log.bars
    assert (bar["venues"], bar["missing"], bar["flags"]) == (b"A", b"B", BarFlag.STALE)
    log.bar(1, 0, close=30_000, volume=5)
    _, revised = log.bars
    assert (revised["revision"], revised["venues"], revised["missing"]) == (1, b"A,B", b"")
    assert (revised["late"], revised["flags"]) == (b"B", BarFlag.LATE)
    assert revised["volume_lo"] == 1_200
    log.bar(1, 0, close=30_000, volume=6, revision=1)
    assert [bar["revision"] for bar in log.bars] == [0, 1, 2]
    log.bar(1, 0, close=30_000, volume=6, revision=2)
    assert len(log.bars) == 3, "nothing changed"


def test_a_bar_that_closed_empty_is_told_as_a_revision() -> None:
    log = Told()
    log.log.time(T + MINUTE + 5 * SECOND)
    assert log.bars == []
    log.bar(1, 0)
    (bar,) = log.bars
    assert (bar["revision"], bar["venues"], bar["late"], bar["missing"]) == (1, b"B", b"B", b"A")


def test_a_composite_begins_after_its_definition() -> None:
    log = Told()
    log.bar(0, -1)
    log.bar(1, -1)
    assert log.bars == []
    log.bar(0, 0)
    log.bar(1, 0)
    assert [bar["ts_open"] for bar in log.bars] == [T]


def test_what_is_of_another_pair_or_unit_is_no_member() -> None:
    for other in ({"pair": 1}, {"multiplier": 10}, {"inverse": 1}):
        rows = [*ROWS[:1], ROWS[1] | other, *ROWS[2:]]
        log = Told(table=instruments(*({**r, "symbol": "X", "product": "P"} for r in rows)))
        log.bar(0, 0)
        log.bar(1, 0)
        assert log.bars == []
        log.log.time(T + MINUTE + 5 * SECOND)
        (bar,) = log.bars
        assert (bar["venues"], bar["missing"]) == (b"A", b"B")


def test_what_the_exponents_cannot_express_is_left_out_and_says_so() -> None:
    log = Told()
    log.bar(0, 0, close=1 << 60)
    log.bar(1, 0)
    (bar,) = log.bars
    assert (bar["venues"], bar["missing"], bar["flags"]) == (b"B", b"", BarFlag.GAP)
    assert log.letters == [
        f"a member's bar 1m of {T} is not in X.COMPOSITE: the composite's exponents cannot express"
        " it, or a sum would leave 128 bits"
    ]


def test_a_bar_all_of_whose_parts_are_left_out_by_revisions_stays_and_says_so() -> None:
    log = Told()
    log.bar(0, 0, close=100)
    log.bar(1, 1)
    log.bar(0, 1)
    first, second = log.bars
    log.bar(0, 0, close=1 << 60, revision=1)
    *_, revised = log.bars
    assert (revised["revision"], revised["flags"]) == (1, BarFlag.GAP)
    same = ("ts_open", "close", "volume_lo", "quote_volume_lo", "trade_count", "venues")
    assert [revised[name] for name in same] == [first[name] for name in same]
    log.bar(0, 0, close=200, revision=2)
    *_, again = log.bars
    assert (again["revision"], again["flags"], again["close"]) == (2, 0, 20_000)
    assert second["ts_open"] == T + MINUTE and len(log.letters) == 1


def test_members_bars_do_not_wait_without_end() -> None:
    """Time stands still: so many of one member close without the other, and none is lost."""
    log = Told()
    for minute in range(30):
        log.bar(0, minute)
    assert [bar["ts_open"] for bar in log.bars] == [T + k * MINUTE for k in range(28)]
    assert {bar["missing"] for bar in log.bars} == {b"B"}
    log.bar(1, 5)
    assert log.letters == [
        f"a member's bar 1m of {T + 5 * MINUTE} is not in X.COMPOSITE: it is older than the bars"
        " kept"
    ]


def test_where_log_asks_for_none_there_are_none_and_their_kernels_are_not_loaded() -> None:
    log = Told()
    log.bar(0, 0)
    log.bar(1, 0)
    assert drive(COMPOSITE_BARS, log.log)[1] == []
    code = (
        "import sys, tidemill.processors.catalog\n"
        "assert 'tidemill.processors.kernels.composite_bars' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize(
    "wrong",
    [
        {"members": ("X.A",)},
        {"members": ("X.A", "Y.A")},
        {"members": ("X.A", "X.COMPOSITE")},
        {"members": tuple(f"X.{venue}" for venue in "ABCDEFGHI")},
        {"members": ("X.A", "*.B")},
        {"instrument": "X.BINANCE"},
        {"bars": ("3m",)},
        {"hold_s": 1},
        {"hold_s": 31},
    ],
)
def test_what_is_no_composite_is_not_read(wrong: dict[str, object]) -> None:
    with pytest.raises(Unreadable):
        defined("A", "B", **wrong)
