"""Every kind of fault that is played on servers of its own: one line each."""

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from random import Random

from tidemill.tests.faults.apart import clustered, log_faults
from tidemill.tests.faults.tally import Round

STRIKES = 3
"""Members of a cluster that are struck, one after another, in a round."""


async def log_hurt(directory: Path, seed: int) -> AsyncIterator[Round]:
    """A round of each way to hurt LOG."""
    async for one in log_faults.play(directory, Random(seed), list(log_faults.WAYS)):
        yield Round(
            seed=seed,
            kind="log-hurt",
            what=one.what,
            proof=one.proof,
            recovered_s=None,
            took_s=round(one.noticed_s, 2),
            witnessed=0,
            records=0,
            lost=0,
            duplicated=0,
            why=one.why,
        )


async def cluster_log(directory: Path, seed: int) -> AsyncIterator[Round]:
    """The log port on a cluster of three."""
    yield _of_cluster(
        "cluster-log", seed, await clustered.log_port(directory, Random(seed), STRIKES)
    )


async def cluster_engine(directory: Path, seed: int) -> AsyncIterator[Round]:
    """An engine on a cluster of three."""
    yield _of_cluster(
        "cluster-engine", seed, await clustered.engine(directory, Random(seed), STRIKES)
    )


def _of_cluster(kind: str, seed: int, one: clustered.Struck) -> Round:
    return Round(
        seed=seed,
        kind=kind,
        what=one.what,
        proof=one.proof,
        recovered_s=round(one.recovered_s, 2),
        took_s=round(one.took_s, 2),
        witnessed=one.witnessed,
        records=one.records,
        lost=one.lost,
        duplicated=one.duplicated,
        why=one.why,
    )


APART: Mapping[str, Callable[[Path, int], AsyncIterator[Round]]] = {
    "log-hurt": log_hurt,
    "cluster-log": cluster_log,
    "cluster-engine": cluster_engine,
}
