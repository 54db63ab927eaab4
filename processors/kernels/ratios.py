"""Exact quotients of 128-bit sums: by a small divisor, and as a ratio in 1e-9.

Numbers are pairs (hi int64, lo uint64) as in `schemas.exact`; products are made of 32-bit limbs, so
nothing is rounded before the end.
"""

from typing import Any

import numpy as np
from numba import njit

_LOW = np.uint64(0xFFFFFFFF)
_32, _31 = np.uint64(32), np.uint64(31)
_0, _1 = np.uint64(0), np.uint64(1)
_TOP = np.uint64(1 << 62)
_BILLION = np.uint64(1_000_000_000)
_MOST = np.int64(2**63 - 1)

Hi = Any
Lo = Any


@njit("Tuple((int64, uint64))(int64, uint64, uint64)", cache=True)
def divide(hi: Hi, lo: Lo, divisor: Lo) -> tuple[Hi, Lo]:
    """Return a number that is not negative over 0 < divisor < 2^32, rounded down."""
    high = np.uint64(hi)
    third = high >> _32
    rest = (third % divisor) << _32 | (high & _LOW)
    second = rest // divisor
    rest = (rest % divisor) << _32 | (lo >> _32)
    first = rest // divisor
    rest = (rest % divisor) << _32 | (lo & _LOW)
    quotient_high = (third // divisor) << _32 | second
    return np.int64(quotient_high), first << _32 | (rest // divisor)


@njit("Tuple((uint64, uint64))(int64, uint64)", cache=True)
def _magnitude(hi: Hi, lo: Lo) -> tuple[Lo, Lo]:
    high = np.uint64(hi)
    if hi < 0:
        return ~high + (_1 if lo == _0 else _0), ~lo + _1
    return high, lo


@njit("int64(int64, uint64, int64, uint64)", cache=True)
def ratio(hi: Hi, lo: Lo, by_hi: Hi, by_lo: Lo) -> Hi:
    """Return one number over another in 1e-9, rounded to zero; 0 where the other is not positive.

    Beyond int64 it is the int64 that is nearest.
    """
    if by_hi < 0 or (by_hi == 0 and by_lo == _0):
        return 0
    over, by = np.uint64(by_hi), by_lo
    high, low = _magnitude(hi, lo)
    limbs = np.empty(5, np.uint64)
    carry = _0
    for k, word in enumerate((low & _LOW, low >> _32, high & _LOW, high >> _32)):
        product = word * _BILLION + carry
        limbs[k] = product & _LOW
        carry = product >> _32
    limbs[4] = carry
    rest_high, rest, quotient = _0, _0, _0
    for k in range(4, -1, -1):
        for bit in range(32):
            if quotient >= _TOP:
                return -_MOST if hi < 0 else _MOST
            taken = (limbs[k] >> (_31 - np.uint64(bit))) & _1
            rest_high = rest_high << _1 | rest >> np.uint64(63)
            rest = rest << _1 | taken
            quotient <<= _1
            if rest_high > over or (rest_high == over and rest >= by):
                rest_high -= over + (_1 if rest < by else _0)
                rest -= by
                quotient |= _1
    return -np.int64(quotient) if hi < 0 else np.int64(quotient)


@njit("int64(int64, int64)", cache=True)
def ratio_64(value: Hi, by: Hi) -> Hi:
    """As `ratio`, of two int64."""
    return ratio(value >> 63, np.uint64(value), by >> 63, np.uint64(by))
