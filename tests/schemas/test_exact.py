"""128-bit sums and products against Python's integers, at their edges and at random."""

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.schemas import exact
from tidemill.schemas.errors import Unreadable
from tidemill.schemas.kinds import BAR, TRADE

CASES = settings(max_examples=300, deadline=None)
RANDOM_CASES = 10_000
MIN_64, MAX_64 = -(1 << 63), (1 << 63) - 1
MIN_128, MAX_128 = -(1 << 127), (1 << 127) - 1

EDGES_64 = [MIN_64, MIN_64 + 1, -(1 << 32), -1, 0, 1, (1 << 32) - 1, 1 << 32, MAX_64 - 1, MAX_64]
EDGES_128 = [
    *(edge + near for edge in (MIN_128, MAX_128, 0, 1 << 64, -(1 << 64)) for near in (-1, 0, 1)),
    *EDGES_64,
    10**38 - 1,
    10**38,
    1 - 10**38,
    -(10**38),
]
EDGES_128 = [edge for edge in EDGES_128 if MIN_128 <= edge <= MAX_128]

# Half at random, half at and around the edges, of every magnitude.
int64s = st.one_of(st.sampled_from(EDGES_64), st.integers(MIN_64, MAX_64), st.integers(-999, 999))
int128s = st.one_of(
    st.sampled_from(EDGES_128),
    st.integers(MIN_128, MAX_128),
    st.builds(
        lambda value, bits: value >> bits, st.integers(MIN_128, MAX_128), st.integers(0, 127)
    ),
)


def wrapped(value: int) -> int:
    """The low 128 bits of `value`, as a signed number."""
    return (value - MIN_128) % (1 << 128) + MIN_128


def in_range(value: int) -> bool:
    return MIN_128 <= value <= MAX_128


def expect(result: tuple[int, int, bool], value: int) -> None:
    hi, lo, overflow = result
    assert overflow == (not in_range(value))
    assert exact.to_int(hi, lo) == wrapped(value)


def expect_same(a: int, b: int, c: int, k: int) -> None:
    """Every operation on 128-bit `a` and `b`, 64-bit `c` and `k` in 0..18 is that of integers."""
    first, second = exact.from_int(a), exact.from_int(b)
    low = max(MIN_64, min(MAX_64, b))
    expect(exact.add(*first, *second), a + b)
    expect(exact.subtract(*first, *second), a - b)
    expect(exact.add_64(*first, c), a + c)
    expect(exact.add_product(*first, low, c), a + low * c)
    assert exact.to_int(*exact.multiply(low, c)) == low * c
    assert exact.compare(*first, *second) == (a > b) - (a < b)
    hi, lo, overflow = exact.rescale(*first, k)
    assert overflow == (not in_range(a * 10**k))
    assert overflow or exact.to_int(hi, lo) == a * 10**k
    assert exact.fits_decimal(*first) == (abs(a) < 10**38)


@CASES
@given(int128s, int128s, int64s, st.integers(0, 18))
def test_operations_are_those_of_integers_and_overflow_is_flagged(
    a: int, b: int, c: int, k: int
) -> None:
    expect_same(a, b, c, k)


def test_operations_are_those_of_integers_between_all_edges() -> None:
    for index, (a, b) in enumerate(itertools.product(EDGES_128, EDGES_128)):
        expect_same(a, b, EDGES_64[index % len(EDGES_64)], index % 19)


def test_operations_are_those_of_integers_at_random_of_every_magnitude() -> None:
    chance = random.Random(7101)
    for _ in range(RANDOM_CASES):
        a, b, c = (chance.randint(MIN_128, MAX_128) >> chance.randrange(128) for _ in range(3))
        expect_same(a, b, max(MIN_64, min(MAX_64, c)), chance.randrange(19))


def test_products_of_all_edges_are_whole() -> None:
    for a, b in itertools.product(EDGES_64, EDGES_64):
        assert exact.to_int(*exact.multiply(a, b)) == a * b


