"""A LOG written by hand, and a runtime that is only as clever as a test needs.

`Log` collects facts in order; `drive` cuts them into runs, steps a processor and returns its state
and outputs in a form that can be compared: cut anywhere, the same.
"""

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tidemill.processors.processor import Processor
from tidemill.schemas.enums import BookState, RecordFlag
from tidemill.schemas.events.event import Event
from tidemill.schemas.kinds import KINDS
from tidemill.schemas.run import FRAMES, INSTRUMENTS, Emit, Records, Run

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND
MIDNIGHT = 19_944 * DAY
"""2024-08-09, UTC, in ns."""

Levels = Sequence[tuple[int, int]]
"""Price and quantity of levels, best first."""

Output = tuple[str, int, int, int, Any]
"""Kind, at_r, slot, spec, and the record or event as plain values, None for NaN."""


def instruments(*rows: dict[str, Any]) -> Records:
    """Slots (S,), of one pair and feed unless said otherwise."""
    table = np.zeros(len(rows), INSTRUMENTS)
    defaults = {"venue": "BINANCE", "product": "SPOT", "price_exponent": -8, "multiplier": 1}
    for slot, row in enumerate(rows):
        for name, value in ({"quantity_exponent": -8, "trading": 1} | defaults | row).items():
            table[name][slot] = value
    return table


@dataclass(frozen=True)
class Fact:
    """One message of LOG: a frame of records, or an event."""

    kind: str
    records: Records
    slot: int
    feed: int
    exponents: tuple[int, int] = (-8, -8)
    event: Event | None = None


@dataclass
class Log:
    """Facts in order; the fact at index k has r = k + 1."""

    table: Records
    facts: list[Fact] = field(default_factory=list)

    def trades(
        self, slot: int, *rows: tuple[int, ...], exponents: tuple[int, int] = (-8, -8)
    ) -> None:
        """Rows (trade_id, ts_event, price, quantity, side[, ts_recv[, flags]])."""
        records = KINDS["trade"].empty(len(rows))
        for record, row in zip(records, rows, strict=True):
            trade_id, ts, price, quantity, side, *more = row
            record["trade_id"], record["ts_event"], record["price"] = trade_id, ts, price
            record["quantity"], record["aggressor_side"] = quantity, side
            record["ts_recv"] = more[0] if more else ts
            record["flags"] = more[1] if len(more) > 1 else 0
        self.add("trade", records, slot, exponents)

    def quote(self, slot: int, ts_recv: int, bid: tuple[int, int], ask: tuple[int, int]) -> None:
        record = KINDS["quote"].empty(1)
        record["ts_recv"], record["ts_event"] = ts_recv, ts_recv
        record["bid_price"], record["bid_quantity"] = bid
        record["ask_price"], record["ask_quantity"] = ask
        self.add("quote", record, slot)

    def book(
        self, slot: int, ts: int, update_id: int, *levels: tuple[int, int, int],
        snapshot: bool = False, last: bool = True, exponents: tuple[int, int] = (-8, -8),
    ) -> None:  # fmt: skip
        """Levels (side, price, quantity) of one message, or of a part of it that is not `last`."""
        records = KINDS["book"].empty(len(levels))
        records["ts_event"] = records["ts_recv"] = ts
        records["first_update_id"] = records["last_update_id"] = update_id
        records["flags"] = RecordFlag.SNAPSHOT if snapshot else RecordFlag.NONE
        for record, (side, price, quantity) in zip(records, levels, strict=True):
            record["side"], record["price"], record["quantity"] = side, price, quantity
        if last:
            records["flags"][-1] |= RecordFlag.LAST
        self.add("book", records, slot, exponents)

    def told_book(
        self, slot: int, ts: int, bids: Levels, asks: Levels, valid: bool = True,
        exponents: tuple[int, int] = (-8, -8),
    ) -> None:  # fmt: skip
        """What the book processor says of one instrument at a record: metrics, then levels."""
        r = len(self.facts) + 1
        metrics = KINDS["book_metrics"].empty(1)
        metrics["at_r"], metrics["ts_recv"] = r, ts
        metrics["state"] = BookState.VALID if valid else BookState.INVALID
        self.add("book_metrics", metrics, slot, exponents)
        sides = ((1, bids), (2, asks))
        rows = [(side, k, *level) for side, some in sides for k, level in enumerate(some)]
        rows = rows or [(0, 0, 0, 0)]
        levels = KINDS["book_level"].empty(len(rows))
        levels["at_r"] = r
        for record, row in zip(levels, rows, strict=True):
            record["side"], record["level"], record["price"], record["quantity"] = row
        if valid:
            self.add("book_level", levels, slot, exponents)

    def derivative(self, slot: int, ts: int, *rows: dict[str, int]) -> None:
        """One record a row of values; those left out are not given."""
        kind = KINDS["derivative"]
        names = [field.name for field in kind.fields]
        given = names[names.index("mark_price") : names.index("open_interest") + 1]
        records = kind.empty(len(rows))
        records["ts_event"] = records["ts_recv"] = ts
        for record, row in zip(records, rows, strict=True):
            record["fields"] = sum(1 << bit for bit, name in enumerate(given) if name in row)
            for name, value in row.items():
                record[name] = value
        self.add("derivative", records, slot)

    def add(
        self, kind: str, records: Records, slot: int, exponents: tuple[int, int] = (-8, -8)
    ) -> None:
        records.flags.writeable = False
        self.facts.append(Fact(kind, records, slot, int(self.table["feed"][slot]), exponents))

    def status(self, venue_time: int, hold: int = 0, *, feed: int = 0, slot: int = -1,
               ts_recv: int | None = None) -> None:  # fmt: skip
        """A feed's status, or, with a slot, an instrument's."""
        record = KINDS["status"].empty(1)
        record["venue_time"], record["hold"] = venue_time, hold
        record["ts_recv"] = venue_time if ts_recv is None else ts_recv
        feed = int(self.table["feed"][slot]) if slot >= 0 else feed
        self.facts.append(Fact("status", record, slot, feed))

    def time(self, ts: int) -> None:
        record = KINDS["time"].empty(1)
        record["ts"] = ts
        self.facts.append(Fact("time", record, -1, -1))

    def event(self, event: Event, *, slot: int = -1, feed: int = 0) -> None:
        feed = int(self.table["feed"][slot]) if slot >= 0 else feed
        self.facts.append(Fact("event", KINDS["time"].empty(0), slot, feed, event=event))


