"""Derived records sorted into ranges of roots, on disk: OUT has them as its shards wrote them."""

import pickle
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tidemill.tests.faults.checker.messages import Message, event_of, parse
from tidemill.tests.faults.checker.sbe import Records, UnreadableError, decode
from tidemill.tests.faults.checker.verdicts import Verdicts

ROOTS = 512
"""Roots of one file."""
HELD_BYTES_MAX = 32 << 20


class Derived(NamedTuple):
    """Records, or one event, of one message of OUT. `sequence` is OUT's."""

    sequence: int
    subject: str
    kind: str
    exponents: tuple[int, int]
    records: Records | None
    event: dict[str, Any] | None


class Spool:
    """Takes OUT in its own order, and gives the records of a range of roots."""

    def __init__(self, directory: Path, verdicts: Verdicts) -> None:
        self._directory, self._verdicts = directory, verdicts
        self._held: dict[int, list[Derived]] = defaultdict(list)
        self._bytes = 0
        self.checkpoints: dict[str, Message] = {}
        """The newest of each subject."""

    def take(self, message: Message) -> None:
        """Sort one message in."""
        if message.subject.startswith("ckpt."):
            self.checkpoints[message.subject] = message
            return
        for derived, root in self._split(message):
            self._held[root // ROOTS].append(derived)
        self._bytes += len(message.payload)
        if self._bytes > HELD_BYTES_MAX:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        for bucket, derived in self._held.items():
            with (self._directory / str(bucket)).open("ab") as file:
                pickle.dump([tuple(one) for one in derived], file, protocol=5)
        self._held.clear()
        self._bytes = 0

    def range(self, first: int, last: int) -> Iterator[Derived]:
        """What was derived of roots `first` to `last`."""
        self.flush()
        for bucket in range(first // ROOTS, last // ROOTS + 1):
            path = self._directory / str(bucket)
            if not path.exists():
                continue
            with path.open("rb") as file:
                while file.peek(1):
                    for one in pickle.load(file):
                        yield from _within(Derived(*one), first, last)

    @property
    def newest(self) -> int:
        """The greatest root of a file, at least that of any record."""
        self.flush()
        buckets = [int(path.name) for path in self._directory.iterdir()]
        return (max(buckets) + 1) * ROOTS - 1 if buckets else 0

    def _split(self, message: Message) -> Iterator[tuple[Derived, int]]:
        subject = parse(message.subject)
        try:
            if subject is None:
                raise UnreadableError("no subject of ours")
            if subject.kind in ("dlq", "feed"):
                event = event_of(message.payload)
                one = Derived(message.sequence, message.subject, subject.kind, (0, 0), None, event)
                yield one, int(event["at_r"])
                return
            frame = decode(message.payload)
            if frame.kind != subject.kind:
                raise UnreadableError(f"a frame of {frame.kind}")
        except (UnreadableError, KeyError) as error:
            where = f"OUT {message.sequence} ({message.subject})"
            self._verdicts.broken("I3", where, "a record", error)
            return
        buckets = frame.records["at_r"] // ROOTS
        for bucket in np.unique(buckets).tolist():
            records = frame.records[buckets == bucket]
            args = (message.sequence, message.subject, frame.kind, frame.exponents)
            yield Derived(*args, records, None), bucket * ROOTS


def _within(one: Derived, first: int, last: int) -> Iterator[Derived]:
    if one.records is None:
        if one.event is not None and first <= one.event["at_r"] <= last:
            yield one
        return
    mask = (one.records["at_r"] >= first) & (one.records["at_r"] <= last)
    if mask.any():
        yield one._replace(records=one.records[mask])
