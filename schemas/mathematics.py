"""The natural logarithm and its inverse: the same bits on every machine, whatever its libraries."""

import math

import numpy as np
from numba import float64, njit

LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
"""ln 2 in two parts, the first with enough trailing zeros that its multiples are exact."""
# Coefficients of the even polynomial that approximates (log(1+f) - 2s) / s, s = f / (2+f), on
# sqrt(1/2) < 1+f < sqrt(2), by Remez' algorithm to 2^-58.45: FreeBSD msun, e_log.c (Sun, 1993).
_L1, _L2, _L3 = 6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01
_L4, _L5, _L6 = 2.222219843214978396e-01, 1.818357216161805012e-01, 1.531383769920937332e-01
_L7 = 1.479819860511658591e-01
_ROOT_HALF = 0.7071067811865476
# Coefficients in r^2 of r (exp(r) + 1) / (exp(r) - 1) - 2 on |r| < ln(2)/2, by Remez' algorithm to
# 2^-59: FreeBSD msun, e_exp.c (Sun, 1993).
_P1, _P2, _P3 = 1.66666666666666019037e-01, -2.77777777770155933842e-03, 6.61375632143793436117e-05
_P4, _P5 = -1.65339022054652515390e-06, 4.13813679705723846039e-08
_EXP_MOST, _EXP_LEAST = 7.09782712893383973096e02, -7.45133219101941108420e02
"""Above, exp is not a double any more; below, it is nearer to 0 than to the least of them."""
_TINY = 2.0**-1000


@njit(float64(float64), cache=True, error_model="numpy")
def log(x: float) -> float:
    """Return the natural logarithm of `x`, off by less than one unit in the last place.

    -inf for 0, NaN below 0 and for NaN. x = 2^k (1+f); log(1+f) by the polynomial above, and its
    parts added smallest first. `frexp` only takes a number apart and is exact.
    """
    if x != x or x == np.inf:
        return x
    if x <= 0.0:
        return -np.inf if x == 0.0 else np.nan
    fraction, exponent = math.frexp(x)
    if fraction < _ROOT_HALF:
        fraction *= 2.0
        exponent -= 1
    f = fraction - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    odd = z * (_L1 + w * (_L3 + w * (_L5 + w * _L7)))
    even = w * (_L2 + w * (_L4 + w * _L6))
    half = 0.5 * f * f
    k = float(exponent)
    return k * LN2_HIGH - ((half - (s * (half + (odd + even)) + k * LN2_LOW)) - f)


@njit(float64(float64), cache=True, error_model="numpy")
def exp(x: float) -> float:
    """Return e to the power of `x`, off by less than one unit in the last place.

    inf where that is too large for a double, NaN for NaN. x = k ln 2 + r, |r| <= ln(2)/2; exp(r) is
    the fraction of the polynomial above, and `ldexp` sets an exponent, exactly: where the result
    has no exponent of its own, one product rounds it.
    """
    if x != x:
        return x
    if x > _EXP_MOST:
        return np.inf
    if x < _EXP_LEAST:
        return 0.0
    k = int(x / LN2_HIGH + (0.5 if x >= 0.0 else -0.5))
    high, low = x - k * LN2_HIGH, k * LN2_LOW
    r = high - low
    z = r * r
    c = r - z * (_P1 + z * (_P2 + z * (_P3 + z * (_P4 + z * _P5))))
    y = 1.0 - ((low - (r * c) / (2.0 - c)) - high)
    if k > 1000:
        return math.ldexp(y, k - 1) * 2.0
    if k < -1000:
        return math.ldexp(y, k + 1000) * _TINY
    return math.ldexp(y, k)
