"""`tidemill status`: every stream, reader and table, how far each is, and what it takes."""

import asyncio
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tidemill.deploy import overview
from tidemill.deploy.commands.output import Exit, answer
from tidemill.deploy.embedded.servers import servers_on
from tidemill.deploy.prepared import databases
from tidemill.deploy.roles.connections import open_streams
from tidemill.deploy.settings import archive_of
from tidemill.streams.jetstream_connection import connect

STREAMS = ("LOG", "OUT", "KV_LEASES")


async def status(data_dir: Path, json: bool) -> Exit:
    """Print the state of a run; its servers are started for it where they do not run."""
    async with servers_on(data_dir) as urls, databases(urls) as (pool, clickhouse):
        connection = await connect(urls.nats_engine, name="status")
        try:
            opened = await open_streams(connection, archive_of(data_dir))
            found = {
                "streams": await overview.streams_of(connection, STREAMS),
                "time": await overview.time_of(opened.log),
                "archive": await overview.archive_of(opened.log, archive_of(data_dir)),
                "graphs": await overview.graphs_of(opened.log, opened.out),
                "tables": await overview.tables_of(opened.log, pool, clickhouse),
                "snapshots": await asyncio.to_thread(overview.snapshots_of, data_dir),
                "disk": await asyncio.to_thread(overview.disk_of, data_dir),
                "servers": await overview.versions_of(urls, pool, clickhouse),
            }
        finally:
            await connection.close()
    if json:
        answer(found, json)
    else:
        show(found)
    return Exit.HELD


def show(found: dict[str, Any]) -> None:
    """Print it for people."""
    console = Console()
    now = found["time"]
    console.print(f"LOG's time {now['iso'] or 'none yet'}, {now['age_s'] or 0:,.1f} s ago")
    for title, columns in (
        ("streams", ("messages", "bytes", "first", "last", "subjects", "readers")),
        ("graphs", ("partitions", "done_min", "done_max", "lag_records", "lag_s")),
        (
            "tables",
            (
                *("state", "active", "position", "lag_records", "lag_s", "roots_per_s"),
                *("rows", "bytes", "rebuild"),
            ),
        ),
    ):
        table = Table(title=title, title_justify="left", show_edge=False)
        table.add_column("", no_wrap=True)
        for column in columns:
            table.add_column(column.replace("_", " "), justify="right")
        for name, row in found[title].items():
            table.add_row(name, *(_plain(column, row[column]) for column in columns))
        console.print(table)
    archive = found["archive"]
    console.print(
        f"archive: {archive['location']}, {archive['files']} files, sealed up to"
        f" {archive['sealed']:,}, {archive['lag_records']:,} records behind; LOG itself begins at"
        f" {archive['log_first']:,}"
    )
    disk, snapshots = found["disk"], found["snapshots"]
    folders = ", ".join(f"{k} {_size(v)}" for k, v in disk["folders"].items() if v >= 1_000_000)
    console.print(f"disk: {folders or 'next to nothing'}; {_size(disk['free'])} free")
    console.print(f"snapshots: {snapshots['files']}, {_size(snapshots['bytes'])}")
    console.print("servers: " + ", ".join(f"{k} {v}" for k, v in found["servers"].items()))


def _plain(column: str, value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else ""
        case dict() if column == "readers":
            waits = [f"{name} ({one['lag_messages']:,} wait)" for name, one in value.items()]
            return ", ".join(waits)
        case dict():
            eta = value["eta_s"]
            return f"{value['rows'] or 0:,} rows" + (f", {eta:,.0f} s to go" if eta else "")
        case int() if column == "bytes":
            return _size(value)
        case int() | float():
            return f"{value:,}"
    return str(value)


def _size(size: int) -> str:
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= scale:
            return f"{size / scale:,.1f} {unit}"
    return f"{size} B"
