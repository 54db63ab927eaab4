"""Why a feed counts as stale or fresh, and why a record is a dead letter."""

from dataclasses import dataclass, field

import numpy as np

from tidemill.deploy.why.deriving import Record
from tidemill.deploy.why.reading import Context, Explained, Gathered, check, facts, upto, used
from tidemill.processors.stale import SILENCE_NS_MAX
from tidemill.schemas.events.dead_letter import DeadLetter
from tidemill.schemas.events.feed import FeedStale
from tidemill.schemas.frame import Frame
from tidemill.schemas.identifiers import ALL, partition_token
from tidemill.streams.log import Message


@dataclass
class _Silence:
    """When a feed was heard, and the last time at which it had become silent."""

    heard: Gathered = field(default_factory=lambda: Gathered("when it was heard last"))
    before: Gathered = field(default_factory=lambda: Gathered("when it was heard before that"))
    found: Gathered = field(default_factory=lambda: Gathered("when it was found silent"))
    newest: int = 0
    stale: bool = False

    @property
    def said(self) -> str:
        """What was last told of it."""
        return "STALE" if self.stale else "FRESH"

    def take(self, message: Message, frame: Frame, cause: tuple[int, int]) -> None:
        """Take a status of the feed or a time, before the cause itself."""
        keep = upto(message, frame, cause)
        if message.subject == "time":
            if message.sequence != cause[0]:
                self._time(message, frame)
            return
        received = np.where(keep, frame.records["ts_recv"], 0)
        at = int(np.argmax(received))
        if received[at] > self.newest:
            self.newest = int(received[at])
            keep[:] = False
            keep[at] = True
            self.heard.used = [used(message, frame, keep)]

    def _time(self, message: Message, frame: Frame) -> None:
        silent = self.newest > 0 and int(frame.records["ts"][-1]) - self.newest > SILENCE_NS_MAX
        if silent and not self.stale:
            self.found.used = [used(message, frame, np.ones(len(frame.records), np.bool_))]
            self.before.used = list(self.heard.used)
        self.stale = silent


async def explain(context: Context, record: Record) -> Explained:
    """Return when a feed was heard last before a time that found it silent, or not any more."""
    event = record.event
    assert isinstance(event, FeedStale)
    silence = _Silence()
    subject = f"md.status.{event.venue}.{event.product}.{partition_token(ALL)}"
    async for message, frame in facts(context, [subject, "time"]):
        if frame is not None and frame.kind.name in ("status", "time"):
            silence.take(message, frame, context.cause)
    inputs = [silence.heard.shown(context)]
    if event.state == "FRESH":
        inputs += [one.shown(context) for one in (silence.found, silence.before)]
    silent = max(0, event.ts - silence.newest)
    was = check("state before", "STALE" if event.state == "FRESH" else "FRESH", silence.said)
    return Explained(inputs, [check("silent_ns", event.silent_ns, silent), was])


async def explain_letter(context: Context, record: Record) -> Explained:
    """A dead letter is made of its cause alone, or of the one that parked its key."""
    event = record.event
    assert isinstance(event, DeadLetter)
    same = [
        letter
        for letter in context.found.letters
        if (letter.at_r, letter.at_i) < record.at[:2] and letter.policy == "park"
    ]
    role = {"role": "earlier dead letters of its processor and partition", "records": len(same)}
    raw = [{"r": one.at_r, "i": one.at_i, "reason": one.reason} for one in same[:3]]
    return Explained([{**role, "raw": raw}] if same else [], [])
