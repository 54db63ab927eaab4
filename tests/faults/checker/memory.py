"""I11: memory of processes over time, from samples that somebody took."""

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tidemill.tests.faults.checker.verdicts import Verdicts

SAMPLES_MIN = 12
GROWTH_MAX, GROWTH_BYTES_MIN = 0.2, 32 << 20
"""More than both of these, from the second third of the samples to the last, is growth."""


class Sample(NamedTuple):
    """Resident bytes of one process at a time (s)."""

    ts: float
    process: str
    rss: int


def read_samples(path: Path) -> list[Sample]:
    """Read JSON lines of `ts`, `process`, `rss`."""
    lines = map(json.loads, path.read_text().splitlines())
    return [Sample(float(one["ts"]), str(one["process"]), int(one["rss"])) for one in lines]


def check_memory(samples: Iterable[Sample], verdicts: Verdicts) -> None:
    """No process holds much more in the last third of its time than in the one before."""
    of: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        of[sample.process].append(sample)
    for process, own in of.items():
        if len(own) < SAMPLES_MIN:
            verdicts.without("I11", f"{process} has only {len(own)} samples")
            continue
        verdicts.held("I11")
        held = [one.rss for one in sorted(own)]
        third = len(held) // 3
        before, after = median(held[third : 2 * third]), median(held[2 * third :])
        if after - before > max(GROWTH_MAX * before, GROWTH_BYTES_MIN):
            most = f"about {before / 1e6:.0f} MB"
            verdicts.broken("I11", process, most, f"{after / 1e6:.0f} MB in the last third")
