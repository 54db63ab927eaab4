"""Limits of a sink: how much one insert holds, how long rows wait, how it backs off."""

import asyncio
import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of one sink. `roots_max` is MAXB of CLICKHOUSE.md: the roots one insert may span.

    `period_s` bounds the period of every table (table.Table), so that a test need not wait for it.
    """

    roots_max: int = 8_192
    rows_max: int = 524_288
    period_s: float = 1.0
    backoff_min_s: float = 0.05
    backoff_max_s: float = 5.0


class Backoff:
    """Waits that double up to a limit, each times a random factor in [0.5, 1]."""

    def __init__(self, limits: Limits) -> None:
        self._limits, self._tries = limits, 0

    async def wait(self) -> None:
        """Wait after one more failure; end a task that was cancelled while it failed.

        asyncio.wait_for, which asyncpg connects by, loses that where both come at once (3.11).
        """
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
        bound = self._limits.backoff_min_s * 2 ** min(self._tries, 20)
        self._tries += 1
        await asyncio.sleep(min(bound, self._limits.backoff_max_s) * random.uniform(0.5, 1))

    def reset(self) -> None:
        """Begin again after a success."""
        self._tries = 0
