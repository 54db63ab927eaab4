"""Bybit's instruments: what `instruments-info` says of one, and what its symbol alone tells."""

from decimal import Decimal, InvalidOperation
from re import compile as pattern
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError

from tidemill.schemas.errors import Unreadable
from tidemill.schemas.events.instrument import InstrumentDefined

VENUE = "BYBIT"
INSTRUMENTS = "/v5/market/instruments-info"
KINDS = {"LinearPerpetual": "PERPETUAL", "LinearFutures": "FUTURE"}
STATUSES = {"Trading": "TRADING", "Closed": "DELISTED"}
"""Every other one (PreLaunch, Delivering) is not traded now."""
LISTED = {"SPOT": ("",), "LINEAR": ("PreLaunch", "", "Delivering")}
"""Statuses in the order of a contract's life; without one those that trade are answered.

``Closed`` is not asked for: a symbol that was closed and listed anew would be both.
"""
HEADROOM = 2
"""Decimals beyond the tick's and the lot's: index prices and averages are finer, steps change."""
DECIMALS_MAX = 18
"""Of price and quantity together."""
QUOTES = (
    "USDT", "USDC", "USDE", "USD1", "USDQ", "USDR", "RLUSD", "EUR", "BRL", "PLN", "TRY", "BTC",
    "ETH", "SOL", "MNT", "DAI",
)  # fmt: skip
"""What spot prices are in, for captures without definitions; the longest that fits is taken."""
CONTRACT_QUOTES = ("USDT", "USDC", "USD1", "USDE")
_DATED = pattern(r"([A-Z0-9]+?)-\d{1,2}[A-Z]{3}\d{2}")


def symbol_of(product: str, raw: str) -> str:
    """Our name of Bybit's `raw`: BTCUSDT-SPOT, BTCUSDT-LINEAR."""
    return f"{raw}-{product}"


def raw_of(product: str, symbol: str) -> str:
    """Bybit's name of our `symbol`."""
    return symbol.removesuffix(f"-{product}")


def listing_path(product: str, status: str) -> str:
    """REST path of the first page of the instruments of a status."""
    path = f"{INSTRUMENTS}?category={product.lower()}"
    path += "" if product == "SPOT" else "&limit=1000"
    return f"{path}&status={status}" if status else path


def page_after(path: str, cursor: str) -> str:
    """REST path of the page after that of `path`; empty without a cursor, which is as the venue
    wrote it (it escapes its marks itself)."""
    first = path.partition("&cursor=")[0]
    return f"{first}&cursor={quote(cursor, safe='%')}" if cursor else ""


def definition(product: str, entry: dict[str, Any]) -> InstrumentDefined:
    """Return what one entry of `instruments-info` defines. Raises Unreadable, KeyError."""
    raw, lots = entry["symbol"], entry["lotSizeFilter"]
    tick, places = entry["priceFilter"]["tickSize"], 0
    said: dict[str, Any]
    if product == "SPOT":
        lot, least = lots["basePrecision"], lots.get("minOrderAmt")
        said = {"kind": "SPOT"}
    else:
        lot, least, places = lots["qtyStep"], lots.get("minNotionalValue"), int(entry["priceScale"])
        kind = KINDS.get(entry["contractType"])
        if kind is None:
            raise Unreadable(f"{raw} is no {product} but {entry['contractType']}")
        interval_s = int(entry["fundingInterval"] or 0) * 60 if kind == "PERPETUAL" else 0
        said = {
            "kind": kind,
            "settle": entry["settleCoin"],
            "funding_interval_s": interval_s,
            "ts_listed": _ms(entry["launchTime"]),
            "ts_expires": _ms(entry["deliveryTime"]),  # of a perpetual: when it is delisted
        }
    price_exponent, quantity_exponent = _exponents(max(places, _decimals(tick)), _decimals(lot))
    return _validated(
        {
            **said,
            "symbol": symbol_of(product, raw),
            "product": product,
            "raw_symbol": raw,
            "base": entry["baseCoin"],
            "quote": entry["quoteCoin"],
            "status": STATUSES.get(entry["status"], "HALTED"),
            "price_exponent": price_exponent,
            "quantity_exponent": quantity_exponent,
            "tick_size": _plain(tick),
            "lot_size": _plain(lot),
            "min_notional": _plain(least or "0"),
        }
    )


def inferred(product: str, raw: str) -> InstrumentDefined | None:
    """Guess a definition from the venue's symbol alone; None where it tells none."""
    kind, name = ("SPOT" if product == "SPOT" else "PERPETUAL"), raw
    if product == "LINEAR":
        if (dated := _DATED.fullmatch(raw)) is not None:
            kind, name = "FUTURE", dated[1]
        elif raw.endswith("PERP"):
            name = f"{raw.removesuffix('PERP')}USDC"
        if kind == "FUTURE" and not name.endswith(CONTRACT_QUOTES):
            name += "USDC"
    known = QUOTES if product == "SPOT" else CONTRACT_QUOTES
    fitting = [quote for quote in known if name.endswith(quote) and len(name) > len(quote)]
    if not fitting:
        return None
    quote = max(fitting, key=len)
    try:
        return _validated(
            {
                "symbol": symbol_of(product, raw),
                "product": product,
                "kind": kind,
                "raw_symbol": raw,
                "base": name.removesuffix(quote),
                "quote": quote,
                "settle": "" if product == "SPOT" else quote,
                "source": "CAPTURE",
            }
        )
    except Unreadable:
        return None


def _validated(said: dict[str, Any]) -> InstrumentDefined:
    try:
        return InstrumentDefined.model_validate({"venue": VENUE, **said})
    except ValidationError as error:
        raise Unreadable(f"{said['raw_symbol']} has no valid definition: {error}") from error


def _exponents(price_places: int, quantity_places: int) -> tuple[int, int]:
    """Exponents with as much headroom as 18 decimals of both together leave."""
    headroom = min(2 * HEADROOM, max(0, DECIMALS_MAX - price_places - quantity_places))
    of_prices = (headroom + 1) // 2
    return -(price_places + of_prices), -(quantity_places + headroom - of_prices)


def _decimals(text: str) -> int:
    try:
        exponent = Decimal(text).normalize().as_tuple().exponent
    except InvalidOperation as error:
        raise Unreadable(f"{text!r} is no step") from error
    if not isinstance(exponent, int):
        raise Unreadable(f"{text!r} is no step")
    return max(0, -exponent)


def _plain(text: str) -> str:
    """A decimal without zeros at its end."""
    _decimals(text)
    return f"{Decimal(text).normalize():f}"


def _ms(text: str) -> int:
    """A time in ms as ns; 0 stays 0."""
    return int(text or 0) * 1_000_000
