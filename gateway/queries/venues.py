"""What a pair's venues last traded at, and which of them are fresh: the rules of the price."""

import asyncio
from typing import NamedTuple

from tidemill.gateway.queries.answer import FRESH_NS
from tidemill.gateway.queries.resolve import Instrument, bindings
from tidemill.gateway.queries.stores import Bound, Stores


class LastPrice(NamedTuple):
    """An instrument's last price; fresh where a trade or quote came within 30 s."""

    symbol: str
    venue: str
    price: str
    fresh: bool


async def last_prices(
    stores: Stores, bound: Bound, found: list[Instrument], now_ns: int
) -> list[LastPrice]:
    """Return the last prices of `found` at a position and time, by venue."""
    traded, quoted = await asyncio.gather(
        stores.newest("last_prices", bound, bindings(found), len(found)),
        stores.newest("last_quoted", bound, bindings(found), len(found)),
    )
    heard = {(row["symbol"], row["venue"]): row["recv_ns"] for row in quoted}
    prices = []
    for row in traded:
        newest_ns = max(row["recv_ns"], heard.get((row["symbol"], row["venue"]), 0))
        fresh = now_ns - newest_ns <= FRESH_NS
        prices.append(LastPrice(row["symbol"], row["venue"], row["last_price"], fresh))
    return prices
