"""Exact sums and products: 128-bit signed integers as pairs (hi int64, lo uint64) in numba.

Value = hi * 2^64 + lo, two's complement. Every operation that can leave 128 bits returns an
overflow flag beside the wrapped value: nothing overflows silently. Columns of them are `INT128`,
whose bytes are ClickHouse's Int128 and Decimal128 (little endian, lo first).

Inside numba never mix int64 with uint64 in one expression (it would become float64); the masks and
casts below are there for that. Limb products after H. S. Warren, Hacker's Delight, 8-2.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from tidemill.schemas.decimals import mantissa_of
from tidemill.schemas.errors import Unreadable

INT128 = np.dtype([("lo", "<u8"), ("hi", "<i8")])
"""One 128-bit integer in a column; a frame's fields ``<name>_lo, <name>_hi`` are the same bytes."""
SCALE = 18
"""Decimals of the databases' exact columns: Decimal(38, 18)."""
DIGITS_MAX = 38
"""Decimal digits that Decimal(38, 18) holds."""

POWERS_OF_TEN = np.array([10**k for k in range(19)], dtype=np.uint64)

_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_0 = np.uint64(0)
_1 = np.uint64(1)
_HIGHEST = 10**DIGITS_MAX - 1
_HIGHEST_HI, _HIGHEST_LO = np.int64(_HIGHEST >> 64), np.uint64(_HIGHEST & (1 << 64) - 1)
_LOWEST_HI, _LOWEST_LO = np.int64(-_HIGHEST >> 64), np.uint64(-_HIGHEST & (1 << 64) - 1)

Hi: TypeAlias = Any
Lo: TypeAlias = Any
"""An int64 and a uint64 of numba, or Python integers of that range: the two words of a number."""

# Any column: strided, unaligned (a field of a frame) and read-only ones are taken as they are.
_Int64s = types.Array(types.int64, 1, "A", readonly=True, aligned=False)
_Uint64s = types.Array(types.uint64, 1, "A", readonly=True, aligned=False)
_Bytes = types.Array(types.uint8, 1, "C", readonly=True)
_Words = types.Array(types.uint64, 2, "C")


@njit("Tuple((int64, uint64))(int64)", cache=True)
def widen(value: Hi) -> tuple[Hi, Lo]:
    """Return (hi, lo) of an int64."""
    return value >> 63, np.uint64(value)


@njit("Tuple((int64, uint64, boolean))(int64, uint64, int64, uint64)", cache=True)
def add(hi: Hi, lo: Lo, other_hi: Hi, other_lo: Lo) -> tuple[Hi, Lo, bool]:
    """Return the sum (hi, lo) and whether it overflowed."""
    low = lo + other_lo
    high = hi + other_hi + (1 if low < lo else 0)
    # Overflow: both have one sign and the sum has the other (the carry in is part of `high`).
    return high, low, ((hi ^ high) & (other_hi ^ high)) < 0


@njit("Tuple((int64, uint64, boolean))(int64, uint64, int64, uint64)", cache=True)
def subtract(hi: Hi, lo: Lo, other_hi: Hi, other_lo: Lo) -> tuple[Hi, Lo, bool]:
    """Return the difference (hi, lo) and whether it overflowed."""
    low = lo - other_lo
    high = hi - other_hi - (1 if lo < other_lo else 0)
    return high, low, ((hi ^ other_hi) & (hi ^ high)) < 0


@njit("Tuple((int64, uint64, boolean))(int64, uint64, int64)", cache=True)
def add_64(hi: Hi, lo: Lo, value: Hi) -> tuple[Hi, Lo, bool]:
    """Return (hi, lo) plus an int64, and whether it overflowed."""
    return add(hi, lo, value >> 63, np.uint64(value))


@njit("Tuple((uint64, uint64))(uint64, uint64)", cache=True)
def _multiply_unsigned(a: Lo, b: Lo) -> tuple[Lo, Lo]:
    """Return the whole product of two uint64 as (high uint64, low uint64)."""
    a_low, a_high = a & _LOW, a >> _32
    b_low, b_high = b & _LOW, b >> _32
    first = a_low * b_low
    second = a_high * b_low + (first >> _32)
    third = a_low * b_high + (second & _LOW)
    return a_high * b_high + (second >> _32) + (third >> _32), a * b


@njit("Tuple((int64, uint64))(int64, int64)", cache=True)
def multiply(a: Hi, b: Hi) -> tuple[Hi, Lo]:
    """Return the whole product (hi, lo) of two int64; it always fits."""
    high, low = _multiply_unsigned(np.uint64(a), np.uint64(b))
    signed = np.int64(high)
    if a < 0:
        signed -= b
    if b < 0:
        signed -= a
    return signed, low


