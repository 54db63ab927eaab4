"""Whether tables say what the log says: one pass over it, every table beside it, range by range.

The rows of a range of roots are made again from the log, and the table's rows of the same range
are read and compared with them, so memory does not grow with the table.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tidemill.projections.digest import Digest, Digester
from tidemill.projections.ranges import Lane, Live, Verdict
from tidemill.projections.rows import Rows
from tidemill.projections.sources import PULL_BYTES_MAX, PULL_MESSAGES_MAX, rows_of
from tidemill.projections.table import Table
from tidemill.schemas.errors import Unavailable
from tidemill.streams.filters import matches
from tidemill.streams.log import Log, Message
from tidemill.streams.runtime.engine import Engine
from tidemill.streams.runtime.shard import EVERY, filters

PULL_TIMEOUT_S = 10.0

Step = tuple[int, Iterable[tuple[str, bytes]]]
"""What an engine derived: all messages (subject, payload) of roots up to the number, in any order,
that came after the last step's root."""


class Made(NamedTuple):
    """What the log holds and an engine derives of roots up to `done`, after the last of these."""

    done: int
    facts: Sequence[Message]
    derived: Sequence[tuple[str, bytes]] = ()


async def messages(log: Log, subjects: Sequence[str], as_of: int) -> AsyncIterator[list[Message]]:
    """Yield the messages of `subjects` with sequence <= `as_of`, in order. Raises Unavailable."""
    newest = [message.sequence for one in subjects if (message := await log.last(one)) is not None]
    end = min(max(newest, default=0), as_of)
    reader, sequence = await log.read(1, subjects), 0
    try:
        while sequence < end:
            pulled = await reader.pull(PULL_MESSAGES_MAX, PULL_BYTES_MAX, PULL_TIMEOUT_S)
            if not pulled:
                raise Unavailable(f"{log.name} gave nothing for {PULL_TIMEOUT_S} s at {sequence}")
            sequence = pulled[-1].sequence
            yield [message for message in pulled if message.sequence <= as_of]
    finally:
        await reader.close()


async def log_rows(table: Table, log: Log, as_of: int) -> AsyncIterator[Rows]:
    """Yield the rows of a table of facts, made from LOG up to root `as_of`."""
    async for batch in messages(log, table.filters, as_of):
        rows = rows_of(table, batch)
        if rows is not None:
            yield rows


def made_rows(table: Table, made: Made) -> Rows | None:
    """Return a table's rows of one batch, in logical order."""
    if table.emitted_by is None:
        wanted = {subject: _reads(table, subject) for subject in {m.subject for m in made.facts}}
        return rows_of(table, [m for m in made.facts if wanted[m.subject]])
    found = rows_of(table, [(0, *one) for one in made.derived if _reads(table, one[0])])
    return found.ordered() if found is not None else None


def _reads(table: Table, subject: str) -> bool:
    return any(matches(pattern, subject) for pattern in table.filters)


async def digest_of(table: Table, rows: AsyncIterator[Rows], as_of: int) -> Digest:
    """Return the digest of rows that come in logical order. Raises ValueError where they do not."""
    digester = Digester(table)
    async for batch in rows:
        await asyncio.to_thread(digester.take, batch)
    return digester.digest(as_of)


async def remade(
    log: Log, tables: Sequence[Table], engine: Engine | None, as_of: int
) -> AsyncIterator[Made]:
    """Yield what LOG holds up to root `as_of` for these tables, and what `engine` derives of it."""
    subjects = filters(EVERY)
    if engine is None:
        subjects = sorted({pattern for table in tables for pattern in table.filters})
    async for batch in messages(log, subjects, as_of):
        if not batch:
            continue
        outputs = await asyncio.to_thread(engine.step, batch) if engine is not None else []
        derived = [(output.subject, output.payload) for output in outputs]
        yield Made(batch[-1].sequence, batch, derived)


class Compared(NamedTuple):
    """A table to be compared: what a database holds of it, as of a root."""

    table: Table
    live: Live
    as_of: int


async def verify(tables: Mapping[str, Compared], source: AsyncIterator[Made]) -> dict[str, Verdict]:
    """Compare tables, each as of its root, with what `source` makes, in one pass over it."""
    lanes = {name: Lane(*one) for name, one in tables.items()}
    try:
        async for made in source:
            rows: dict[Any, Rows | None] = {}
            for lane in lanes.values():
                table = lane.table
                same = (table.reads, table.filters, table.columns)
                if same not in rows:
                    rows[same] = await asyncio.to_thread(made_rows, table, made)
                await lane.take(rows[same], made.done)
        return {name: await lane.verdict() for name, lane in lanes.items()}
    finally:
        for lane in lanes.values():
            await lane.close()
