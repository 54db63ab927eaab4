"""`tidemill hash` and `tidemill verify`: what tables hold, and whether the log says the same."""

from pathlib import Path
from typing import Any

from tidemill.deploy.commands.output import Exit, answer, say
from tidemill.deploy.embedded.servers import servers_on
from tidemill.deploy.prepared import databases
from tidemill.deploy.roles.connections import streams
from tidemill.deploy.settings import Missing
from tidemill.deploy.tables import steps
from tidemill.projections import runtime
from tidemill.projections.postgres.readings import read
from tidemill.projections.registry import TABLES
from tidemill.projections.table import Table


def chosen(names: tuple[str, ...]) -> list[Table]:
    """Return the named tables, or all. Raises Missing for one that there is not."""
    for name in names:
        if name not in TABLES:
            raise Missing(f"there is no table {name}; there are {', '.join(TABLES)}")
    return [TABLES[name] for name in names or TABLES]


async def hash_tables(names: tuple[str, ...], data_dir: Path, json: bool) -> Exit:
    """Print each table's digest at the position that answers queries."""
    hashes = {}
    async with servers_on(data_dir) as urls, databases(urls) as (pool, clickhouse):
        readings = await read(pool, [table.name for table in chosen(names)])
        for table in chosen(names):
            as_of = readings[table.name].as_of if table.name in readings else 0
            digest = await runtime.digest(table, clickhouse, pool, as_of)
            hashes[table.name] = digest.sha256
    answer({"tables": hashes}, json)
    return Exit.HELD


async def verify(names: tuple[str, ...], data_dir: Path, json: bool) -> Exit:
    """Compare each table with a recomputation from LOG at the position that answers queries."""
    found: dict[str, dict[str, Any]] = {}
    equal = True
    async with (
        servers_on(data_dir) as urls,
        streams(urls.nats_engine, "verify") as opened,
        databases(urls) as (pool, clickhouse),
    ):
        readings = await read(pool, [table.name for table in chosen(names)])
        for table in chosen(names):
            if table.name not in readings:
                say(f"{table.name}: no sink has ever filled it")
                equal = False
                continue
            as_of = readings[table.name].as_of
            derived = None
            if table.emitted_by is not None:
                derived = steps(table.emitted_by, opened.log, as_of)
            verdict = await runtime.verify(table, opened.log, clickhouse, pool, as_of, derived)
            if verdict.reason:
                say(f"{table.name}: {verdict.reason}")
            equal = equal and verdict.equal
            found[table.name] = {
                "rows": verdict.recomputed.rows,
                "live_sha256": verdict.live.sha256 if verdict.live else "",
                "recomputed_sha256": verdict.recomputed.sha256,
                "as_of": as_of,
            }
    answer({"equal": equal, "tables": found}, json)
    return Exit.HELD if equal else Exit.DID_NOT_HOLD
