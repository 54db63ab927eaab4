"""Decimal text to mantissa and exponent, and back: exact, and never through a float.

value = mantissa x 10^exponent. `mantissa_of` reads one number (0.5 us, measured; a numba parser
called for one number takes 2 us); `exact.mantissas_of` reads a batch (0.03 us each). No numba here,
so that processes without kernels stay small.
"""

import re
from decimal import Decimal

from tidemill.schemas.errors import Unreadable

TEXT_CHARS_MAX = 64
"""Longest number that is read."""
INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1

# JSON's grammar of numbers with leading zeros allowed; ASCII digits only.
_DECIMAL = re.compile(r"(-?[0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]{1,3}))?")


def parse_decimal(text: bytes | str) -> tuple[int, int]:
    """Return (mantissa, exponent) as written: ``61837.6300`` is (618376300, -4).

    Raises Unreadable for anything but ``-?digits[.digits][e[+-]digits]`` of 64 characters at most.
    """
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    match = _DECIMAL.fullmatch(text) if len(text) <= TEXT_CHARS_MAX else None
    if match is None:
        raise Unreadable(f"{text[:TEXT_CHARS_MAX]!r} is no decimal number")
    whole, fraction, power = match.groups(default="")
    return int(whole + fraction), int(power or 0) - len(fraction)


def mantissa_of(text: bytes | str, exponent: int) -> int:
    """Return the int64 mantissa of `text` at `exponent`: ``0.50`` at -8 is 50000000.

    Raises Unreadable where `text` is no number, needs more digits than `exponent` has (zeros at the
    end do not count), or does not fit int64.
    """
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    whole, _, fraction = text.partition(".")
    digits = whole + fraction
    # The usual case: plain digits with exactly the decimals asked for, surely within int64.
    if (
        len(fraction) == -exponent > 0
        and len(digits) <= 18
        and whole
        and digits.isascii()
        and digits.isdigit()
    ):
        return int(digits)
    return _at(*parse_decimal(text), exponent, text)


def _at(mantissa: int, written: int, exponent: int, text: str) -> int:
    """Return `mantissa` x 10^`written` at `exponent`, exactly."""
    shift = written - exponent
    if mantissa == 0:
        return 0
    if shift > 19:
        raise Unreadable(f"{text!r} does not fit int64 at exponent {exponent}")
    if shift >= 0:
        mantissa *= 10**shift
    else:
        mantissa, rest = divmod(mantissa, 10**-shift)
        if rest:
            raise Unreadable(f"{text!r} needs more digits than exponent {exponent} has")
    if not INT64_MIN <= mantissa <= INT64_MAX:
        raise Unreadable(f"{text!r} does not fit int64 at exponent {exponent}")
    return mantissa


def decimal_of(mantissa: int, exponent: int) -> Decimal:
    """Return the exact Decimal, whatever the decimal context's precision is."""
    return Decimal(f"{mantissa}E{exponent}")


def text_of(mantissa: int, exponent: int) -> str:
    """Write mantissa x 10^exponent in plain digits with -exponent decimals."""
    return f"{decimal_of(mantissa, exponent):f}"
