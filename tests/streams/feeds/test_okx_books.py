"""OKX's books through the intake: what chains is published, what does not is said, nothing else."""

import dataclasses
import gzip
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from tidemill.schemas.enums import BookState
from tidemill.schemas.events.event import Event
from tidemill.streams.feeds.capture import line_of
from tidemill.streams.feeds.convert import merged
from tidemill.streams.feeds.feed import Batch, Instruments
from tidemill.streams.feeds.intake import Intake
from tidemill.streams.feeds.okx import Okx
from tidemill.streams.feeds.replay import Replay

CAPTURES = Path(os.environ.get("TIDEMILL_DATA", "../shared/data")) / "captures_cryptofeed"
MS = 1_000_000
START = 1_790_000_000_000
"""ms"""


def message(action: str, last: int, previous: int, at_ms: int, *bids: tuple[str, str]) -> bytes:
    """A message of ``books`` with the given bids, sent `at_ms` after the start."""
    book = {
        "asks": [["100", "1", "0", "1"]] if action == "snapshot" else [],
        "bids": [[price, quantity, "0", "1"] for price, quantity in bids],
        "ts": str(START + at_ms),
        "checksum": 0,
        "prevSeqId": previous,
        "seqId": last,
    }
    arg = {"channel": "books", "instId": "BTC-USDT"}
    return orjson.dumps({"arg": arg, "action": action, "data": [book]})


class Feed:
    """An intake of OKX spot, and what it said of books."""

    def __init__(self) -> None:
        venue = Okx("SPOT")
        self.intake = Intake(venue, Instruments(infer=venue.infer))
        self.now = START * MS
        self.levels: list[Any] = []
        self.events: list[Event] = []

    def take(self, *raws: bytes) -> "Feed":
        self.now += 100 * MS
        for item in self.intake.take([self.now] * len(raws), raws):
            if isinstance(item, Batch):
                self.levels += item.records[["price", "quantity"]].tolist()
            elif type(item.event).__name__.startswith(("Book", "Checksum")):
                self.events.append(item.event)
        return self

    @property
    def state(self) -> BookState:
        return self.intake.books.tracks["BTC-USDT"].state

    @property
    def best_bid(self) -> str | int | None:
        return self.intake.books.state()["BTC-USDT.OKX"]["bid"]


SNAPSHOT = message("snapshot", 10, -1, 0, ("90", "1"))
CHANGES = (
    message("update", 15, 10, 100, ("91", "1")),
    message("update", 15, 15, 60_100),
    message("update", 3, 15, 60_200, ("92", "1")),  # numbers began anew
    message("update", 5, 3, 60_300, ("93", "1")),
    message("update", 9, 5, 60_400, ("94", "1")),
)


def test_the_example_of_the_document_is_one_valid_book():
    feed = Feed().take(SNAPSHOT, *CHANGES)
    assert feed.state is BookState.VALID and not feed.events
    assert float(str(feed.best_bid)) == 94 and len(feed.levels) == 6
    one_by_one = Feed().take(SNAPSHOT)
    for change in CHANGES:
        one_by_one.take(change)
    assert one_by_one.levels == feed.levels and not one_by_one.events


@pytest.mark.parametrize("lost", [0, 2, 3])
def test_any_change_that_is_lost_is_a_gap_also_the_one_where_numbers_fell(lost: int):
    """A low id after a lost fall of the numbers is no duplicate: its time is new."""
    feed = Feed().take(SNAPSHOT)
    for at, change in enumerate(CHANGES):
        if at != lost:
            feed.take(change)
    assert feed.state is BookState.INVALID
    assert [type(event).__name__ for event in feed.events] == ["BookGapDetected"]


def test_a_lost_sign_of_life_changes_nothing():
    feed = Feed().take(SNAPSHOT, CHANGES[0], *CHANGES[2:])
    assert feed.state is BookState.VALID and float(str(feed.best_bid)) == 94


@pytest.mark.parametrize("twice", range(len(CHANGES)))
def test_any_change_that_comes_twice_vanishes(twice: int):
    whole, feed = Feed().take(SNAPSHOT, *CHANGES), Feed().take(SNAPSHOT)
    for at, change in enumerate(CHANGES):
        feed.take(change)
        if at == twice:
            feed.take(change)
    assert feed.state is BookState.VALID and feed.levels == whole.levels and not feed.events


