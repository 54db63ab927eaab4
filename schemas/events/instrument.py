"""Instrument definitions: full records on listing, change, halt and delisting."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from tidemill.schemas import identifiers
from tidemill.schemas.events.event import Event
from tidemill.schemas.identifiers import InstrumentId

DecimalText = Annotated[str, StringConstraints(pattern=r"^-?\d{1,30}(\.\d{1,18})?$")]
"""An exact number as text; never a float."""
Name = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9][A-Z0-9_\-/:]{0,47}$")]
Asset = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{1,24}$")]


class InstrumentDefined(Event):
    """What one instrument is from here on; the newest definition counts.

    `base` and `quote` name the canonical pair, for contracts too. `product` is the feed's product
    (SPOT, USDM, ...): its ``md.status.<VENUE>.<PRODUCT>.all`` closes this instrument's bars.
    Exponents are those of the venue's prices and quantities (-8: 8 decimals).
    """

    venue: Name
    symbol: Name
    product: Name
    base: Asset
    quote: Asset
    status: Literal["TRADING", "HALTED", "DELISTED"] = "TRADING"
    price_exponent: Annotated[int, Field(ge=-18, le=9)] = -8
    quantity_exponent: Annotated[int, Field(ge=-18, le=9)] = -8
    tick_size: DecimalText = "0"
    lot_size: DecimalText = "0"
    min_notional: DecimalText = "0"
    ts_event: int = 0
    source: Literal["VENUE", "CAPTURE", "CONFIGURED"] = "VENUE"

    @property
    def instrument_id(self) -> InstrumentId:
        """The instrument's identifier."""
        return InstrumentId(self.symbol, self.venue)

    @property
    def pair(self) -> str:
        """Its canonical pair, ``BASE/QUOTE``."""
        return identifiers.pair(self.base, self.quote)
