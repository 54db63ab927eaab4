"""Instrument definitions: full records on listing, change, halt and delisting."""

from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import Field, StringConstraints, model_validator

from tidemill.schemas import identifiers
from tidemill.schemas.events.event import Event
from tidemill.schemas.identifiers import InstrumentId

DecimalText = Annotated[str, StringConstraints(pattern=r"^-?\d{1,30}(\.\d{1,18})?$")]
"""An exact number as text; never a float."""
Name = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9][A-Z0-9_\-/:]{0,47}$")]
RawSymbol = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_\-/:.]{0,64}$")]
"""What a venue itself calls an instrument; empty: as we do."""
ShortName = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9][A-Z0-9_\-/:]{0,15}$")]
"""A venue or product: no longer than a frame's char16 holds."""
Asset = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{1,24}$")]
Defined = TypeVar("Defined", "InstrumentDefined", "InstrumentDefinedV1")


def _notionals_fit(defined: Defined) -> Defined:
    """Price x quantity has at most the 18 decimals of the databases' exact columns."""
    if defined.price_exponent + defined.quantity_exponent < -18:
        raise ValueError("price and quantity together have more than 18 decimals")
    return defined


class InstrumentDefined(Event):
    """What one instrument is from here on; the newest definition counts.

    `base` and `quote` name the canonical pair, for contracts too. `product` is the feed's product
    (SPOT, USDM, ...): its ``md.status.<VENUE>.<PRODUCT>.all`` closes this instrument's bars.
    Exponents are those of the venue's prices and quantities (-8: 8 decimals). `raw_symbol` is the
    venue's own name, where it is another; a quantity of 1 is `contract_multiplier` units of base
    (of quote where `inverse`). Times are ns, 0 where there is none.
    """

    channel: ClassVar[str] = "md.instrument"
    version: ClassVar[int] = 2
    venue: ShortName
    symbol: Name
    product: ShortName
    kind: Literal["SPOT", "PERPETUAL", "FUTURE"] = "SPOT"
    base: Asset
    quote: Asset
    settle: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{0,24}$")] = ""
    inverse: bool = False
    raw_symbol: RawSymbol = ""
    status: Literal["TRADING", "HALTED", "DELISTED"] = "TRADING"
    price_exponent: Annotated[int, Field(ge=-18, le=9)] = -8
    quantity_exponent: Annotated[int, Field(ge=-18, le=9)] = -8
    tick_size: DecimalText = "0"
    lot_size: DecimalText = "0"
    min_notional: DecimalText = "0"
    contract_multiplier: DecimalText = "1"
    funding_interval_s: int = 0
    ts_listed: int = 0
    ts_expires: int = 0
    ts_event: int = 0
    source: Literal["VENUE", "CAPTURE", "CONFIGURED"] = "VENUE"

    _fits = model_validator(mode="after")(_notionals_fit)

    @property
    def instrument_id(self) -> InstrumentId:
        """The instrument's identifier."""
        return InstrumentId(self.symbol, self.venue)

    @property
    def raw(self) -> str:
        """The venue's own name of it."""
        return self.raw_symbol or self.symbol

    @property
    def pair(self) -> str:
        """Its canonical pair, ``BASE/QUOTE``."""
        return identifiers.pair(self.base, self.quote)


class InstrumentDefinedV1(Event):
    """The first form of `InstrumentDefined`: spot only."""

    channel: ClassVar[str] = "md.instrument"
    title: ClassVar[str] = "InstrumentDefined"
    venue: ShortName
    symbol: Name
    product: ShortName
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

    _fits = model_validator(mode="after")(_notionals_fit)

    def upcast(self) -> InstrumentDefined:
        """A spot instrument whose name is the venue's own."""
        return InstrumentDefined(**self.model_dump())
