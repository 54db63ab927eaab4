"""Reading the facts that an event was made of, in flat memory: frame by frame, up to the cause."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidemill.deploy.why.deriving import Found
from tidemill.deploy.why.facts import Held, Shown, frame_of
from tidemill.deploy.why.following import messages
from tidemill.schemas import events
from tidemill.schemas.errors import Unreadable
from tidemill.schemas.events import Event
from tidemill.schemas.events.feed import RecordsGivenUp, TradeGapDeclared, TradeGapSuspected
from tidemill.schemas.frame import Frame
from tidemill.schemas.identifiers import ALL, partition_token
from tidemill.streams.log import Log, Message

FRAMES_SHOWN = 20
"""Frames of one input that are shown, unless more are asked for: the first and the last ones."""
GAPS = (TradeGapDeclared, TradeGapSuspected, RecordsGivenUp)
Mask = NDArray[np.bool_]


@dataclass
class Context:
    """What an explanation is made with: `cause` is (r, i) of the record that was stepped, and
    `frames_shown` bounds the frames listed of one input.
    """

    log: Log
    found: Found
    held: Held
    cause: tuple[int, int]
    frames_shown: int = FRAMES_SHOWN

    def subject(self, kind: str, venue: str, symbol: str) -> str:
        """Subject of an instrument's facts, in the partition of what is explained."""
        return f"md.{kind}.{venue}.{symbol}.{partition_token(self.found.made.partition)}"


class Explained(NamedTuple):
    """What an event was made of, and what was compared: each check says whether it holds."""

    inputs: list[Shown]
    checks: list[Shown]


def check(what: str, said: Any, inputs: Any) -> Shown:
    """Compare what a record says with what its inputs give."""
    return {"what": what, "event": said, "inputs": inputs, "holds": bool(said == inputs)}


class Used(NamedTuple):
    """Records of one frame that were used: their indices (K,) and themselves (K,)."""

    message: Message
    frame: Frame
    places: NDArray[np.int64]
    records: Any


@dataclass
class Gathered:
    """Records that an event was made of, in logical order."""

    role: str
    used: list[Used] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(len(one.places) for one in self.used)

    def column(self, name: str) -> list[int]:
        """Return one field of all records as integers."""
        return [value for one in self.used for value in one.records[name].tolist()]

    def clear(self) -> None:
        """Forget everything: it is of no account any more."""
        self.used.clear()

    def cut(self, keep: Mask) -> None:
        """Keep the records of a mask (N,) over all of them."""
        kept, at = [], 0
        for one in self.used:
            mask = keep[at : at + len(one.places)]
            at += len(one.places)
            if mask.any():
                kept.append(one._replace(places=one.places[mask], records=one.records[mask]))
        self.used = kept

    def shown(self, context: Context, **more: Any) -> Shown:
        """Return it as it is printed; of many frames the first and the last ones."""
        shown: Shown = {"role": self.role, "records": len(self), "frames": len(self.used), **more}
        if not self.used:
            return shown
        shown["first"] = _place(self.used[0], 0)
        shown["last"] = _place(self.used[-1], -1)
        half = max(1, context.frames_shown // 2)
        listed = self.used
        if len(listed) > context.frames_shown:
            listed = [*listed[:half], *listed[-half:]]
        shown["raw"] = [_part(one, context.held) for one in listed]
        return shown


def _place(used: Used, at: int) -> Shown:
    return {"r": used.message.sequence, "i": int(used.places[at])}


def _part(used: Used, held: Held) -> Shown:
    names = used.records.dtype.names or ()
    received = used.records["ts_recv" if "ts_recv" in names else "ts"]
    return {
        "r": used.message.sequence,
        "i": [int(used.places[0]), int(used.places[-1])],
        "used": len(used.places),
        "records": len(used.frame.records),
        "subject": used.message.subject,
        "source_sequence": used.frame.sequence,
        "ts_recv": [int(received[0]), int(received[-1])],
        "held": held.at(used.message.sequence),
    }


async def facts(
    context: Context, subjects: Sequence[str]
) -> AsyncIterator[tuple[Message, Frame | None]]:
    """Yield the facts of `subjects` up to the cause's message, frames decoded, in order."""
    async for batch in messages(context.log, subjects, context.cause[0]):
        for message in batch:
            yield message, frame_of(message)


def upto(message: Message, frame: Frame, cause: tuple[int, int]) -> Mask:
    """Return which records of a frame stand up to the cause."""
    keep = np.ones(len(frame.records), np.bool_)
    if message.sequence == cause[0]:
        keep[cause[1] + 1 :] = False
    return keep


def used(message: Message, frame: Frame, keep: Mask) -> Used:
    """Return the records of a frame that a mask keeps."""
    index = np.flatnonzero(keep)
    return Used(message, frame, index, frame.records[index])


async def newest(context: Context, role: str, subject: str) -> Gathered:
    """Return the newest record on a subject up to the cause."""
    found = Gathered(role)
    async for message, frame in facts(context, [subject]):
        if frame is not None and (keep := upto(message, frame, context.cause)).any():
            last = np.zeros(len(keep), np.bool_)
            last[np.flatnonzero(keep)[-1]] = True
            found.used = [used(message, frame, last)]
    return found


async def said(context: Context, subjects: Sequence[str]) -> list[tuple[int, Event]]:
    """Return the JSON events of subjects up to the cause, with their `r`."""
    found = []
    async for message, frame in facts(context, subjects):
        if frame is None:
            try:
                found.append((message.sequence, events.decode(message.payload)))
            except Unreadable:
                continue
    return found


async def gaps(context: Context, venue: str, symbol: str) -> list[tuple[int, Event]]:
    """Return what was said of trades of an instrument that are missing: it sets GAP."""
    product = context.found.defined[venue, symbol][1].product
    own = context.subject("event", venue, symbol)
    heard = await said(context, [own, f"md.event.{venue}.{product}.{partition_token(ALL)}"])
    return [(r, event) for r, event in heard if isinstance(event, GAPS)]


def events_shown(role: str, listed: Sequence[tuple[int, Event]], context: Context) -> Shown:
    """Return events as they are printed."""
    half = max(1, context.frames_shown // 2)
    few = list(listed)
    if len(few) > context.frames_shown:
        few = [*few[:half], *few[-half:]]
    raw = [
        {"r": r, "held": context.held.at(r), "event": e.tag(), **e.model_dump(mode="json")}
        for r, e in few
    ]
    return {"role": role, "records": len(listed), "raw": raw}
