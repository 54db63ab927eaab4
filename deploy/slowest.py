"""Who reads LOG, and how far the slowest has come: what is behind it is nobody's any more."""

from pathlib import Path

from tidemill.projections.postgres.errors import unavailable
from tidemill.projections.postgres.readings import Pool
from tidemill.streams.archive.trimmer import Reading
from tidemill.streams.log import Log
from tidemill.streams.runtime.checkpoint import Checkpoint, progress
from tidemill.streams.runtime.gate import CHECKPOINTS

POSITIONS = Path(__file__).with_suffix(".sql").read_text("utf-8")


async def slowest(out: Log, pool: Pool) -> Reading:
    """Return the least of all checkpoints on OUT and of all positions of sinks.

    Where no graph or no sink has come anywhere yet, that is 0. Raises Unavailable.
    """
    said = [Checkpoint.read(message.payload) for message in await out.lasts(CHECKPOINTS)]
    done = progress(said)
    graphs = [_of(one, done[one.graph, one.partition]) for one in said]
    with unavailable():
        rows = await pool.fetch(POSITIONS)
    tables = [Reading(row["position"], f"table {row['t']} is the slowest reader") for row in rows]
    return min(
        min(graphs, default=Reading(0, "no graph has begun")),
        min(tables, default=Reading(0, "no table has begun")),
    )


def _of(checkpoint: Checkpoint, done: int) -> Reading:
    done = min([done, *checkpoint.apart.values()])
    who = f"graph {checkpoint.graph} is the slowest reader, in partition {checkpoint.partition}"
    return Reading(done, who)
