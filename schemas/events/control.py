"""Facts about the running of the engine itself: what code is deployed, what is skipped."""

from typing import ClassVar

from tidemill.schemas.events.event import Event


class CodeDeployed(Event):
    """From here on only processes with this code hash may write for `graph`."""

    channel: ClassVar[str] = "ctl"
    graph: str
    code_hash: str


class DeadLetterSkipped(Event):
    """An operator decided that record `r` is skipped by `processor`; parked keys of it go on."""

    channel: ClassVar[str] = "ctl"
    processor: str
    r: int
    reason: str
