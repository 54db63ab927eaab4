"""What is known of contracts at a position: metrics now, at one venue or all, and over time."""

from collections.abc import Callable
from typing import Any

from tidemill.gateway.queries.answer import FRESH_NS, Answer, names
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


Item = Callable[[Instrument, Row, int | None], dict[str, Any]]
"""Makes what is answered of a contract's row, at a time (ns; None: not said how fresh it is)."""


async def answer_newest(
    stores: Stores, asked: DerivativeAsked, symbol: str, bit: int, item: Item
) -> Answer:
    """Answer of the first contract of a symbol or pair at one venue."""
    bound = await stores.bind(asked, *TABLES)
    one, row = (await newest(stores, bound, symbol, asked.venue, bit))[0]
    made = item(one, row, await stores.time_of(bound))
    return Answer(made, bound, made["flags"])


async def answer_all(
    stores: Stores,
    asked: Asked,
    symbol: str,
    bit: int,
    item: Item,
    summary: Callable[[dict[str, dict[str, Any]]], dict[str, Any]],
) -> Answer:
    """Answer of every venue that has a contract of the pair, and of all together."""
    bound = await stores.bind(asked, *TABLES)
    found = await newest(stores, bound, symbol, None, bit)
    now_ns = await stores.time_of(bound)
    items = {one.venue: item(one, row, now_ns) for one, row in found}
    flagged = [flag for made in items.values() for flag in made["flags"]]
    return Answer({"exchanges": items, "summary": summary(items)}, bound, flagged)


async def answer_history(
    stores: Stores, asked: DerivativeHistoryAsked, symbol: str, bit: int, item: Item
) -> Answer:
    """Answer of a contract over a window of time, oldest first."""
    bound = await stores.bind(asked, *TABLES)
    one, rows = await history(stores, bound, symbol, asked, bit)
    return Answer([item(one, row, None) for row in rows], bound)
