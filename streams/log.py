"""The log port: append, read, transact. `memory` and `jetstream` implement it; one contract suite.

A log here is one stream. Tidemill has two: LOG (facts; its sequence `r` is the position of
everything) and OUT (what was derived; its sequence is transport and appears in no row).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

BATCH_MESSAGES_MAX = 1_000
"""Most messages of one append or transaction (ADR-50's limit)."""


class Message(NamedTuple):
    """One message of a stream: its sequence, subject and bytes."""

    sequence: int
    subject: str
    payload: bytes


class Fence(NamedTuple):
    """The last sequence on `subject` (wildcards allowed) must be `last`, or nothing is stored."""

    subject: str
    last: int


class Checkpoint(NamedTuple):
    """A checkpoint to write in a transaction: it replaces the last one on its subject.

    `last` is the stream sequence of the one that it replaces, 0 for none.
    """

    subject: str
    payload: bytes
    last: int


@dataclass(frozen=True)
class Identity:
    """Which stream this is: a UUID given when it was made, and the sequences that it holds."""

    uuid: str
    first: int
    last: int


class Reader(Protocol):
    """Reads a log in order, from one sequence on, for ever; nothing is skipped or repeated."""

    async def pull(self, messages_max: int, bytes_max: int, timeout_s: float) -> list[Message]:
        """Return the next messages, at least one if any arrives within `timeout_s`, else none.

        Back-pressure is not calling this. Raises Regressed when the stream was made anew or is
        shorter than what was read; Unavailable when the server stays away.
        """
        ...

    @property
    def pending(self) -> int:
        """Matching messages behind the last pulled one, as far as is known: the lag."""
        ...

    async def complete(self) -> int:
        """Return a sequence up to which every matching message was pulled, as the log says now.

        It is the log's end where nothing waits, else that of the last message pulled (0 for none).
        Raises Unavailable.
        """
        ...

    async def close(self) -> None:
        """Stop reading and free the server's side."""
        ...


class Log(Protocol):
    """One stream of messages."""

    name: str

    async def append(self, messages: Sequence[tuple[str, bytes]], fence: Fence | None) -> int:
        """Store `messages` (subject, payload), all or none, and return the last one's sequence.

        They get consecutive sequences. Raises Fenced when the fence does not hold; Unavailable
        when the outcome is not known (a lost acknowledgement): then it may have landed, and the
        caller reads `last` of its own subjects to find out. ValueError over BATCH_MESSAGES_MAX.
        """
        ...

    async def transact(
        self, outputs: Sequence[tuple[str, bytes]], checkpoints: Sequence[Checkpoint]
    ) -> dict[str, int]:
        """Store outputs and checkpoints as one; return the sequence of each checkpoint's subject.

        Checkpoints come last, each fenced by the sequence it replaces, and only the newest of a
        subject is kept. Raises as `append`.
        """
        ...

    async def read(self, start: int, filters: Sequence[str]) -> Reader:
        """Open a reader at the first message with sequence >= `start` on one of `filters`."""
        ...

    async def last(self, subject: str) -> Message | None:
        """Return the newest message on `subject` (a wildcard is allowed), read after write."""
        ...

    async def lasts(self, subject: str) -> list[Message]:
        """Return the newest message of each subject that matches, by subject."""
        ...

    async def get(self, sequence: int) -> Message | None:
        """Return one message, or None when there is none of that sequence."""
        ...

    async def identity(self) -> Identity:
        """Return which stream this is. Raises Unavailable."""
        ...
