"""Rows of plain values from records and back, raw and readable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.schemas import examples, frame, kinds
from tidemill.schemas.kinds import BAR, BOOK, KINDS, PRICE, TRADE
from tidemill.schemas.rows import from_rows, readable, to_rows


@pytest.mark.parametrize("name", list(KINDS))
def test_rows_become_records_and_rows_again(name: str) -> None:
    kind = KINDS[name]
    for rows in (examples.extremes(kind), examples.ROWS[name]):
        decoded = kinds.decode(frame.encode(kind, from_rows(kind, rows), 1))
        zero = dict(to_rows(kinds.decode(frame.encode(kind, kind.empty(1), 1)))[0])
        assert to_rows(decoded) == [zero | row for row in rows]


@given(st.integers(-(2**127), 2**127 - 1))
def test_a_128_bit_number_keeps_its_value(value: int) -> None:
    records = from_rows(BAR, [{"volume": value}])
    assert to_rows(kinds.decode(frame.encode(BAR, records, 1)))[0]["volume"] == value


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ({"price": 2**63}, OverflowError),
        ({"trade_id": -1}, OverflowError),
        ({"nothing": 1}, KeyError),
    ],
)
def test_a_value_that_does_not_fit_is_refused(row: dict[str, int], error: type[Exception]) -> None:
    with pytest.raises(error):
        from_rows(TRADE, [row])


@pytest.mark.parametrize("value", [2**127, -(2**127) - 1])
def test_a_sum_beyond_128_bits_is_refused(value: int) -> None:
    with pytest.raises(OverflowError):
        from_rows(BAR, [{"volume": value}])


def test_a_text_that_is_too_long_is_refused_never_cut() -> None:
    with pytest.raises(ValueError, match="too long"):
        from_rows(PRICE, [{"high_venue": "X" * 17}])


def test_readable_rows_have_decimal_text_names_and_null() -> None:
    trade = readable(examples.decoded("trade"))[1]
    assert (trade["price"], trade["quantity"]) == ("61837.62000000", "0.00000001")
    assert (trade["aggressor_side"], trade["flags"]) == ("SELLER", ["FILLED", "LAST"])
    quotes = readable(examples.decoded("quote"))
    assert [row["ts_event"] for row in quotes] == [None, examples.TS + 16_000_000]
    bar = readable(examples.decoded("bar"))[0]
    assert bar["quote_volume"] == "118059.1620717411303424"
    assert readable(examples.decoded("price"))[0]["high_price"] == "61840.0000000000"


def test_a_number_without_a_name_is_shown_as_the_number() -> None:
    payload = frame.encode(BOOK, from_rows(BOOK, [{"side": 77, "flags": 1 << 15 | 16}]), 1)
    row = readable(kinds.decode(payload))[0]
    assert (row["side"], row["flags"]) == (77, ["LAST", 1 << 15])
