"""I1, I2, I12: LOG read from its first message to its last."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from struct import pack
from typing import Any, NamedTuple

from tidemill.tests.faults.checker.batches import Batches
from tidemill.tests.faults.checker.fences import Fences
from tidemill.tests.faults.checker.messages import Message, event_of, is_framed, parse
from tidemill.tests.faults.checker.sbe import Frame, UnreadableError, decode
from tidemill.tests.faults.checker.trade_ids import TradeIds
from tidemill.tests.faults.checker.verdicts import Verdicts


class Identity(NamedTuple):
    """Which stream it is, and the sequences that it holds."""

    uuid: str
    first: int
    last: int


@dataclass
class Confirmed:
    """What was confirmed to writers, as somebody outside of them wrote it down.

    `sequences` has, by digest of subject and bytes, where each was confirmed to be (0: only that).
    """

    sequences: dict[bytes, list[int]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Confirmed":
        """Read JSON lines of `subject`, `sha256` of the payload, `sequence`."""
        made = cls()
        for line in path.read_text().splitlines():
            one = json.loads(line)
            made.add(one["subject"], bytes.fromhex(one["sha256"]), int(one["sequence"]))
        return made

    def add(self, subject: str, payload_sha256: bytes, sequence: int) -> None:
        """Note one more."""
        self.sequences.setdefault(key_of(subject, payload_sha256), []).append(sequence)


def key_of(subject: str, payload_sha256: bytes) -> bytes:
    """What a message is known by."""
    return sha256(subject.encode() + b"\0" + payload_sha256).digest()[:16]


class Appended:
    """Follows LOG; `take` every message in order, then `end`.

    `sealed` has LOG's digest chain in hex at the ends of sealed ranges. `chain` is it so far.
    """

    def __init__(
        self,
        identity: Identity,
        verdicts: Verdicts,
        confirmed: Confirmed | None = None,
        sealed: Mapping[int, str] | None = None,
    ) -> None:
        self._identity, self._verdicts = identity, verdicts
        self._sealed_chains = sealed or {}
        self._batches = Batches("LOG", verdicts, transactional=False)
        self._fences = Fences("LOG", identity.first, verdicts)
        self._ids = TradeIds(verdicts)
        self._next = identity.first
        self._sequences: dict[str, int] = {}
        self._confirmed = confirmed
        self._seen: dict[bytes, list[int]] = {}
        self.chain = sha256(b"tidemill" + identity.uuid.encode()).digest()
        self._chained = identity.first == 1 or identity.first - 1 in self._sealed_chains
        if identity.first > 1 and self._chained:
            self.chain = bytes.fromhex(self._sealed_chains[identity.first - 1])

    def take(self, message: Message, frame: Frame | None, event: Mapping[str, Any] | None) -> None:
        """Follow one message, as it was decoded (neither: it cannot be)."""
        if message.sequence != self._next:
            self._verdicts.broken(
                "I12", f"LOG {self._next}", "a message", f"the next is {message.sequence}"
            )
        self._next = message.sequence + 1
        self._verdicts.held("I12")
        self._extend(message)
        self._batches.take(message)
        self._fences.take(message)
        self._number(message, frame, event)
        if self._confirmed is not None:
            key = key_of(message.subject, sha256(message.payload).digest())
            if key in self._confirmed.sequences:
                self._seen.setdefault(key, []).append(message.sequence)
        if event is not None and event["event"].startswith("RangeSealed."):
            self._sealed(message, event)
        self._ids.take(message, frame, event)

    def _extend(self, message: Message) -> None:
        name = message.subject.encode()
        parts = (
            self.chain, pack("<I", len(name)), name, pack("<I", len(message.payload)),
            message.payload, pack("<Q", message.sequence),
        )  # fmt: skip
        self.chain = sha256(b"".join(parts)).digest()
        said = self._sealed_chains.get(message.sequence)
        if said is not None and self._chained and said != self.chain.hex():
            self._verdicts.broken("I12", f"chain at LOG {message.sequence}", said, self.chain.hex())

    def _number(
        self, message: Message, frame: Frame | None, event: Mapping[str, Any] | None
    ) -> None:
        """I2 of the writer: one venue's feeds, or time."""
        subject = parse(message.subject)
        if subject is None or subject.root not in ("md", "time"):
            return
        if frame is None and event is None:
            self._sequences.pop(subject.venue or "time", None)  # whatever its number was
            return
        sequence = frame.sequence if frame is not None else int((event or {}).get("sequence", 0))
        writer = subject.venue or "time"
        known = self._sequences.get(writer)
        self._sequences[writer] = sequence
        self._verdicts.held("I2")
        if known is None or sequence == known + 1:
            return
        declares = event is not None and event["event"].startswith("RecordsGivenUp.")
        if sequence <= known or not declares:
            where = f"LOG {message.sequence} ({message.subject})"
            self._verdicts.broken("I2", where, f"{known + 1} of writer {writer}", sequence)

    def _sealed(self, message: Message, event: Mapping[str, Any]) -> None:
        """I12 of the archive: what is sealed is of this LOG."""
        where = f"LOG {message.sequence} ({message.subject})"
        if event["log"] != self._identity.uuid:
            self._verdicts.broken("I12", where, f"log {self._identity.uuid}", event["log"])

    def end(self) -> None:
        """See that LOG ended where it says, and that what was confirmed is there."""
        if self._next != self._identity.last + 1:
            found = f"it ends at {self._next - 1}"
            self._verdicts.broken("I12", f"LOG {self._next}", self._identity.last, found)
        self._batches.end(self._identity.last)
        self._ids.end()
        if self._confirmed is None:
            self._verdicts.without("I1", "no set of confirmed appends was given")
            return
        for key, sequences in self._confirmed.sequences.items():
            self._verdicts.held("I1", len(sequences))
            self._confirm(sequences, self._seen.get(key, []))

    def _confirm(self, sequences: list[int], found: list[int]) -> None:
        told = [sequence for sequence in sequences if sequence]
        if len(found) != len(sequences) or not set(told) <= set(found):
            where = f"LOG {sequences[0] or '?'} (confirmed)"
            self._verdicts.broken("I1", where, f"at {sequences}", f"at {found}")


def decoded(message: Message) -> tuple[Frame | None, dict[str, Any] | None]:
    """A message of LOG as a frame or an event; (None, None) for what is neither."""
    subject = parse(message.subject)
    if subject is None:
        return None, None
    try:
        if is_framed(subject.kind):
            return decode(message.payload), None
        return None, event_of(message.payload)
    except UnreadableError:
        return None, None


def take_all(appended: Appended, messages: Iterable[Message]) -> None:
    """Follow messages and end."""
    for message in messages:
        appended.take(message, *decoded(message))
    appended.end()
