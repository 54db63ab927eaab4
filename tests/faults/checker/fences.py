"""I6: every write held the position that it claimed, so nobody wrote after another took over."""

import json

from tidemill.tests.faults.checker.messages import Message, matcher, parse, processor_of
from tidemill.tests.faults.checker.verdicts import Verdicts

ALWAYS = ("md.", "time", "ckpt.")
"""What nobody writes without a fence."""


class Fences:
    """Follows one stream in order; what a message had to follow stands in its headers.

    A writer that was replaced would have claimed an older position than the stream was at. What
    once was written under a fence is never written without. `first` is the stream's first sequence:
    what was trimmed before it is not known. Of checkpoints the one before is gone; but where
    another owner committed between, outputs of its transaction stand there.
    """

    def __init__(self, stream: str, first: int, verdicts: Verdicts) -> None:
        self._stream, self._first, self._verdicts = stream, first, verdicts
        self._newest: dict[str, int] = {}
        self._patterns: dict[str, int] = {}
        self._matching: dict[str, list[str]] = {}
        self._batch = ""
        self._outputs: dict[tuple[str, int], list[tuple[int, str]]] = {}

    def take(self, message: Message) -> None:
        """Follow one more message."""
        fence, (batch, _) = message.fence, message.batch
        if fence is not None:
            self._judge(message, *fence)
        elif not batch or batch != self._batch:
            fenced = self._patterns_of(message.subject)
            if fenced and message.subject.startswith(ALWAYS):
                self._broken(message, f"a fence over {fenced[0]}", "none")
        self._batch = batch
        self._note_output(message)
        self._newest[message.subject] = message.sequence
        for pattern in self._patterns_of(message.subject):
            self._patterns[pattern] = message.sequence

    def _judge(self, message: Message, pattern: str, claimed: int) -> None:
        if pattern not in self._patterns:
            self._learn(pattern)
        self._verdicts.held("I6")
        if message.subject.startswith("ckpt."):
            newest = max(self._newest.get(message.subject, 0), self._before(message))
            if claimed >= message.sequence or claimed < newest:
                self._broken(message, f"to follow {newest or 'an older one'}", f"claims {claimed}")
            return
        newest = self._patterns[pattern]
        trimmed = not newest and claimed < self._first
        if claimed != newest and not trimmed:
            self._broken(message, f"{pattern} to be at {newest}", f"claims {claimed}")

    def _note_output(self, message: Message) -> None:
        """Keep the newest output of each processor and partition, of the last two batches."""
        subject = parse(message.subject)
        if self._stream == "OUT" and subject is not None and subject.root != "ckpt":
            key = processor_of(message.subject)[0], subject.partition
            known = self._outputs.setdefault(key, [])
            if known and known[-1][1] == message.batch[0]:
                known.pop()
            self._outputs[key] = [*known[-1:], (message.sequence, message.batch[0])]

    def _before(self, message: Message) -> int:
        """The newest output of another transaction that a checkpoint's own speaks for."""
        fields, own = json.loads(message.payload), message.batch[0]
        outputs = [
            self._outputs.get((name, fields["partition"]), []) for name in fields["processors"]
        ]
        others = [at for some in outputs for at, batch in some if not own or batch != own]
        return max(others, default=0)

    def _learn(self, pattern: str) -> None:
        match = matcher(pattern)
        known = [at for subject, at in self._newest.items() if match.fullmatch(subject)]
        self._patterns[pattern] = max(known, default=0)
        self._matching.clear()

    def _patterns_of(self, subject: str) -> list[str]:
        if subject not in self._matching:
            found = [p for p in self._patterns if matcher(p).fullmatch(subject)]
            self._matching[subject] = found
        return self._matching[subject]

    def _broken(self, message: Message, expected: str, found: str) -> None:
        where = f"{self._stream} {message.sequence} ({message.subject})"
        self._verdicts.broken("I6", where, expected, found)
