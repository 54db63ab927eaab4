"""The order book of one instrument at any position, and whether it is proven."""

from typing import NamedTuple

from tidemill.gateway.queries.answer import names
from tidemill.gateway.queries.clickhouse import Row
from tidemill.gateway.queries.stores import Bound, Stores
from tidemill.schemas.enums import BookFlag

EVERY_RECORD = 2**32 - 1
"""Index behind the last record of a root: the book after the whole root."""
TABLES = ("book_levels", "book_snapshots", "book_metrics")


class Place(NamedTuple):
    """Whose book, after record `i` of the root that an answer is bound to."""

    symbol: str
    venue: str
    i: int = EVERY_RECORD


async def state(stores: Stores, bound: Bound, place: Place) -> Row | None:
    """Return the newest row of a book's metrics; None for a book that was never heard of."""
    rows = await stores.newest("book_state", bound, place._asdict(), 1)
    return rows[0] if rows else None


async def start(stores: Stores, bound: Bound, place: Place) -> Row | None:
    """Return where the newest whole book at or before a place stands."""
    rows = await stores.newest("book_start", bound, place._asdict(), 1)
    return rows[0] if rows else None


async def levels(
    stores: Stores, bound: Bound, place: Place, begin: Row | None, limit: int
) -> list[Row]:
    """Return the best levels of both sides, bids first, best first: exactly as they stood.

    A venue's message takes effect whole, with its last record. From the whole book at `begin`
    (see `start`) and the changes after it, of which there are at most about as many as the
    book has levels: so it costs the same however long LOG is.
    """
    if begin is None:
        return []
    since = {"start_r": begin["r"], "start_i": begin["i"], "limit": limit}
    return await stores.ask("order_book", bound, {**place._asdict(), **since})


def flags(row: Row | None) -> list[str]:
    """Return what is to be known of a book: its state unless it is VALID, and its flags."""
    if row is None:
        return ["SYNCHRONIZING"]
    unproven = [] if row["state"] == "VALID" else [row["state"]]
    return [*unproven, *names(BookFlag, row["flags"])]
