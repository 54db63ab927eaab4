"""Bybit's recorded books through the intake, whole and with lines lost, doubled and swapped.

The books here are the test's own: dictionaries of decimals, made from the raw messages as Bybit's
documents say. What is published is read by a reader that knows only what the kind promises.
"""

import gzip
import io
import os
import random
import zipfile
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from tidemill.schemas.enums import BookState, OrderSide, RecordFlag
from tidemill.schemas.events.feed import BookGapDetected, BookResynced
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.kinds.book import BOOK
from tidemill.streams.feeds.bybit import Bybit
from tidemill.streams.feeds.feed import Batch, Instruments
from tidemill.streams.feeds.intake import Intake
from tidemill.streams.feeds.items import Fact, Item

DATA = Path(os.environ.get("TIDEMILL_DATA", "../shared/data"))
SNAPSHOT, LAST = int(RecordFlag.SNAPSHOT), int(RecordFlag.LAST)
LINEAR = Bybit("LINEAR")
START, STEP = 1_785_000_000_000_000_000, 20_000_000
Sides = dict[int, dict[Decimal, Decimal]]


def data(name: str) -> Path:
    if not (path := DATA / name).exists():
        pytest.skip(f"no {path}: set TIDEMILL_DATA")
    return path


@cache
def archived() -> list[bytes]:
    with zipfile.ZipFile(data("bybit_v5/xrpusdt-ob500.data.zip")) as archive:
        return io.BytesIO(archive.read(archive.namelist()[0])).read().splitlines()


@cache
def recorded() -> list[bytes]:
    """Every message of a book in the capture."""
    with gzip.open(data("captures_cryptofeed/BYBIT_v5_linear_20260809.jsonl.gz")) as lines:
        heard = [orjson.loads(line) for line in lines]
    raws = [line["data"].encode() for line in heard if line["t"] == "recv"]
    return [raw for raw in raws if raw.startswith(b'{"topic":"orderbook')]


def applied(sides: Sides, message: dict[str, Any]) -> Sides:
    """Return a book after a message, as Bybit's documents say."""
    old: Sides = {} if message["type"] == "snapshot" else sides
    made = {side: dict(old.get(side, {})) for side in (1, 2)}
    for side, name in ((1, "b"), (2, "a")):
        for price, quantity in message["data"][name]:
            made[side].pop(Decimal(price), None)
            if Decimal(quantity):
                made[side][Decimal(price)] = Decimal(quantity)
    return made


@cache
def true_books(which: str) -> dict[tuple[str, int], Sides]:
    """The venue's book after each message, by symbol and update id."""
    books: dict[str, Sides] = {}
    made = {}
    for raw in archived() if which == "archived" else recorded():
        message = orjson.loads(raw)
        symbol, update = message["data"]["s"], message["data"]["u"]
        books[symbol] = applied(books.get(symbol, {}), message)
        made[symbol, update] = books[symbol]
    return made


class Reader:
    """What a reader makes of what is appended: books by our symbol, and whether they are valid."""

    def __init__(self) -> None:
        self.books: dict[str, Sides] = {}
        self.last: dict[str, int] = {}
        self.loading: dict[str, int] = {}
        self.valid: dict[str, bool] = {}
        self.gaps: list[BookGapDetected] = []
        self.resynced: list[BookResynced] = []

    def take(self, items: Sequence[Item]) -> None:
        for item in items:
            if isinstance(item, Batch) and item.kind is BOOK:
                for record in item.records:
                    self._record(item, record)
            elif isinstance(item, Fact) and isinstance(item.event, BookGapDetected):
                self.valid[item.event.symbol] = False
                self.gaps.append(item.event)
            elif isinstance(item, Fact) and isinstance(item.event, BookResynced):
                self.resynced.append(item.event)

    def _record(self, batch: Batch, record: np.void) -> None:
        symbol, flags = batch.subject.split(".")[3], int(record["flags"])
        update = int(record["last_update_id"])
        if flags & SNAPSHOT and self.loading.get(symbol) != update:
            self.books.pop(symbol, None)
            self.valid[symbol], self.loading[symbol] = False, update
        assert flags & SNAPSHOT or self.valid[symbol], "a change of a book that is not valid"
        sides = self.books.setdefault(symbol, {OrderSide.BUY: {}, OrderSide.SELL: {}})
        side = sides[int(record["side"])]
        price = Decimal(int(record["price"])).scaleb(batch.price_exponent)
        quantity = Decimal(int(record["quantity"])).scaleb(batch.quantity_exponent)
        side.pop(price, None)
        if quantity:
            side[price] = quantity
        self.last[symbol] = update
        if flags & LAST:
            self.valid[symbol] = True
            self.loading.pop(symbol, None)


