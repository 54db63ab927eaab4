"""Whether LOG still is what was derived from it: asked by writers and sinks before any effect."""

from crc32c import crc32c

from tidemill.schemas.errors import Regressed
from tidemill.streams.log import Identity, Log
from tidemill.streams.runtime.checkpoint import Checkpoint
from tidemill.streams.runtime.gate import CHECKPOINTS, REMEDY


async def prove(log: Log, out: Log) -> None:
    """Raise Regressed unless LOG holds the message that each checkpoint in OUT stands at.

    A server that lost the end of LOG (a disk that lied, a damaged file) serves what is left and
    gives its sequences anew. The first to append would hide that from all who look at the end.
    """
    read = [Checkpoint.read(message.payload) for message in await out.lasts(CHECKPOINTS)]
    identity = await log.identity()  # asked after the checkpoints: it can only have grown since
    for checkpoint in {(one.graph, one.log, one.done, one.tail): one for one in read}.values():
        await prove_one(log, checkpoint, identity)


async def prove_one(log: Log, checkpoint: Checkpoint, identity: Identity) -> None:
    """Raise Regressed unless LOG, which was `identity`, is the one that a checkpoint speaks of."""
    done = checkpoint.done
    if checkpoint.log != identity.uuid:
        raise Regressed(
            f"LOG REGRESSED: it is stream {identity.uuid}, not {checkpoint.log}: {REMEDY}"
        )
    if done > identity.last:
        identity = await log.identity()  # another shard may have stepped what came since
    if done > identity.last:
        raise Regressed(
            f"LOG REGRESSED: it ends at {identity.last}, {checkpoint.graph} has stepped {done}:"
            f" {REMEDY}"
        )
    message = await log.get(done) if done else None
    if message is None and done >= max(1, identity.first):
        raise Regressed(f"LOG REGRESSED: {done} is missing: {REMEDY}")
    if message is not None and crc32c(message.payload) != checkpoint.tail:
        raise Regressed(f"LOG REGRESSED: {done} is another message: {REMEDY}")
