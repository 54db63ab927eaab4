"""What one append or transaction may hold: the same limits whichever log takes it."""

from collections.abc import Sequence

from tidemill.streams.filters import Matcher
from tidemill.streams.log import BATCH_MESSAGES_MAX, Checkpoint

MESSAGE_BYTES_MAX = 4 * 1024 * 1024
"""Largest payload of one message; frames stay far below it."""


def check(messages: Sequence[tuple[str, bytes]], subjects: Matcher, stream: str) -> None:
    """Raise ValueError for messages that no attempt could store."""
    if not messages:
        raise ValueError("nothing to append")
    if len(messages) > BATCH_MESSAGES_MAX:
        raise ValueError(f"{len(messages)} messages are over {BATCH_MESSAGES_MAX} a batch")
    for subject, payload in messages:
        if not subjects.taken(subject):
            raise ValueError(f"stream {stream} does not take subject {subject!r}")
        if len(payload) > MESSAGE_BYTES_MAX:
            raise ValueError(f"{len(payload)} bytes on {subject} are over {MESSAGE_BYTES_MAX}")


def check_checkpoints(
    outputs: Sequence[tuple[str, bytes]], checkpoints: Sequence[Checkpoint]
) -> None:
    """Raise ValueError unless each checkpoint's subject is written once in the transaction."""
    if not checkpoints:
        raise ValueError("a transaction needs a checkpoint")
    subjects = {checkpoint.subject for checkpoint in checkpoints}
    if len(subjects) < len(checkpoints):
        raise ValueError("a transaction has two checkpoints on one subject")
    for subject, _ in outputs:
        if subject in subjects:
            raise ValueError(f"an output is on {subject!r}, a checkpoint's subject")
