"""Which bars beyond time are made of which instruments: configuration that steps read."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from tidemill.schemas.bar_type import activity_of
from tidemill.schemas.events.event import Event
from tidemill.schemas.events.selection import Name, Patterns


def _checked(text: str) -> str:
    step, _, unit = text.rpartition("-")
    activity_of(step or "1", unit)
    return text


ActivityBars = Annotated[str, Field(max_length=64), AfterValidator(_checked)]
"""``1000-TICK``, ``0.5-RENKO``; ``TICK``: with a step of the processor's own."""


class ActivityBarsDefined(Event):
    """A set from here on, travelling on ``ctl.activity_bars.<name>``; it replaces the one of its
    name.

    `bars` are aggregations, each with its step or without. An instrument whose exponents cannot
    express a step has no bars of it.
    """

    channel: ClassVar[str] = "ctl"
    name: Name
    instruments: Patterns
    bars: Annotated[tuple[ActivityBars, ...], Field(min_length=1, max_length=11, strict=False)]


class ActivityBarsRemoved(Event):
    """The set of this name ends, on the same subject."""

    channel: ClassVar[str] = "ctl"
    name: Name
