"""`tidemill tail`: frames and events of a subject as JSON lines."""

import sys
from pathlib import Path
from typing import Any

import orjson

from tidemill.deploy.commands.output import Exit
from tidemill.deploy.embedded.servers import found_on
from tidemill.deploy.roles.connections import streams
from tidemill.deploy.settings import archive_of
from tidemill.schemas import kinds, rows
from tidemill.schemas.errors import Unreadable
from tidemill.streams.filters import collide
from tidemill.streams.log import Message
from tidemill.streams.subjects import LOG_SUBJECTS

PULL_MESSAGES, PULL_BYTES = 500, 4 << 20


async def tail(subject: str, last: int, count: int, data_dir: Path) -> Exit:
    """Print messages of `subject` from `last` back on; `count` of them, or for ever (0)."""
    urls = await found_on(data_dir)
    async with streams(urls.nats_engine, "tail", archive_of(data_dir)) as opened:
        log = opened.log if any(collide(subject, own) for own in LOG_SUBJECTS) else opened.out
        identity = await log.identity()
        reader = await log.read(max(1, identity.last + 1 - last), [subject])
        printed = 0
        while not count or printed < count:
            for message in await reader.pull(PULL_MESSAGES, PULL_BYTES, 1.0):
                for line in lines(message):
                    sys.stdout.buffer.write(orjson.dumps(line) + b"\n")
                printed += 1
                if printed == count:
                    break
            sys.stdout.flush()
        await reader.close()
    return Exit.HELD


def lines(message: Message) -> list[dict[str, Any]]:
    """Return the records of a message as a reader likes them: decimal text, names for numbers."""
    where = {"sequence": message.sequence, "subject": message.subject}
    if message.payload.startswith(b"{"):
        return [{**where, **orjson.loads(message.payload)}]
    try:
        readable = rows.readable(kinds.decode(message.payload))
    except Unreadable as error:
        return [{**where, "unreadable": str(error)}]
    return [{**where, "i": i, **row} for i, row in enumerate(readable)]
