"""A ClickHouse sink as a process of its own, for tests that kill -9 it: python -m ... URL DSN.

Its log is the memory log of `facts`, the same in every process. It says every step that it passes
on standard output, and ends only by being killed.
"""

import asyncio
import sys

import asyncpg

from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.clickhouse.sink import ClickHouseSink
from tidemill.projections.limits import Limits
from tidemill.projections.registry import TABLES
from tidemill.projections.sources import source
from tidemill.streams import subjects
from tidemill.streams.memory import MemoryLog
from tidemill.tests.projections import facts

UUID = "the-log-of-writers"
MESSAGES, ROWS = 4_000, 40
LIMITS = Limits(roots_max=60, rows_max=1_500, period_s=0.01, backoff_max_s=0.2)


async def whole_log() -> MemoryLog:
    """The log that every writer reads."""
    log = MemoryLog("LOG", subjects.LOG_SUBJECTS, uuid=UUID)
    await facts.append(log, facts.facts(MESSAGES, rows=ROWS))
    return log


def say(step: str) -> None:
    """Tell the test which step is passed."""
    print(step, flush=True)


async def main(url: str, dsn: str) -> None:
    """Write until killed."""
    log = await whole_log()
    async with asyncpg.create_pool(dsn, min_size=1, max_size=2) as pool:
        table = TABLES["trades"]
        rows = source(table, log, log, UUID)
        await ClickHouseSink(table, log, rows, ClickHouse(url), pool, LIMITS, say).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
