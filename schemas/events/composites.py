"""Which venues' bars are put together into bars of a pair: configuration that steps read."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from tidemill.schemas.events.event import Event
from tidemill.schemas.events.selection import Name
from tidemill.schemas.identifiers import InstrumentId

VENUE = "COMPOSITE"
"""The venue, and the product, of every composite."""
MEMBERS_MAX = 8
"""So many venues' names fill a composite bar's text."""
_SYMBOL = r"[A-Z0-9][A-Z0-9_\-/:]{0,47}"
Composite = Annotated[str, StringConstraints(pattern=rf"^{_SYMBOL}\.{VENUE}$")]
Member = Annotated[str, StringConstraints(pattern=rf"^{_SYMBOL}\.[A-Z0-9][A-Z0-9_]{{0,15}}$")]
Members = Annotated[tuple[Member, ...], Field(min_length=2, max_length=MEMBERS_MAX, strict=False)]
Bars = Annotated[
    tuple[Literal["1s", "1m", "5m", "15m", "1h", "4h", "1d"], ...],
    Field(min_length=1, max_length=7, strict=False),
]


class CompositeDefined(Event):
    """A composite from here on, travelling on ``ctl.composites.<name>``; it replaces the one of its
    name.

    `instrument` is what its bars are bars of (``BTCUSDT.COMPOSITE``): LOG defines it like any
    other. `members` are instruments of its pair, each of another venue, in order of precedence.
    `hold_s`: a member is not waited for longer than so many seconds of `time` after a bar's end.
    """

    channel: ClassVar[str] = "ctl"
    name: Name
    instrument: Composite
    members: Members
    bars: Bars
    hold_s: Annotated[int, Field(ge=2, le=30)] = 5

    @property
    def instrument_id(self) -> InstrumentId:
        """The composite's own identifier."""
        return InstrumentId.parse(self.instrument)

    @property
    def member_ids(self) -> tuple[InstrumentId, ...]:
        """The members' identifiers, in order of precedence."""
        return tuple(InstrumentId.parse(one) for one in self.members)

    @model_validator(mode="after")
    def _of_venues(self) -> Self:
        venues = [one.venue for one in self.member_ids]
        if VENUE in venues:
            raise ValueError(f"a member is an instrument of a venue, not of {VENUE}")
        if len(dict.fromkeys(venues)) < len(venues):
            raise ValueError("two members are of one venue: name one of each")
        return self


class CompositeRemoved(Event):
    """The composite of this name ends, on the same subject."""

    channel: ClassVar[str] = "ctl"
    name: Name
