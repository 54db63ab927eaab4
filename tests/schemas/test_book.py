"""The order book as a value, against plain dictionaries."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.schemas.book import BUY, LEVEL, LEVELS_START, SELL, Book, Levels, set_level

CHANGES = st.lists(
    st.tuples(st.integers(1, 40), st.integers(0, 5), st.sampled_from([BUY, SELL])), max_size=80
)


def levels(rows: list[tuple[int, int, int]]) -> Levels:
    return np.array(rows, LEVEL)


def plain(rows: list[tuple[int, int, int]]) -> dict[int, dict[int, int]]:
    sides: dict[int, dict[int, int]] = {BUY: {}, SELL: {}}
    for price, quantity, side in rows:
        sides[side].pop(price, None)
        if quantity:
            sides[side][price] = quantity
    return sides


def shown(book: Book) -> dict[int, list[tuple[int, int]]]:
    return {side: [tuple(level) for level in book.side(side).T.tolist()] for side in (BUY, SELL)}


def sorted_sides(sides: dict[int, dict[int, int]]) -> dict[int, list[tuple[int, int]]]:
    return {side: sorted(found.items(), reverse=side == BUY) for side, found in sides.items()}


@given(CHANGES)
@settings(deadline=None)
def test_a_book_holds_what_a_dictionary_would(changes: list[tuple[int, int, int]]) -> None:
    book = Book()
    for change in changes:
        book.apply(levels([change]))
    expected = sorted_sides(plain(changes))
    assert shown(book) == expected
    assert len(book) == sum(map(len, expected.values()))
    for side in (BUY, SELL):
        assert book.best(side) == (expected[side][0] if expected[side] else (0, 0))


@given(CHANGES)
@settings(deadline=None)
def test_a_message_that_crosses_the_book_is_told(changes: list[tuple[int, int, int]]) -> None:
    sides = plain(changes)
    crossed = bool(sides[BUY] and sides[SELL]) and max(sides[BUY]) >= min(sides[SELL])
    book = Book()
    assert book.apply(levels(changes)) is not crossed
    assert shown(book) == sorted_sides(sides)


def test_a_book_grows_and_a_snapshot_of_any_order_is_loaded() -> None:
    rng = np.random.default_rng(1)
    prices = rng.permutation(np.arange(1, 6 * LEVELS_START))
    rows = [(int(p), 7, BUY if p < 3 * LEVELS_START else SELL) for p in prices]
    one, other = Book(), Book()
    assert one.load(levels(rows))
    other.apply(levels(rows))
    assert shown(one) == shown(other) == sorted_sides(plain(rows))
    assert not one.load(levels([(10, 1, BUY), (10, 1, SELL)]))
    one.clear()
    assert len(one) == 0 and one.load(levels([])) and one.best(BUY) == (0, 0)


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 3)), max_size=60))
@settings(deadline=None)
def test_a_full_side_keeps_its_best_levels_of_those_that_came(
    changes: list[tuple[int, int]],
) -> None:
    ends, prices, quantities = np.zeros(2, np.int64), np.zeros(8, np.int64), np.zeros(8, np.int64)
    kept: dict[int, int] = {}
    for price, quantity in changes:
        dropped = False
        kept.pop(price, None)
        if quantity:
            kept[price] = quantity
            if len(kept) > 8:
                del kept[min(kept)]
                dropped = True
        assert set_level(ends, prices, quantities, 1, price, quantity) == dropped
    at = (ends[0] + np.arange(ends[1])) & 7
    assert dict(zip(prices[at].tolist(), quantities[at].tolist(), strict=True)) == kept
    assert prices[at].tolist() == sorted(kept, reverse=True)


def test_depth_counts_levels_up_to_the_very_edge_exactly() -> None:
    book = Book()
    far = 10**9
    book.apply(
        levels([(99, 2, BUY), (98, 5, BUY), (101, 3, SELL), (102, 7, SELL), (far, 10**12, SELL)])
    )
    assert book.depth(BUY, 1) == 99 * 2 and book.depth(SELL, 1) == 101 * 3
    assert book.depth(BUY, 2) == 99 * 2 + 98 * 5
    assert book.depth(SELL, 10**9) == 101 * 3 + 102 * 7 + far * 10**12  # beyond 64 bits
    book.apply(levels([(101, 0, SELL), (102, 0, SELL), (far, 0, SELL)]))
    assert book.depth(BUY, 5) == 0  # no mid


def test_walking_takes_the_best_first() -> None:
    book = Book()
    book.apply(levels([(99, 2, BUY), (98, 5, BUY), (101, 3, SELL)]))
    assert book.walk(BUY, 4) == (4, 99 * 2 + 98 * 2, 98)
    assert book.walk(SELL, 9) == (3, 303, 101)
    assert book.walk(SELL, 0) == (0, 0, 0)


@pytest.mark.parametrize(
    ("bids", "asks", "text"),
    [
        # the two examples of OKX's documents, "Checksum"
        (
            [("3366.1", "7"), ("3366", "6")],
            [("3366.8", "9"), ("3368", "8")],
            "3366.1:7:3366.8:9:3366:6:3368:8",
        ),
        (
            [("3366.1", "7")],
            [("3366.8", "9"), ("3368", "8"), ("3372", "8")],
            "3366.1:7:3366.8:9:3368:8:3372:8",
        ),
    ],
)
def test_the_checksum_is_of_the_text_that_okx_describes(bids, asks, text) -> None:
    book = Book()
    rows = [(round(float(p) * 10), int(q), BUY) for p, q in bids]
    book.apply(levels(rows + [(round(float(p) * 10), int(q), SELL) for p, q in asks]))
    assert book.checksum(-1, 0) & 0xFFFFFFFF == zlib.crc32(text.encode())
