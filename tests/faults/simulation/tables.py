"""What tables must hold: I7 for ClickHouse, at every moment and at the end, I8 for Postgres."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tidemill.projections.postgres.records import to_records
from tidemill.projections.rows import Rows
from tidemill.projections.sources import rows_of
from tidemill.projections.table import Table
from tidemill.streams.filters import Matcher
from tidemill.streams.log import Message
from tidemill.tests.faults.simulation.logs import Store

if TYPE_CHECKING:
    from tidemill.tests.faults.simulation.world import World


def incomplete(world: "World", name: str, position: int) -> str:
    """Say which rows a table lacks, or has twice, up to a position that was told; else nothing."""
    table = world.parts.tables[name]
    want, have = _roots(_source(world, table)), _roots(world.parts.rows(name))
    want, have = want[want <= position], have[have <= position]
    if np.array_equal(want, have):
        return ""
    return f"I7: {name} is told to be at {position} with {len(have)} rows of {len(want)}"


def _roots(rows: Rows | None) -> Any:
    return np.zeros(0, np.uint64) if rows is None else np.sort(rows.array("_r"))


def _source(world: "World", table: Table) -> Rows | None:
    """All rows that the log gives now, in logical order."""
    store: Store = world.log if table.emitted_by is None else world.out
    matcher = Matcher(table.filters)
    messages: list[Message] = [e.message for e in store.journal if matcher.taken(e.message.subject)]
    rows = rows_of(table, messages)
    return rows.ordered() if rows is not None else None


def check_tables(world: "World") -> Iterator[str]:
    """Compare every table with the rows that the log gives, byte for byte."""
    for table in world.tables:
        source = _source(world, table)
        want = [] if source is None else to_records(table.columns, source)
        if table.database == "postgres":
            yield from _latest(world, table, want)
            continue
        stored = world.parts.rows(table.physical)
        have = [] if stored is None else to_records(table.columns, stored.ordered())
        if have != want:
            extra, missing = len(set(have) - set(want)), len(set(want) - set(have))
            yield (
                f"I7: {table.physical} has {len(have)} rows of {len(want)}: {missing} missing,"
                f" {extra} wrong, {len(have) - len(set(have))} twice"
            )


def _latest(world: "World", table: Table, made: list[tuple[Any, ...]]) -> Iterator[str]:
    """I8: the newest row of each key, and no other."""
    names = [column.name for column in table.columns]
    newest: dict[tuple[Any, ...], dict[str, Any]] = {}
    for record in (dict(zip(names, values, strict=True)) for values in made):
        key = tuple(record[name] for name in table.key)
        old = newest.get(key)
        if old is None or [record[n] for n in table.newest] >= [old[n] for n in table.newest]:
            newest[key] = record
    if world.database.rows[table.physical] != newest:
        have = len(world.database.rows[table.physical])
        yield f"I8: {table.physical} is not the newest of each of {len(newest)} keys, but {have}"
