"""Messages of LOG as an explanation shows them: what they say, whose they are, where they stand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from tidemill.schemas import kinds, rows
from tidemill.schemas.errors import Unreadable
from tidemill.schemas.frame import Frame
from tidemill.streams.log import Log, Message

Shown = dict[str, Any]
"""What is printed: names to plain values."""


class Held:
    """Says where a message of LOG is: in the stream, or, since that was trimmed, in the archive."""

    def __init__(self, first: int) -> None:
        self._first = first

    def at(self, r: int) -> str:
        """Return ``log`` or ``archive``."""
        return "log" if r >= self._first else "archive"


def frame_of(message: Message) -> Frame | None:
    """Decode a message, None for a JSON event or for what cannot be read."""
    if message.payload.startswith(b"{"):
        return None
    try:
        return kinds.decode(message.payload)
    except Unreadable:
        return None


def whole(message: Message, held: Held, index: int | None = None) -> Shown:
    """Return a message with its record `index` (all of them for None) as a reader likes it.

    Raises ValueError where it has no such record.
    """
    shown: Shown = {
        "r": message.sequence,
        "subject": message.subject,
        "held": held.at(message.sequence),
        "bytes": len(message.payload),
    }
    if message.payload.startswith(b"{"):
        if index:
            raise ValueError(f"r={message.sequence} is one event: it has no record {index}")
        return shown | _event(message.payload)
    try:
        frame = kinds.decode(message.payload)
    except Unreadable as error:
        return shown | {"unreadable": str(error)}
    shown |= {"kind": frame.kind.name, "source_sequence": frame.sequence}
    if index is None:
        return shown | {"records": rows.readable(frame)}
    if index >= len(frame.records):
        raise ValueError(f"r={message.sequence} has {len(frame.records)} records, no i={index}")
    one = frame._replace(records=frame.records[index : index + 1])
    return shown | {"i": index, "record": rows.readable(one)[0]}


def _event(payload: bytes) -> Shown:
    try:
        fields = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        return {"unreadable": str(error)}
    if not isinstance(fields, dict):
        return {"unreadable": "no JSON object"}
    tag = fields.pop("event", None)
    return {"kind": tag, "source_sequence": fields.get("sequence"), "record": fields}


def part(message: Message, frame: Frame, chosen: Sequence[int] | Any, held: Held) -> Shown:
    """Return which records of a frame were used, without what they say."""
    index = np.asarray(chosen)
    shown: Shown = {
        "r": message.sequence,
        "i": [int(index[0]), int(index[-1])],
        "used": len(index),
        "records": len(frame.records),
        "subject": message.subject,
        "source_sequence": frame.sequence,
        "held": held.at(message.sequence),
    }
    names = frame.records.dtype.names or ()
    name = "ts_recv" if "ts_recv" in names else "ts"
    received = frame.records[name][index]
    return shown | {"ts_recv": [int(received[0]), int(received[-1])]}


async def get(log: Log, r: int) -> Message:
    """Return a message of LOG or its archive. Raises ValueError where there is none."""
    found = await log.get(r) if r > 0 else None
    if found is None:
        last = (await log.identity()).last
        raise ValueError(f"LOG has no record r={r}: it ends at {last}")
    return found
