"""The log's disk: at 80 % it is said, at 95 % feeds stop appending and declare what they did not.

Feeds are the only ones that can stop: what they leave out is declared as a gap, while a command or
a checkpoint that finds no room is a failure. So they leave the last twentieth to the others.
"""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import structlog

WARN, STOP, GO_ON = 0.80, 0.95, 0.94
LOOK_S = 1.0
WARN_S = 60.0
"""A warning is repeated so often."""

Usage = Callable[[], float]

log = structlog.get_logger()


def usage_of(directory: Path) -> Usage:
    """Return what tells the used part (0 to 1) of the file system that holds `directory`.

    As `df` counts it: what is kept for root is not there for us.
    """

    def usage() -> float:
        found = shutil.disk_usage(directory)
        return found.used / max(1, found.used + found.free)

    return usage


class Disk:
    """Watches one disk; `full` while nothing may be appended. OSError of `usage` is not caught."""

    def __init__(self, usage: Usage) -> None:
        self.used = 0.0
        self.full = False
        self._usage = usage
        self._warned_at = float("-inf")

    def look(self, now: float) -> None:
        """Look once, at `now` (loop time)."""
        self.used = self._usage()
        was, self.full = self.full, self.used >= (GO_ON if self.full else STOP)
        if self.full and not was:
            log.error("the log's disk is full: feeds stop and will declare gaps", used=self.used)
        elif was and not self.full:
            log.warning("the log's disk has room: feeds go on", used=self.used)
        elif self.used >= WARN and now - self._warned_at >= WARN_S:
            self._warned_at = now
            log.warning("the log's disk fills up", used=round(self.used, 3))

    async def watch(self) -> None:
        """Look every second, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            self.look(loop.time())
            await asyncio.sleep(LOOK_S)
