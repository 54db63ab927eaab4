"""I5: atomic batches of a stream, whole or not there at all."""

from tidemill.tests.faults.checker.messages import Message
from tidemill.tests.faults.checker.verdicts import Verdicts


class Batches:
    """Follows one stream in order.

    A batch's messages follow each other from 1 on and its last one commits. In OUT the last ones
    are checkpoints, which later ones on their subjects have replaced: there, holes in the
    sequences may stand at the end of a batch, and at least one hole or checkpoint must.
    """

    def __init__(self, stream: str, verdicts: Verdicts, transactional: bool) -> None:
        self._stream, self._verdicts, self._transactional = stream, verdicts, transactional
        self._last: Message | None = None

    def take(self, message: Message) -> None:
        """Follow one more message."""
        last, (name, place) = self._last, message.batch
        self._last = message
        if place and last is not None and last.batch[0] == name:
            self._inside(last, message)
            return
        self._ended(last, message.sequence)
        if not place:
            if self._transactional and not message.subject.startswith("ckpt."):
                self._broken(message, "a transaction with its checkpoint", "a message by itself")
            return
        self._verdicts.held("I5")
        missing = place - 1
        before = message.sequence - (last.sequence + 1 if last is not None else 1)
        replaced = self._transactional and message.subject.startswith("ckpt.")
        if missing and (not replaced or before < missing):
            self._broken(message, "the first of its batch", f"its message {place}")

    def _inside(self, last: Message, message: Message) -> None:
        step = message.batch[1] - last.batch[1]
        if step == 1 and message.sequence == last.sequence + 1:
            return
        replaced = self._transactional and message.subject.startswith("ckpt.")
        if not replaced or step < 1 or message.sequence - last.sequence != step:
            where = f"message {last.batch[1] + 1} at {last.sequence + 1}"
            self._broken(message, where, f"message {message.batch[1]} at {message.sequence}")

    def end(self, last_sequence: int) -> None:
        """The stream ends at `last_sequence`."""
        self._ended(self._last, last_sequence + 1)

    def _ended(self, last: Message | None, following: int) -> None:
        """See that the batch of `last` was whole, which `following` is the sequence after."""
        if last is None or not last.batch[1] or last.commits:
            return
        if self._transactional and following > last.sequence + 1:
            return  # its checkpoint stood there
        self._broken(last, "the rest of its batch", f"its message {last.batch[1]} is the last one")

    def _broken(self, message: Message, expected: str, found: str) -> None:
        where = f"{self._stream} {message.sequence} ({message.subject})"
        self._verdicts.broken("I5", where, expected, found)
