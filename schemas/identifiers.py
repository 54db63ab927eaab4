"""Names: instruments, venues, pairs, and the partition that a pair lives in for ever.

Identifiers are NautilusTrader's, which are FIX's: ``SYMBOL.VENUE`` (``BTCUSDT.BINANCE``,
``BTCUSDT-PERP.BINANCE``). A pair is ``BASE/QUOTE`` and is canonical over venues and products.
"""

import re
from typing import NamedTuple, Self

PARTITIONS = 64
"""Partitions of a log. Another count is another log: the partition is part of every subject."""

ALL = PARTITIONS
"""The partition number of records that concern every pair; written ``all`` in subjects."""

VENUE_CHARS_MAX = 16
"""Longest name of a venue: what a frame's char16 holds."""

# What a NATS subject token may hold without a wildcard, separator or blank in it.
_TOKEN = re.compile(r"[A-Z0-9][A-Z0-9_\-/:]{0,47}")
_ASSET = re.compile(r"[A-Z0-9]{1,24}")


class InstrumentId(NamedTuple):
    """One instrument at one venue, written ``SYMBOL.VENUE``."""

    symbol: str
    venue: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``SYMBOL.VENUE``. Raises ValueError when it is not of that form."""
        symbol, dot, venue = text.rpartition(".")
        if not dot:
            raise ValueError(f"instrument id {text!r} is not SYMBOL.VENUE, as BTCUSDT.BINANCE is")
        if len(venue) > VENUE_CHARS_MAX:
            raise ValueError(f"venue {venue!r} has more than {VENUE_CHARS_MAX} characters")
        return cls(token(symbol), token(venue))

    def __str__(self) -> str:
        return f"{self.symbol}.{self.venue}"


def token(text: str) -> str:
    """Return `text` when it can stand as one token of a subject. Raises ValueError otherwise."""
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"{text!r} is no name: 1 to 48 of A-Z 0-9 _ - / : are allowed")
    return text


def pair(base: str, quote: str) -> str:
    """Return the canonical pair ``BASE/QUOTE``. Raises ValueError for a malformed asset."""
    for asset in (base, quote):
        if not _ASSET.fullmatch(asset):
            raise ValueError(f"{asset!r} is no asset: 1 to 24 of A-Z and 0-9 are allowed")
    return f"{base}/{quote}"


def fnv1a_32(data: bytes) -> int:
    """FNV-1a of 32 bits (Fowler, Noll, Vo; draft-eastlake-fnv)."""
    value = 0x811C9DC5
    for byte in data:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def partition(pair_name: str) -> int:
    """Return the partition, 0 to 63, of a pair: FNV-1a-32 of its UTF-8 bytes modulo 64."""
    return fnv1a_32(pair_name.encode()) % PARTITIONS


def partition_token(number: int) -> str:
    """Write a partition as it stands in subjects: two digits, or ``all``."""
    return "all" if number == ALL else f"{number:02d}"
