"""Moments: which root of LOG was the newest at a time, by the `time` records that LOG holds."""

from tidemill.schemas import kinds
from tidemill.streams.log import Log, Message

SUBJECT = "time"
_PULL_TIMEOUT_S = 10.0


async def root_at(log: Log, ns: int) -> int:
    """Return the newest root whose `time` record is at or before `ns` (UTC), 0 where there is none.

    Time never falls in LOG, so it is found by halving; few records are read. Raises Unavailable.
    """
    newest = await log.last(SUBJECT)
    if newest is None:
        return 0
    low, high, found = (await log.identity()).first, newest.sequence, 0
    while low <= high:
        middle = (low + high) // 2
        record = await _next(log, middle)
        if record is None or _ns(record) > ns:
            high = middle - 1
        else:
            found, low = record.sequence, record.sequence + 1
    return found


async def _next(log: Log, start: int) -> Message | None:
    """Return the first time record at or after `start`."""
    reader = await log.read(start, (SUBJECT,))
    try:
        pulled = await reader.pull(1, 1, _PULL_TIMEOUT_S)
    finally:
        await reader.close()
    return pulled[0] if pulled else None


def _ns(message: Message) -> int:
    return int(kinds.decode(message.payload).records["ts"][-1])