@njit("Tuple((int64, uint64, boolean))(int64, uint64, int64, int64)", cache=True)
def add_product(hi: Hi, lo: Lo, a: Hi, b: Hi) -> tuple[Hi, Lo, bool]:
    """Return (hi, lo) plus the exact product of two int64, and whether it overflowed."""
    product_hi, product_lo = multiply(a, b)
    return add(hi, lo, product_hi, product_lo)


@njit("int64(int64, uint64, int64, uint64)", cache=True)
def compare(hi: Hi, lo: Lo, other_hi: Hi, other_lo: Lo) -> int:
    """Return -1, 0 or 1 as (hi, lo) is less than, equal to or greater than the other."""
    if hi == other_hi and lo == other_lo:
        return 0
    return -1 if hi < other_hi or (hi == other_hi and lo < other_lo) else 1


@njit("Tuple((int64, uint64, boolean))(int64, uint64, int64)", cache=True)
def rescale(hi: Hi, lo: Lo, k: Hi) -> tuple[Hi, Lo, bool]:
    """Return (hi, lo) times 10^k, 0 <= k <= 18, and whether it overflowed.

    A `k` outside that range is reported as an overflow of the unchanged value.
    """
    if k < 0 or k > 18:
        return hi, lo, True
    negative = hi < 0
    high, low = np.uint64(hi), lo
    if negative:
        high, low = ~high + (_1 if low == _0 else _0), ~low + _1
    factor = POWERS_OF_TEN[k]
    carry, out_low = _multiply_unsigned(low, factor)
    beyond, out_high = _multiply_unsigned(high, factor)
    out_high += carry
    overflow = beyond != _0 or out_high < carry
    if negative:
        out_high, out_low = ~out_high + (_1 if out_low == _0 else _0), ~out_low + _1
    signed = np.int64(out_high)
    # A magnitude of 2^127 or more shows as a wrong sign; zero is never negative here.
    return signed, out_low, overflow or (signed < 0) != negative


@njit("boolean(int64, uint64)", cache=True)
def fits_decimal(hi: Hi, lo: Lo) -> bool:
    """Return whether (hi, lo) has at most 38 decimal digits, as Decimal(38, s) needs."""
    above = compare(hi, lo, _LOWEST_HI, _LOWEST_LO) >= 0
    return above and compare(hi, lo, _HIGHEST_HI, _HIGHEST_LO) <= 0


@njit(types.int64(_Int64s, _Uint64s, types.int64, _Words), cache=True)
def _rescale_column(
    hi: NDArray[np.int64], lo: NDArray[np.uint64], k: int, out: NDArray[np.uint64]
) -> int:
    """Write each value times 10^k to `out` (N, 2), lo first; return the first bad index or -1."""
    for index in range(len(hi)):
        high, low, overflow = hi[index], lo[index], False
        left = k
        while left > 0 and not overflow:
            step = min(left, 18)
            high, low, overflow = rescale(high, low, step)
            left -= step
        if overflow or not fits_decimal(high, low):
            return index
        out[index, 0] = low
        out[index, 1] = np.uint64(high)
    return -1


@njit(types.int64(_Int64s, types.int64, _Words), cache=True)
def _scale_mantissas(mantissas: NDArray[np.int64], k: int, out: NDArray[np.uint64]) -> int:
    """Write each mantissa times 10^k, k <= 18, to `out` (N, 2), lo first.

    10^18 times an int64 is below 10^37: it always fits.
    """
    factor = np.int64(POWERS_OF_TEN[k])
    for index in range(len(mantissas)):
        high, low = multiply(mantissas[index], factor)
        out[index, 0] = low
        out[index, 1] = np.uint64(high)
    return -1


_Decimals = types.Array(types.int8, 1, "C", readonly=True)


@njit(types.int64(_Bytes, _Decimals, types.Array(types.int64, 1, "C")), cache=True)
def parse_plain(text: NDArray[np.uint8], decimals: NDArray[np.int8], out: NDArray[np.int64]) -> int:
    """Parse numbers that each end in a comma; return how many, or -1 for one to read slowly.

    Taken are ``-?digits[.digits]`` with at most ``decimals`` after the point and 18 digits in all;
    `decimals` (1,) is that of all of them, or (N,) of each.
    """
    each = len(decimals) > 1
    count, value, digits, after = 0, 0, 0, -1
    negative = False
    for index in range(len(text)):
        char: Hi = np.int64(text[index])
        if 48 <= char <= 57:
            value = value * 10 + (char - 48)
            digits += 1
            if after >= 0:
                after += 1
            if digits > 18:
                return -1
        elif char == 44:
            if count == len(out):
                return -1
            missing = np.int64(decimals[count if each else 0]) - max(after, 0)
            if digits == 0 or after == 0 or missing < 0 or digits + missing > 18:
                return -1
            factor: Hi = np.int64(POWERS_OF_TEN[missing])
            value *= factor
            out[count] = -value if negative else value
            count += 1
            value, digits, after, negative = 0, 0, -1, False
        elif char == 46 and after < 0 and digits > 0:
            after = 0
        elif char == 45 and digits == 0 and not negative:
            negative = True
        else:
            return -1
    return count


