"""Records that a processor could not take, kept with the reason."""

from typing import ClassVar

from tidemill.schemas.events.event import Derived

PAYLOAD_BYTES_MAX = 128 * 1024
"""Bytes of the message that a dead letter repeats: as base64 well below EVENT_BYTES_MAX."""


class DeadLetter(Derived):
    """Record `(at_r, at_i)` was not stepped by `processor`.

    `payload` is base64 of the message, of its first 128 KiB where it is longer.
    """

    channel: ClassVar[str] = "dlq"
    processor: str
    subject: str
    reason: str
    policy: str
    payload: str
