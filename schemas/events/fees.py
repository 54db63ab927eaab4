"""What a venue asks for a trade: configuration that steps read, so it is a fact."""

from typing import Annotated, ClassVar

from pydantic import Field

from tidemill.schemas.events.event import Event
from tidemill.schemas.events.instrument import ShortName

Ppm = Annotated[int, Field(ge=-100_000, le=100_000)]
"""Millionths of the notional; below zero for a rebate."""


class FeesDefined(Event):
    """Fees of a venue's product from here on, travelling on ``ctl.fees.<VENUE>.<PRODUCT>``."""

    channel: ClassVar[str] = "ctl"
    venue: ShortName
    product: ShortName
    taker_ppm: Ppm
    maker_ppm: Ppm
