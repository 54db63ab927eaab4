"""Captures into a log, the graph over it, and the digest of every table that follows."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tidemill.deploy.graphs import graphs
from tidemill.deploy.settings import GraphLayout
from tidemill.projections.digest import Digest
from tidemill.projections.registry import TABLES
from tidemill.projections.rows import Rows
from tidemill.projections.runtime import only_newest
from tidemill.projections.sources import Mark, source
from tidemill.projections.table import Table
from tidemill.projections.verify import digest_of
from tidemill.schemas.errors import Regressed
from tidemill.streams.appender import Appender
from tidemill.streams.feeds.registry import venue_of
from tidemill.streams.feeds.replay import Counts, Replay
from tidemill.streams.log import Log
from tidemill.streams.runtime.shard import Limits, Shard, shard_of

WAIT_S = 1.0
"""How long one pull of a table's source may wait."""


async def fill(log: Log, files: Sequence[Path], venue: str, product: str) -> Counts:
    """Append what captures say to an empty LOG, or go on where the same replay was interrupted.

    Raises Regressed when LOG holds anything but a beginning of this replay; OSError for a file
    that cannot be opened; ValueError for a venue that is not known.
    """
    playing = Replay(files, venue_of(venue, product))
    appender = Appender(log, ">")
    newest = await appender.own()
    have = (await log.identity()).last
    passed = 0
    for batch in playing.batches():
        held = min(max(have - passed, 0), len(batch))
        if held and passed + held == have and newest is not None:
            _expect(batch[held - 1], (newest.subject, newest.payload))
        if held < len(batch):
            await appender.append(batch[held:])
        passed += len(batch)
    if passed < have:
        raise Regressed(f"LOG holds {have} messages, this replay makes {passed}: {_ELSE}")
    return playing.counts


_ELSE = "it holds something else; replay into an empty data directory (--data-dir)"


def _expect(made: tuple[str, bytes], held: tuple[str, bytes]) -> None:
    if made != held:
        raise Regressed(f"LOG ends with another message on {held[0]}: {_ELSE}")


async def step(
    log: Log,
    out: Log,
    shards: int = 1,
    layout: GraphLayout = "fused",
    snapshots: Path | None = None,
    limits: Limits | None = None,
) -> None:
    """Run the graphs of a layout in `shards` shards over all that LOG holds."""
    last = (await log.identity()).last
    running = [
        Shard(log, out, graph, shard_of(index, shards), snapshots, limits)
        for graph in graphs(layout).values()
        for index in range(shards)
    ]
    async with asyncio.TaskGroup() as group:
        for shard in running:
            group.create_task(shard.run(until=last))


async def made(table: Table, log: Log, out: Log) -> AsyncIterator[Rows]:
    """Yield the rows of a table as LOG and OUT make it, up to LOG's end, in logical order."""
    identity = await log.identity()
    rows = source(table, log, out, identity.uuid)
    await rows.open(1, Mark(0, 1))
    done = 0
    try:
        while done < identity.last:
            batch = await rows.next(WAIT_S)
            if batch is not None:
                done = batch.done
                if batch.rows is not None:
                    yield batch.rows
    finally:
        await rows.close()


async def digests(log: Log, out: Log) -> dict[str, Digest]:
    """Return the digest of every table of the registry, made from the streams alone."""
    found = {}
    last = (await log.identity()).last
    for name, table in TABLES.items():
        rows = made(table, log, out)
        if table.kind == "latest":
            rows = only_newest(table, rows)
        found[name] = await digest_of(table, rows, last)
    return found


def report(counts: Counts, tables: dict[str, Digest]) -> dict[str, Any]:
    """Return what `tidemill replay --json` prints."""
    counted = asdict(counts)
    return {
        **counted,
        "tables": {
            name: {"rows": d.rows, "sha256": d.sha256, "content_sha256": d.content_sha256}
            for name, d in tables.items()
        },
    }
