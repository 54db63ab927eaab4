"""Records that a processor could not take, kept with the reason."""

from typing import ClassVar

from tidemill.schemas.events.event import Derived


class DeadLetter(Derived):
    """Record `(at_r, at_i)` was not stepped by `processor`. `payload` is base64 of the message."""

    channel: ClassVar[str] = "dlq"
    processor: str
    subject: str
    reason: str
    policy: str
    payload: str
