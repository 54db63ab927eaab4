"""`tidemill hash` and `tidemill verify`: what tables hold, and whether the log says the same."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tidemill.deploy.commands.output import Exit, answer, say
from tidemill.deploy.commands.versions import physical
from tidemill.deploy.embedded.servers import servers_on
from tidemill.deploy.prepared import databases
from tidemill.deploy.rebuilding import engine_of
from tidemill.deploy.roles.connections import streams
from tidemill.deploy.settings import Missing, archive_of
from tidemill.gateway.queries.parameters import as_of
from tidemill.projections import runtime
from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.live import at_one_moment
from tidemill.projections.postgres.readings import Pool
from tidemill.projections.ranges import Live, Verdict
from tidemill.projections.registry import TABLES, VERSIONS
from tidemill.projections.table import Table, named
from tidemill.projections.verify import Compared, remade
from tidemill.projections.verify import verify as compare
from tidemill.projections.versions import active, present
from tidemill.streams.log import Log
from tidemill.streams.moments import root_at


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line; `as_of` is a position or a time, empty for now."""

    names: tuple[str, ...]
    as_of: str
    data_dir: Path
    json: bool


async def chosen(pool: Pool, names: Sequence[str]) -> dict[str, Table]:
    """Return what answers queries under these names (all without any), and named physical tables.

    Raises Missing for one that there is not.
    """
    answering = await active(pool, VERSIONS)
    there = await present(pool, VERSIONS)
    found = {}
    for name in names or answering:
        if name in answering:
            found[name] = answering[name]
        elif named(name) is not None:
            found[name] = physical(name, there)
        else:
            raise Missing(f"there is no table {name}; there are {', '.join(TABLES)}")
    return found


class Opened(NamedTuple):
    """What a command is about, while the servers are up: the tables, the root of the past that was
    asked for (None for now), and by physical name how far each table is and what it holds.
    """

    log: Log
    clickhouse: ClickHouse
    pool: Pool
    tables: dict[str, Table]
    past: int | None
    moment: dict[str, tuple[int, Live]]


@asynccontextmanager
async def opened(options: Options, name: str) -> AsyncIterator[Opened]:
    """Start or find the servers, and look at the tables at one moment. Raises Missing."""
    async with (
        servers_on(options.data_dir) as urls,
        streams(urls.nats_engine, name, archive_of(options.data_dir)) as there,
        databases(urls) as (pool, clickhouse),
    ):
        tables = await chosen(pool, options.names)
        past = await asked(options.as_of, there.log)
        moment = await at_one_moment(pool, clickhouse, list(tables.values()))
        yield Opened(there.log, clickhouse, pool, tables, past, moment)


async def hash_tables(options: Options) -> Exit:
    """Print each table's digest at the position that answers queries, or at one in the past."""
    hashes = {}
    async with opened(options, "hash") as it:
        for name, table in it.tables.items():
            position, now = it.moment.get(table.physical, (0, None))
            root = bounded(name, table, position, it.past, bool(options.names))
            if root is not None:
                digest = await runtime.digest(table, it.clickhouse, it.pool, root, now)
                hashes[name] = digest.sha256
    answer({"tables": hashes}, options.json)
    return Exit.HELD


async def verify(options: Options) -> Exit:
    """Compare each table with a recomputation from LOG, in one pass, and say where they differ."""
    async with opened(options, "verify") as it:
        never = [name for name, table in it.tables.items() if table.physical not in it.moment]
        for name in never:
            say(f"{name}: no sink has ever filled it")
        compared = _compared(it.tables, it.moment, it.past, bool(options.names))
        verdicts = await _verdicts(compared, it.log)
    for name, verdict in verdicts.items():
        if verdict.reason:
            say(f"{name}: {verdict.reason}")
    equal = not never and all(verdict.equal for verdict in verdicts.values())
    found = {name: _said(verdict, compared[name].as_of) for name, verdict in verdicts.items()}
    answer({"equal": equal, "tables": found}, options.json)
    return Exit.HELD if equal else Exit.DID_NOT_HOLD


async def asked(text: str, log: Log) -> int | None:
    """Return the root that is asked for: a position, or that of a time. Raises Missing."""
    if not text:
        return None
    try:
        wanted = as_of(text)
    except ValueError as error:
        raise Missing(f"--as-of is a position or a time: {error}") from error
    return await root_at(log, wanted.ns) if wanted.ns is not None else wanted.root


def bounded(name: str, table: Table, position: int, past: int | None, by_name: bool) -> int | None:
    """Return the root that a table is looked at; None for one of what is latest, which has no past.

    Raises Missing where such a table was named, or for a root that a table has not come to.
    """
    if past is None or past == position:
        return position
    if table.kind == "latest":
        if by_name:
            raise Missing(f"{name} holds only what is latest, at {position}, and not at {past}")
        say(f"{name}: holds only what is latest, at {position}")
        return None
    if past > position:
        raise Missing(f"{name} is complete up to {position}, not to {past}")
    return past


def _compared(
    tables: dict[str, Table], moment: dict[str, tuple[int, Live]], past: int | None, by_name: bool
) -> dict[str, Compared]:
    found = {}
    for name, table in tables.items():
        if table.physical in moment:
            position, live = moment[table.physical]
            root = bounded(name, table, position, past, by_name)
            if root is not None:
                found[name] = Compared(table, live, root)
    return found


async def _verdicts(compared: dict[str, Compared], log: Log) -> dict[str, Verdict]:
    if not compared:
        return {}
    tables = [one.table for one in compared.values()]
    derived = [table for table in tables if table.emitted_by]
    engine = (await engine_of(derived, log))() if derived else None
    end = max(one.as_of for one in compared.values())
    return await compare(compared, remade(log, tables, engine, end))


def _said(verdict: Verdict, root: int) -> dict[str, Any]:
    return {
        "rows": verdict.recomputed.rows,
        "live_rows": verdict.live_rows,
        "live_sha256": verdict.live.sha256 if verdict.live else "",
        "recomputed_sha256": verdict.recomputed.sha256,
        "content_sha256": verdict.recomputed.content_sha256,
        "state_sha256": verdict.recomputed.state_sha256,
        "as_of": root,
        "differences": verdict.differences,
    }
