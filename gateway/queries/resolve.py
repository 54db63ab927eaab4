"""Which instruments a name means: a venue's symbol, or a pair where no symbol is called that."""

from decimal import Decimal
from typing import NamedTuple

import asyncpg

from tidemill.gateway.queries.problems import symbol_not_found
from tidemill.gateway.queries.stores import Bound, Stores
from tidemill.schemas.identifiers import InstrumentId


class Instrument(NamedTuple):
    """One instrument of those that a name means."""

    symbol: str
    venue: str
    product: str
    pair: str
    kind: str = "SPOT"
    multiplier: Decimal = Decimal(1)
    """Units of base (of quote where `inverse`) of a quantity of 1."""
    inverse: bool = False

    @property
    def id(self) -> str:
        """``SYMBOL.VENUE``."""
        return str(InstrumentId(self.symbol, self.venue))


async def instruments(
    stores: Stores, bound: Bound, name: str, venue: str | None = None
) -> list[Instrument]:
    """Return the instruments of `name`, at `venue` if that is given; spot first.

    ``BTCUSDT`` means all venues' BTCUSDT; ``BTC-USDT`` and ``BTC/USDT`` all instruments of the
    pair, unless a venue has a symbol of that name. Raises Problem (404, SYMBOL_NOT_FOUND).
    """
    pair = name.replace("-", "/")
    rows = await stores.records("resolve", bound, bound.root, name, pair)
    by_symbol = any(row["by_symbol"] for row in rows)
    found = [
        _instrument(row)
        for row in rows
        if row["by_symbol"] == by_symbol and venue in (None, row["venue"])
    ]
    if not found:
        raise symbol_not_found(name, venue)
    return found


def _instrument(row: asyncpg.Record) -> Instrument:
    """Version 1 of the table knows no contracts."""
    return Instrument(
        row["symbol"],
        row["venue"],
        row["product"],
        f"{row['base']}/{row['quote']}",
        row.get("kind", "SPOT"),
        row.get("contract_multiplier", Decimal(1)),
        bool(row.get("inverse", 0)),
    )


async def contracts(
    stores: Stores, bound: Bound, name: str, venue: str | None = None
) -> list[Instrument]:
    """Return the contracts of `name`, perpetual ones first: itself, or those of its pair.

    ``BTCUSDT`` is a spot symbol at most venues: its funding is that of the contracts of BTC/USDT.
    Raises Problem (404, SYMBOL_NOT_FOUND).
    """
    named = await instruments(stores, bound, name)
    if all(one.kind == "SPOT" for one in named):
        named = await instruments(stores, bound, named[0].pair)
    found = [one for one in named if one.kind != "SPOT" and venue in (None, one.venue)]
    if not found:
        raise symbol_not_found(f"{name}: no contract", venue)
    return sorted(found, key=lambda one: (one.kind != "PERPETUAL", one.venue, one.symbol))


def bindings(found: list[Instrument]) -> dict[str, list[str]]:
    """Return the parameters of a statement about these instruments.

    Symbols and venues let it use the order of the table; the ids say exactly which are meant.
    """
    return {
        "symbols": sorted({one.symbol for one in found}),
        "venues": sorted({one.venue for one in found}),
        "ids": [one.id for one in found],
    }
