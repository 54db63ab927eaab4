"""Decimal text read and written exactly, one number or a batch, and anything else refused."""

from decimal import Decimal, localcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.schemas.decimals import decimal_of, mantissa_of, parse_decimal, text_of
from tidemill.schemas.errors import Unreadable
from tidemill.schemas.exact import mantissas_of

MIN_64, MAX_64 = -(1 << 63), (1 << 63) - 1
NOT_NUMBERS = [
    "", "-", ".", "+1", " 1", "1 ", "1\n", "1_000", "1.", ".5", "-.5", "1..2", "1.2.3", "--1", "1-",
    "0x10", "1e", "e5", "1e1234", "nan", "inf", "Infinity", "\u0661", "\uff11", "\u00b2", "1,2",
    "1,", ",", "1\0", "9" * 65,
]  # fmt: skip

mantissas = st.one_of(st.integers(MIN_64, MAX_64), st.integers(-1000, 1000))
exponents = st.integers(-18, 0)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("61837.63000000", (6183763000000, -8)),
        ("0", (0, 0)),
        ("-0.10", (-10, -2)),
        ("007", (7, 0)),
        ("1e-7", (1, -7)),
        ("1.5E+3", (15, 2)),
        (b"12.5", (125, -1)),
    ],
)
def test_a_number_is_parsed_as_it_is_written(text: str | bytes, parsed: tuple[int, int]) -> None:
    assert parse_decimal(text) == parsed


@pytest.mark.parametrize("text", NOT_NUMBERS)
def test_what_is_no_number_is_refused_by_every_reader(text: str) -> None:
    for read in (
        lambda: parse_decimal(text),
        lambda: mantissa_of(text, -8),
        lambda: mantissa_of(text.encode(), -8),
        lambda: mantissa_of(text, 0),
        lambda: mantissas_of(["1", text], -8),
    ):
        with pytest.raises(Unreadable):
            read()


@pytest.mark.parametrize("text", ["0.123456789", "1e-9", "0.000000001"])
def test_a_number_that_needs_more_digits_than_the_exponent_has_is_refused(text: str) -> None:
    with pytest.raises(Unreadable, match="more digits"):
        mantissa_of(text, -8)
    with pytest.raises(Unreadable, match="more digits"):
        mantissas_of([text], -8)


@pytest.mark.parametrize("text", ["92233720368.54775808", "-92233720368.54775809", "1e30", "9e99"])
def test_a_number_that_does_not_fit_int64_is_refused(text: str) -> None:
    with pytest.raises(Unreadable, match="int64"):
        mantissa_of(text, -8)
    with pytest.raises(Unreadable, match="int64"):
        mantissas_of([text], -8)


@given(mantissas, exponents)
def test_text_written_is_read_back(mantissa: int, exponent: int) -> None:
    text = text_of(mantissa, exponent)
    assert parse_decimal(text) == (mantissa, exponent)
    assert mantissa_of(text, exponent) == mantissa
    assert mantissas_of([text], exponent).tolist() == [mantissa]


def test_zeros_at_the_end_do_not_need_digits() -> None:
    assert mantissa_of("1.2300000000", -2) == 123
    assert mantissas_of(["1.2300000000", "-7"], -2).tolist() == [123, -700]
    assert mantissa_of("12000", 3) == 12


@settings(max_examples=500)
@given(st.lists(st.text("0123456789.-+e, ", max_size=24)), st.integers(-18, 9))
def test_a_batch_reads_what_single_reads_give_and_refuses_what_they_refuse(
    texts: list[str], exponent: int
) -> None:
    try:
        want = [mantissa_of(text, exponent) for text in texts]
    except Unreadable:
        with pytest.raises(Unreadable):
            mantissas_of(texts, exponent)
    else:
        assert mantissas_of(texts, exponent).tolist() == want


@settings(max_examples=1_000)
@given(st.text("0123456789.-+eE_ ", max_size=30), st.integers(-18, 9))
def test_a_value_read_is_the_exact_one(text: str, exponent: int) -> None:
    try:
        mantissa = mantissa_of(text, exponent)
    except Unreadable:
        return
    with localcontext(prec=2000):
        assert decimal_of(mantissa, exponent) == Decimal(text)


def test_a_decimal_is_not_rounded_to_the_contexts_precision() -> None:
    mantissa = 12345678901234567890123456789012345678
    with localcontext(prec=6):
        assert text_of(mantissa, -18) == "12345678901234567890.123456789012345678"
        assert decimal_of(mantissa, -18).as_tuple().digits == tuple(map(int, str(mantissa)))


def test_a_positive_exponent_is_written_in_plain_digits() -> None:
    assert text_of(-12, 3) == "-12000"
    assert text_of(0, -8) == "0.00000000"
