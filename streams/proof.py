"""Whether LOG still is what was derived from it: asked by writers and sinks before any effect."""

from crc32c import crc32c

from tidemill.schemas.errors import Regressed
from tidemill.streams.log import Log
from tidemill.streams.runtime.checkpoint import Checkpoint
from tidemill.streams.runtime.gate import CHECKPOINTS


async def prove(log: Log, out: Log) -> None:
    """Raise Regressed unless LOG holds the message that each checkpoint in OUT stands at.

    A server that lost the end of LOG (a disk that lied, a damaged file) serves what is left and
    gives its sequences anew. The first to append would hide that from all who look at the end.
    """
    read = [Checkpoint.read(message.payload) for message in await out.lasts(CHECKPOINTS)]
    stood = sorted({(one.graph, one.log, one.done, one.tail) for one in read})
    identity = await log.identity()  # asked after the checkpoints: it can only have grown since
    how = "restore LOG or re-feed it (`tidemill repair`); nothing was written"
    for graph, uuid, done, tail in stood:
        if uuid != identity.uuid:
            raise Regressed(f"LOG REGRESSED: it is stream {identity.uuid}, not {uuid}: {how}")
        if done > identity.last:
            raise Regressed(
                f"LOG REGRESSED: it ends at {identity.last}, {graph} has stepped {done}: {how}"
            )
        message = await log.get(done) if done else None
        if message is None and done >= max(1, identity.first):
            raise Regressed(f"LOG REGRESSED: {done} is missing: {how}")
        if message is not None and crc32c(message.payload) != tail:
            raise Regressed(f"LOG REGRESSED: {done} is another message: {how}")
