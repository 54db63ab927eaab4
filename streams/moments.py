"""Moments: which root of LOG was the newest at a time, by the `time` records that LOG holds."""

import asyncio
import logging
from bisect import bisect_left
from collections import deque

from tidemill.schemas import kinds
from tidemill.schemas.errors import Unavailable
from tidemill.streams.log import Log, Message

SUBJECT = "time"
RECENT_MAX = 36_000
"""Records that are kept: an hour at ten a second."""
FOLLOW_S, RETRY_S = 1.0, 2.0
_PULL_TIMEOUT_S = 10.0
logger = logging.getLogger(__name__)


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


async def behind_s(log: Log, root: int) -> float:
    """Return how much time LOG has seen since `root`, in seconds by its own `time` records."""
    newest = await log.last(SUBJECT)
    if newest is None or newest.sequence <= root:
        return 0.0
    then = await _next(log, max(root, (await log.identity()).first))
    return (_ns(newest) - _ns(then)) / 1e9 if then is not None else 0.0


async def now_ns(log: Log) -> int | None:
    """Return the newest time in LOG (ns UTC), None where it has none."""
    newest = await log.last(SUBJECT)
    return None if newest is None else _ns(newest)


class Recent:
    """The newest `time` records of LOG, followed: what lag in seconds is told by, at no cost."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._records: deque[tuple[int, int]] = deque(maxlen=RECENT_MAX)
        self.newest = 0
        """The newest root of LOG that was seen."""

    async def run(self) -> None:
        """Follow until cancelled; wait while LOG is away."""
        while True:
            try:
                await self._follow()
            except Unavailable as error:
                logger.warning("lag is not told while LOG is away: %s", error)
                await asyncio.sleep(RETRY_S)

    async def _follow(self) -> None:
        start = self._records[-1][0] + 1 if self._records else (await self._log.identity()).last
        reader = await self._log.read(start, (SUBJECT,))
        try:
            while True:
                for record in await reader.pull(1_000, 1 << 20, FOLLOW_S):
                    self._records.append((record.sequence, _ns(record)))
                self.newest = max(self.newest, await reader.complete())
                await asyncio.sleep(FOLLOW_S)
        finally:
            await reader.close()

    def behind_s(self, root: int) -> float:
        """Return how much time LOG has seen since `root`; at least so much where that is long."""
        at = bisect_left(self._records, root, key=lambda record: record[0])
        if at == len(self._records):
            return 0.0
        return (self._records[-1][1] - self._records[at][1]) / 1e9


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
