"""Checkpoints of OUT as they stand, and as somebody outside saw them come: I4, I6, I12."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crc32c import crc32c

from tidemill.tests.faults.checker.appended import Identity
from tidemill.tests.faults.checker.messages import Message, parse
from tidemill.tests.faults.checker.verdicts import Verdicts


@dataclass
class Progress:
    """How far each (processor, partition) is in OUT, and up to where in one root beyond.

    `within` has, by the root that is there in part, (subject, i, n) up to which it is.
    """

    done: dict[tuple[str, int], int] = field(default_factory=dict)
    within: dict[tuple[str, int], tuple[int, tuple[str, int, int]]] = field(default_factory=dict)

    def of(self, processor: str, partition: int) -> int:
        """Up to which root all of it is in OUT."""
        return self.done.get((processor, partition), 0)

    def covers(self, processor: str, partition: int, at: tuple[int, int, int], name: str) -> bool:
        """Whether an output, of position (r, i, n) on subject `name`, is to be in OUT."""
        key = (processor, partition)
        if at[0] <= self.of(*key):
            return True
        root, last = self.within.get(key, (0, ("", 0, 0)))
        return at[0] == root and (name, *at[1:]) <= last


def fields_of(message: Message) -> dict[str, Any]:
    """What a checkpoint says. Raises ValueError."""
    fields = json.loads(message.payload)
    if not isinstance(fields, dict):
        raise ValueError("a checkpoint is no object")
    return fields


def progress_of(messages: Iterable[Message]) -> Progress:
    """What checkpoints, the newest of each subject, say together."""
    made = Progress()
    for message in messages:
        fields, subject = fields_of(message), parse(message.subject)
        assert subject is not None
        told = [
            (name, partition, fields["done"])
            for name in fields["processors"]
            for partition in (subject.partition, *fields.get("quiet", ()))
        ]
        apart = fields.get("apart", {})
        told += [(name, subject.partition, done) for name, done in apart.items()]
        for name, partition, done in told:
            key = (name, partition)
            made.done[key] = max(made.done.get(key, 0), int(done))
        within = fields.get("within")
        for name in fields["processors"] if within else ():
            last = (within["subject"], within["i"], within["n"])
            made.within[name, subject.partition] = (within["r"], last)
    return made


def check_identity(
    messages: Iterable[Message],
    identity: Identity,
    tails: Mapping[int, bytes],
    verdicts: Verdicts,
) -> None:
    """I12: each speaks of this LOG, and of the message that LOG has there.

    `tails` has the payloads of LOG at the sequences that checkpoints name.
    """
    for message in messages:
        verdicts.held("I12")
        fields, where = fields_of(message), f"OUT {message.sequence} ({message.subject})"
        done, subject = int(fields["done"]), parse(message.subject)
        assert subject is not None
        if (fields["graph"], fields["partition"]) != (subject.spec, subject.partition):
            said = f"{fields['graph']}, {fields['partition']}"
            verdicts.broken("I12", where, f"{subject.spec}, {subject.partition}", said)
        if fields["log"] != identity.uuid:
            verdicts.broken("I12", where, f"log {identity.uuid}", f"log {fields['log']}")
        elif done > identity.last:
            verdicts.broken("I12", where, f"at most {identity.last}", f"done {done}")
        elif done in tails and crc32c(tails[done]) != fields["tail"]:
            verdicts.broken(
                "I12", where, f"crc {crc32c(tails[done])} of LOG {done}", fields["tail"]
            )


def read_history(path: Path) -> list[Message]:
    """Read what `recorder` wrote: every checkpoint that came while it listened."""
    made = []
    for line in path.read_text().splitlines():
        one = json.loads(line)
        headers = {} if one["claimed"] is None else {
            "Nats-Expected-Last-Subject-Sequence": str(one["claimed"])
        }  # fmt: skip
        made.append(Message(one["sequence"], one["subject"], one["payload"].encode(), headers))
    return made


def check_history(seen: Iterable[Message], verdicts: Verdicts) -> None:
    """I4 and I6 of all that was seen: none goes back, none replaces an older one than the last."""
    newest: dict[str, tuple[int, tuple[int, Any]]] = {}
    for message in sorted(seen, key=lambda one: one.sequence):
        fields, where = fields_of(message), f"OUT {message.sequence} ({message.subject})"
        within = fields.get("within")
        place = tuple(within[name] for name in ("r", "subject", "i", "n")) if within else (0,)
        reached = (int(fields["done"]), place)
        last = newest.get(message.subject)
        verdicts.held("I4")
        if last is not None and reached < last[1]:
            verdicts.broken("I4", where, f"at least {last[1]}", reached)
        fence = message.fence
        if last is not None and fence is not None:
            verdicts.held("I6")
            if fence[1] < last[0]:
                verdicts.broken("I6", where, f"to follow {last[0]}", f"claims {fence[1]}")
        newest[message.subject] = (message.sequence, reached)
