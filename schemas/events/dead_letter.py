"""Records that a processor could not take, kept with the reason."""

from tidemill.schemas.events.event import Event


class DeadLetter(Event):
    """Record `(at_r, at_i)` was not stepped by `processor`. `payload` is base64 of the message."""

    processor: str
    at_r: int
    at_i: int
    n: int
    subject: str
    reason: str
    policy: str
    payload: str
