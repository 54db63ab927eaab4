"""Importing this loads all that a shard needs, its kernels too: processes forked from here start
at once. Only the process that tests fork from imports it."""

import asyncio

from tidemill.deploy.replaying import step
from tidemill.streams.memory import MemoryLog
from tidemill.streams.subjects import LOG_SUBJECTS
from tidemill.tests.flow.logs import append, out_in_memory
from tidemill.tests.projections import facts


async def _load() -> None:
    log = MemoryLog("LOG", LOG_SUBJECTS)
    await append(log, facts.facts(10))
    await step(log, out_in_memory())


asyncio.run(_load())
