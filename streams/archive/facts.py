"""The facts in LOG that the archive consists of for those who only read LOG: light to load."""

from tidemill.schemas import events
from tidemill.schemas.errors import Unreadable
from tidemill.schemas.events.archive import RangeSealed, TrimAnnounced
from tidemill.streams.log import Log, Message

SEALED = "ctl.archive.sealed"
TRIM = "ctl.archive.trim"


def sealed_of(message: Message) -> RangeSealed:
    """Return the fact in a message of SEALED. Raises Unreadable."""
    event = events.decode(message.payload)
    if not isinstance(event, RangeSealed):
        raise Unreadable(f"{event.tag()} on {message.subject} is no RangeSealed")
    return event


async def announced(log: Log) -> int:
    """Return up to where LOG may lack its messages soon, 0 for none. Raises Unavailable."""
    message = await log.last(TRIM)
    if message is None:
        return 0
    event = events.decode(message.payload)
    if not isinstance(event, TrimAnnounced):
        raise Unreadable(f"{event.tag()} on {TRIM} is no TrimAnnounced")
    return event.r1
