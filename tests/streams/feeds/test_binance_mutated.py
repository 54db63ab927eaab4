"""Captures of Binance, whole and with lines lost, doubled and swapped, through the whole replay.

What comes out is read by a reader of plain dictionaries that knows only what the kinds promise, and
compared with the exchange's book, made here from the capture itself as Binance's documents say.
"""

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest

from tidemill.schemas import events, kinds
from tidemill.schemas.enums import RecordFlag
from tidemill.schemas.events.event import Event
from tidemill.schemas.events.feed import BookGapDetected, BookResynced, TradeGapDeclared
from tidemill.streams.feeds.capture import CaptureFile, rest_message
from tidemill.streams.feeds.registry import venue_of
from tidemill.streams.feeds.replay import Counts, Replay

DATA = Path(os.environ.get("TIDEMILL_DATA", "../shared/data")) / "binance_captures_hftbacktest"
FILES = {
    "SPOT": ("spot/btcusdt_20240808.gz", "spot/btcusdt_20240809.gz"),
    "USDM": ("usdm/btcusdt_20240808.gz",),
}
DEPTH_PATHS = {"SPOT": "/api/v3/depth", "USDM": "/fapi/v1/depth"}
BUY = 1
Line = tuple[int, bytes]
Level = tuple[int, int]
"""Side and price, at an exponent of -8."""


def captures(product: str) -> list[Path]:
    paths = [DATA / name for name in FILES[product]]
    if not all(path.exists() for path in paths):
        pytest.skip(f"no captures at {DATA}: set TIDEMILL_DATA")
    return paths


@cache
def lines_of(product: str) -> list[Line]:
    return [line for path in captures(product) for line in CaptureFile(path)]


def mantissa(text: str) -> int:
    return int(Decimal(text).scaleb(8))


@dataclass
class Levels:
    """A book, its best levels, and a hash of all of it that is kept up as it changes."""

    sides: dict[Level, int] = field(default_factory=dict)
    hash: int = 0

    def put(self, side: int, price: int, quantity: int) -> None:
        level = side, price
        if (old := self.sides.pop(level, None)) is not None:
            self.hash ^= hash((level, old))
        if quantity:
            self.sides[level] = quantity
            self.hash ^= hash((level, quantity))

    def message(self, data: dict[str, Any]) -> None:
        """Apply what a change or a snapshot of Binance's says."""
        for side, names in ((BUY, ("b", "bids")), (2, ("a", "asks"))):
            for price, quantity in data.get(names[0], data.get(names[1])):
                self.put(side, mantissa(price), mantissa(quantity))

    def best(self) -> tuple[int, int, int, int]:
        bid = max(price for side, price in self.sides if side == BUY)
        ask = min(price for side, price in self.sides if side != BUY)
        return bid, self.sides[BUY, bid], ask, self.sides[2, ask]

    def snapshot(self, product: str, last: int) -> bytes:
        """The whole book as REST would answer it."""
        sides: dict[int, list[list[str]]] = {1: [], 2: []}
        for (side, price), quantity in self.sides.items():
            sides[side].append([str(Decimal(n).scaleb(-8)) for n in (price, quantity)])
        body = orjson.dumps({"lastUpdateId": last, "bids": sides[1], "asks": sides[2]})
        return rest_message(f"{DEPTH_PATHS[product]}?symbol=BTCUSDT&limit=5000", body)


def truth_of(product: str, lines: Sequence[Line]) -> tuple[dict[int, int], dict[int, bytes]]:
    """Hashes of the exchange's book by its last update id, and snapshots by line."""
    book, hashes, snapshots = Levels(), dict[int, int](), dict[int, bytes]()
    start = next(orjson.loads(raw) for _, raw in lines if raw.startswith(b'{"lastUpdateId"'))
    book.message(start)
    hashes[start["lastUpdateId"]] = book.hash
    for at, (_, raw) in enumerate(lines):
        data = orjson.loads(raw).get("data", {})
        if data.get("e") != "depthUpdate" or data["u"] < start["lastUpdateId"]:
            continue
        book.message(data)
        hashes[data["u"]] = book.hash
        if len(hashes) % 40 == 0:
            snapshots[at] = book.snapshot(product, data["u"])
    return hashes, snapshots


