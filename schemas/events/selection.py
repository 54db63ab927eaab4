"""How configuration names itself and says which instruments it is for."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field, StringConstraints

_ID = r"[A-Z0-9][A-Z0-9_\-/:]{0,47}\.[A-Z0-9_]{1,16}"
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
Pattern = Annotated[str, StringConstraints(pattern=rf"^(\*|\*\.[A-Z0-9_]{{1,16}}|{_ID})$")]
Patterns = Annotated[tuple[Pattern, ...], Field(min_length=1, max_length=200, strict=False)]
"""Instrument ids (``BTCUSDT.BINANCE``), ``*.BINANCE`` or ``*``."""


def selects(patterns: Iterable[str], symbol: str, venue: str) -> bool:
    """Return whether an instrument is among those that patterns name."""
    return any(one in ("*", f"*.{venue}", f"{symbol}.{venue}") for one in patterns)


def overlap(some: Iterable[str], others: Iterable[str]) -> bool:
    """Return whether there can be an instrument that both name."""
    others = tuple(others)
    return any(_meet(one, other) for one in some for other in others)


def _meet(one: str, other: str) -> bool:
    if "*" in (one, other) or one == other:
        return True
    symbol, _, venue = one.rpartition(".")
    other_symbol, _, other_venue = other.rpartition(".")
    return venue == other_venue and "*" in (symbol, other_symbol)
