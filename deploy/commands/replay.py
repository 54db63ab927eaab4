"""`tidemill replay`: captures into memory or into a data directory's servers, with digests."""

from dataclasses import dataclass
from pathlib import Path

from tidemill.deploy.commands.output import Exit, answer, say
from tidemill.deploy.prepared import prepared
from tidemill.deploy.replaying import digests, fill, report, step
from tidemill.deploy.roles.connections import streams
from tidemill.deploy.settings import GraphLayout, archive_of
from tidemill.deploy.tables import database_digests, materialise
from tidemill.streams.memory import MemoryLog
from tidemill.streams.subjects import LOG_SUBJECTS, OUT_SUBJECTS


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    files: tuple[Path, ...]
    venue: str
    product: str
    memory: bool
    shards: int
    graphs: GraphLayout
    data_dir: Path
    json: bool


async def replay(options: Options) -> Exit:
    """Play the captures. Raises as `replaying.fill`."""
    for file in options.files:
        if not file.is_file():
            raise FileNotFoundError(f"there is no capture {file}")
    if options.memory:
        log = MemoryLog("LOG", LOG_SUBJECTS)
        out = MemoryLog("OUT", OUT_SUBJECTS)
        counts = await fill(log, options.files, options.venue, options.product)
        await step(log, out, options.shards, options.graphs)
        tables = await digests(log, out)
    else:
        async with (
            prepared(options.data_dir) as urls,
            streams(urls.nats_engine, "replay", archive_of(options.data_dir)) as opened,
        ):
            counts = await fill(opened.log, options.files, options.venue, options.product)
            say(f"LOG holds {(await opened.log.identity()).last} messages; stepping the graph")
            snapshots = options.data_dir / "snapshots"
            await step(opened.log, opened.out, options.shards, options.graphs, snapshots)
            say("filling the tables")
            await materialise(urls, opened.log, opened.out)
            tables = await database_digests(urls, (await opened.log.identity()).last)
    answer(report(counts, tables), options.json)
    return Exit.HELD
