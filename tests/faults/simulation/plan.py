"""What a run is made of, drawn from its seed: who runs, and which faults come when."""

from dataclasses import dataclass, replace
from random import Random
from typing import NamedTuple

from tidemill.tests.faults.points import POINTS

LASTS_S = 4.0
"""Virtual seconds during which faults come; afterwards everything must come right."""


class Fault(NamedTuple):
    """At `at_s`, `kind` befalls `target`; `value` is how long (seconds), or how often."""

    at_s: float
    kind: str
    target: str
    value: float = 0.0


@dataclass(frozen=True)
class Plan:
    """A run: `seed` decides every interleaving, the rest what is run and what befalls it."""

    seed: int
    graphs: str
    """`real`: bars, price and stale as one graph; `fused` and `split`: processors that make every
    mistake of order visible, in one graph or in three.
    """
    shards: int
    owners: int
    """Processes that compete for each shard."""
    leases: bool
    """Whether owners wait for a lease; without, only the checkpoints' fences decide."""
    venues: int
    commit_bytes_max: int
    batch_messages_max: int
    snapshot_s: float
    faults: tuple[Fault, ...]
    sinks: bool = False

    def without(self, index: int) -> "Plan":
        """The same without one fault."""
        return replace(self, faults=self.faults[:index] + self.faults[index + 1 :])


KINDS = ("kill", "point", "point", "point", "freeze", "lost", "unanswered", "unanswered")
KINDS += ("late", "late", "cut", "restart", "slow", "clock", "shards")
WRITES = ("LOG", "OUT", "LEASES")
STORES = ("CLICKHOUSE", "POSTGRES")
REACHED = tuple(
    p.name for p in POINTS if p.name.startswith(("graph.", "time.", "feeds.", "append.", "lease."))
)
SINK_POINTS = tuple(
    f"sink.{table}.{p.name.rpartition('.')[2]}"
    for p in POINTS
    if p.name.startswith("sink.")
    for table in ("trades", "bars", "latest_bars")
)


def plan(seed: int) -> Plan:
    """Return the run of a seed."""
    random = Random(f"plan {seed}")
    sinks = random.random() < 0.35
    graphs = random.choice(("real", "fused") if sinks else ("real", "fused", "fused", "split"))
    shards = 1 if graphs == "split" and random.random() < 0.5 else random.choice((1, 1, 2, 3))
    owners = 1 if sinks else random.choice((1, 2, 2))
    return Plan(
        seed=seed,
        graphs=graphs,
        shards=shards,
        owners=owners,
        leases=random.random() < 0.5,
        venues=random.choice((1, 2)),
        commit_bytes_max=random.choice((900, 4 << 20, 4 << 20)),
        batch_messages_max=random.choice((1, 3, 50, 2_000)),
        snapshot_s=random.choice((0.3, 1.0, 30.0)),
        faults=tuple(sorted(_faults(random, sinks))),
        sinks=sinks,
    )


def _faults(random: Random, sinks: bool) -> list[Fault]:
    servers = (*WRITES[:2], *WRITES) if not sinks else (*WRITES, *STORES, *STORES)
    roles = ("feeds", "time", "graph", "graph", "graph")
    if sinks:
        roles = ("feeds", "time", "graph", "sink", "sink", "sink")
    points = REACHED if not sinks else (*REACHED, *SINK_POINTS, *SINK_POINTS)
    made = []
    for _ in range(random.randint(2, 9)):
        at_s = round(random.uniform(0.05, LASTS_S), 3)
        kind = random.choice((*KINDS, "power") if sinks else KINDS)
        if kind in ("kill", "freeze"):
            made.append(Fault(at_s, kind, random.choice(roles), round(random.uniform(0.1, 3), 3)))
        elif kind == "point":
            made.append(Fault(at_s, kind, random.choice(points), random.randint(1, 4)))
        elif kind == "clock":
            made.append(Fault(at_s, kind, "time", round(random.uniform(-3, 3), 3)))
        elif kind == "power":
            made.append(Fault(at_s, kind, "CLICKHOUSE"))
        elif kind == "shards":
            made.append(Fault(at_s, kind, "graph", random.choice((1, 2, 3))))
        else:
            length = random.uniform(0.02, 1.5) if kind != "slow" else random.uniform(0.2, 1.5)
            made.append(Fault(at_s, kind, random.choice(servers), round(length, 3)))
    return made