Feeds = Sequence[tuple[str, str]]
"""Venue and product of each row of a state whose key is the feed."""

Cut = Callable[[int], bool]
"""Whether to end a run after the k-th record of the log."""


def one_run(_: int) -> bool:
    return False


def every_record(_: int) -> bool:
    return True


def pieces_of(log: Log, cut: Cut) -> Iterator[list[tuple[int, Fact, int, int]]]:
    """Runs as lists of (r, fact, first record, end), cut by kind and by `cut`, also in frames."""
    ordinal = itertools.count()
    run: list[tuple[int, Fact, int, int]] = []
    for r, fact in enumerate(log.facts, 1):
        if run and run[-1][1].kind != fact.kind:
            yield run
            run = []
        start = 0
        for end in range(1, max(len(fact.records), 1) + 1):
            if cut(next(ordinal)):
                yield [*run, (r, fact, start, end)]
                run, start = [], end
        if start < max(len(fact.records), 1):
            run.append((r, fact, start, max(len(fact.records), 1)))
    if run:
        yield run


def run_of(pieces: list[tuple[int, Fact, int, int]], table: Records, feeds: Feeds = ()) -> Run:
    kind = pieces[0][1].kind
    frames = np.zeros(len(pieces), FRAMES)
    # A stray record before and between pieces: a step may only touch what its frames name.
    stray = np.frombuffer(b"\x7f" * 1_024, np.uint8)
    parts: list[Records] = []
    for frame, (r, fact, start, end) in zip(frames, pieces, strict=True):
        frame["r"], frame["i"], frame["slot"], frame["feed"] = r, start, fact.slot, fact.feed
        frame["price_exponent"], frame["quantity_exponent"] = fact.exponents
        if fact.event is None:
            parts.append(stray[: fact.records.itemsize].view(fact.records.dtype))
            frame["start"], frame["count"] = sum(len(part) for part in parts), end - start
            parts.append(fact.records[start:end])
    records = np.concatenate(parts) if parts else pieces[0][1].records
    records.flags.writeable = False
    events = tuple(fact.event for _, fact, _, _ in pieces if fact.event is not None)
    return Run(kind, records, frames, table, events, feeds)


def _plain(emit: Emit) -> Iterator[Output]:
    rows = emit.events if emit.events else emit.records
    assert len(emit.slots) == len(emit.specs) == len(rows)
    for index, (slot, spec) in enumerate(zip(emit.slots, emit.specs, strict=True)):
        if emit.events:
            event = emit.events[index]
            yield emit.kind, event.at_r, int(slot), int(spec), event
        else:
            record = emit.records[index]
            named = zip(record.dtype.names, record.item(), strict=True)
            values = {name: None if value != value else value for name, value in named}
            yield emit.kind, int(record["at_r"]), int(slot), int(spec), values


def _position(output: Output) -> tuple[int, int]:
    value = output[4]
    return output[1], value["at_i"] if isinstance(value, dict) else value.at_i


def drive(
    processor: Processor,
    log: Log,
    cut: Cut = one_run,
    rows: int | None = None,
    feeds: Feeds = (),
    settings: Callable[[int], tuple[Event, ...]] = lambda r: (),
) -> tuple[Records, list[Output]]:
    """Step the facts that `processor` reads from an empty state; return state and outputs, as the
    runtime orders them: by position, then as emitted. `settings(r)` are those that hold at `r`;
    a run ends where they change."""
    state = np.zeros(len(log.table) if rows is None else rows, processor.state)
    outputs: list[Output] = []
    for pieces in pieces_of(log, cut):
        if pieces[0][1].kind not in processor.reads:
            continue
        for told, under in itertools.groupby(pieces, lambda piece: settings(piece[0])):
            run = run_of([*under], log.table, feeds)._replace(settings=told)
            emits = processor.step(state, run)
            assert {emit.kind for emit in emits} <= set(processor.emits)
            outputs.extend(sorted(itertools.chain(*map(_plain, emits)), key=_position))
    return state, outputs


def assert_any_cut_is_the_same(
    processor: Processor, log: Log, seed: int, often: float, **options: Any
) -> None:
    """Cut a log at every record, and at random: outputs and state are those of the whole.

    `options` go to `drive`.
    """
    state, outputs = drive(processor, log, **options)
    chance = random.Random(seed)
    for cut in (every_record, lambda _: chance.random() < often):
        other_state, other_outputs = drive(processor, log, cut, **options)
        assert other_outputs == outputs
        assert other_state.tobytes() == state.tobytes()


def only(log: Log, *slots: int) -> Log:
    """The same log with what concerns other slots taken out; positions stay."""
    empty = Fact("nothing", KINDS["time"].empty(0), -1, -1)
    return Log(log.table, [f if f.slot < 0 or f.slot in slots else empty for f in log.facts])


def of_kind(outputs: list[Output], kind: str) -> list[Any]:
    """What was emitted of one kind, without position."""
    return [output[4] for output in outputs if output[0] == kind]
