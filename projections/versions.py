"""Versions of tables: which physical ones there are, which answers queries, and how that changes.

A physical table is an instance of a version: ``bars__v1`` is the first, a rebuild makes
``bars__v1_2`` beside it. What is there stands in the Postgres table `physical`, which of them
answers queries in `active`, so that any set of tables of both databases swaps in one transaction.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal, NamedTuple

from tidemill.projections.postgres.errors import unavailable
from tidemill.projections.postgres.positions import Connection
from tidemill.projections.postgres.readings import Pool
from tidemill.projections.postgres.sql import statement
from tidemill.projections.table import Table, named
from tidemill.schemas.errors import Unavailable
from tidemill.streams import crash_points

State = Literal["building", "serving", "retiring"]
SWAP_TIMEOUT_S = 10.0
"""How long a swap may hold the positions of what answers, while the new ones catch up."""
PAUSE_S = 0.005
_SWAPS = 7_101_000_002  # advisory lock: one swap at a time


class Version(NamedTuple):
    """A physical table: its state, how far it is, and since when it answers queries, if it does.

    `building`: a rebuild fills it; `serving`: its sink does, it may answer; `retiring`: it goes.
    `target`, `rows`, `rate` (rows a second) are what its rebuild said last, at `told_at`.
    """

    table: Table
    state: State
    position: int
    since: datetime | None
    left_at: datetime | None
    target: int | None
    rows: int | None
    rate: float | None
    told_at: datetime | None

    @property
    def active(self) -> bool:
        """Whether it answers queries."""
        return self.since is not None


def instance_of(versions: Sequence[Table], name: str, version: int, instance: int) -> Table | None:
    """Return a declared table as one of its instances, None where it is not declared."""
    for table in versions:
        if (table.name, table.version) == (name, version):
            return replace(table, instance=instance)
    return None


async def present(pool: "Pool | Connection", versions: Sequence[Table]) -> list[Version]:
    """Return every physical table of a declared version, by name, version and instance."""
    with unavailable():
        rows = await pool.fetch(statement("versions"))
    found = []
    for row in rows:
        table = instance_of(versions, row["name"], row["version"], row["instance"])
        if table is not None:
            told = (row["target"], row["rows"], row["rate"], row["told_at"])
            found.append(
                Version(table, row["state"], row["position"], row["since"], row["left_at"], *told)
            )
    return found


async def active(pool: Pool, versions: Sequence[Table]) -> dict[str, Table]:
    """Return the physical table that answers queries, by name."""
    found = {v.table.name: v.table for v in await present(pool, versions) if v.active}
    order = dict.fromkeys(table.name for table in versions)
    return {name: found[name] for name in order if name in found}


async def serving(pool: Pool, versions: Sequence[Table]) -> tuple[list[Table], list[str]]:
    """Return the physical tables that sinks fill, those that answer and those that may again; and
    the names of those that are of a name of `versions`, but of no version in it."""
    with unavailable():
        rows = await pool.fetch(statement("versions"))
    names, tables, undeclared = {table.name for table in versions}, [], []
    for row in rows:
        if row["state"] == "serving" and row["name"] in names:
            table = instance_of(versions, row["name"], row["version"], row["instance"])
            if table is not None:
                tables.append(table)
            else:
                undeclared.append(row["t"])
    return tables, undeclared


async def begin(pool: Pool, table: Table) -> Table:
    """Note a new instance of a version, to be built, and return it."""
    with unavailable():
        row = await pool.fetchrow(statement("next_instance"), table.name, table.version)
    assert row is not None
    made = replace(table, instance=row["instance"])
    assert made.physical == row["t"], f"{made.physical} is noted as {row['t']}"
    return made


async def enter(pool: Pool, tables: Sequence[Table], state: State) -> None:
    """Put physical tables into a state."""
    names = [table.physical for table in tables]
    with unavailable():
        await pool.execute("UPDATE physical SET state = $2 WHERE t = ANY($1)", names, state)


async def retire(pool: Pool, tables: Sequence[Table]) -> None:
    """Let tables be dropped: nobody writes them, nothing can swap them in. Raises ValueError where
    one answers queries.
    """
    names = [table.physical for table in tables]
    with unavailable():
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _SWAPS)
            answering = await connection.fetchval(
                "SELECT t FROM active WHERE t = ANY($1) LIMIT 1", names
            )
            if answering is not None:
                raise ValueError(f"{answering} answers queries: swap another in its place first")
            await connection.execute(
                "UPDATE physical SET state = 'retiring' WHERE t = ANY($1)", names
            )


async def swap(
    pool: Pool,
    tables: Sequence[Table],
    states: Sequence[State] = ("serving",),
    timeout_s: float = SWAP_TIMEOUT_S,
) -> None:
    """Make physical tables answer queries, of both databases, all at once.

    While it runs, what answers stands still and the new ones catch up with it, so no reader's
    position falls. Raises Unavailable where they do not within `timeout_s`; ValueError for one
    that is not in one of `states`, or two of one name.
    """
    names = [table.physical for table in tables]
    if len({table.name for table in tables}) < len(tables):
        raise ValueError(f"of {', '.join(names)} only one of a name can answer queries")
    with unavailable():
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _SWAPS)
            crash_points.reach("swap.locked")
            await connection.execute(statement("freeze"), [table.name for table in tables])
            crash_points.reach("swap.frozen")
            deadline = time.monotonic() + timeout_s
            while unready := await connection.fetchrow(statement("unready"), names, list(states)):
                _refuse(unready, states)
                if time.monotonic() > deadline:
                    raise Unavailable(
                        f"{unready['t']} is at {unready['position']}, {unready['old']} answers at"
                        f" {unready['old_position']}: does its sink run?"
                    )
                await asyncio.sleep(PAUSE_S)
            crash_points.reach("swap.caught_up")
            await connection.execute(statement("swap"), names)
            crash_points.reach("swap.written")
    crash_points.reach("swap.committed")


def _refuse(row: Any, states: Sequence[State]) -> None:
    if row["state"] is None:
        raise ValueError(f"there is no table {row['t']}: rebuild it first")
    if row["state"] not in states:
        raise ValueError(f"{row['t']} is {row['state']}, so it cannot answer queries")


async def previous(pool: Pool, versions: Sequence[Table], names: Sequence[str]) -> list[Table]:
    """Return what answered before, of each of `names`. Raises ValueError where nothing did."""
    with unavailable():
        rows = await pool.fetch(
            "SELECT name, previous FROM active WHERE name = ANY($1)", list(names)
        )
    before = {row["name"]: row["previous"] for row in rows}
    tables = []
    for name in names:
        key = named(before.get(name) or "")
        table = instance_of(versions, *key) if key is not None else None
        if table is None:
            raise ValueError(f"{name} has not been swapped, so there is no way back")
        tables.append(table)
    return tables
