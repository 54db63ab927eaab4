"""Exact numbers as the venues write them: an integer of so many decimal places, as text."""

from functools import lru_cache

DECIMALS = 8  # of prices here, whatever their tick
UNIT = 10**DECIMALS


@lru_cache(maxsize=1 << 16)
def decimal(mantissa: int) -> str:
    """A non-negative number with eight decimals: 6183763000000 is "61837.63000000"."""
    return f"{mantissa // UNIT}.{mantissa % UNIT:08d}"


@lru_cache(maxsize=1 << 16)
def fixed(mantissa: int, places: int) -> str:
    """A number with all its places: (6183700, 2) is "61837.00", (5, 0) is "5"."""
    if places <= 0:
        return str(mantissa * 10**-places)
    sign, digits = "-" if mantissa < 0 else "", abs(mantissa)
    return f"{sign}{digits // 10**places}.{digits % 10**places:0{places}d}"


def plain(mantissa: int, places: int) -> str:
    """A number without zeros at its end: (6183700, 2) is "61837", (50, 2) is "0.5"."""
    text = fixed(mantissa, places)
    return text.rstrip("0").rstrip(".") if "." in text else text
