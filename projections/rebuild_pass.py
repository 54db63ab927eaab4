"""One reading of LOG for several tables: rows of facts, and of what an engine derives of them.

Each table's sink has a source of its own here. LOG is read once, as fast as the slowest sink takes
it. A sink that begins again at a root which has gone by has LOG read again, from as far back as is
needed (by an engine from the start, for its state is not kept); whatever another sink has had
already is not given to it twice.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from tidemill.projections.limits import Backoff, Limits
from tidemill.projections.rows import Rows
from tidemill.projections.sources import (
    PULL_BYTES_MAX,
    PULL_MESSAGES_MAX,
    Batch,
    Mark,
)
from tidemill.projections.table import Table
from tidemill.projections.verify import Made, made_rows
from tidemill.schemas.errors import Unavailable
from tidemill.streams.log import Log
from tidemill.streams.runtime.engine import Engine
from tidemill.streams.runtime.shard import EVERY, filters

logger = logging.getLogger(__name__)

PULL_TIMEOUT_S = 0.2
BATCHES_MAX = 2
"""Most batches that wait for one sink."""


class PassSource:
    """The rows of one table; implements tidemill.projections.sources.Source."""

    def __init__(self, table: Table, reopened: Callable[[], None]) -> None:
        self.table = table
        self.opened = asyncio.Event()
        self.opening = 0
        """How often it was opened: a batch for an earlier opening is not given any more."""
        self.wanted = 1
        """The first root that it was not given yet."""
        self.lag = 0
        self._reopened = reopened
        self._done = 0
        self._batches: asyncio.Queue[tuple[int, Batch]] = asyncio.Queue(BATCHES_MAX)

    async def open(self, start: int, mark: Mark) -> None:
        self.opening += 1
        self.wanted, self._done = start, start - 1
        while not self._batches.empty():
            self._batches.get_nowait()
        self.opened.set()
        self._reopened()

    async def give(self, opening: int, batch: Batch) -> None:
        """Hand over a batch for an opening, once there is room."""
        await self._batches.put((opening, batch))
        if opening == self.opening:
            self.wanted = batch.done + 1

    async def gather(self, seconds: float) -> None:
        """Do not wait: all tables are read in one pass, and none may hold up the others."""

    async def next(self, timeout_s: float) -> Batch | None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while True:
                    opening, batch = await self._batches.get()
                    if opening == self.opening:
                        self._done = batch.done
                        return batch
        return None

    @property
    def mark(self) -> Mark:
        # Where OUT holds what is derived here is not known, so its sink will look from the start.
        return Mark(0, 1) if self.table.emitted_by else Mark(self._done, self._done + 1)

    async def close(self) -> None:
        """Nothing of its own is open."""


class Pass:
    """Reads LOG for `tables`; `engine` makes what derives the rows of those that are derived."""

    def __init__(
        self,
        log: Log,
        tables: Sequence[Table],
        engine: Callable[[], Engine],
        messages_max: int = PULL_MESSAGES_MAX,
    ) -> None:
        self._log, self._engine, self._messages_max = log, engine, messages_max
        self._again = asyncio.Event()
        self.sources = {
            table.physical: PassSource(table, self._again.set)
            for table in tables
            if not table.conflated  # those ask LOG for what is newest
        }
        self._derived = any(source.table.emitted_by for source in self.sources.values())
        self.at = 0
        """Newest root that was read."""

    async def run(self) -> None:
        """Read until cancelled; wait while LOG is away. Raises Unreadable where the engine halts,
        Regressed.
        """
        for source in self.sources.values():
            await source.opened.wait()
        backoff = Backoff(Limits())
        while self.sources:
            self._again.clear()
            try:
                await self._read()
                backoff.reset()
            except Unavailable as error:
                logger.warning("%s; reading again", error)
                await backoff.wait()

    def _filters(self) -> list[str]:
        if self._derived:
            return filters(EVERY)
        subjects = {f for source in self.sources.values() for f in source.table.filters}
        return [*sorted(subjects), "time"]

    async def _read(self) -> None:
        """Read from where the hindmost source is, until one was opened again."""
        openings = {name: source.opening for name, source in self.sources.items()}
        start = min(source.wanted for source in self.sources.values())
        engine = self._engine() if self._derived else None
        reader = await self._log.read(1 if engine else start, self._filters())
        self.at = 0
        try:
            while not self._again.is_set():
                messages = await reader.pull(self._messages_max, PULL_BYTES_MAX, PULL_TIMEOUT_S)
                before = self.at
                if messages:
                    self.at = messages[-1].sequence
                else:
                    self.at = max(self.at, await reader.complete())
                if self.at == before:
                    continue
                outputs = engine.step(messages) if engine and messages else []
                derived = [(output.subject, output.payload) for output in outputs]
                made = Made(self.at, messages, derived)
                for name, source in self.sources.items():
                    source.lag = reader.pending
                    if self.at >= source.wanted and source.opening == openings[name]:
                        rows = _rows(source, made)
                        await source.give(openings[name], Batch(rows, self.at))
        finally:
            await reader.close()


def _rows(source: PassSource, made: Made) -> Rows | None:
    """Return the rows of a batch that a source was not given yet, in logical order."""
    new = [message for message in made.facts if message.sequence >= source.wanted]
    rows = made_rows(source.table, made._replace(facts=new))
    if rows is None:
        return None
    wanted = rows.array("_r") >= source.wanted
    return rows if wanted.all() else rows.take(wanted) if wanted.any() else None
