"""What messages said one by one, joined."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill.streams.feeds.feed import BookMessages, Decoded, Said


def joined(parts: Sequence[Said]) -> Said:
    """Return what `parts` say together."""
    leads = [part.lead_ns for part in parts if part.lead_ns is not None]
    return Said(
        **{name: _joined(name, parts) for name in _DECODED},
        firsts=_joined_beside("firsts", parts),
        identities=_joined_beside("identities", parts),
        books=_joined_books(parts),
        lead_ns=max(leads, default=None),
        ignored=sum(part.ignored for part in parts),
        acknowledged=[i for part in parts for i in part.acknowledged],
        refused=[r for part in parts for r in part.refused],
        malformed=[m for part in parts for m in part.malformed],
        listed=[page for part in parts for page in part.listed],
        shutdown=any(part.shutdown for part in parts),
    )


_DECODED = ("trades", "quotes", "derivatives", "liquidations", "venue_bars")


def _joined(name: str, parts: Sequence[Said]) -> Decoded | None:
    found: list[Decoded] = [d for part in parts if (d := getattr(part, name)) is not None]
    if not found:
        return None
    return Decoded(
        np.concatenate([d.owners for d in found]), np.concatenate([d.records for d in found])
    )


def _joined_beside(name: str, parts: Sequence[Said]) -> NDArray[Any] | None:
    found: list[NDArray[Any]] = [v for part in parts if (v := getattr(part, name)) is not None]
    return np.concatenate(found) if found else None


def _joined_books(parts: Sequence[Said]) -> BookMessages | None:
    found = [part.books for part in parts if part.books is not None]
    if not found:
        return None
    messages = np.concatenate([books.messages for books in found])
    messages["start"] = np.cumsum(messages["count"]) - messages["count"]
    return BookMessages(
        np.concatenate([books.owners for books in found]),
        messages,
        np.concatenate([books.levels for books in found]),
    )
