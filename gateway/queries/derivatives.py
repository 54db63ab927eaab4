"""What is known of contracts at a position: metrics now, at one venue or all, and over time."""

from tidemill.gateway.queries.answer import FRESH_NS, names
from tidemill.gateway.queries.clickhouse import Row
from tidemill.gateway.queries.parameters import Asked, Venue
from tidemill.gateway.queries.problems import Problem
from tidemill.gateway.queries.resolve import Instrument, bindings, contracts
from tidemill.gateway.queries.stores import Bound, Stores
from tidemill.gateway.queries.windows import WindowAsked, window
from tidemill.schemas.enums import DerivativeFlag

VENUE = "BINANCE"
TABLES = ("derivative_metrics", "trades", "quotes", "instruments")
MARK, INDEX, FUNDING, NEXT_FUNDING, INTERVAL, INTEREST = range(6)
"""Bits of `fields`: which of the values of kind derivative were ever given."""


class DerivativeAsked(Asked):
    """Whose contract."""

    venue: Venue = VENUE


class DerivativeHistoryAsked(WindowAsked):
    """Whose contract, how far back."""

    venue: Venue = VENUE


def known(row: Row, *bits: int) -> bool:
    """Return whether all of these values were given."""
    return all(row["fields"] >> bit & 1 for bit in bits)


def flags(row: Row, now_ns: int | None) -> list[str]:
    """Return what is to be known of a row; STALE where the venue has said nothing for 30 s."""
    stale = now_ns is not None and now_ns - row["recv_ns"] > FRESH_NS
    return [*names(DerivativeFlag, row["flags"]), *(["STALE"] if stale else [])]


async def newest(
    stores: Stores, bound: Bound, symbol: str, venue: str | None, bit: int
) -> list[tuple[Instrument, Row]]:
    """Return of each venue the first contract, perpetual before dated, of which `bit` is known.

    Raises Problem (404, SYMBOL_NOT_FOUND or NO_DATA).
    """
    found = await contracts(stores, bound, symbol, venue)
    rows = await stores.newest("derivatives", bound, bindings(found), len(found))
    of = {(row["symbol"], row["venue"]): row for row in rows if known(row, bit)}
    first: dict[str, tuple[Instrument, Row]] = {}
    for one in found:
        if (one.symbol, one.venue) in of:
            first.setdefault(one.venue, (one, of[one.symbol, one.venue]))
    if not first:
        raise Problem(404, "NO_DATA", f"nothing of the contracts of {symbol} up to r {bound.root}")
    return list(first.values())


async def history(
    stores: Stores, bound: Bound, symbol: str, asked: DerivativeHistoryAsked, bit: int
) -> tuple[Instrument, list[Row]]:
    """Return a contract and its rows over a window of time, oldest first."""
    one = (await newest(stores, bound, symbol, asked.venue, bit))[0][0]
    cut = await window(stores, bound, asked.hours, asked.limit)
    values = {"symbol": one.symbol, "venue": one.venue, **cut}
    rows = await stores.ask("derivatives_history", bound, values)
    return one, [row for row in reversed(rows) if known(row, bit)]
