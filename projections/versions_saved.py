"""Which table answers which question: all that Postgres holds and LOG does not, as a value."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from tidemill.projections.migration_files import apply_to_postgres, due, own, recorded_in_postgres
from tidemill.projections.postgres.errors import unavailable
from tidemill.projections.postgres.readings import Pool
from tidemill.projections.table import Table
from tidemill.projections.versions import instance_of


class Physical(BaseModel):
    """A physical table that there was; `retired` ones only keep their number from being reused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    t: str
    name: str
    version: int
    instance: int
    state: Literal["serving", "retired"]


class Active(BaseModel):
    """What answered queries of a name, and what did before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: int
    t: str
    previous: str | None


class Saved(BaseModel):
    """The ledger of versions. Positions and rows are not in it: they follow from LOG."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    physical: tuple[Physical, ...]
    active: tuple[Active, ...]


async def save(pool: Pool) -> Saved:
    """Read it, at one moment. Raises Unavailable."""
    with unavailable():
        async with (
            pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            active = await connection.fetch("SELECT name, version, t, previous FROM active")
            rows = await connection.fetch("SELECT t, name, version, instance, state FROM physical")
    answering = {row["t"] for row in active}
    physical = []
    for row in rows:
        stays = row["state"] == "serving" or row["t"] in answering
        physical.append(Physical(**{**row, "state": "serving" if stays else "retired"}))
    return Saved(
        physical=tuple(sorted(physical, key=lambda one: one.t)),
        active=tuple(sorted((Active(**row) for row in active), key=lambda one: one.name)),
    )


async def put_back(pool: Pool, saved: Saved, versions: Sequence[Table]) -> None:
    """Write it to a Postgres that is new; the tables themselves are made by `migrate` after it.

    Raises ValueError for a table that serves and that this code does not declare, or where
    something answers already; Unavailable.
    """
    for one in saved.physical:
        known = instance_of(versions, one.name, one.version, one.instance) is not None
        if one.state == "serving" and not known:
            raise ValueError(f"{one.t} is not declared by this code: use the code that made it")
    with unavailable():
        async with pool.acquire() as connection:
            for migration in due(own("postgres"), await recorded_in_postgres(connection)):
                await apply_to_postgres(connection, migration)
            async with connection.transaction():
                if await connection.fetchval("SELECT count(*) FROM active"):
                    raise ValueError("tables answer queries here already: restore into a new run")
                await connection.executemany(
                    "INSERT INTO physical (t, name, version, instance, state)"
                    " VALUES ($1, $2, $3, $4, $5)",
                    [(p.t, p.name, p.version, p.instance, p.state) for p in saved.physical],
                )
                await connection.executemany(
                    "INSERT INTO active (name, version, t, previous) VALUES ($1, $2, $3, $4)",
                    [(a.name, a.version, a.t, a.previous) for a in saved.active],
                )
