"""Checkpoints: how far each partition of a graph is committed to OUT, and by which code."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tidemill.schemas.errors import Unreadable

Position = Annotated[int, Field(ge=0)]


class Within(BaseModel):
    """How much of a root is in OUT whose outputs do not fit one transaction.

    Of root `r`, what stands up to (subject, i, n), by that order, is in OUT; the rest is not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    r: Position
    subject: str
    i: Position
    n: Position


class Checkpoint(BaseModel):
    """Written last in the transaction that it speaks of; fenced by the one that it replaces.

    Every output of `processors` for `partition` caused by a record with r <= `done` is in OUT.
    `apart` are processors that stand elsewhere, with their own `done`: those that came to the
    graph later and still catch up, and those that left it. `within` is part of the next root.
    `log` and `tail` say which LOG that was: its UUID, and the CRC-32C of the message at `done`.
    `out_from` is the sequence of OUT from which every upstream record with r > `done` can be read.
    `quiet` are other partitions without any output since checkpoints of their own: of them, too,
    all of `processors` is in OUT up to `done`. No fence guards that, and none is needed: it says
    what follows from LOG and the deployed code alone, so it is true whoever says it.
    `writer` is the process that wrote it, another one at each start: two owners that step the same
    write different checkpoints, and the one that is fenced can say who took over.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    graph: str
    partition: Position
    done: Position
    processors: tuple[str, ...]
    code_hash: str
    log: str
    tail: Position
    out_from: Position
    apart: dict[str, Position] = {}
    within: Within | None = None
    quiet: tuple[Position, ...] = ()
    writer: str = ""

    @classmethod
    def read(cls, payload: bytes) -> "Checkpoint":
        """Decode one. Raises Unreadable."""
        try:
            return cls.model_validate_json(payload)
        except ValidationError as error:
            raise Unreadable(f"a checkpoint is not valid: {error}") from error

    def write(self) -> bytes:
        """Encode this one."""
        return self.model_dump_json().encode()

    def done_of(self, processor: str) -> int:
        """Return up to which root all outputs of one processor are in OUT, 0 for a stranger."""
        return self.done if processor in self.processors else self.apart.get(processor, 0)


def progress(checkpoints: Iterable[Checkpoint]) -> dict[tuple[str, int], int]:
    """Return up to which root (graph, partition) is done, by its checkpoint and others' `quiet`."""
    done: dict[tuple[str, int], int] = {}
    for one in checkpoints:
        for partition in (one.partition, *one.quiet):
            key = (one.graph, partition)
            done[key] = max(one.done, done.get(key, 0))
    return done
