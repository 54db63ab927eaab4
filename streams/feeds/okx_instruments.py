"""What OKX says of its instruments, as definitions."""

from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from tidemill.schemas.errors import Unreadable
from tidemill.schemas.events.instrument import InstrumentDefined

VENUE = "OKX"
KINDS = {"SPOT": "SPOT", "SWAP": "PERPETUAL", "FUTURES": "FUTURE"}
HALTED = ("suspend", "rebase", "post_only", "preopen", "test", "settling")
PRICE_HEADROOM, QUANTITY_HEADROOM = 3, 2
"""Decimals beyond the tick's and the lot's: index prices are finer, and steps change."""


def product_of(raw: str) -> str:
    """Return the product of an instrument id, as SWAP of BTC-USDT-SWAP; empty of none of ours."""
    _, *rest = raw.split("-")
    if len(rest) == 1:
        return "SPOT"
    if len(rest) == 2:
        return "SWAP" if rest[1] == "SWAP" else "FUTURES"
    return ""


def listing_path(product: str) -> str:
    """REST path that answers all instruments of a product."""
    return f"/api/v5/public/instruments?instType={product}"


def inferred(product: str, raw: str) -> InstrumentDefined | None:
    """Return what an instrument id alone says, for captures without definitions."""
    if product_of(raw) != product:
        return None
    base, quote = raw.split("-")[:2]
    try:
        return InstrumentDefined.model_validate(
            {
                "venue": VENUE,
                "symbol": raw,
                "product": product,
                "kind": KINDS[product],
                "base": base,
                "quote": quote.partition("_")[0],
                "inverse": product != "SPOT" and quote == "USD",
                "source": "CAPTURE",
            }
        )
    except ValidationError:
        return None


def defined(entry: dict[str, Any]) -> InstrumentDefined:
    """Return what one entry of ``instruments`` defines.

    Raises Unreadable, and what Python raises for one that is unlike the documents.
    """
    product, state = entry["instType"], entry["state"]
    price_exponent, quantity_exponent = _exponents(entry["tickSz"], entry["lotSz"])
    try:
        return InstrumentDefined.model_validate(
            {
                "venue": VENUE,
                "symbol": entry["instId"],
                "product": product,
                "kind": KINDS[product],
                "status": "TRADING" if state == "live" else _stopped(state),
                "price_exponent": price_exponent,
                "quantity_exponent": quantity_exponent,
                "tick_size": _plain(entry["tickSz"]),
                "lot_size": _plain(entry["lotSz"]),
                "ts_listed": _ns(entry["listTime"]),
                "ts_expires": _ns(entry["expTime"]),
                **(_of_spot(entry) if product == "SPOT" else _of_contract(entry)),
            }
        )
    except ValidationError as error:
        raise Unreadable(f"{entry['instId']} has no valid definition: {error}") from error


def _of_spot(entry: dict[str, Any]) -> dict[str, Any]:
    return {"base": entry["baseCcy"], "quote": entry["quoteCcy"]}


def _of_contract(entry: dict[str, Any]) -> dict[str, Any]:
    """A contract's pair is its family's, as BTC-USDT (or BTC-USD_UM)."""
    base, _, quote = (entry.get("instFamily") or entry["uly"]).partition("-")
    multiplier = Decimal(entry["ctVal"]) * Decimal(entry["ctMult"] or "1")
    return {
        "base": base,
        "quote": quote.partition("_")[0],
        "settle": entry["settleCcy"],
        "inverse": entry["ctType"] == "inverse",
        "contract_multiplier": _plain(f"{multiplier:f}"),
    }


def _stopped(state: str) -> str:
    """HALTED for the states that end; DELISTED for ``expired`` and any that is not known."""
    return "HALTED" if state in HALTED else "DELISTED"


def _exponents(tick: str, lot: str) -> tuple[int, int]:
    """Exponents of prices and quantities: the steps' decimals and, where 18 allow, some more."""
    prices, quantities = _decimals(tick), _decimals(lot)
    quantities = max(quantities, min(quantities + QUANTITY_HEADROOM, 8, 18 - prices))
    return -max(prices, min(prices + PRICE_HEADROOM, 18 - quantities)), -quantities


def _decimals(step: str) -> int:
    return len(_plain(step).partition(".")[2])


def _plain(text: str) -> str:
    """A decimal without zeros at its end."""
    whole, dot, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}" if dot and fraction else whole


def _ns(text: str) -> int:
    """Milliseconds as ns; 0 where there is no time."""
    return int(text) * 1_000_000 if text else 0