def played(raws: Sequence[bytes], size: int) -> Iterator[tuple[Intake, Reader]]:
    """Yield an intake and its reader after every run of `size` messages."""
    intake, reader = Intake(LINEAR, Instruments(infer=LINEAR.infer)), Reader()
    for at in range(0, len(raws), size):
        part = raws[at : at + size]
        reader.take(intake.take([START + at * STEP] * len(part), part))
        yield intake, reader


def check(which: str, intake: Intake, reader: Reader) -> int:
    """Compare every valid book with the venue's at the same id; return how many there were."""
    valid = 0
    for symbol, track in intake.books.tracks.items():
        assert (track.state is BookState.VALID) == reader.valid.get(symbol, False)
        if track.state is BookState.VALID:
            raw = intake.instruments.by_symbol[symbol].raw
            assert track.last_id == reader.last[symbol]
            assert reader.books[symbol] == true_books(which)[raw, track.last_id]
            valid += 1
    return valid


@pytest.mark.parametrize("size", [1, 50])
def test_the_archived_book_is_valid_after_every_change(size: int):
    for intake, reader in played(archived(), size):
        assert check("archived", intake, reader) == 1
        assert not reader.gaps and not reader.resynced
    assert intake.counts["book_updates"] == 49


def test_every_recorded_book_is_valid_to_the_end():
    raws = recorded()
    for intake, reader in played(raws, 7):
        check("recorded", intake, reader)
    assert check("recorded", intake, reader) == 4 and not reader.gaps
    snapshots = sum(b'"type":"snapshot"' in raw for raw in raws)
    assert intake.counts["book_updates"] == len(raws) - snapshots


@pytest.mark.parametrize("lost", [1, 20, 49])
def test_a_lost_change_of_the_archived_book_is_one_gap_that_names_the_ids(lost: int):
    raws = archived()
    *_, (intake, reader) = played([*raws[:lost], *raws[lost + 1 :]], 1)
    before = orjson.loads(raws[lost - 1])["data"]["u"]
    if lost == len(raws) - 1:
        assert not reader.gaps
        return
    (gap,) = reader.gaps
    assert (gap.last_update_id, gap.expected_id, gap.received_id) == (before, before, before + 1)
    assert gap.reason == "GAP" and reader.last["XRPUSDT-LINEAR"] == before
    again = [raws[0].replace(b'"u":', b'"u":9')]
    reader.take(intake.take([START * 2], again))
    (resynced,) = reader.resynced
    assert reader.valid["XRPUSDT-LINEAR"]
    assert resynced.last_update_id == orjson.loads(again[0])["data"]["u"]


def test_no_mutation_of_the_recorded_books_makes_a_wrong_valid_one():
    raws = recorded()
    declared = 0
    for seed in range(12):
        chance = random.Random(seed)
        made = list(raws)
        for _ in range(chance.randint(1, 8)):
            at, other = chance.randrange(len(made)), chance.randrange(len(made))
            match chance.choice(("delete", "double", "swap")):
                case "delete":
                    del made[at]
                case "double":
                    made.insert(min(len(made), at + chance.randint(0, 20)), made[at])
                case _:
                    made[at], made[other] = made[other], made[at]
        for intake, reader in played(made, chance.choice((1, 5, 40))):
            check("recorded", intake, reader)
        declared += len(reader.gaps)
    assert declared > 12


def test_a_book_whose_numbers_change_or_whose_market_ends_is_not_valid():
    *_, (intake, reader) = played(archived(), 50)
    (instrument,) = intake.instruments.by_symbol.values()
    finer = {"price_exponent": instrument.exponents[0] - 1}
    for update in (finer, {"status": "DELISTED"}):
        intake.instruments.define(instrument.definition.model_copy(update=update))
        items = intake.take([START * 2], [archived()[0]])
        kinds = [item.kind.name if isinstance(item, Batch) else item.event for item in items]
        defined = next(at for at, kind in enumerate(kinds) if isinstance(kind, InstrumentDefined))
        gap = kinds[defined + 1]
        assert isinstance(gap, BookGapDetected) and gap.reason == "DISCONNECTED"
        assert isinstance(kinds[-1], BookResynced), "its snapshot proves it again"
        reader.take(items)
        assert check("archived", intake, reader) == 1
