"""The venue files there are, by venue and product."""

from tidemill.streams.feeds.binance_spot import BinanceSpot
from tidemill.streams.feeds.feed import Venue
from tidemill.streams.feeds.live import Endpoints

VENUES: dict[tuple[str, str], Venue] = {
    (venue.venue, venue.product): venue
    for venue in (BinanceSpot("BINANCE"), BinanceSpot("BINANCE_US"))
}

ENDPOINTS: dict[tuple[str, str], Endpoints] = {
    ("BINANCE", "SPOT"): Endpoints("wss://stream.binance.com:9443", "https://api.binance.com"),
    ("BINANCE_US", "SPOT"): Endpoints("wss://stream.binance.us:9443", "https://api.binance.us"),
}
"""Where the venues themselves are."""


def venue_of(venue: str, product: str) -> Venue:
    """Return the venue file. Raises ValueError, naming those there are."""
    found = VENUES.get((venue, product))
    if found is None:
        known = ", ".join(" ".join(key) for key in VENUES)
        raise ValueError(f"there is no feed of {venue} {product}; there are {known}")
    return found
