"""The venue files there are, by venue and product."""

from tidemill.streams.feeds.binance_spot import BinanceSpot
from tidemill.streams.feeds.binance_usdm import BinanceUsdm
from tidemill.streams.feeds.bybit import CHANNELS as BYBIT_PRODUCTS
from tidemill.streams.feeds.bybit import Bybit
from tidemill.streams.feeds.ccxt_venue import PRODUCT as CCXT
from tidemill.streams.feeds.ccxt_venue import CcxtVenue
from tidemill.streams.feeds.feed import Endpoints, Venue
from tidemill.streams.feeds.okx import SOCKETS as OKX_PRODUCTS
from tidemill.streams.feeds.okx import Okx

_VENUES: tuple[Venue, ...] = (
    BinanceSpot("BINANCE"),
    BinanceSpot("BINANCE_US", "binance.us"),
    BinanceUsdm(),
    *map(Bybit, BYBIT_PRODUCTS),
    *map(Okx, OKX_PRODUCTS),
)
VENUES: dict[tuple[str, str], Venue] = {(venue.venue, venue.product): venue for venue in _VENUES}

ENDPOINTS: dict[tuple[str, str], Endpoints] = {k: v.endpoints for k, v in VENUES.items()}
"""Where the venues themselves are."""


def venue_of(venue: str, product: str) -> Venue:
    """Return the venue file; of product CCXT the generic one, for any venue.

    Raises ValueError, naming those there are.
    """
    found = CcxtVenue(venue) if product == CCXT else VENUES.get((venue, product))
    if found is None:
        known = ", ".join(" ".join(key) for key in VENUES)
        raise ValueError(f"there is no feed of {venue} {product}; there are {known}")
    return found