@dataclass
class Reader:
    """Reads what a replay appended, as the kinds say; best levels at the update ids `quoted`."""

    quoted: frozenset[int] = frozenset()
    book: Levels = field(default_factory=Levels)
    valid: bool = False
    states: list[tuple[int, int]] = field(default_factory=list)
    bests: dict[int, tuple[int, int, int, int]] = field(default_factory=dict)
    quotes: list[tuple[int, tuple[int, int, int, int]]] = field(default_factory=list)
    trades: list[int] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    _whole: int = -1

    def read(self, subject: str, payload: bytes) -> None:
        if payload.startswith(b"{"):
            event = events.decode(payload)
            self.events.append(event)
            self.valid = self.valid and not isinstance(event, BookGapDetected)
            return
        frame = kinds.decode(payload)
        if frame.kind.name == "trade":
            self.trades += frame.records["trade_id"].tolist()
        elif frame.kind.name == "quote":
            names = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
            columns = zip(*(frame.records[name].tolist() for name in names), strict=True)
            self.quotes += zip(frame.records["update_id"].tolist(), columns, strict=True)
        elif frame.kind.name == "book":
            assert (frame.price_exponent, frame.quantity_exponent) == (-8, -8)
            names = ("last_update_id", "side", "price", "quantity", "flags")
            for row in zip(*(frame.records[name].tolist() for name in names), strict=True):
                self._level(*row)

    def _level(self, last: int, side: int, price: int, quantity: int, flags: int) -> None:
        if flags & RecordFlag.SNAPSHOT:
            if self._whole != last:
                self.book, self.valid, self._whole = Levels(), False, last
        else:
            assert self.valid, "a change of a book that is not valid was appended"
        if side:
            self.book.put(side, price, quantity)
        if flags & RecordFlag.LAST:
            self.valid, self._whole = True, -1
            self.states.append((last, self.book.hash))
            if last in self.quoted:
                self.bests[last] = self.book.best()


def played(
    product: str, lines: Sequence[Line], directory: Path, quoted: frozenset[int] = frozenset()
) -> Reader:
    path = directory / "capture"
    path.write_bytes(b"".join(b"%d %b\n" % (at, raw.rstrip(b"\n")) for at, raw in lines))
    replay, reader = Replay([path], venue_of("BINANCE", product)), Reader(quoted)
    for batch in replay.batches():
        for subject, payload in batch:
            if subject.startswith("md."):
                reader.read(subject, payload)
    reader.counts = replay.counts
    return reader


def of(reader: Reader, kind: type[Event]) -> list[Any]:
    return [event for event in reader.events if isinstance(event, kind)]


def timed(lines: Sequence[Line], raws: Sequence[bytes]) -> list[Line]:
    """Other messages at the receive times of `lines`."""
    return [(lines[min(at, len(lines) - 1)][0], raw) for at, raw in enumerate(raws)]


def changes(lines: Sequence[Line]) -> list[int]:
    """Which lines are changes of the book after the snapshot."""
    start = next(at for at, (_, raw) in enumerate(lines) if raw.startswith(b'{"lastUpdateId"'))
    return [at for at in range(start + 20, len(lines)) if b'"depthUpdate"' in lines[at][1][:120]]


def ids(raw: bytes) -> tuple[int, int]:
    """First and last update id of a change."""
    data = orjson.loads(raw)["data"]
    return data["U"], data["u"]


def previous(product: str, raw: bytes) -> int:
    """The id that a change says it follows."""
    data = orjson.loads(raw)["data"]
    return int(data["U"] - 1 if product == "SPOT" else data["pu"])


@pytest.mark.parametrize("product", FILES)
def test_a_whole_capture_makes_the_exchanges_book_at_every_update(product, tmp_path):
    """As data/README.md says: it equals bookTicker on all but 2 updates of that day's sessions."""
    lines = lines_of(product)
    hashes, _ = truth_of(product, lines)
    quoted = frozenset(
        orjson.loads(raw)["data"]["u"] for _, raw in lines if b"@bookTicker" in raw[:40]
    )
    reader = played(product, lines, tmp_path, quoted)
    assert {type(event).__name__ for event in reader.events} == {"InstrumentDefined", "ClockSkew"}
    assert len(reader.states) > 6000 and all(hashes[u] == found for u, found in reader.states)
    compared = [(u, quote) for u, quote in reader.quotes if u in reader.bests]
    different = [u for u, quote in compared if reader.bests[u] != quote]
    assert len(compared) > 600 and len(different) <= 2


@pytest.mark.parametrize("product", FILES)
def test_a_lost_change_is_a_gap_that_says_what_was_expected_and_what_came(product, tmp_path):
    lines = lines_of(product)[:6000]
    lost, after = changes(lines)[50:52]
    raws = [raw for at, (_, raw) in enumerate(lines) if at != lost]
    reader = played(product, timed(lines, raws), tmp_path)
    (gap,) = of(reader, BookGapDetected)
    before = previous(product, lines[lost][1])
    assert (gap.last_update_id, gap.expected_id, gap.reason) == (before, before, "GAP")
    assert gap.received_id == previous(product, lines[after][1]) == ids(lines[lost][1])[1]
    assert reader.states[-1][0] == before, "nothing of the book is said after it"
    assert not reader.valid and not of(reader, BookResynced)


