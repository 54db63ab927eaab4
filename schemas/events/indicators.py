"""Which indicators run on which bars of which instruments: configuration that steps read."""

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from tidemill.schemas.events.event import Event
from tidemill.schemas.events.selection import Name, Patterns

Spec = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]{1,24}$")]
Instance = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9_]{1,24}(\([0-9.,e+-]*\))?$", max_length=48)
]


class IndicatorSetDefined(Event):
    """A set from here on, travelling on ``ctl.indicators.<name>``; it replaces the one of its name.

    `instruments` are instrument ids (``BTCUSDT.BINANCE``), ``*.BINANCE`` or ``*``; `bars` their
    specs (``1m``, ``tick``); `indicators` as ``macd(12,26,9)``, parameters in declared order, those
    left out at their defaults. A version of the engine leaves out what it does not know of it.
    """

    channel: ClassVar[str] = "ctl"
    name: Name
    instruments: Patterns
    bars: Annotated[tuple[Spec, ...], Field(min_length=1, max_length=32, strict=False)]
    indicators: Annotated[tuple[Instance, ...], Field(min_length=1, max_length=64, strict=False)]


class IndicatorSetRemoved(Event):
    """The set of this name ends, on the same subject."""

    channel: ClassVar[str] = "ctl"
    name: Name
