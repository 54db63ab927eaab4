"""`tidemill dlq`: dead letters of processors, and the facts that let a processor go on."""

from pathlib import Path
from typing import Any, Literal

from tidemill.deploy.commands.output import Exit, answer
from tidemill.deploy.embedded.servers import servers_on
from tidemill.deploy.roles.connections import streams
from tidemill.deploy.settings import archive_of
from tidemill.schemas import events
from tidemill.schemas.events.control import DeadLetterSkipped
from tidemill.schemas.events.dead_letter import DeadLetter
from tidemill.streams.appender import Appender
from tidemill.streams.log import Log

LISTED_MAX = 1_000
PULL_BYTES = 4 << 20


async def dlq(
    action: Literal["ls", "show", "drop", "retry"],
    processor: str,
    r: int,
    reason: str,
    data_dir: Path,
    json: bool,
) -> Exit:
    """List or show dead letters, or append the fact that one is skipped.

    A skipped record stays what it is: a dead letter. Its key, if it was parked, goes on from the
    fact's own position. There is no `retry` of a record at another position, for that would change
    the order of the log: correct it by a new fact, then drop the letter.
    """
    async with (
        servers_on(data_dir) as urls,
        streams(urls.nats_engine, "dlq", archive_of(data_dir)) as opened,
    ):
        if action in ("drop", "retry"):
            if not processor or not r or not reason:
                raise ValueError("name PROCESSOR and R, and say why with --reason")
            if action == "retry":
                raise ValueError(
                    "a record cannot be stepped again at another position: append a correction,"
                    " then `tidemill dlq drop` so that its key goes on"
                )
            at = await _skip(opened.log, processor, r, reason)
            answer({"processor": processor, "r": r, "skipped_at": at}, json)
            return Exit.HELD
        letters = await _letters(opened.out, processor, r)
    answer({"letters": letters if action == "show" else [_short(one) for one in letters]}, json)
    return Exit.HELD


async def _skip(log: Log, processor: str, r: int, reason: str) -> int:
    appender = Appender(log, f"ctl.skip.{processor}")
    await appender.own()
    event = DeadLetterSkipped(processor=processor, r=r, reason=reason)
    return await appender.append([(appender.subject, events.encode(event))])


async def _letters(out: Log, processor: str, r: int) -> list[dict[str, Any]]:
    newest = await out.last(f"dlq.{processor or '*'}.*")
    found: list[dict[str, Any]] = []
    reader = await out.read(1, [f"dlq.{processor or '*'}.*"])
    sequence = 0
    while newest is not None and sequence < newest.sequence and len(found) < LISTED_MAX:
        for message in await reader.pull(LISTED_MAX, PULL_BYTES, 1.0):
            sequence = message.sequence
            event = events.decode(message.payload)
            if isinstance(event, DeadLetter) and r in (0, event.at_r):
                found.append(event.model_dump())
    await reader.close()
    return found


def _short(letter: dict[str, Any]) -> dict[str, Any]:
    return {name: letter[name] for name in ("processor", "at_r", "at_i", "reason", "policy")}