def test_a_snapshot_replaces_the_book_and_says_how_long_it_was_not_valid():
    feed = Feed().take(SNAPSHOT, CHANGES[0], CHANGES[4])
    assert feed.state is BookState.INVALID
    feed.take(CHANGES[3])  # before a snapshot nothing counts
    feed.take(message("snapshot", 9, -1, 60_500, ("80", "1")))
    assert feed.state is BookState.VALID and float(str(feed.best_bid)) == 80
    gap, resynced = feed.events
    assert type(gap).__name__ == "BookGapDetected" and type(resynced).__name__ == "BookResynced"
    feed.take(message("update", 12, 9, 60_600, ("81", "1")))
    assert float(str(feed.best_bid)) == 81


# the real capture: no ids, every message proven by its checksum


def captured() -> list[tuple[int, bytes]]:
    if not (CAPTURES / "OKX.0.gz").exists():
        pytest.skip(f"no captures at {CAPTURES}: set TIDEMILL_DATA")
    files = [
        (name, gzip.decompress((CAPTURES / name).read_bytes()).splitlines(keepends=True))
        for name in ("OKX.0.gz", "OKX.ws.1.0.gz")
    ]
    return list(merged(files))


def replayed(directory: Path, lines: list[tuple[int, bytes]], product: str = "SPOT") -> Any:
    path = directory / f"{product}.capture"
    path.write_bytes(b"".join(line_of(*line) for line in lines))
    replaying = Replay([path], Okx(product))
    for _ in replaying.batches():
        pass
    return replaying.counts


@pytest.mark.parametrize(
    ("product", "symbol", "counts"),
    [
        ("SPOT", "BTC-USDT", (69, 25, 97)),
        ("SWAP", "UNI-USD-SWAP", (1, 1, 92)),
        ("FUTURES", "BTC-USD-220527", (4, 2, 98)),
    ],
)
def test_the_capture_replays_to_a_valid_book_and_nothing_is_missed(
    tmp_path: Path, product: str, symbol: str, counts: tuple[int, ...]
):
    told = replayed(tmp_path, captured(), product)
    assert (told.trades, told.quotes, told.book_updates) == counts
    assert told.malformed == 0 and told.duplicates == 0
    assert told.books[f"{symbol}.OKX"]["state"] == "VALID"
    unexpected = ("Book", "Checksum", "TradeGap", "RecordsGivenUp")
    assert not [name for name in told.events if name.startswith(unexpected)]


def test_any_change_of_the_capture_that_is_lost_is_told_by_the_checksum(tmp_path: Path):
    lines = captured()
    changes = [
        at
        for at, (_, raw) in enumerate(lines)
        if raw.startswith(b'{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update"')
    ]
    rng = np.random.default_rng(7)
    found: Counter[str] = Counter()
    for at in rng.choice(changes[:-1], 12, replace=False):
        told = replayed(tmp_path, [line for i, line in enumerate(lines) if i != at])
        gaps, mismatches = (told.events.get(n, 0) for n in ("BookGapDetected", "ChecksumMismatch"))
        assert mismatches <= gaps <= 1, "what crosses the book is told without its checksum"
        assert (told.books["BTC-USDT.OKX"]["state"] == "INVALID") == bool(gaps)
        found["gaps"] += gaps
        found["mismatches"] += mismatches
    assert found["gaps"] >= 10, "a change below the best 25 levels may not show"
    assert found["mismatches"] >= 5


def test_a_change_of_the_capture_that_comes_twice_vanishes(tmp_path: Path):
    lines = captured()
    books = [line for line in lines if b'"channel":"books"' in line[1] and b"action" in line[1]]
    whole = replayed(tmp_path, lines)
    again = replayed(tmp_path, sorted([*lines, *books[30:60]], key=lambda line: line[0]))
    assert dataclasses.replace(again, messages=0, book_updates=0, duplicates=0, ignored=0) == (
        dataclasses.replace(whole, messages=0, book_updates=0, duplicates=0, ignored=0)
    )
