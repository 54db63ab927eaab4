"""What a user calls an event: a row's name and position, or a message of LOG or OUT."""

import re
from typing import NamedTuple

from tidemill.processors.catalog import PROCESSORS
from tidemill.processors.processor import Processor
from tidemill.projections.registry import TABLES
from tidemill.projections.table import named
from tidemill.schemas.identifiers import ALL, PARTITIONS
from tidemill.streams.subjects import DERIVED

_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*):([0-9,\s]+)")
DEAD_LETTER = "dead_letter"
_DEAD_LETTER_KIND = 15
FORMS = "LOG:<r>[,<i>], OUT:<sequence>[,<i>], or <table, processor or kind>:<_r>,<_i>,<_n>"


class Position(NamedTuple):
    """Where a derived event stands among those of its processor."""

    r: int
    i: int
    n: int


class Fact(NamedTuple):
    """A record of LOG; `i` None where only its message was named. `filters` are the subjects of the
    table that it was called a row of, none where LOG itself was named."""

    r: int
    i: int | None
    filters: tuple[str, ...] = ()


class Sent(NamedTuple):
    """A message of OUT, and which of its records, None where that was not said."""

    sequence: int
    i: int | None


class Made(NamedTuple):
    """An event that `processor` derived, of `kind`, in partition `partition` (ALL: of a feed)."""

    processor: Processor
    kind: str
    at: Position

    @property
    def partition(self) -> int:
        """Whose checkpoint covers it."""
        return self.at.n >> 24

    @property
    def name(self) -> str:
        """How to ask for it again."""
        return f"{self.processor.name}:{self.at.r},{self.at.i},{self.at.n}"


def parse(text: str) -> list[Fact | Sent | Made]:
    """Return what `text` may name, the likeliest first. Raises ValueError, saying what is accepted.

    A name can be a table's and a processor's at once (derivatives): then both are returned.
    """
    match = _NAME.fullmatch(text.strip())
    numbers = [part.strip() for part in match[2].split(",")] if match else []
    if match is None or not all(part.isdecimal() for part in numbers):
        raise ValueError(f"{text!r} names no event: say {FORMS}")
    values = [int(part) for part in numbers]
    name = match[1]
    if name in ("LOG", "OUT"):
        if len(values) not in (1, 2):
            raise ValueError(f"{text!r}: {name} takes a sequence and perhaps an index: {FORMS}")
        of = Fact if name == "LOG" else Sent
        return [of(values[0], values[1] if len(values) == 2 else None)]
    if len(values) != 3:
        raise ValueError(f"{text!r}: a row is named by three numbers, its _r, _i and _n: {FORMS}")
    return _row(text, name, Position(*values))


def _row(text: str, name: str, at: Position) -> list[Fact | Sent | Made]:
    found: list[Fact | Sent | Made] = []
    reasons: list[str] = []
    physical = named(name)
    table = TABLES.get(physical[0] if physical else name)
    if table is not None and table.emitted_by is None:
        if at.n == 0:
            found.append(Fact(at.r, at.i, table.filters))
        else:
            reasons.append(f"rows of {name} are facts, their _n is 0, not {at.n}")
    kinds = set(DERIVED.values())
    for processor in PROCESSORS:
        of_table = table is not None and table.emitted_by == processor.name
        if not (of_table or name in (processor.name, *processor.emits)):
            continue
        try:
            kind = kind_of(processor, at.n)
        except ValueError as error:
            reasons.append(str(error))
            continue
        wanted = table.reads if of_table and table is not None else name
        if name != processor.name and wanted in kinds and wanted != kind:
            reasons.append(f"_n {at.n} of {processor.name} is of kind {kind}, not {wanted}")
            continue
        found.append(Made(processor, kind, at))
    if not found:
        known = ", ".join(sorted({*TABLES, *(one.name for one in PROCESSORS)}))
        what = "; ".join(reasons) or f"there is no table, processor or kind {name}: {known}"
        raise ValueError(f"{text!r} names no event: {what}")
    return found


def kind_of(processor: Processor, n: int) -> str:
    """Return the kind that an ordinal is of. Raises ValueError for one that cannot be."""
    index, partition = n >> 20 & 15, n >> 24
    if partition >= PARTITIONS and partition != ALL:
        raise ValueError(f"_n {n} names partition {partition}, which there is not")
    if index == _DEAD_LETTER_KIND:
        return DEAD_LETTER
    if index >= len(processor.emits):
        raise ValueError(f"_n {n} names kind {index} of {processor.name}, which it does not emit")
    return processor.emits[index]
