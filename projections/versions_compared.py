"""Two physical tables of one name compared, before one takes the other's place."""

from dataclasses import replace
from typing import NamedTuple

from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.digest import Digest
from tidemill.projections.postgres.errors import unavailable
from tidemill.projections.postgres.readings import Pool
from tidemill.projections.runtime import digest
from tidemill.projections.table import Table


class Compared(NamedTuple):
    """What was found at root `as_of`, over the columns that both have.

    `equal` is None where they cannot be compared: `why` says why not, or how they differ.
    """

    equal: bool | None
    as_of: int
    columns: tuple[str, ...]
    why: str


async def compare(old: Table, new: Table, clickhouse: ClickHouse, pool: Pool) -> Compared:
    """Compare digests at the newest root that both are complete up to.

    A table of what is latest holds one root only: it is compared where both are at the same one.
    """
    kinds = {column.name: (column.kind, column.enum) for column in old.columns}
    common = tuple(c for c in new.columns if kinds.get(c.name) == (c.kind, c.enum))
    names = tuple(column.name for column in common)
    if not {"_r", "_i", "_n", *old.key, *new.key} <= set(names) or old.kind != new.kind:
        return Compared(None, 0, names, "they have not the same key")
    was, will = (replace(t, columns=common, key=old.key) for t in (old, new))
    before = await _positions(pool, old, new)
    as_of = min(before)
    if not as_of:
        return Compared(None, 0, names, "one of them holds nothing yet")
    first = await _digest(was, clickhouse, pool, as_of)
    second = await _digest(will, clickhouse, pool, as_of)
    if old.kind == "latest" and (
        {*before, *await _positions(pool, old, new)} != {as_of}
        or await _beyond(pool, as_of, old, new)
    ):
        return Compared(None, as_of, names, "what is latest moves while it is looked at")
    if isinstance(first, str) or isinstance(second, str):
        return Compared(False, as_of, names, " ".join(d for d in (first, second) if type(d) is str))
    if first == second:
        return Compared(True, as_of, names, "")
    why = f"{first.rows} rows, {second.rows} rows" if first.rows != second.rows else "other values"
    return Compared(False, as_of, names, f"{old.physical} and {new.physical} differ: {why}")


async def _digest(table: Table, clickhouse: ClickHouse, pool: Pool, as_of: int) -> Digest | str:
    try:
        return await digest(table, clickhouse, pool, as_of)
    except ValueError as error:
        return str(error)  # a row stands twice


async def _beyond(pool: Pool, as_of: int, *tables: Table) -> bool:
    """Whether a table has a row of a later root: what is newest may be newer than its position."""
    found = " UNION ALL ".join(f"SELECT 1 FROM {one.physical} WHERE _r > $1" for one in tables)
    with unavailable():
        return await pool.fetchval(f"SELECT EXISTS ({found})", as_of) is True


async def _positions(pool: Pool, *tables: Table) -> tuple[int, ...]:
    with unavailable():
        rows = await pool.fetch(
            "SELECT t, position FROM sink WHERE t = ANY($1)", [t.physical for t in tables]
        )
    found = {row["t"]: row["position"] for row in rows}
    return tuple(found.get(table.physical, 0) for table in tables)
