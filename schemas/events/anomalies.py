"""Which detectors of anomalies watch which bars of which instruments: configuration of steps."""

from typing import Annotated, ClassVar

from pydantic import Field

from tidemill.schemas.events.event import Event
from tidemill.schemas.events.indicators import Instance, Spec
from tidemill.schemas.events.selection import Name, Patterns


class AnomaliesDefined(Event):
    """Detectors from here on, travelling on ``ctl.anomalies.<name>``; it replaces the one of its
    name.

    `instruments` are as in IndicatorSetDefined, `bars` a spec (``1m``). `detectors` as
    ``return_z(60)``, parameters in declared order, those left out at their defaults. A version of
    the engine leaves out what it does not know of it.
    """

    channel: ClassVar[str] = "ctl"
    name: Name
    instruments: Patterns
    bars: Spec
    detectors: Annotated[tuple[Instance, ...], Field(min_length=1, max_length=16, strict=False)]


class AnomaliesRemoved(Event):
    """The detectors of this name end, on the same subject."""

    channel: ClassVar[str] = "ctl"
    name: Name
