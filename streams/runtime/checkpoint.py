"""Checkpoints: how far each partition of a graph is committed to OUT, and by which code."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tidemill.schemas.errors import Unreadable

Position = Annotated[int, Field(ge=0)]


class Checkpoint(BaseModel):
    """Written last in the transaction that it speaks of; fenced by the one that it replaces.

    Every output of `processors` for `partition` caused by a record with r <= `done` is in OUT.
    `log` and `tail` say which LOG that was: its UUID, and the CRC-32C of the message at `done`.
    `out_from` is the sequence of OUT from which every upstream record with r > `done` can be read.
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
