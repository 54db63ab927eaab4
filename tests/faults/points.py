"""Every named crash point of the engine: one list, held against the code by test_points.py.

A name is ``<group>.<step>``. In a group, `<connection>` stands for the client that appends
(`feeds`, `time`, `load`, `archive`, `graph-main-0`), `<table>` for a table's name. `occasion` says
what must happen before a process comes by.
"""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

Occasion = Literal[
    "always",  # as long as data flow
    "start",  # once, whenever the process begins
    "behind",  # when it begins and has something to catch up with
    "batch",  # when one append has several messages
    "doubt",  # when an acknowledgement was lost, or another owner wrote
    "snapshot",  # when a snapshot is due
    "lost rows",  # when rows of a table's tail are gone
    "asked",  # when an operator asked for it, or its time has come
]


class Point(NamedTuple):
    """A point's name, the role that reaches it, and on what occasion."""

    name: str
    role: str
    occasion: Occasion = "always"


_CLICKHOUSE_STEPS: tuple[tuple[str, Occasion], ...] = (
    ("claiming", "start"),
    ("claimed", "start"),
    ("fenced", "start"),
    ("drained", "start"),
    ("read", "start"),
    ("repairing", "lost rows"),
    ("repaired", "lost rows"),
    ("telling", "behind"),
    ("told", "behind"),
    ("inserting", "always"),
    ("inserted", "always"),
    ("advancing", "always"),
    ("advanced", "always"),
)
_POSTGRES_STEPS: tuple[tuple[str, Occasion], ...] = (
    ("claiming", "start"),
    ("claimed", "start"),
    ("moving", "always"),
    ("moved", "always"),
    ("written", "always"),
    ("committed", "always"),
)
CLICKHOUSE_STEPS = tuple(step for step, _ in _CLICKHOUSE_STEPS)
POSTGRES_STEPS = tuple(step for step, _ in _POSTGRES_STEPS)


def sinks(
    clickhouse: Iterable[str], postgres: Iterable[str], group: str = "sink", role: str = ""
) -> Iterator[Point]:
    """Yield the points of the sinks of tables, by name."""
    for tables, steps in ((clickhouse, _CLICKHOUSE_STEPS), (postgres, _POSTGRES_STEPS)):
        for table in tables:
            for step, occasion in steps:
                yield Point(f"{group}.{table}.{step}", role or "projections", occasion)


POINTS: tuple[Point, ...] = (
    Point("time.append.storing", "time"),
    Point("time.append.stored", "time"),
    Point("feeds.flush.storing", "feeds"),
    Point("feeds.flush.stored", "feeds"),
    Point("load.append.storing", "load"),
    Point("load.append.stored", "load"),
    Point("append.outcome.asking", "feeds, time, load", "doubt"),
    Point("append.outcome.told", "feeds, time, load", "doubt"),
    Point("<connection>.message.sending", "any that appends"),
    Point("<connection>.message.answered", "any that appends"),
    Point("<connection>.batch.half", "any that appends", "batch"),
    Point("<connection>.batch.committing", "any that appends", "batch"),
    Point("<connection>.batch.committed", "any that appends", "batch"),
    Point("lease.beat.storing", "graph"),
    Point("lease.beat.stored", "graph"),
    Point("graph.recovery.proven", "graph", "start"),
    Point("graph.recovery.catching_up", "graph", "behind"),
    Point("graph.recovery.caught_up", "graph", "behind"),
    Point("graph.recovery.restored", "graph", "start"),
    Point("graph.commit.storing", "graph"),
    Point("graph.commit.stored", "graph"),
    Point("graph.commit.asking", "graph", "doubt"),
    Point("graph.commit.told", "graph", "doubt"),
    Point("graph.snapshot.writing", "graph", "snapshot"),
    Point("graph.snapshot.renaming", "graph", "snapshot"),
    Point("graph.snapshot.renamed", "graph", "snapshot"),
    Point("graph.snapshot.written", "graph", "snapshot"),
    Point("graph.snapshot.dropped", "graph", "snapshot"),
    *sinks(("<table>",), ("<table>",)),
    *sinks(("<table>",), ("<table>",), "rebuild", "rebuild"),
    Point("rebuild.noted", "rebuild", "asked"),
    Point("rebuild.entered", "rebuild", "asked"),
    Point("rebuild.made", "rebuild", "asked"),
    Point("rebuild.filled", "rebuild", "asked"),
    Point("rebuild.done", "rebuild", "asked"),
    Point("rebuild.swapping", "rebuild", "asked"),
    Point("rebuild.swapped", "rebuild", "asked"),
    Point("version.make.forgetting", "migrate, rebuild", "asked"),
    Point("version.make.forgotten", "migrate, rebuild", "asked"),
    Point("version.make.made", "migrate, rebuild", "asked"),
    Point("version.drop.dropped", "retire", "asked"),
    Point("version.drop.retired", "retire", "asked"),
    Point("swap.locked", "rebuild, swap", "asked"),
    Point("swap.frozen", "rebuild, swap", "asked"),
    Point("swap.caught_up", "rebuild, swap", "asked"),
    Point("swap.written", "rebuild, swap", "asked"),
    Point("swap.committed", "rebuild, swap", "asked"),
    Point("archive.seal.sealing", "archive", "asked"),
    Point("archive.seal.writing", "archive", "asked"),
    Point("archive.seal.written", "archive", "asked"),
    Point("archive.seal.renamed", "archive", "asked"),
    Point("archive.seal.sealed", "archive", "asked"),
    Point("archive.trim.announced", "archive", "asked"),
    Point("archive.trim.purged", "archive", "asked"),
    Point("archive.repair.fed", "repair", "asked"),
)


def of(role: str, *occasions: Occasion) -> list[Point]:
    """Return the points of a role, on any occasion unless some are named."""
    found = [point for point in POINTS if role in point.role.split(", ")]
    return [point for point in found if not occasions or point.occasion in occasions]
