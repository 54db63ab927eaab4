"""How far OUT is complete: the least `done` of the checkpoints that cover a table's processor."""

from typing import Literal

import orjson

from tidemill.schemas.errors import Regressed, Unreadable
from tidemill.schemas.identifiers import ALL, PARTITIONS
from tidemill.streams import subjects

CHECKPOINTS = "ckpt.*.*"
"""Subjects of every graph's checkpoints."""


class Gate:
    """Roots up to `root` are complete for one processor, by the checkpoints told so far.

    A checkpoint says that all outputs of the processors it lists, of its partition, with r <= done
    come before it in OUT. So of several graphs that list the processor any one suffices, and the
    gate is the least over the partitions: 00 to 63 for scope `pair`, `all` for scope `global`.
    """

    def __init__(self, processor: str, scope: Literal["pair", "global"], log_uuid: str) -> None:
        self._processor, self._log_uuid = processor, log_uuid
        partitions = [ALL] if scope == "global" else range(PARTITIONS)
        self._done = dict.fromkeys(partitions, 0)

    @property
    def root(self) -> int:
        """Newest root that may be acted on; 0 while a partition has no checkpoint."""
        return min(self._done.values())

    def tell(self, subject: str, payload: bytes) -> None:
        """Take one checkpoint. Raises Regressed when it speaks of another log, Unreadable."""
        partition = subjects.parse(subject).partition
        try:
            fields = orjson.loads(payload)
            processors, done = fields["processors"], int(fields["done"])
            log_uuid = fields["log"]
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise Unreadable(f"checkpoint on {subject} is malformed: {error}") from error
        if self._processor not in processors or partition not in self._done:
            return
        if log_uuid != self._log_uuid:
            raise Regressed(f"checkpoint on {subject} is of log {log_uuid}, not {self._log_uuid}")
        self._done[partition] = max(self._done[partition], done)
