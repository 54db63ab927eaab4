"""Which protocols the simulated venues speak, and how each looks at what assets are worth."""

from collections.abc import Callable, Sequence

from tidemill.deploy.exchange.binance import BinanceSpot
from tidemill.deploy.exchange.binance_usdm import BinanceUsdm
from tidemill.deploy.exchange.bybit import Bybit
from tidemill.deploy.exchange.exchange import Exchange, Opening
from tidemill.deploy.exchange.fundamental import Outlook
from tidemill.deploy.exchange.limits import Limits
from tidemill.deploy.exchange.okx import Okx
from tidemill.deploy.exchange.protocol import Protocol

PROTOCOLS: dict[str, tuple[type[Protocol], ...]] = {
    "BINANCE": (BinanceSpot, BinanceUsdm),
    "BINANCE_US": (BinanceSpot,),
    "BYBIT": (Bybit,),
    "OKX": (Okx,),
}

# Binance leads; the others follow some tenths of a second later, a basis point off.
OUTLOOKS = {
    "BINANCE": Outlook(),
    "BINANCE_US": Outlook(lag_s=0.3, noise=1e-4),
    "BYBIT": Outlook(lag_s=0.1, noise=1e-4),
    "OKX": Outlook(lag_s=0.2, noise=1e-4),
}


def products(venue: str) -> list[str]:
    """The products that a venue offers here."""
    return [product for protocol in PROTOCOLS[venue] for product in protocol.products]


def exchange_of(
    venue: str,
    wanted: Sequence[str],
    names: Sequence[str],
    clock_us: Callable[[], int],
    opening: Opening | None = None,
    limits: Limits | None = None,
) -> Exchange:
    """A venue with our `names` listed in each of the products `wanted`.

    Raises Unreadable for a symbol that cannot be, ValueError for a product that is not offered.
    """
    spoken = [p for p in PROTOCOLS[venue] if set(p.products) & set(wanted)]
    exchange = Exchange(venue, spoken, clock_us, opening, limits)
    for product in wanted:
        for name in dict.fromkeys(names):
            exchange.open(product, name)
    return exchange
