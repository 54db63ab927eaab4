"""What can be traded here: symbols with plausible prices, ticks, lots and sizes.

Well-known pairs have the numbers of Binance spot in August 2024 (exchangeInfo; prices rounded).
Any other symbol ending in a known quote asset gets numbers derived from its name alone, so that
three hundred instruments need no list. A protocol gives its instruments their own names, places and
contracts with `listed`.
"""

from dataclasses import dataclass, replace
from zlib import crc32

from tidemill.deploy.exchange.numbers import DECIMALS as DECIMALS
from tidemill.deploy.exchange.numbers import decimal, fixed
from tidemill.schemas.errors import Unreadable

QUOTE_ASSETS = ("FDUSD", "USDT", "USDC", "BTC", "ETH", "BNB", "EUR")
# The price of one quote asset in USD: makes derived prices and sizes plausible in that asset.
QUOTE_USD = {"BTC": 60_000.0, "ETH": 2_600.0, "BNB": 510.0, "EUR": 1.1}


@dataclass(frozen=True)
class Symbol:
    """One instrument of the exchange. Ticks and lots are powers of ten: 10**-places.

    `name` is ours, the same at every venue (BTCUSDT); `raw` is what the venue calls it. A quantity
    of one is 10**contract_places base units: 0 everywhere but where contracts are traded (OKX swaps
    of BTC: -2). Binance spot prints eight decimals whatever the tick (`padded`), the others
    their places.
    """

    name: str
    base: str
    quote: str
    price: float  # where the fundamental starts, in quote asset
    price_places: int  # decimals of the tick size
    qty_places: int  # decimals of the lot size
    order_lots: float  # median size of an order
    raw: str = ""
    product: str = "SPOT"
    contract_places: int = 0
    padded: bool = True

    def price_text(self, ticks: int) -> str:
        """A price as the venue prints it."""
        return decimal(ticks * self.tick) if self.padded else fixed(ticks, self.price_places)

    def qty_text(self, lots: int) -> str:
        """A quantity as the venue prints it."""
        return decimal(lots * self.lot) if self.padded else fixed(lots, self.qty_places)

    def value_text(self, ticks_times_lots: int) -> str:
        """A quote volume, of exact ticks times lots; padded ones are cut off after eight places."""
        if self.padded:
            return decimal(ticks_times_lots * self.tick * self.lot // 10**DECIMALS)
        return fixed(ticks_times_lots, self.price_places + self.qty_places)

    @property
    def derivative(self) -> bool:
        """Whether it has an index, a funding rate and liquidations."""
        return self.product != "SPOT"

    @property
    def tick(self) -> int:
        """The tick size as a mantissa with eight decimals: prices are printed in it."""
        return int(10 ** (DECIMALS - self.price_places))

    @property
    def lot(self) -> int:
        """The lot size as a mantissa with eight decimals."""
        return int(10 ** (DECIMALS - self.qty_places))

    @property
    def price_ticks(self) -> float:
        return float(self.price * 10**self.price_places)


def _known(name: str, quote: str, price: float, price_places: int, qty_places: int) -> Symbol:
    base = name.removesuffix(quote)
    lots = _order_lots(price * QUOTE_USD.get(quote, 1.0), qty_places)
    return Symbol(name, base, quote, price, price_places, qty_places, lots, name)


def listed(
    symbol: Symbol,
    product: str,
    raw: str,
    *,
    price_places: int | None = None,
    qty_places: int | None = None,
    contract_places: int = 0,
) -> Symbol:
    """The same asset as one venue lists it in `product`, under `raw`, with its places."""
    places = symbol.price_places if price_places is None else price_places
    lots = symbol.qty_places if qty_places is None else qty_places
    in_usd = symbol.price * QUOTE_USD.get(symbol.quote, 1.0)
    return replace(
        symbol,
        product=product,
        raw=raw,
        price=max(1, round(symbol.price * 10**places)) / 10**places,
        price_places=places,
        qty_places=lots,
        contract_places=contract_places,
        padded=False,
        order_lots=_order_lots(in_usd, lots - contract_places),
    )


def _order_lots(price_usd: float, qty_places: int) -> float:
    """A median order is worth about 600 USD."""
    return float(max(2.0, 600.0 / price_usd * 10.0**qty_places))


CATALOGUE = {
    symbol.name: symbol
    for symbol in (
        _known("BTCUSDT", "USDT", 61_837.63, 2, 5),
        _known("ETHUSDT", "USDT", 2_683.30, 2, 4),
        _known("BNBUSDT", "USDT", 515.2, 1, 3),
        _known("SOLUSDT", "USDT", 162.05, 2, 3),
        _known("XRPUSDT", "USDT", 0.6123, 4, 0),
        _known("DOGEUSDT", "USDT", 0.10742, 5, 0),
        _known("ADAUSDT", "USDT", 0.3561, 4, 1),
        _known("AVAXUSDT", "USDT", 23.11, 2, 2),
        _known("LINKUSDT", "USDT", 10.54, 2, 2),
        _known("LTCUSDT", "USDT", 61.35, 2, 3),
        _known("BTCUSDC", "USDC", 61_840.01, 2, 5),
        _known("ETHBTC", "BTC", 0.04339, 5, 4),
        _known("BNBBTC", "BTC", 0.008331, 6, 3),
        _known("BTCEUR", "EUR", 56_610.0, 2, 5),
    )
}


def symbol_of(name: str) -> Symbol:
    """The symbol called `name`. Unreadable when it ends in no quote asset known here."""
    if name in CATALOGUE:
        return CATALOGUE[name]
    quote = next((asset for asset in QUOTE_ASSETS if name.endswith(asset)), "")
    base = name.removesuffix(quote)
    if not quote or not base.isalnum() or not name.isascii() or name != name.upper():
        raise Unreadable(f"not a symbol: {name!r}")
    return _derived(name, base, quote)


def _derived(name: str, base: str, quote: str) -> Symbol:
    seed = crc32(base.encode())
    price_usd = 10.0 ** (seed % 5_000 / 1_000 - 2.0)  # 0.01 to 1,000 USD, even in its logarithm
    price = price_usd / QUOTE_USD.get(quote, 1.0)
    price_places, qty_places = 0, 0
    while price_places < DECIMALS and price * 10**price_places < 5_000:
        price_places += 1
    while qty_places < 5 and price_usd / 10**qty_places > 0.5:
        qty_places += 1
    price = max(1, round(price * 10**price_places)) / 10**price_places
    lots = _order_lots(price_usd, qty_places)
    return Symbol(name, base, quote, price, price_places, qty_places, lots, name)