def mantissas_of(texts: Sequence[str], exponent: int | NDArray[np.int8]) -> NDArray[np.int64]:
    """Return the int64 mantissas (N,) of `texts` at `exponent`, as `mantissa_of` gives each.

    `exponent` is that of all, or an array (N,) of each one's. One call for a batch costs about a
    tenth of a call for each. Raises Unreadable as it does.
    """
    out = np.empty(len(texts), np.int64)
    exponents = np.atleast_1d(np.asarray(exponent, np.int8))
    if len(texts) and exponents.min() >= -18 and exponents.max() <= 0:
        joined = np.frombuffer((",".join(texts) + ",").encode(), np.uint8)
        if parse_plain(joined, -exponents, out) == len(texts):
            return out
    each = np.broadcast_to(exponents, len(texts)).tolist()
    for index, (text, at) in enumerate(zip(texts, each, strict=True)):
        out[index] = mantissa_of(text, at)
    return out


def scaled(mantissas: NDArray[np.int64], exponent: int, scale: int = SCALE) -> NDArray[np.void]:
    """Return mantissa x 10^exponent as INT128 (N,) with `scale` decimals.

    `mantissas` (N,) int64 may be a field of a frame. Raises Unreadable where a value has more than
    38 digits, ValueError where `exponent` is finer than `scale`.
    """
    k = _shift(exponent, scale)
    out = np.empty((len(mantissas), 2), np.uint64)
    if k <= 18:
        _scale_mantissas(mantissas, k, out)
    else:
        _check(_rescale_column(mantissas >> 63, mantissas.astype(np.uint64), k, out), exponent)
    return _as_int128(out)


def scaled_128(
    hi: NDArray[np.int64], lo: NDArray[np.uint64], exponent: int, scale: int = SCALE
) -> NDArray[np.void]:
    """As `scaled`, of 128-bit mantissas in two columns (N,)."""
    out = np.empty((len(hi), 2), np.uint64)
    _check(_rescale_column(hi, lo, _shift(exponent, scale), out), exponent)
    return _as_int128(out)


def scaled_field(
    records: NDArray[np.void], name: str, exponent: int, scale: int = SCALE
) -> NDArray[np.void]:
    """As `scaled`, of the field `name` of a frame's records, int64 or int128 alike."""
    names: tuple[str, ...] = records.dtype.names or ()
    if name in names:
        return scaled(records[name], exponent, scale)
    return scaled_128(records[f"{name}_hi"], records[f"{name}_lo"], exponent, scale)


def _shift(exponent: int, scale: int) -> int:
    if exponent < -scale:
        raise ValueError(f"exponent {exponent} is finer than {scale} decimals")
    return exponent + scale


def _check(bad: int, exponent: int) -> None:
    if bad >= 0:
        raise Unreadable(f"value {bad} x 10^{exponent} has more than {DIGITS_MAX} digits")


def _as_int128(words: NDArray[np.uint64]) -> NDArray[np.void]:
    return words.view(INT128)[:, 0]


def to_int(hi: int, lo: int) -> int:
    """Return the Python integer of a pair."""
    return (int(hi) << 64) + int(lo)


def from_int(value: int) -> tuple[int, int]:
    """Return (hi, lo) of a Python integer. Raises OverflowError outside 128 signed bits."""
    if not -(1 << 127) <= value < 1 << 127:
        raise OverflowError(f"{value} does not fit 128 bits")
    return value >> 64, value & (1 << 64) - 1


def to_ints(column: NDArray[np.void]) -> list[int]:
    """Return the Python integers of an INT128 column (N,)."""
    return [to_int(hi, lo) for lo, hi in column.tolist()]


def from_ints(values: list[int]) -> NDArray[Any]:
    """Return an INT128 column (N,) of Python integers. Raises OverflowError as `from_int`."""
    pairs = [from_int(value) for value in values]
    return np.array([(lo, hi) for hi, lo in pairs], INT128)
