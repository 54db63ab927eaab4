"""The gate of readers of OUT: roots up to here are whole, by the checkpoints told so far."""

from collections.abc import Iterable
from typing import Literal

import orjson

from tidemill.schemas.errors import Regressed, Unreadable
from tidemill.schemas.identifiers import ALL, PARTITIONS
from tidemill.streams import subjects

CHECKPOINTS = "ckpt.*.*"
"""Subjects of every graph's checkpoints."""
REMEDY = "restore LOG or re-feed it (`tidemill repair`); nothing was written"
"""What an operator does about a LOG that is not what was derived from it."""
Scope = Literal["pair", "account", "global"]


def needs(
    processor: str, scope: Scope, partitions: Iterable[int] = range(PARTITIONS)
) -> list[tuple[str, int]]:
    """Return (processor, partition) of the checkpoints that a reader of `partitions` waits for:
    those of its pairs, or `all` for a processor of scope `global`.
    """
    if scope == "global":
        return [(processor, ALL)]
    return [(processor, partition) for partition in partitions if partition < PARTITIONS]


class Gate:
    """Roots up to `root` are complete for what a reader needs.

    A checkpoint says that all outputs of the processors it lists, of its partition, with r <= done
    come before it in OUT. So of several graphs that list a processor any one suffices, and the gate
    is the least over `needs`, (processor, partition). `log_uuid` is the LOG that they must be of.
    """

    def __init__(self, needs: Iterable[tuple[str, int]], log_uuid: str) -> None:
        self._done = dict.fromkeys(needs, 0)
        self._processors = {processor for processor, _ in self._done}
        self._log_uuid = log_uuid

    @property
    def root(self) -> int:
        """Newest root that may be acted on; 0 while a checkpoint that is needed is missing."""
        return min(self._done.values())

    def tell(self, subject: str, payload: bytes) -> None:
        """Take one checkpoint. Raises Regressed when it speaks of another log, Unreadable."""
        partition = subjects.parse(subject).partition
        try:
            fields = orjson.loads(payload)
            done = dict.fromkeys(fields["processors"], int(fields["done"]))
            done |= {name: int(at) for name, at in fields.get("apart", {}).items()}
            quiet = [int(number) for number in fields.get("quiet", ())]
            log_uuid = fields["log"]
        except (AttributeError, orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise Unreadable(f"checkpoint on {subject} is malformed: {error}") from error
        told = [(name, partition, done[name]) for name in self._processors & done.keys()]
        told += [
            (name, number, int(fields["done"]))
            for name in self._processors.intersection(fields["processors"])
            for number in quiet
        ]
        for processor, number, root in told:
            key = (processor, number)
            if key not in self._done:
                continue
            if log_uuid != self._log_uuid:
                raise Regressed(
                    f"LOG REGRESSED: it is stream {self._log_uuid}, {subject} in OUT is of"
                    f" {log_uuid}: {REMEDY}"
                )
            self._done[key] = max(self._done[key], root)
