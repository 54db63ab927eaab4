"""Which instruments a name means: a venue's symbol, or a pair where no symbol is called that."""

from typing import NamedTuple

from tidemill.gateway.queries.problems import symbol_not_found
from tidemill.gateway.queries.stores import Bound, Stores
from tidemill.schemas.identifiers import InstrumentId


class Instrument(NamedTuple):
    """One instrument of those that a name means."""

    symbol: str
    venue: str
    product: str
    pair: str

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
        Instrument(row["symbol"], row["venue"], row["product"], f"{row['base']}/{row['quote']}")
        for row in rows
        if row["by_symbol"] == by_symbol and venue in (None, row["venue"])
    ]
    if not found:
        raise symbol_not_found(name, venue)
    return found


def bindings(found: list[Instrument]) -> dict[str, list[str]]:
    """Return the parameters of a statement about these instruments.

    Symbols and venues let it use the order of the table; the ids say exactly which are meant.
    """
    return {
        "symbols": sorted({one.symbol for one in found}),
        "venues": sorted({one.venue for one in found}),
        "ids": [one.id for one in found],
    }
