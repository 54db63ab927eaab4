"""The time role: appends what time it is, every 100 ms; a standby takes over when it falls silent.

Any number may run. One writes, the others watch its records arrive; the fence on `time` decides,
so a writer that was paused and replaced can never write again before it has noticed. Time never
falls, whoever writes and whatever their clocks say, and what was missed is not made up for.
"""

import asyncio
from collections.abc import Callable

from tidemill.schemas import frame, kinds
from tidemill.schemas.errors import Fenced, Unavailable
from tidemill.schemas.kinds.time import TIME
from tidemill.streams import crash_points
from tidemill.streams.appender import Appender
from tidemill.streams.log import Log, Message

SUBJECT = "time"
INTERVAL_S = 0.1
SILENCE_S = 0.5
"""A standby takes over when no time record came for so long."""


class TimeWriter:
    """One candidate for the time role. `now` gives UTC nanoseconds; `writing` says if it leads."""

    def __init__(
        self,
        log: Log,
        now: Callable[[], int],
        interval_s: float = INTERVAL_S,
        silence_s: float = SILENCE_S,
    ) -> None:
        self.writing = False
        self.written = 0
        self._log = log
        self._now = now
        self._interval_s = interval_s
        self._silence_s = silence_s
        self._appender = Appender(log, SUBJECT)
        self._sequence = 0
        self._ts = 0

    async def run(self) -> None:
        """Watch, take over, write, for ever."""
        while True:
            await self._watch()
            try:
                self.writing = True
                await self._write()
            except Fenced:
                continue  # another one leads: watch it
            finally:
                self.writing = False

    async def _watch(self) -> None:
        """Return, owning the subject, when nobody writes time."""
        clock = asyncio.get_running_loop().time
        heard, since = -1, clock()
        while True:
            try:
                newest = await self._appender.own()
            except Unavailable:
                since = clock()  # we could not have heard anything
            else:
                if newest is None:
                    return self._continue(None)
                if newest.sequence != heard:
                    heard, since = newest.sequence, clock()
                elif clock() - since >= self._silence_s:
                    return self._continue(newest)
            await asyncio.sleep(self._interval_s)

    def _continue(self, newest: Message | None) -> None:
        if newest is not None:
            last = kinds.decode(newest.payload)
            self._sequence = last.sequence
            self._ts = int(last.records["ts"][-1])

    async def _write(self) -> None:
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            crash_points.reach("time.append.storing")
            await self._appender.append([(SUBJECT, self._record())])
            crash_points.reach("time.append.stored")
            self.written += 1
            due = max(due + self._interval_s, clock())
            await asyncio.sleep(due - clock())

    def _record(self) -> bytes:
        self._sequence += 1
        self._ts = max(self._ts, self._now())
        record = TIME.empty(1)
        record["ts"] = self._ts
        return frame.encode(TIME, record, self._sequence)
