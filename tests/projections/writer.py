"""A ClickHouse sink as a process of its own, for tests that kill -9 it.

Its log is the memory log of `facts`, the same in every process. It says every step that it passes,
and ends only by being killed.
"""

import asyncio
from collections.abc import Callable
from multiprocessing.connection import Connection

import asyncpg

from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.clickhouse.sink import ClickHouseSink
from tidemill.projections.limits import Limits
from tidemill.projections.registry import TABLES
from tidemill.projections.sources import source
from tidemill.streams import subjects
from tidemill.streams.memory import MemoryLog
from tidemill.tests.forked import load
from tidemill.tests.projections import facts

UUID = "the-log-of-writers"
MESSAGES, ROWS = 4_000, 40
LIMITS = Limits(roots_max=60, rows_max=1_500, period_s=0.01, backoff_max_s=0.2)

load(__name__)


async def whole_log() -> MemoryLog:
    """The log that every writer reads."""
    log = MemoryLog("LOG", subjects.LOG_SUBJECTS, uuid=UUID)
    await facts.append(log, facts.facts(MESSAGES, rows=ROWS))
    return log


def write(url: str, dsn: str, steps: Connection) -> None:
    """Write until killed, and send the name of each step that is passed."""
    asyncio.run(_write(url, dsn, steps.send))


async def _write(url: str, dsn: str, say: Callable[[str], None]) -> None:
    log = await whole_log()
    async with asyncpg.create_pool(dsn, min_size=1, max_size=2) as pool:
        table = TABLES["trades"]
        rows = source(table, log, log, UUID)
        await ClickHouseSink(table, log, rows, ClickHouse(url), pool, LIMITS, say).run()