@pytest.mark.parametrize("product", FILES)
def test_a_snapshot_afterwards_makes_the_book_valid_again(product, tmp_path):
    lines = lines_of(product)[:6000]
    hashes, snapshots = truth_of(product, lines)
    lost = changes(lines)[50]
    at = next(at for at in snapshots if at > lost + 100)
    raws = [raw for _, raw in lines]
    raws = [*raws[:lost], *raws[lost + 1 : at + 1], snapshots[at], *raws[at + 1 :]]
    reader = played(product, timed(lines, raws), tmp_path)
    (gap,), (resynced,) = of(reader, BookGapDetected), of(reader, BookResynced)
    assert resynced.last_update_id == ids(lines[at][1])[1] and resynced.invalid_ns > 0
    assert gap.ts_recv + resynced.invalid_ns == resynced.ts_recv
    assert reader.valid and all(hashes[u] == found for u, found in reader.states)
    assert reader.states[-1][0] == ids(lines[changes(lines)[-1]][1])[1], "it goes on to the end"


@pytest.mark.parametrize("product", FILES)
def test_lines_that_come_twice_change_nothing(product, tmp_path):
    lines = lines_of(product)[:6000]
    contiguous = [line for line in lines if b"bookTicker" not in line[1]]
    once = played(product, contiguous, tmp_path)
    doubled = [line for line in contiguous for _ in range(1 + (b'"data"' in line[1][:80]))]
    twice = played(product, doubled, tmp_path)
    assert twice.states == once.states and twice.trades == once.trades
    assert [type(e) for e in twice.events] == [type(e) for e in once.events]
    assert twice.counts.duplicates > 500


@pytest.mark.parametrize("product", FILES)
def test_two_changes_in_the_wrong_order_are_a_gap(product, tmp_path):
    lines = lines_of(product)[:6000]
    one, two = changes(lines)[50:52]
    raws = [raw for _, raw in lines]
    raws[one], raws[two] = raws[two], raws[one]
    reader = played(product, timed(lines, raws), tmp_path)
    (gap,) = of(reader, BookGapDetected)
    assert gap.last_update_id == previous(product, lines[one][1])
    assert gap.received_id == ids(lines[one][1])[1]


def mutated(chance: random.Random, product: str, lines: Sequence[Line]) -> list[bytes]:
    """Lines lost, doubled and swapped, and snapshots now and then, some of them stale."""
    _, snapshots = truth_of(product, lines)
    raws: list[list[bytes]] = [[raw] for _, raw in lines]
    for at, snapshot in snapshots.items():
        if chance.random() < 0.3:
            raws[min(len(raws) - 1, at + chance.choice((0, 1, 5, 200)))].append(snapshot)
    start = changes(lines)[0]
    for _ in range(chance.randint(1, 60)):
        at = chance.randrange(start, len(raws) - 10)
        other = at + chance.randint(1, 8)
        action = chance.choice(("lose", "double", "swap"))
        if action == "lose":
            raws[at] = []
        elif action == "double":
            raws[other] = raws[other] + raws[at]
        else:
            raws[at], raws[other] = raws[other], raws[at]
    return [raw for each in raws for raw in each]


@pytest.mark.parametrize("product", FILES)
@pytest.mark.parametrize("seed", range(8))
def test_no_mutation_makes_a_wrong_valid_book_or_a_trade_that_is_missing_unsaid(
    product, seed, tmp_path
):
    lines = lines_of(product)[:5000]
    hashes, _ = truth_of(product, lines)
    raws = mutated(random.Random(seed), product, lines)
    reader = played(product, timed(lines, raws), tmp_path)
    assert all(hashes[u] == found for u, found in reader.states), "a valid book is wrong"
    gaps, resynced = len(of(reader, BookGapDetected)), len(of(reader, BookResynced))
    assert gaps - resynced == (0 if reader.valid else 1)
    present = {orjson.loads(raw)["data"]["t"] for raw in raws if b'"trade"' in raw[:90]}
    declared = [i for g in of(reader, TradeGapDeclared) for i in range(g.first_id, g.last_id + 1)]
    assert reader.trades == sorted(set(reader.trades)) and set(reader.trades) == present
    whole = set(range(min(present), max(present) + 1))
    assert sorted(declared) == sorted(whole - present), "exactly what is missing is declared"


def test_the_mutations_make_gaps_and_books_recover_from_them(tmp_path):
    lines = lines_of("SPOT")[:5000]
    found = [
        played("SPOT", timed(lines, mutated(random.Random(seed), "SPOT", lines)), tmp_path)
        for seed in range(8)
    ]
    assert sum(len(of(reader, BookGapDetected)) for reader in found) >= 8
    assert sum(len(of(reader, BookResynced)) for reader in found) >= 4
    assert sum(len(of(reader, TradeGapDeclared)) for reader in found) >= 8
