"""Which screens watch which bars of which instruments: configuration that steps read."""

from typing import Annotated, ClassVar

from pydantic import StringConstraints

from tidemill.schemas.events.event import Event
from tidemill.schemas.events.indicators import Spec
from tidemill.schemas.events.selection import Name, Patterns
from tidemill.schemas.screening.language import CHARACTERS_MAX

Condition = Annotated[str, StringConstraints(pattern=r"^[ -~\n\t]*$", max_length=CHARACTERS_MAX)]


class OfScreen(Event):
    """What is said of a screen by name, on ``ctl.screens.<name>``."""

    channel: ClassVar[str] = "ctl"
    name: Name


class ScreenDefined(OfScreen):
    """A screen from here on, travelling on ``ctl.screens.<name>``; it replaces the one of its name.

    `instruments` are as in IndicatorSetDefined, `bars` a spec (``15m``). `condition` is of the
    language of schemas/screening: a signal where it comes true. Empty: the score of every bar.
    A version of the engine leaves out a screen whose condition it does not know.
    """

    instruments: Patterns
    bars: Spec
    condition: Condition


class ScreenRemoved(OfScreen):
    """The screen of this name ends, on the same subject."""
