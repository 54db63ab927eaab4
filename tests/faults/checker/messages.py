"""Messages of a stream, what their subjects and JSON say, and the batches they came in."""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from jsonschema import Draft202012Validator

from tidemill.tests.faults.checker.sbe import KINDS, UnreadableError

EVENTS = json.loads(
    (Path(__file__).parents[3] / "schemas" / "documents" / "tidemill.events.json").read_text()
)["$defs"]
"""The generated JSON Schema of every event, by tag."""
ALL = 64
"""The partition of what concerns every pair, `all` in subjects."""
EVENT_BYTES_MAX = 256 * 1024
DERIVED = {
    "bars": ("bar", "bars", 0),
    "activity_bars": ("activity_bar", "activity_bars", 0),
    "resampled_bars": ("resampled_bar", "resampled_bars", 0),
    "composite_bars": ("composite_bar", "composite_bars", 0),
    "indicators": ("indicator", "indicators", 0),
    "signals": ("signal", "screener", 0),
    "anomalies": ("anomaly", "anomalies", 0),
    "prices": ("price", "price", 0),
    "books": ("book_metrics", "book", 0),
    "levels": ("book_level", "book", 1),
    "snapshots": ("book_snapshot", "book", 2),
    "derivatives": ("derivative_metrics", "derivatives", 0),
    "arbitrage": ("opportunity", "arbitrage", 0),
    "feeds": ("feed", "stale", 0),
}
"""First token of a derived subject to its kind, its processor, and the kind's place in `n`."""
BARS = ("activity_bar", "bar", "composite_bar", "resampled_bar")
"""Kinds of bars that indicators and screens read."""
LETTER = 15
"""The place of dead letters in `n`."""
READS = {
    "activity_bars": ("trade", "status", "event"),
    "anomalies": (),
    "arbitrage": ("book_level", "book_metrics", "quote", "time"),
    "bars": ("trade", "status", "event"),
    "book": ("book", "event", "status", "time"),
    "composite_bars": ("status", "time"),
    "indicators": (),
    "screener": (),
    "derivatives": ("derivative", "trade", "event", "time"),
    "price": ("trade", "quote", "time", "event"),
    "resampled_bars": ("status", "event"),
    "stale": ("status", "time"),
}
"""Processors, and the kinds that each reads of LOG."""
GLOBAL = ("stale",)
"""Processors of whole feeds: their outputs are in partition ALL alone."""
PARKING = ("activity_bars", "bars", "book")
"""Processors that step nothing more of an instrument after a record that they cannot take."""


class Message(NamedTuple):
    """One stored message. `headers` are those that it was published with."""

    sequence: int
    subject: str
    payload: bytes
    headers: Mapping[str, str] = MappingProxyType({})

    @property
    def batch(self) -> tuple[str, int]:
        """The id of its atomic batch and its place there, from 1; ("", 0) outside of any."""
        name = self.headers.get("Nats-Batch-Id", "")
        return name, int(self.headers.get("Nats-Batch-Sequence", "0")) if name else 0

    @property
    def commits(self) -> bool:
        """Whether it ended its batch."""
        return self.headers.get("Nats-Batch-Commit") == "1"

    @property
    def fence(self) -> tuple[str, int] | None:
        """The subjects that had to be at a sequence for it to be stored, and that sequence."""
        last = self.headers.get("Nats-Expected-Last-Subject-Sequence")
        if last is None:
            return None
        pattern = self.headers.get("Nats-Expected-Last-Subject-Sequence-Subject", self.subject)
        return pattern, int(last)


class Subject(NamedTuple):
    """What a subject says; empty or -1 where it says nothing."""

    root: str
    kind: str
    spec: str
    venue: str
    symbol: str
    partition: int


@lru_cache(maxsize=65_536)
def parse(text: str) -> Subject | None:
    """Read a subject; None for what is none of the engine's."""
    match text.split("."):
        case ["time"]:
            return Subject("time", "time", "", "", "", ALL)
        case ["md", kind, venue, symbol, last] if (number := _partition(last)) >= 0:
            return Subject("md", kind, "", venue, symbol, number)
        case ["cmd" | "exec" | "ctx" | "ctl" as root, what, *rest]:
            return Subject(root, root, what, "", ".".join(rest), ALL)
        case ["dlq" | "ckpt" as root, name, last] if (number := _partition(last)) >= 0:
            return Subject(root, root, name, "", "", number)
        case [root, spec, venue, symbol, last] if root in DERIVED and (
            (number := _partition(last)) >= 0
        ):
            return Subject(root, DERIVED[root][0], spec, venue, symbol, number)
    return None


def _partition(text: str) -> int:
    if text == "all":
        return ALL
    return int(text) if re.fullmatch(r"[0-5][0-9]|6[0-3]", text) else -1


@lru_cache(maxsize=1_024)
def matcher(pattern: str) -> "re.Pattern[str]":
    """A NATS filter as a regular expression."""
    tokens = [{"*": "[^.]+", ">": ".+"}.get(t, re.escape(t)) for t in pattern.split(".")]
    return re.compile(r"\.".join(tokens))


def processor_of(subject: str) -> tuple[str, int]:
    """(processor, place of the kind in `n`) of what travels on a derived subject."""
    known = parse(subject)
    assert known is not None
    if known.root == "dlq":
        return known.spec, LETTER
    _, processor, place = DERIVED[known.root]
    return processor, place


def partition_of(pair: str) -> int:
    """FNV-1a of 32 bits of a pair, modulo 64."""
    value = 0x811C9DC5
    for byte in pair.encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value % ALL


def event_of(payload: bytes) -> dict[str, Any]:
    """Read one JSON event, its tag as `event`. Raises UnreadableError."""
    if len(payload) > EVENT_BYTES_MAX:
        raise UnreadableError(f"no event has {len(payload)} bytes")
    try:
        fields = json.loads(payload)
    except ValueError as error:
        raise UnreadableError(f"no JSON: {error}") from error
    if not isinstance(fields, dict) or fields.get("event") not in EVENTS:
        raise UnreadableError("no event that is known")
    if not _validator(fields["event"]).is_valid(fields):
        raise UnreadableError(f"no valid {fields['event']}")
    return fields


@lru_cache
def _validator(tag: str) -> Draft202012Validator:
    return Draft202012Validator({"$defs": EVENTS, "$ref": f"#/$defs/{tag}"})


def is_framed(kind: str) -> bool:
    """Whether records of a kind travel in frames."""
    return kind in KINDS
