"""Products and quotients of money: 128-bit numbers by factors, and how many a sum can buy.

Numbers are pairs (hi int64, lo uint64) as in `schemas.exact`. A flag beside a result says that it
left 128 bits.
"""

from typing import Any

import numpy as np
from numba import njit

from tidemill.schemas.exact import compare, multiply, subtract

_LOW = np.uint64(0xFFFFFFFF)
_32, _31 = np.uint64(32), np.uint64(31)
_0, _1 = np.uint64(0), np.uint64(1)
_WORD = 18446744073709551616.0
_MOST = 4.0e18
MILLION = 1_000_000

Hi = Any
Lo = Any


@njit("Tuple((int64, uint64))(int64, uint64)", cache=True)
def negative(hi: Hi, lo: Lo) -> tuple[Hi, Lo]:
    """Return minus a number."""
    return np.int64(~np.uint64(hi) + (_1 if lo == _0 else _0)), ~lo + _1


@njit("Tuple((int64, uint64, boolean))(int64, uint64, int64)", cache=True)
def scale(hi: Hi, lo: Lo, factor: Hi) -> tuple[Hi, Lo, bool]:
    """Return a number times a factor with -2^32 < factor < 2^32, and whether it overflowed."""
    below = (hi < 0) != (factor < 0)
    by = np.uint64(-factor if factor < 0 else factor)
    if hi < 0:
        hi, lo = negative(hi, lo)
    high = np.uint64(hi)
    first = (lo & _LOW) * by
    second = (lo >> _32) * by + (first >> _32)
    third = (high & _LOW) * by + (second >> _32)
    fourth = (high >> _32) * by + (third >> _32)
    out_hi = np.int64(fourth << _32 | (third & _LOW))
    out_lo = second << _32 | (first & _LOW)
    over = (fourth >> _31) != _0
    if below:
        out_hi, out_lo = negative(out_hi, out_lo)
    return out_hi, out_lo, over


@njit("float64(int64, uint64)", cache=True)
def approximate(hi: Hi, lo: Lo) -> float:
    """Return the float64 near a number: off by at most a few units in the last place."""
    if hi < 0:
        hi, lo = negative(hi, lo)
        return -(float(hi) * _WORD + float(lo))
    return float(hi) * _WORD + float(lo)


@njit("Tuple((int64, uint64, boolean))(int64, int64, int64, int64)", cache=True)
def cost(quantity: Hi, price: Hi, factor: Hi, factor2: Hi) -> tuple[Hi, Lo, bool]:
    """Return quantity x price x factor x factor2 and whether it overflowed; factors as `scale`."""
    hi, lo = multiply(quantity, price)
    hi, lo, over = scale(hi, lo, factor)
    hi, lo, over2 = scale(hi, lo, factor2)
    return hi, lo, over or over2


@njit("boolean(int64, int64, int64, int64, int64, uint64)", cache=True)
def _exceeds(n: Hi, each: Hi, factor: Hi, factor2: Hi, hi: Hi, lo: Lo) -> bool:
    spent_hi, spent_lo, over = cost(n, each, factor, factor2)
    return over or compare(spent_hi, spent_lo, hi, lo) > 0


@njit("int64(int64, uint64, int64, int64, int64)", cache=True)
def affordable(hi: Hi, lo: Lo, each: Hi, factor: Hi, factor2: Hi) -> Hi:
    """Return the largest n, at most 4e18 / `each`'s size, with n x each x factors <= (hi, lo).

    0 for a sum that is not positive. A float guesses, and what the exact remainder says of it is
    taken back, so that the answer is exact: the guess is off by less than one part in 2^50.
    """
    if hi < 0 or each <= 0:
        return 0
    unit = float(each) * float(factor) * float(factor2)
    guess = approximate(hi, lo) / unit
    n = np.int64(guess if guess < _MOST else _MOST)
    for _ in range(4):
        spent_hi, spent_lo, over = cost(n, each, factor, factor2)
        if over:
            n //= 2
            continue
        rest_hi, rest_lo, _over = subtract(hi, lo, spent_hi, spent_lo)
        step = np.int64(approximate(rest_hi, rest_lo) / unit)
        if step == 0:
            break
        n += step
    while n > 0 and _exceeds(n, each, factor, factor2, hi, lo):
        n -= 1
    while n < np.int64(_MOST) and not _exceeds(n + 1, each, factor, factor2, hi, lo):
        n += 1
    return n
