"""What operators decided, read ahead of its place: a halted graph, or one of other code, needs it
before it steps anything."""

from dataclasses import dataclass, field

from tidemill.schemas import events
from tidemill.schemas.errors import Unreadable
from tidemill.schemas.events.control import CodeDeployed, DeadLetterSkipped
from tidemill.streams.log import Log

PULL_MESSAGES, PULL_BYTES, PULL_S = 1_000, 1 << 20, 0.05
SUBJECTS = ("ctl.deploy.*", "ctl.skip.*")
"""Few: files of the archive without any of them are not read (every one has ctl.archive.sealed)."""


@dataclass
class Control:
    """`skips` are (processor, r); `deployed` is the newest code for a graph, empty for none, which
    LOG has at `deployed_at`.
    """

    skips: set[tuple[str, int]] = field(default_factory=set)
    deployed: str = ""
    deployed_at: int = 0


async def read(log: Log, graph: str, last: int) -> Control:
    """Read it from LOG, up to sequence `last` at least. Raises Unavailable."""
    found = Control()
    reader = await log.read(1, SUBJECTS)
    try:
        while True:
            messages = await reader.pull(PULL_MESSAGES, PULL_BYTES, PULL_S)
            for message in messages:
                _take(found, graph, message.sequence, message.payload)
            if not messages and await reader.complete() >= last:
                return found
    finally:
        await reader.close()


def _take(found: Control, graph: str, sequence: int, payload: bytes) -> None:
    try:
        event = events.decode(payload)
    except Unreadable:
        return  # a later version's command: it is for later versions to obey
    if isinstance(event, DeadLetterSkipped):
        found.skips.add((event.processor, event.r))
    elif isinstance(event, CodeDeployed) and event.graph == graph:
        found.deployed, found.deployed_at = event.code_hash, sequence