@pytest.mark.parametrize("k", [-1, 19, MIN_64, MAX_64])
def test_a_power_out_of_range_is_flagged_never_read_beyond_the_table(k: int) -> None:
    assert exact.rescale(0, 1, k) == (0, 1, True)


@CASES
@given(int128s)
def test_38_digits_are_the_limit_of_a_decimal(a: int) -> None:
    assert exact.fits_decimal(*exact.from_int(a)) == (abs(a) < 10**38)


@given(int64s)
def test_an_int64_is_widened_with_its_sign(value: int) -> None:
    assert exact.to_int(*exact.widen(value)) == value


@pytest.mark.parametrize("value", [MIN_128 - 1, MAX_128 + 1])
def test_an_integer_of_more_than_128_bits_is_refused(value: int) -> None:
    with pytest.raises(OverflowError):
        exact.from_int(value)


@settings(max_examples=200, deadline=None)
@given(st.lists(int64s, max_size=20), st.integers(-18, 9))
def test_a_column_is_scaled_or_refused(values: list[int], exponent: int) -> None:
    want = [value * 10 ** (exponent + 18) for value in values]
    if all(abs(value) < 10**38 for value in want):
        got = exact.scaled(np.array(values, np.int64), exponent)
        assert exact.to_ints(got) == want
    else:
        with pytest.raises(Unreadable, match="38 digits"):
            exact.scaled(np.array(values, np.int64), exponent)


@settings(max_examples=200, deadline=None)
@given(st.lists(int128s, max_size=20), st.integers(-18, 18))
def test_a_128_bit_column_is_scaled_or_refused(values: list[int], exponent: int) -> None:
    want = [value * 10 ** (exponent + 18) for value in values]
    column = exact.from_ints(values)
    if all(abs(value) < 10**38 for value in want):
        assert exact.to_ints(exact.scaled_128(column["hi"], column["lo"], exponent)) == want
    else:
        with pytest.raises(Unreadable, match="38 digits"):
            exact.scaled_128(column["hi"], column["lo"], exponent)


def test_an_exponent_finer_than_the_scale_is_the_callers_error() -> None:
    with pytest.raises(ValueError, match="finer"):
        exact.scaled(np.array([1], np.int64), -19)


def test_columns_have_clickhouses_bytes() -> None:
    column = exact.scaled(np.array([-3, 5], np.int64), -2)
    assert column.tobytes() == b"".join(
        (value * 10**16).to_bytes(16, "little", signed=True) for value in (-3, 5)
    )


def test_fields_of_a_frame_are_scaled_in_place_strided_and_read_only() -> None:
    trades, bars = TRADE.empty(3), BAR.empty(3)
    trades["price"] = [1, -2, MAX_64]
    for index, value in enumerate((MAX_64 * 10, -1, 0)):
        bars["volume_hi"][index], bars["volume_lo"][index] = exact.from_int(value)
    trades.flags.writeable = bars.flags.writeable = False
    prices = exact.scaled_field(trades, "price", -8)
    volumes = exact.scaled_field(bars, "volume", -8)
    assert exact.to_ints(prices) == [10**10, -2 * 10**10, MAX_64 * 10**10]
    assert exact.to_ints(volumes) == [MAX_64 * 10**11, -(10**10), 0]


@pytest.mark.integration
def test_clickhouse_itself_writes_the_same_bytes() -> None:
    chdb = pytest.importorskip("chdb")
    query = (
        "SELECT toDecimal128('-1.5', 18), toDecimal128('99999999999999999999.999999999999999999',"
        " 18), toInt128('-170141183460469231731687303715884105728'), toInt128('1')"
    )
    ours = exact.from_ints([-15 * 10**17, 10**38 - 1, MIN_128, 1])
    assert chdb.query(query, "RowBinary").bytes() == ours.tobytes()
    assert exact.scaled(np.array([-15], np.int64), -1).tobytes() == ours.tobytes()[:16]
