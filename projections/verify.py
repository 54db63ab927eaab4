"""Whether a table says what the log says: its digest against one recomputed from the log."""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import NamedTuple

from tidemill.projections.digest import Digest, Digester
from tidemill.projections.rows import Rows
from tidemill.projections.sources import PULL_BYTES_MAX, PULL_MESSAGES_MAX, rows_of
from tidemill.projections.table import Table
from tidemill.schemas.errors import Unavailable
from tidemill.streams.log import Log, Message

PULL_TIMEOUT_S = 10.0

Step = tuple[int, Iterable[tuple[str, bytes]]]
"""What an engine derived: all messages (subject, payload) of roots up to the number, in any order,
that came after the last step's root."""


class Verdict(NamedTuple):
    """A table against its source. `reason` is empty where they are equal."""

    live: Digest | None
    recomputed: Digest
    reason: str

    @property
    def equal(self) -> bool:
        """Whether the table is exactly what the log makes."""
        return not self.reason


async def messages(log: Log, filters: Sequence[str], as_of: int) -> AsyncIterator[list[Message]]:
    """Yield the messages of `filters` with sequence <= `as_of`, in order. Raises Unavailable."""
    newest = [message.sequence for f in filters if (message := await log.last(f)) is not None]
    end = min(max(newest, default=0), as_of)
    reader, sequence = await log.read(1, filters), 0
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


async def derived_rows(table: Table, steps: AsyncIterator[Step], as_of: int) -> AsyncIterator[Rows]:
    """Yield the rows of a derived table, made from what the processors derive up to `as_of`."""
    prefix = table.filters[0].split(".")[0] + "."
    async for done, outputs in steps:
        made = [(0, subject, payload) for subject, payload in outputs if subject.startswith(prefix)]
        rows = rows_of(table, made)
        if rows is not None:
            yield rows.take(rows.array("_r") <= min(done, as_of)).ordered()


async def digest_of(table: Table, rows: AsyncIterator[Rows], as_of: int) -> Digest:
    """Return the digest of rows that come in logical order. Raises ValueError where they do not."""
    digester = Digester(table)
    async for batch in rows:
        digester.take(batch)
    return digester.digest(as_of)


async def compare(
    table: Table, live: AsyncIterator[Rows], source: AsyncIterator[Rows], as_of: int
) -> Verdict:
    """Compare a table's rows with its source's. No rows where the source has some is unequal."""
    recomputed = await digest_of(table, source, as_of)
    try:
        found = await digest_of(table, live, as_of)
    except ValueError as error:
        return Verdict(None, recomputed, str(error))
    if found.rows != recomputed.rows:
        reason = f"{table.physical} has {found.rows} rows, the log makes {recomputed.rows}"
    elif found != recomputed:
        reason = f"{table.physical} has {found.rows} rows, but not those that the log makes"
    else:
        reason = ""
    return Verdict(found, recomputed, reason)
