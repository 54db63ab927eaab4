"""What a run is and how far everything in it has come: for `tidemill status`."""

import asyncio
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import redis.asyncio

from tidemill.deploy.embedded.servers import ServerUrls
from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.postgres.readings import Pool
from tidemill.projections.registry import VERSIONS
from tidemill.projections.versions import Version, present
from tidemill.schemas.errors import Unavailable
from tidemill.streams import moments
from tidemill.streams.archive.archive import Archive
from tidemill.streams.archive.store import Store
from tidemill.streams.jetstream_connection import Connection
from tidemill.streams.log import Log
from tidemill.streams.runtime.checkpoint import Checkpoint, progress
from tidemill.streams.runtime.gate import CHECKPOINTS

RATE_S = 1.0
"""Rates are what happens in so long."""
_POSTGRES_SIZES = (
    "SELECT c.relname AS t, pg_total_relation_size(c.oid) AS bytes FROM pg_class c"
    " JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = 'public' AND c.relkind = 'r' AND c.relname = ANY($1)"
)
_CLICKHOUSE_SIZES = (
    "SELECT name, total_rows, total_bytes FROM system.tables"
    " WHERE database = currentDatabase() AND total_rows IS NOT NULL"
)


async def streams_of(connection: Connection, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return what each stream holds, and who reads it: how many, and the most messages that wait
    for one of them."""
    found = {}
    for name in names:
        info = await connection.api(f"STREAM.INFO.{name}")
        state = info["state"]
        found[name] = {
            "messages": state["messages"],
            "bytes": state["bytes"],
            "first": state["first_seq"],
            "last": state["last_seq"],
            "first_time": state["first_ts"],
            "last_time": state["last_ts"],
            "subjects": state.get("num_subjects", 0),
            "readers": await _readers_of(connection, name, state["consumer_count"]),
        }
    return found


async def _readers_of(connection: Connection, stream: str, count: int) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    asked = 0
    while asked < count:
        page = await connection.api(f"CONSUMER.LIST.{stream}", {"offset": asked})
        for one in page["consumers"]:
            reader = found.setdefault(one["config"].get("description") or one["name"], {})
            reader["count"] = reader.get("count", 0) + 1
            reader["lag_messages"] = max(reader.get("lag_messages", 0), one["num_pending"])
        if not page["consumers"]:
            break  # some ended meanwhile
        asked += len(page["consumers"])
    return dict(sorted(found.items()))


async def archive_of(log: Log, location: str) -> dict[str, Any]:
    """Return how far the archive is, and from where on LOG itself still has its messages."""
    identity, files, sealed = await log.identity(), 0, 0
    with suppress(Unavailable):  # nothing was ever sealed
        archive = await asyncio.to_thread(_archive, location)
        files, sealed = len(archive.names), archive.end
    return {
        "location": location,
        "files": files,
        "sealed": sealed,
        "lag_records": identity.last - sealed,
        "log_first": identity.first,
    }


def _archive(location: str) -> Archive:
    return Archive.unattested(Store.at(location, create=False))


async def time_of(log: Log) -> dict[str, Any]:
    """Return the newest time in LOG, and how old it is by this machine's clock."""
    ns = await moments.now_ns(log)
    if ns is None:
        return {"ns": None, "iso": None, "age_s": None}
    iso = datetime.fromtimestamp(ns // 1_000_000 / 1_000, UTC).isoformat(timespec="milliseconds")
    return {"ns": ns, "iso": iso, "age_s": round((time.time_ns() - ns) / 1e9, 3)}


async def graphs_of(log: Log, out: Log) -> dict[str, dict[str, Any]]:
    """Return how far each graph is by its checkpoints, the hindmost and foremost partition."""
    checkpoints = [Checkpoint.read(m.payload) for m in await out.lasts(CHECKPOINTS)]
    end = (await log.identity()).last
    found: dict[str, dict[str, Any]] = {}
    for name in sorted({one.graph for one in checkpoints}):
        mine = [one for one in checkpoints if one.graph == name]
        done = [r for (graph, _), r in progress(mine).items() if graph == name]
        found[name] = {
            "processors": sorted({p for one in mine for p in one.processors}),
            "partitions": len(done),
            "done_min": min(done),
            "done_max": max(done),
            "lag_records": max(0, end - min(done)),
            "lag_s": round(await moments.behind_s(log, min(done)), 3),
            "code_hashes": sorted({one.code_hash for one in mine}),
        }
    return found


async def tables_of(log: Log, pool: Pool, clickhouse: ClickHouse) -> dict[str, dict[str, Any]]:
    """Return every physical table: which it is, how far and how fast, and how large."""
    before, began = await present(pool, VERSIONS), time.monotonic()
    await asyncio.sleep(RATE_S)
    versions, seconds = await present(pool, VERSIONS), time.monotonic() - began
    earlier = {one.table.physical: one.position for one in before}
    end = (await log.identity()).last
    sizes = await _sizes(versions, pool, clickhouse)
    found = {}
    for one in versions:
        name = one.table.physical
        rate = (one.position - earlier.get(name, one.position)) / seconds
        rows, size = sizes.get(name, (0, 0))
        found[name] = {
            "name": one.table.name,
            "version": one.table.version,
            "instance": one.table.instance,
            "kind": one.table.kind,
            "database": one.table.database,
            "state": one.state,
            "active": one.active,
            "position": one.position,
            "lag_records": max(0, end - one.position),
            "lag_s": round(await moments.behind_s(log, one.position), 3),
            "roots_per_s": round(rate, 1),
            "rows": rows,
            "bytes": size,
            "rebuild": _rebuild(one) if one.state == "building" else None,
        }
    return found


def _rebuild(version: Version) -> dict[str, Any]:
    """Return what a rebuild said last of its table, and when it will be done at that rate."""
    eta_s = None
    if version.target and version.rows and version.rate and version.position:
        whole = version.rows * version.target / version.position
        eta_s = round(max(0.0, whole - version.rows) / version.rate, 1)
    return {
        "target": version.target,
        "rows": version.rows,
        "rows_per_s": version.rate,
        "told_at": version.told_at.isoformat() if version.told_at else None,
        "eta_s": eta_s,
    }


async def _sizes(
    versions: Sequence[Version], pool: Pool, clickhouse: ClickHouse
) -> dict[str, tuple[int, int]]:
    """Return (rows, bytes) by physical name."""
    found = {t: (rows, size or 0) for t, rows, size in await clickhouse.query(_CLICKHOUSE_SIZES)}
    names = [v.table.physical for v in versions if v.table.database == "postgres"]
    for row in await pool.fetch(_POSTGRES_SIZES, names):
        found[row["t"]] = await pool.fetchval(f"SELECT count(*) FROM {row['t']}"), row["bytes"]
    return found


async def versions_of(urls: ServerUrls, pool: Pool, clickhouse: ClickHouse) -> dict[str, str]:
    """Return the version of each server."""
    async with httpx2.AsyncClient(timeout=5) as client:
        nats = (await client.get(f"{urls.nats_monitor}/varz")).json()["version"]
    valkey = redis.asyncio.from_url(urls.valkey)
    try:
        told = await valkey.info("server")
    finally:
        await valkey.aclose()
    return {
        "nats": str(nats),
        "postgres": str(await pool.fetchval("SHOW server_version")),
        "clickhouse": str((await clickhouse.query("SELECT version()"))[0][0]),
        "valkey": str(told.get("valkey_version", told.get("redis_version", ""))),
    }


def disk_of(data_dir: Path) -> dict[str, Any]:
    """Return what a run takes on disk, by folder, and what is free."""
    usage = shutil.disk_usage(data_dir)
    folders = {path.name: _bytes_below(path) for path in sorted(data_dir.iterdir())}
    return {"folders": folders, "free": usage.free, "total": usage.total}


def snapshots_of(data_dir: Path) -> dict[str, int]:
    """Return how many snapshots there are."""
    files = [path for path in (data_dir / "snapshots").rglob("*") if path.is_file()]
    return {"files": len(files), "bytes": sum(path.stat().st_size for path in files)}


def _bytes_below(path: Path) -> int:
    """Return the bytes of all files below; those that go meanwhile do not count."""
    total = 0
    for one in [path] if path.is_file() else path.rglob("*"):
        try:
            total += one.lstat().st_size if one.is_file() and not one.is_symlink() else 0
        except OSError:
            continue
    return total
