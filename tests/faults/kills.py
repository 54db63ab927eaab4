"""Who is killed, and where: every process at its own points, every server in the middle of work."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kill:
    """`killer` reaches `point` for the `nth` time; `killed` is killed `after_s` later.

    `inside`: the kill must come before what begins at the point has ended.
    """

    point: str
    killer: str
    killed: str = ""
    nth: int = 1
    after_s: float = 0.0
    inside: bool = False

    @property
    def victim(self) -> str:
        """The name of who is killed: the killer itself where nobody else is named."""
        return self.killed or self.killer


Wave = tuple[Kill, ...]
"""Kills that are armed together; those of one process follow each other, restart by restart."""

GRAPH = (
    (Kill("graph.commit.storing", "graph", nth=3),),
    (Kill("graph.commit.stored", "graph", nth=3),),
    (Kill("graph-main-0.batch.half", "graph", nth=3),),
    (Kill("graph-main-0.batch.committing", "graph", nth=5, after_s=0.001, inside=True),),
    (Kill("graph.commit.stored", "graph", nth=2), Kill("graph.recovery.restored", "graph")),
)
SNAPSHOTS = (
    Kill("graph.snapshot.writing", "graph"),
    Kill("graph.snapshot.renaming", "graph"),
    Kill("graph.snapshot.written", "graph"),
)
"""Armed when the graph has no snapshot yet, so that one is due; later ones are every 30 s."""
LOAD = (
    (Kill("load.append.storing", "load", nth=5),),
    (Kill("load.append.stored", "load", nth=5),),
    (Kill("load.batch.half", "load", nth=5),),
    (Kill("load.batch.committing", "load", nth=5, after_s=0.001, inside=True),),
)
FEEDS = (
    (Kill("feeds.flush.storing", "feeds", nth=5),),
    (Kill("feeds.flush.stored", "feeds", nth=5),),
    (Kill("feeds.batch.half", "feeds", nth=3),),
    (Kill("feeds.batch.committing", "feeds", nth=3, after_s=0.001, inside=True),),
)
TIME = (
    (Kill("time.append.storing", "time", nth=3),),
    (Kill("time.append.stored", "time", nth=3),),
)
PROJECTIONS = (
    (
        Kill("sink.trades.inserting", "projections", nth=3),
        Kill("sink.trades.claimed", "projections"),
        Kill("sink.trades.fenced", "projections"),
        Kill("sink.trades.drained", "projections"),
    ),
    (
        Kill("sink.trades.inserted", "projections", nth=2),
        Kill("sink.bars.inserting", "projections"),
    ),
    (Kill("sink.trades.advanced", "projections", nth=2), Kill("sink.bars.inserted", "projections")),
    (
        Kill("sink.trades.inserting", "projections", nth=2, after_s=0.01, inside=True),
        Kill("sink.bars.advanced", "projections"),
        Kill("sink.latest_trades.claimed", "projections"),
    ),
    (
        Kill("sink.latest_trades.moved", "projections", nth=2),
        Kill("sink.latest_trades.written", "projections", nth=2),
        Kill("sink.latest_trades.committed", "projections", nth=2),
    ),
)
SERVERS = (
    (Kill("load.batch.half", "load", "nats", nth=3),),
    (Kill("graph-main-0.batch.committing", "graph", "nats", nth=3, after_s=0.001, inside=True),),
    (Kill("load.batch.committing", "load", "nats", nth=3, after_s=0.002, inside=True),),
    (Kill("sink.trades.inserting", "projections", "clickhouse", nth=3, after_s=0.01, inside=True),),
    (Kill("sink.trades.inserted", "projections", "postgres", nth=2),),
    (Kill("sink.latest_trades.written", "projections", "postgres", nth=2),),
)
SUPERVISOR = "graph-main-0.batch.committing"
"""Where the supervisor is killed, and with it everything: a commit is on its way."""
REPAIRS = (
    Kill("sink.trades.repairing", "projections"),
    Kill("sink.trades.repaired", "projections"),
)
"""Armed when the test has deleted rows of the tail."""


BRIEF = (
    (
        Kill("graph.commit.stored", "graph", nth=3),
        Kill("load.batch.committing", "load", nth=5, after_s=0.001, inside=True),
        Kill("feeds.batch.half", "feeds", nth=3),
        Kill("time.append.stored", "time", nth=3),
        Kill("sink.trades.inserted", "projections", nth=2),
    ),
    (Kill("graph-main-0.batch.committing", "graph", "nats", nth=3, after_s=0.001, inside=True),),
    (Kill("sink.trades.inserting", "projections", "clickhouse", nth=3, after_s=0.01, inside=True),),
    (Kill("sink.latest_trades.written", "projections", "postgres", nth=2),),
)
"""Each process and each server once."""


def together() -> list[Wave]:
    """Kills of different processes at once: each wave has the k-th of every process."""
    waves: list[Wave] = []
    every = (GRAPH, LOAD, FEEDS, TIME, PROJECTIONS)
    for k in range(max(len(of_one) for of_one in every)):
        waves.append(tuple(kill for of_one in every if k < len(of_one) for kill in of_one[k]))
    return waves


def in_turn() -> list[Wave]:
    """One process after another."""
    return [wave for of_one in (GRAPH, LOAD, FEEDS, TIME, PROJECTIONS) for wave in of_one]
